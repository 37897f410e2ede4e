//! Adds up what was appended, and what clients have received and were told.

use super::{FEEDS, reader::Book, reader::log_of, writer::Told};
use crate::Outcome;
use realtime_client::Position;
use std::collections::{HashMap, HashSet};

/// An entry's place: the feed, the log and the offset.
type Place<'a> = (usize, &'a str, u64);

/// Compares what writers and readers were told. With a file, nobody may have missed anything. The writer of a number has the feed
/// `number % FEEDS`.
pub(crate) fn settle(told: &[Told], books: &[Book], with_file: bool) -> Outcome {
    let mut wrong: Vec<String> = books.iter().flat_map(|book| book.wrong.clone()).collect();
    let logs = logs(told, books, &mut wrong);
    let (lost, missed) = missing(told, books, &mut wrong);
    let unknown: HashSet<u64> = told.iter().flat_map(|told| &told.unknown).copied().collect();
    let refused: HashSet<u64> = told.iter().flat_map(|told| &told.refused).copied().collect();
    let acknowledged: usize = told.iter().map(|told| told.done.len()).sum();
    let written: HashSet<u64> = logs.values().copied().collect();
    let there = unknown.intersection(&written).count();
    let in_spite = refused.intersection(&written).count() as u64;
    let sum = |of: fn(&Book) -> u64| books.iter().map(of).sum::<u64>();
    // In two places of the logs, or given to a client twice.
    let twice = (logs.len() - written.len()) as u64 + sum(|book| book.twice);
    let disordered = sum(|book| book.disordered) + told.iter().map(disordered).sum::<u64>();
    let untold = sum(|book| (book.spans.len() as u64 - 1).abs_diff(book.diverged));
    let (resumed, diverged) = (sum(|book| book.resumed), sum(|book| book.diverged));
    let received: usize = books.iter().flat_map(|book| &book.spans).map(|span| span.entries.len()).sum();
    println!(
        "{acknowledged} appends acknowledged + {there} of {} unknown = {} in the logs; {} refused, {in_spite} of them in the logs",
        unknown.len(),
        logs.len(),
        refused.len()
    );
    println!(
        "{received} entries received by {} clients, which resumed {resumed} times; {missed} missed, told by {diverged} gaps",
        books.len()
    );
    println!("lost {lost}, twice {twice}, out of order {disordered}, losses told not once {untold}");
    if acknowledged + there != logs.len() {
        wrong.push("the logs have entries that nobody appended".to_owned());
    }
    if with_file && diverged + missed > 0 {
        wrong.push("Redis has a file, and something was missed".to_owned());
    }
    if [lost, twice, disordered, untold, in_spite] == [0; 5] && wrong.is_empty() {
        return Ok(());
    }
    wrong.truncate(5);
    Err(format!("the books do not add up\n       {}", wrong.join("\n       ")).into())
}

/// Returns a text about the clients that have not caught up.
pub(crate) fn behind(books: &[Book], ends: &[Position]) -> String {
    let at = |book: &Book| book.spans.last().map(|span| (span.log.clone(), span.to()));
    let is_behind = |book: &&Book| {
        let end = &ends[book.feed];
        at(book).is_none_or(|(log, to)| log != log_of(end) || to < end.offset)
    };
    let behind: Vec<_> = books.iter().filter(is_behind).collect();
    let line = |book: &&Book| format!("\n  feed {}: at {:?}, the end is {}", book.feed, at(book), ends[book.feed]);
    format!("{} clients are behind:{}", behind.len(), behind.iter().take(5).map(line).collect::<String>())
}

/// Returns all logs as writers and readers know them: they must agree on the entry of each place.
fn logs<'a>(told: &'a [Told], books: &'a [Book], wrong: &mut Vec<String>) -> HashMap<Place<'a>, u64> {
    let mut logs = HashMap::new();
    let mut add = |place: Place<'a>, entry: u64| {
        let known = *logs.entry(place).or_insert(entry);
        if known != entry {
            wrong.push(format!("{known:x} and {entry:x} are both at {place:?}"));
        }
    };
    for (number, told) in told.iter().enumerate() {
        for (log, offset, entry) in &told.done {
            add((number % FEEDS, log, *offset), *entry);
        }
    }
    for book in books {
        for span in &book.spans {
            for (offset, entry) in (span.from + 1..).zip(&span.entries) {
                add((book.feed, &span.log, offset), *entry);
            }
        }
    }
    logs
}

/// Counts the acknowledged entries that clients of their feeds did not receive: those of which they were told nothing, and those of
/// which they were told.
fn missing(told: &[Told], books: &[Book], wrong: &mut Vec<String>) -> (u64, u64) {
    let (mut lost, mut missed) = (0, 0);
    for book in books {
        for (log, offset, entry) in told.iter().skip(book.feed).step_by(FEEDS).flat_map(|told| &told.done) {
            let span = book.spans.iter().find(|span| span.log == *log);
            if span.is_some_and(|span| span.from < *offset && *offset <= span.to()) {
                continue;
            }
            // Behind the last beginning no gap has told of it.
            let is_last = book.spans.last().is_some_and(|span| span.log == *log && *offset > span.from);
            if book.diverged > 0 && !is_last {
                missed += 1;
                continue;
            }
            lost += 1;
            wrong.push(format!("{entry:x} at {log} {offset} is missing on feed {}", book.feed));
        }
    }
    (lost, missed)
}

/// Counts the entries of a writer that are in the log before one whose acknowledgement it had already.
fn disordered(told: &Told) -> u64 {
    let is_disordered = |pair: &&[(String, u64, u64)]| pair[0].0 == pair[1].0 && pair[0].1 >= pair[1].1;
    told.done.windows(2).filter(is_disordered).count() as u64
}

#[cfg(test)]
mod tests {
    use super::{super::reader::Span, *};

    /// A writer with three acknowledged entries of one feed.
    fn told() -> Vec<Told> {
        let done = (1..=3).map(|offset| ("a".to_owned(), offset, offset * 10)).collect();
        vec![Told { done, unknown: vec![40, 50], refused: vec![60] }]
    }

    fn book(spans: &[(&str, u64, &[u64])]) -> Book {
        let span = |&(log, from, entries): &(&str, u64, &[u64])| Span {
            log: log.to_owned(),
            from,
            entries: entries.to_vec(),
        };
        Book { spans: spans.iter().map(span).collect(), diverged: spans.len() as u64 - 1, ..Book::default() }
    }

    fn holds(spans: &[(&str, u64, &[u64])], with_file: bool) -> bool {
        settle(&told(), &[book(spans)], with_file).is_ok()
    }

    #[test]
    fn acknowledged_entries_are_there_and_unknown_ones_may_be() {
        assert!(holds(&[("a", 0, &[10, 20, 30])], true));
        assert!(holds(&[("a", 0, &[10, 20, 30, 40])], true));
    }

    #[test]
    fn what_is_missing_changed_refused_or_there_twice_is_found() {
        let wrong: [&[u64]; 5] =
            [&[10, 20], &[10, 30, 20], &[10, 20, 30, 60], &[10, 20, 30, 40, 40], &[10, 20, 30, 70]];
        for entries in wrong {
            assert!(!holds(&[("a", 0, entries)], true), "{entries:?}");
        }
    }

    #[test]
    fn what_is_missing_was_told_once_and_only_without_a_file() {
        let spans: [(&str, u64, &[u64]); 2] = [("a", 0, &[10, 20]), ("b", 0, &[50])];
        assert!(holds(&spans, false));
        assert!(!holds(&spans, true));
        for diverged in [0, 2] {
            assert!(settle(&told(), &[Book { diverged, ..book(&spans) }], false).is_err(), "{diverged}");
        }
    }

    #[test]
    fn what_is_missing_behind_the_last_beginning_is_lost() {
        assert!(!holds(&[("b", 0, &[40]), ("a", 1, &[20])], false));
    }

    #[test]
    fn entries_of_a_writer_that_change_places_are_out_of_order() {
        let mut told = told();
        told[0].done.swap(0, 1);
        assert!(settle(&told, &[book(&[("a", 0, &[10, 20, 30])])], true).is_err());
    }
}
