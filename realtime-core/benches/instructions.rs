//! What the hot paths cost, in instructions: `instructions WORK COUNT` does one work so many times,
//! under a tool that counts. `cargo xtask test --only instructions` runs it and compares.

#[path = "../tests/support/wire.rs"]
mod wire;
#[path = "../tests/support/work.rs"]
mod work;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, count] = &arguments[..] else {
        eprintln!("usage: instructions WORK COUNT");
        return ExitCode::FAILURE;
    };
    let mut work: Box<dyn FnMut()> = match name.as_str() {
        "decode" => Box::new(work::decode(16)),
        "encode" => Box::new(work::encode()),
        "echo" => Box::new(work::echo(1)),
        "echo-16" => Box::new(work::echo(16)),
        "typed" => Box::new(work::typed(1, "realtime.v1.json", &work::json())),
        "typed-16" => Box::new(work::typed(16, "realtime.v1.json", &work::json())),
        "publish-1" => Box::new(work::publish(1, 1)),
        "publish-1000" => Box::new(work::publish(1000, 1)),
        "publish-1000-8" => Box::new(work::publish(1000, 8)),
        _ => {
            eprintln!("there is no work {name:?}");
            return ExitCode::FAILURE;
        }
    };
    for _ in 0..count.parse().expect("COUNT is a number") {
        work();
    }
    ExitCode::SUCCESS
}
