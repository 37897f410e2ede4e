use std::{error, fmt};

/// A list of problems, each on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Returns the problems, one for each line.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// Returns `Err` if there is a line.
    pub(crate) fn check(mut lines: Vec<String>) -> Result<(), Self> {
        if lines.is_empty() {
            return Ok(());
        }
        lines.sort();
        lines.dedup();
        Err(Self(lines))
    }

    pub(crate) fn one(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl error::Error for Problems {}
