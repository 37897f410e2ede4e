//! `cargo xtask proxies`: the server of `examples/behind-proxy` behind each proxy that Debian has, with the
//! configurations of `docs/deployment`.

mod checks;
mod front;
mod http;
mod process;
mod proxy;
mod websocket;

use std::{env, fs, path::PathBuf, thread};

pub(crate) use front::Front;

use checks::{CALL_LEFT, CHECKS, Check, EVENTS_LEFT, MEASURES, Ways};
use http::Way;
use process::{Server, free_port};
use proxy::{Change, Notice, PROXIES, Proxy};

use crate::command::{Outcome, cargo, none_of, program, run};
use crate::metadata::Metadata;

/// Tests the named proxies, or all; `--short` skips checks that take minutes, and `--server` selects the adapter.
pub(crate) fn proxies(words: &[&str]) -> Outcome {
    let options = Options::parse(words)?;
    for proxy in &options.proxies {
        proxy.install()?;
    }
    run(cargo().args(["build", "-p", "behind-proxy"]))?;
    let binary = format!("debug/behind-proxy{}", env::consts::EXE_SUFFIX);
    let place = Place {
        binary: Metadata::of_workspace()?.target_directory.join(binary),
        folder: Folder::create("checks")?,
        adapter: options.adapter,
    };

    println!(
        "\nThrough each proxy to the server on {}; this takes up to {}.\n",
        place.adapter,
        options.duration()
    );
    let columns = in_parallel(&options.proxies, |proxy| try_proxy(proxy, &place, options.short));
    print_table(&columns);
    if !options.short {
        print_changes(&options.proxies, &place);
    }
    none_of(columns.iter().flat_map(Column::problems).collect())
}

struct Options {
    proxies: Vec<&'static Proxy>,
    adapter: &'static str,
    short: bool,
}

const ADAPTERS: [&str; 3] = ["axum", "actix", "hyper"];

impl Options {
    fn parse(mut words: &[&str]) -> Outcome<Self> {
        let mut options = Self { proxies: Vec::new(), adapter: ADAPTERS[0], short: false };
        while let [word, rest @ ..] = words {
            words = rest;
            match (*word, words) {
                ("--short", _) => options.short = true,
                ("--server", [name, rest @ ..]) => {
                    let known = ADAPTERS.into_iter().find(|known| known == name);
                    options.adapter = known.ok_or(format!("--server takes one of {}", ADAPTERS.join(", ")))?;
                    words = rest;
                }
                (name, _) => {
                    let known = PROXIES.iter().find(|proxy| proxy.name == name);
                    let names = PROXIES.iter().map(|proxy| proxy.name).collect::<Vec<_>>().join(", ");
                    options.proxies.push(known.ok_or(format!(
                        "{name:?} is not a proxy; `proxies` takes --short, --server NAME, and any of {names}"
                    ))?);
                }
            }
        }
        if options.proxies.is_empty() {
            options.proxies.extend(&PROXIES);
        }
        Ok(options)
    }

    fn duration(&self) -> &'static str {
        match self.short {
            true => "half a minute",
            false => "eight minutes",
        }
    }
}

/// The binaries and folder of the servers.
struct Place {
    binary: PathBuf,
    folder: Folder,
    adapter: &'static str,
}

/// A proxy and the server behind it.
struct Pair {
    proxy: Server,
    prefix: &'static str,
    server: Server,
}

impl Pair {
    fn start(proxy: &Proxy, place: &Place, change: Option<&Change>) -> Outcome<Self> {
        let named = format!("{} {}", proxy.name, change.map_or("as-documented", |change| change.name));
        // The name appears in configurations, without quotes.
        let folder = place.folder.0.join(named.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        fs::create_dir_all(&folder).map_err(|error| format!("{} can't be created: {error}", folder.display()))?;
        let port = free_port()?;
        let mut server = program(&place.binary);
        let server = server.arg(place.adapter).env("PORT", port.to_string());
        let server = Server::start(server, port, &folder.join("server.log"))?;
        Ok(Self { proxy: proxy.start(server.port, &folder, change)?, prefix: proxy.prefix, server })
    }

    fn ways(&self) -> Ways {
        let Self { proxy, prefix, server } = self;
        Ways { proxy: Way { port: proxy.port, prefix }, server: Way { port: server.port, prefix: "" } }
    }
}

/// The results of a proxy, in the order of the checks.
struct Column {
    name: &'static str,
    results: Vec<Outcome<String>>,
    /// The reason, if there are none.
    failed: Option<String>,
}

impl Column {
    fn problems(&self) -> impl Iterator<Item = String> {
        let named = CHECKS.iter().zip(&self.results);
        let failed =
            named.filter_map(|(check, result)| Some(format!("{}: {}", check.name, result.as_ref().err()?)));
        self.failed.clone().into_iter().chain(failed).map(|problem| format!("{}: {problem}", self.name))
    }
}

fn try_proxy(proxy: &'static Proxy, place: &Place, short: bool) -> Column {
    let left_out = |check: &Check| {
        let waits = |notice| notice != Notice::AtOnce;
        check.is_long
            || check.name == EVENTS_LEFT && waits(proxy.events_left)
            || check.name == CALL_LEFT && waits(proxy.call_left)
    };
    let run_one = |ways, check: &Check| match short && left_out(check) {
        true => Ok("–".to_owned()),
        false => (check.run)(ways, proxy),
    };
    match Pair::start(proxy, place, None) {
        Ok(pair) => {
            let results = CHECKS.iter().map(|check| run_one(pair.ways(), check)).collect();
            Column { name: proxy.name, results, failed: None }
        }
        Err(problem) => Column { name: proxy.name, results: Vec::new(), failed: Some(problem) },
    }
}

fn print_table(columns: &[Column]) {
    let names = columns.iter().map(|column| column.name);
    println!("| | {} |", names.collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "--:|".repeat(columns.len()));
    for (row, check) in CHECKS.iter().enumerate() {
        let cells = columns.iter().map(|column| match column.results.get(row) {
            Some(Ok(said)) => said.as_str(),
            Some(Err(_)) | None => "FAILED",
        });
        println!("| {} | {} |", check.name, cells.collect::<Vec<_>>().join(" | "));
    }
    println!();
}

/// Prints the effect of other settings.
fn print_changes(proxies: &[&'static Proxy], place: &Place) {
    let changes: Vec<_> =
        proxies.iter().flat_map(|proxy| proxy.otherwise.iter().map(move |change| (*proxy, change))).collect();
    let rows = in_parallel(&changes, |(proxy, change)| {
        let measure = |measure: fn(Ways) -> Outcome<String>| match Pair::start(proxy, place, Some(change)) {
            Ok(pair) => measure(pair.ways()).unwrap_or_else(|problem| problem),
            Err(problem) => problem,
        };
        let cells = MEASURES.map(|(_, run_one)| measure(run_one)).join(" | ");
        format!("| {}, {} | {cells} |", proxy.name, change.name)
    });
    println!("| with another setting | {} |", MEASURES.map(|(name, _)| name).join(" | "));
    println!("|---|{}", "--:|".repeat(MEASURES.len()));
    for row in rows {
        println!("{row}");
    }
    println!();
}

fn in_parallel<T: Sync, R: Send>(items: &[T], run_one: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| run_one(item))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a check panicked")).collect()
    })
}

/// A temporary folder, which is removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn create(purpose: &str) -> Outcome<Self> {
        let folder = env::temp_dir().join(format!("proxies-{purpose}-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{} can't be created: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_names_all_are_tried_on_axum() {
        let options = Options::parse(&[]).unwrap();
        assert_eq!((options.proxies.len(), options.adapter, options.short), (PROXIES.len(), "axum", false));
    }

    #[test]
    fn words_choose_proxies_and_the_server() {
        let options = Options::parse(&["nginx", "--server", "hyper", "--short"]).unwrap();
        assert_eq!((options.proxies[0].name, options.proxies.len()), ("nginx", 1));
        assert_eq!((options.adapter, options.short), ("hyper", true));
    }

    #[test]
    fn wrong_words_are_refused_with_the_right_ones() {
        for (words, said) in [(&["--server"] as &[_], "haproxy"), (&["--server", "x"], "actix"), (&["x"], "nginx")]
        {
            let problem = Options::parse(words).err().unwrap();
            assert!(problem.contains(said), "{words:?}: {problem}");
        }
    }
}
