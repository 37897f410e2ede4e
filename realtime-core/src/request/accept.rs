//! The kinds of streams that a client accepts.

use crate::context::Context;

/// Returns true if the client accepts server-sent events.
pub(super) fn accepts_events(context: &Context) -> bool {
    streams(context).next().is_some()
}

/// Returns true if the client accepts a stream of frames, of a known format or not.
pub(super) fn accepts_frames(context: &Context) -> bool {
    formats(context).next().is_some()
}

/// Returns the formats of frames that the client accepts: of `text/event-stream; realtime=v1.json` it is `v1.json`.
pub(super) fn formats(context: &Context) -> impl Iterator<Item = &str> {
    let parameters = streams(context).flat_map(|accepted| accepted.split(';').skip(1));
    parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("realtime").then(|| value.trim().trim_matches('"'))
    })
}

fn streams(context: &Context) -> impl Iterator<Item = &str> {
    context.header_tokens("accept").filter(|accepted| {
        let media_type = accepted.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_a_parameter_of_the_media_type() {
        for (accept, events, format) in [
            ("text/event-stream; realtime=v1.json", true, Some("v1.json")),
            ("text/html, Text/Event-Stream;q=0.9 ;Realtime=\"v1.json\"", true, Some("v1.json")),
            ("text/event-stream, text/event-stream; realtime=v9", true, Some("v9")),
            ("text/event-stream; q=1", true, None),
            ("text/event-stream; realtime", true, None),
            ("text/html; realtime=v1.json", false, None),
            ("*/*", false, None),
        ] {
            let request = http::Request::get("/").header("accept", accept).body(()).unwrap();
            let context = Context::from_parts(request.into_parts().0, None, false);
            assert_eq!((accepts_events(&context), formats(&context).next()), (events, format), "{accept}");
            assert_eq!(accepts_frames(&context), format.is_some());
        }
    }
}
