//! Keeps the lines of a program's output that tell why it failed, for a summary at the end of a long log.

use std::collections::VecDeque;

/// The lines of an output that tell of failures, and its last ones.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    telling: Vec<String>,
    last: VecDeque<String>,
    /// So many lines belong to the one that told.
    following: usize,
}

/// Lines that are kept in all: a screen.
const MOST: usize = 40;
/// Lines at the end, whatever they say.
const LAST: usize = 8;
/// Lines behind a panic: what was compared with what.
const BEHIND: usize = 4;

impl Telling {
    pub(crate) fn note(&mut self, line: &str) {
        self.last.push_back(line.to_owned());
        if self.last.len() > LAST
            && let Some(line) = self.last.pop_front()
        {
            self.judge(line);
        }
    }

    fn judge(&mut self, line: String) {
        if tells(&line) {
            self.following = BEHIND;
        } else if self.following == 0 || line.starts_with("stack backtrace") {
            self.following = 0;
            return;
        } else {
            self.following -= 1;
        }
        if self.telling.len() < MOST {
            self.telling.push(line);
        }
    }

    /// Returns the lines, each behind two spaces.
    pub(crate) fn lines(self) -> String {
        self.telling.into_iter().chain(self.last).map(|line| format!("\n  {line}")).collect()
    }
}

fn tells(line: &str) -> bool {
    line.contains("panicked at")
        || line.ends_with("FAILED")
        || line.starts_with("error")
        || line.contains("AssertionError")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_far_from_the_end_is_told() {
        let mut telling = Telling::default();
        telling.note("test one ... ok");
        telling.note("thread 'two' panicked at src/two.rs:1:1:");
        telling.note("assertion failed: 1 == 2");
        telling.note("stack backtrace:");
        (0..100).for_each(|number| telling.note(&format!("{number}: a function")));
        let lines = telling.lines();
        let lines: Vec<_> = lines.lines().skip(1).collect();
        assert_eq!(lines[..2], ["  thread 'two' panicked at src/two.rs:1:1:", "  assertion failed: 1 == 2"]);
        assert_eq!(lines[2..], (92..100).map(|number| format!("  {number}: a function")).collect::<Vec<_>>());
    }

    #[test]
    fn an_output_without_end_is_cut() {
        let mut telling = Telling::default();
        (0..1000).for_each(|number| telling.note(&format!("error: {number}")));
        assert_eq!(telling.lines().lines().count(), 1 + MOST + LAST);
    }
}
