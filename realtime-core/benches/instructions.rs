//! The cost of the hot paths in instructions: `instructions WORK COUNT` runs one work COUNT times, under a tool that
//! counts. `cargo xtask test --only instructions` runs it and compares.
//!
//! Without arguments it prints the processor's features, as the program sees them, and then each work with a COUNT that
//! is enough.

#[path = "../tests/support/wire.rs"]
mod wire;
#[path = "../tests/support/work.rs"]
mod work;

use realtime_core::websocket::Opcode;
use std::{
    env,
    process::{self, ExitCode},
};

struct Work {
    name: &'static str,
    count: usize,
    /// Creates the closure that does the work once.
    prepare: fn() -> Box<dyn FnMut()>,
}

const WORKS: &[Work] = &[
    Work { name: "decode", count: 200, prepare: || Box::new(work::decode(16)) },
    Work { name: "encode", count: 200, prepare: || Box::new(work::encode()) },
    Work { name: "echo", count: 200, prepare: || Box::new(work::echo(Opcode::Text, 1)) },
    Work { name: "echo-16", count: 200, prepare: || Box::new(work::echo(Opcode::Text, 16)) },
    #[cfg(feature = "deflate")]
    Work { name: "echo-deflate", count: 100, prepare: || Box::new(work::echo_deflate()) },
    Work { name: "typed", count: 200, prepare: || Box::new(work::typed(1, "realtime.v1.json", &work::json())) },
    Work {
        name: "typed-16",
        count: 200,
        prepare: || Box::new(work::typed(16, "realtime.v1.json", &work::json())),
    },
    Work {
        name: "typed-msgpack",
        count: 200,
        prepare: || Box::new(work::typed(1, "realtime.v1.msgpack", &work::msgpack())),
    },
    Work { name: "call", count: 200, prepare: || Box::new(work::call(1, "realtime.v1.json", work::call_json)) },
    Work {
        name: "call-16",
        count: 200,
        prepare: || Box::new(work::call(16, "realtime.v1.json", work::call_json)),
    },
    Work {
        name: "call-msgpack",
        count: 200,
        prepare: || Box::new(work::call(1, "realtime.v1.msgpack", work::call_msgpack)),
    },
    Work { name: "publish-1", count: 200, prepare: || Box::new(work::publish(1, 1)) },
    Work { name: "publish-1000", count: 4, prepare: || Box::new(work::publish(1000, 1)) },
    Work { name: "publish-1000-8", count: 4, prepare: || Box::new(work::publish(1000, 8)) },
    Work { name: "append-1000", count: 4, prepare: || Box::new(work::append(1000, 0)) },
    Work { name: "append-1000-stalled", count: 4, prepare: || Box::new(work::append(1000, 500)) },
    Work { name: "resume-100", count: 20, prepare: || Box::new(work::resume(100)) },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        // `cargo bench` adds the flag.
        [] | ["--bench"] => list(),
        [name, count] => run(name, count),
        _ => usage(),
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "it is what was asked for")]
fn list() {
    println!("{}", processor());
    for Work { name, count, .. } in WORKS {
        println!("{name} {count}");
    }
}

/// Returns the features by which libraries choose an implementation of a function.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features = [("", false); 0];
    let present = features.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name);
    [env::consts::ARCH].into_iter().chain(present).collect::<Vec<_>>().join(" ")
}

fn run(name: &str, count: &str) {
    let Some(work) = WORKS.iter().find(|work| work.name == name) else { usage() };
    let Ok(count) = count.parse::<usize>() else { usage() };
    let mut work = (work.prepare)();
    for _ in 0..count {
        work();
    }
}

fn usage() -> ! {
    eprintln!("usage: instructions WORK COUNT; without arguments it lists the works");
    process::exit(1);
}
