//! `cargo xtask soak restart`: a server of feeds is killed and started again under load. Each client gets every entry once and
//! in order, and is told once for each life of the server that it may have missed some.

mod reader;
mod server;
mod typescript;
mod writer;

pub(crate) use reader::connect;
pub(crate) use server::{ADD, Server, serve};

use crate::{Outcome, process};
use reader::{Book, Reader};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, task::JoinSet, time::sleep};
use typescript::Others;
use writer::Writer;

/// Feeds, each with as many followers.
const FEEDS: usize = 10;

/// A life of the server, once all clients are back.
const LIFE: Duration = Duration::from_millis(700);

/// The time in which all clients come back, or catch up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    clients: usize,
    /// How many of them run in Node.js.
    typescript: usize,
    kills: usize,
}

impl Options {
    pub(crate) fn of(words: &[&str]) -> Outcome<Self> {
        let mut options = Self { clients: 1000, typescript: 0, kills: 20 };
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} has no value", pair[0]).into()) };
            match *name {
                "--clients" => options.clients = value.parse()?,
                "--typescript" => options.typescript = value.parse()?,
                "--kills" => options.kills = value.parse()?,
                unknown => return Err(format!("there is no option {unknown}").into()),
            }
        }
        Ok(options)
    }
}

/// The offset of the last entry of each log, by its epoch.
pub(crate) type Ends = HashMap<String, u64>;

pub(crate) fn run(options: &Options) -> Outcome {
    process::raise_file_limit()?;
    Builder::new_current_thread().enable_all().build()?.block_on(restart(options))
}

async fn restart(options: &Options) -> Outcome {
    let Options { clients, typescript, kills } = *options;
    println!("{clients} clients, {typescript} of them in Node.js; the server is killed {kills} times");
    let begun = Instant::now();
    let mut server = Server::start(0)?;
    let port = server.port;
    let url = format!("ws://127.0.0.1:{port}/__realtime/feeds");
    let readers: Vec<_> = (0..clients - typescript).map(|number| Reader::start(&url, number)).collect();
    let mut others = Others::start(&url, typescript)?;
    let writers: Vec<_> = (0..FEEDS).map(|feed| Writer::start(&url, feed)).collect();
    for life in 0..=kills {
        wait("all clients have begun", || readers.iter().all(|reader| reader.lives() > life)).await?;
        others = others.until_lives(life + 1).await?;
        sleep(LIFE).await;
        if life < kills {
            server.kill()?;
            server = Server::start(port)?;
        }
    }
    let mut ends = Ends::new();
    for writer in writers {
        ends.extend(writer.stop().await);
    }
    let last: Vec<_> = ends.iter().map(|(epoch, end)| (epoch.clone(), *end)).collect();
    wait("all clients have caught up", || readers.iter().all(|reader| reader.has(&last))).await?;
    let mut books = others.stop(&last).await?;
    let mut stopping: JoinSet<_> = readers.into_iter().map(Reader::stop).collect();
    while let Some(book) = stopping.join_next().await {
        books.push(book?);
    }
    server.kill()?;
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    settle(&books, ends)
}

async fn wait(what: &str, is_so: impl Fn() -> bool) -> Outcome {
    let since = Instant::now();
    while !is_so() {
        if since.elapsed() > PATIENCE {
            return Err(format!("not within {} s: {what}", PATIENCE.as_secs()).into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Adds up the books: what was appended to the logs that a client has followed was delivered to it, or it was told.
fn settle(books: &[Book], mut ends: Ends) -> Outcome {
    // An entry that was delivered was appended, although its writer may not have heard of it.
    for (epoch, span) in books.iter().flat_map(|book| &book.spans) {
        let end = ends.entry(epoch.clone()).or_default();
        *end = (*end).max(span.to);
    }
    let (mut appended, mut delivered, mut missed) = (0, 0, 0);
    for book in books {
        for (at, (epoch, span)) in book.spans.iter().enumerate() {
            let (is_first, is_last) = (at == 0, at + 1 == book.spans.len());
            // Before its first beginning nothing was owed to it.
            appended += ends[epoch] - if is_first { span.from } else { 0 };
            delivered += span.to - span.from;
            // What was told with the next log: the rest of this one, and the beginning of that.
            missed += if is_first { 0 } else { span.from };
            missed += if is_last { 0 } else { ends[epoch] - span.to };
        }
    }
    let sum = |of: fn(&Book) -> u64| books.iter().map(of).sum::<u64>();
    let (twice, disordered) = (sum(|book| book.twice), sum(|book| book.disordered));
    let (gaps, states) = (sum(|book| book.diverged), sum(|book| book.states));
    let untold = sum(|book| (book.spans.len() as u64 - 1).abs_diff(book.diverged + book.restated));
    println!(
        "{appended} appended to those who followed = {delivered} delivered + {missed} missed, told by {gaps} gaps and {states} \
         states of {} clients; twice {twice}, out of order {disordered}, losses told not once {untold}",
        books.len(),
    );
    let wrong: Vec<_> = books.iter().flat_map(|book| &book.wrong).take(5).cloned().collect();
    let holds = appended == delivered + missed && [twice, disordered, untold] == [0; 3] && wrong.is_empty();
    if holds { Ok(()) } else { Err(format!("the books do not add up\n       {}", wrong.join("\n       ")).into()) }
}
