use serde::de::DeserializeOwned;
use std::time::Duration;

/// A server-sent event, as an `EventSource` dispatches it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSentEvent {
    /// The id of the event, if it has one.
    pub id: Option<String>,
    /// The type; `message` if the event has none.
    pub event: String,
    /// The data, its lines joined by line feeds.
    pub data: String,
}

impl ServerSentEvent {
    /// Parses the data as JSON.
    ///
    /// # Panics
    ///
    /// If the data does not parse as `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {:?}", self.data))
    }
}

/// Parses a stream of server-sent events, however it is split
/// (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>).
#[derive(Clone, Debug, Default)]
pub(crate) struct EventParser {
    bytes: Vec<u8>,
    /// True if the last byte was a carriage return, which a following line feed belongs to.
    after_return: bool,
    started: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
    last_event_id: String,
    comments: usize,
    retry: Option<Duration>,
}

impl EventParser {
    /// Adds received bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next complete event.
    pub(crate) fn next(&mut self) -> Option<ServerSentEvent> {
        while let Some(line) = self.next_line() {
            if let Some(event) = self.handle_line(&line) {
                return Some(event);
            }
        }
        None
    }

    /// Returns the id of the last event, which a client sends when it reconnects.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Returns the number of comment lines received.
    pub(crate) fn comments(&self) -> usize {
        self.comments
    }

    /// Returns the reconnection delay that the stream sent, if any.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn next_line(&mut self) -> Option<String> {
        if self.after_return && !self.bytes.is_empty() {
            self.after_return = false;
            if self.bytes[0] == b'\n' {
                self.bytes.remove(0);
            }
        }
        let end = self.bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        self.after_return = line[end] == b'\r';
        let line = String::from_utf8_lossy(&line[..end]).into_owned();
        if !std::mem::replace(&mut self.started, true) {
            return Some(line.trim_start_matches('\u{feff}').to_owned());
        }
        Some(line)
    }

    fn handle_line(&mut self, line: &str) -> Option<ServerSentEvent> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => data.extend(["\n", value]),
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => {
                self.id = Some(value.to_owned());
                value.clone_into(&mut self.last_event_id);
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<ServerSentEvent> {
        let (id, event) = (self.id.take(), std::mem::take(&mut self.event));
        let data = self.data.take()?;
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(ServerSentEvent { id, event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<(Option<String>, String, String)>, EventParser) {
        let mut parser = EventParser::default();
        parser.push(text.as_bytes());
        let events =
            std::iter::from_fn(|| parser.next()).map(|event| (event.id, event.event, event.data)).collect();
        (events, parser)
    }

    fn event(id: Option<&str>, event: &str, data: &str) -> (Option<String>, String, String) {
        (id.map(str::to_owned), event.to_owned(), data.to_owned())
    }

    #[test]
    fn fields_make_an_event_at_an_empty_line() {
        let (events, parser) = parse(
            "\u{feff}: hi\nid: 7\nevent: tick\ndata: a\ndata\ndata:  b\n\ndata: c\n\nevent: x\n\ndata: half\n",
        );
        assert_eq!(events, [event(Some("7"), "tick", "a\n\n b"), event(None, "message", "c")]);
        assert_eq!((parser.last_event_id(), parser.comments()), ("7", 1));
    }

    #[test]
    fn a_time_to_come_back_is_digits() {
        assert_eq!(
            parse("retry: 1500\nretry: 7s\nretry\nretry: -1\n").1.retry(),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(parse("data: 1\n").1.retry(), None);
    }

    #[test]
    fn each_end_of_a_line_is_one() {
        let text = "data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r";
        let expected = [event(None, "message", "a\nb\nc"), event(None, "message", "d")];
        assert_eq!(parse(text).0, expected);
        let (mut parser, mut events) = (EventParser::default(), Vec::new());
        for byte in text.as_bytes() {
            parser.push(&[*byte]);
            events.extend(parser.next().map(|event| (event.id, event.event, event.data)));
        }
        assert_eq!(events, expected);
    }

    #[test]
    fn an_id_stays_and_one_with_a_nul_is_none() {
        let (events, parser) = parse("id: 1\ndata: a\n\nid: \0\ndata: b\n\nid\n\n");
        assert_eq!(events, [event(Some("1"), "message", "a"), event(None, "message", "b")]);
        assert_eq!(parser.last_event_id(), "");
    }
}
