//! One client sends a message and waits for its echo, repeatedly, beside greedy clients: the effect of these on its
//! latency.
//!
//! Each greedy client has two threads, one that writes as fast as the socket accepts and one that reads. They have the
//! lowest priority, so that the load's own threads do not delay the measurement.

use crate::{
    Report,
    frames::{Kind, binary_frame, compressed_frame, first_frame, text_frame},
    histogram::Histogram,
    meter::{LATENCY, Meter, Phase, add_latency},
    options::Options,
};
use bench::Outcome;
use flate2::{Compress, Compression, FlushCompress};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// The time between two messages.
const PAUSE: Duration = Duration::from_millis(1);

/// A server that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(20);

/// The load of the greedy clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greed {
    Nobody,
    /// Several clients that send messages of this size to be echoed.
    Echo {
        clients: usize,
        bytes: usize,
    },
    /// A client that makes calls with a quarter of a megabyte, and receives as much.
    LargeCalls,
    /// A client that subscribes and unsubscribes.
    Subscriptions,
    /// A client with 1024 subscriptions that always have more items.
    Streams,
    /// A client that makes small calls in MessagePack.
    MessagePack,
    /// Sixteen clients that send messages of 16 MiB, compressed to 16 KiB, to a handler that does not answer.
    Inflating,
}

impl FromStr for Greed {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "nobody" => Self::Nobody,
            "echo-1k" => Self::Echo { clients: 1, bytes: 1024 },
            "echo-64k" => Self::Echo { clients: 1, bytes: 64 * 1024 },
            "echo-16-clients" => Self::Echo { clients: 16, bytes: 1024 },
            "calls-250k" => Self::LargeCalls,
            "subscribing" => Self::Subscriptions,
            "streams-1024" => Self::Streams,
            "msgpack-calls" => Self::MessagePack,
            "deflate-16m" => Self::Inflating,
            _ => return Err(format!("there is no load {name:?}")),
        })
    }
}

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let mut quiet = connect(options, &options.path, None)?;
    let taken = Arc::new(AtomicU64::new(0));
    begin(options, &taken)?;

    let mut meter = Meter::new(options);
    let mut histogram = Histogram::new();
    let mut taken_before = 0;
    let (message, mut buffer) = (text_frame(&"x".repeat(options.size)), Vec::new());
    loop {
        match meter.phase() {
            Phase::Begin => (histogram, taken_before) = (Histogram::new(), taken.load(Relaxed)),
            Phase::Going => {}
            Phase::End => break,
        }
        let begin = Instant::now();
        quiet.write_all(&message)?;
        receive(&mut quiet, &mut buffer)?;
        histogram.record(begin.elapsed());
        thread::sleep(PAUSE);
    }
    // The bytes received by the greedy clients: giving them less does not count as an improvement.
    let mut report = meter.report(taken.load(Relaxed) - taken_before);
    add_latency(&mut report, &histogram, LATENCY);
    add_latency(&mut report, &histogram, [("max_us", 1.0)]);
    Ok(report)
}

/// Starts the greedy clients, which run until the process ends.
fn begin(options: &Options, taken: &Arc<AtomicU64>) -> Outcome {
    let (json, msgpack) = (Some("realtime.v1.json"), Some("realtime.v1.msgpack"));
    let call = |text: &str| format!(r#"{{"type":"call","id":"1","path":"echo","input":{{"text":"{text}"}}}}"#);
    match options.greed {
        Greed::Nobody => {}
        Greed::Echo { clients, bytes } => {
            let frame = text_frame(&"x".repeat(bytes));
            for _ in 0..clients {
                let copies = (64 * 1024 / frame.len()).max(1);
                flood(connect(options, &options.path, None)?, &[], frame.repeat(copies), taken)?;
            }
        }
        Greed::LargeCalls => {
            let call = text_frame(&call(&"x".repeat(250_000)));
            flood(connect(options, &options.api, json)?, &[], call, taken)?;
        }
        Greed::Subscriptions => {
            let subscribe = text_frame(r#"{"type":"subscribe","id":"1","path":"quiet"}"#);
            let unsubscribe = text_frame(r#"{"type":"unsubscribe","id":"1"}"#);
            let both = [subscribe, unsubscribe].concat().repeat(500);
            flood(connect(options, &options.api, json)?, &[], both, taken)?;
        }
        Greed::Streams => {
            let subscribe = |id| text_frame(&format!(r#"{{"type":"subscribe","id":"{id}","path":"ticks"}}"#));
            let all: Vec<u8> = (0..1024).flat_map(subscribe).collect();
            flood(connect(options, &options.api, json)?, &all, Vec::new(), taken)?;
        }
        Greed::MessagePack => {
            // {"type":"call","id":"1","path":"echo","input":{"text":…}}
            let mut call =
                b"\x84\xa4type\xa4call\xa2id\xa11\xa4path\xa4echo\xa5input\x81\xa4text\xd9\x40".to_vec();
            call.extend([b'x'; 64]);
            flood(connect(options, &options.api, msgpack)?, &[], binary_frame(&call).repeat(500), taken)?;
        }
        Greed::Inflating => {
            let message = compressed_frame(&deflated(16 << 20)?);
            for number in 0..16 {
                let silent = format!("/__realtime/halls?hall={number}&rooms=0");
                flood(connect_compressed(options, &silent)?, &[], message.clone(), taken)?;
            }
        }
    }
    Ok(())
}

/// Returns a compressed message without the end of its last block (RFC 7692, section 7.2.1).
fn deflated(bytes: usize) -> Outcome<Vec<u8>> {
    let mut payload = Vec::with_capacity(bytes / 100);
    let mut stream = Compress::new(Compression::best(), false);
    stream.compress_vec(&vec![b'x'; bytes], &mut payload, FlushCompress::Sync)?;
    payload.truncate(payload.len() - 4);
    Ok(payload)
}

/// Sends `first` once and `again` without end, and reads everything.
fn flood(stream: TcpStream, first: &[u8], again: Vec<u8>, taken: &Arc<AtomicU64>) -> Outcome {
    let (mut reader, mut writer) = (stream.try_clone()?, stream);
    let taken = Arc::clone(taken);
    writer.write_all(first)?;
    thread::spawn(move || {
        let _ = rustix::process::nice(19);
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            taken.fetch_add(count as u64, Relaxed);
        }
        eprintln!("the server has closed a client that reads everything");
        std::process::exit(1);
    });
    thread::spawn(move || {
        let _ = rustix::process::nice(19);
        while !again.is_empty() && writer.write_all(&again).is_ok() {}
        // The reader needs the socket open.
        thread::park();
    });
    Ok(())
}

fn connect(options: &Options, path: &str, subprotocol: Option<&str>) -> Outcome<TcpStream> {
    connect_with(
        options,
        path,
        &subprotocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n")),
    )
}

fn connect_compressed(options: &Options, path: &str) -> Outcome<TcpStream> {
    connect_with(options, path, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
}

fn connect_with(options: &Options, path: &str, field: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, options.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{field}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let (mut response, mut byte) = (Vec::new(), [0]);
    while !response.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        response.push(byte[0]);
    }
    if !response.starts_with(b"HTTP/1.1 101") {
        return Err(String::from_utf8_lossy(&response).into_owned().into());
    }
    Ok(stream)
}

/// Waits for the next message.
fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome {
    let mut chunk = [0; 4096];
    loop {
        while let Some((kind, payload)) = first_frame(buffer) {
            buffer.drain(..payload.end);
            match kind {
                Kind::Message => return Ok(()),
                Kind::Close => return Err("the server closed the connection".into()),
                _ => {}
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err("the server ended the connection".into()),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}
