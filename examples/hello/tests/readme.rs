//! The blocks of the README: the code is that of this example, and the shell's lines are run against it.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

const README: &str = include_str!("../../../README.md");

#[test]
fn the_readme_shows_what_is_tested() {
    let tested = [
        ("rust", concat!(include_str!("../src/lib.rs"), include_str!("../src/tests.rs"))),
        ("ts", include_str!("../web/page.ts")),
    ];
    for (language, code) in tested {
        let blocks: Vec<_> = blocks(language).collect();
        assert!(!blocks.is_empty(), "the README has no block of {language}");
        for block in blocks {
            assert!(code.contains(block), "examples/hello has another:\n{block}");
        }
    }
}

/// The crates of the first block of the README, and the features that the code there needs.
#[test]
fn the_readme_names_the_dependencies() {
    let manifest = include_str!("../Cargo.toml");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let block = blocks("toml").next().expect("there are dependencies");
    for line in block.lines().filter(|line| !line.starts_with('[') && !line.is_empty()) {
        let (name, source) = line.split_once(" = ").expect("a dependency");
        let ours = manifest
            .lines()
            .find(|line| line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} =")));
        let ours = ours.unwrap_or_else(|| panic!("examples/hello needs no {name}"));
        if name != "axum" {
            assert_eq!(features(source), features(ours), "{name}");
        }
        if let Some((_, path)) = source.split_once("\"../realtime/") {
            let folder = path.split('"').next().expect("it ends");
            assert!(repository.join(folder).join("Cargo.toml").exists(), "{folder}");
        }
    }
    let unnamed = manifest.lines().filter_map(|line| line.split_once(".workspace = true").map(|(name, _)| name));
    let unnamed = unnamed.filter(|name| !block.contains(&format!("{name} = ")));
    let none_of_package = ["version", "edition", "rust-version", "license", "publish", "example-address"];
    assert_eq!(unnamed.filter(|name| !none_of_package.contains(name)).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_a_shell_work() {
    let realtime = hello::realtime();
    let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move { adapter_axum::serve(listener, app, &realtime).await });
    tokio::task::spawn_blocking(move || listen_and_say(address)).await.expect("it is heard");
    server.abort();
}

fn listen_and_say(address: SocketAddr) {
    let block = blocks("sh").next().expect("there are lines for a shell");
    let script = block.replace("localhost:3000", &address.to_string());
    let (listen, say) = script.split_once(" &\n").expect("the first line stays");
    // `exec`: what is killed is curl.
    let mut listening = shell(&format!("exec {listen}")).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut heard = BufReader::new(listening.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(heard.next().as_deref(), Some(":"), "curl listens");
    let said = shell(say).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&said.stdout), r#"{"ok":true,"data":null}"#);
    let heard = heard.filter(|line| !line.is_empty() && line != ":").take(2).collect::<Vec<_>>();
    listening.kill().and_then(|()| listening.wait()).expect("it ran");
    assert_eq!(heard, ["event: said", "data: \"hello\""]);
}

fn shell(line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).stderr(Stdio::null());
    shell
}

/// The blocks of a language, each without its fences.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("\n```{language}\n");
    let rest: Vec<_> = README.split(&*fence).skip(1).collect();
    rest.into_iter().filter_map(|rest| rest.split("```\n").next())
}

/// The list of features of a dependency, as it is written.
fn features(source: &str) -> &str {
    source.split_once("features = [").and_then(|(_, rest)| rest.split(']').next()).unwrap_or_default()
}
