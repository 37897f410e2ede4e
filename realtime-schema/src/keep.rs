//! Files that are generated and committed.

use crate::Problems;
use std::path::Path;
use std::{env, fs};

/// The environment variable with which `keep` writes files instead of comparing them.
const UPDATE: &str = "UPDATE_SCHEMA";

/// Compares a file with its expected content, or writes it if the environment variable is set.
pub(crate) fn keep(path: &Path, content: &str) -> Result<(), Problems> {
    if is_set(UPDATE) { write(path, content) } else { compare(path, content) }
}

/// Returns true if an environment variable is set, and neither empty nor `0`.
pub(crate) fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Writes a file and its parent directories. An up-to-date file is not written, so that nothing is rebuilt.
pub(crate) fn write(path: &Path, content: &str) -> Result<(), Problems> {
    if compare(path, content).is_ok() {
        return Ok(());
    }
    let above = path.parent().map_or(Ok(()), fs::create_dir_all);
    above
        .and_then(|()| fs::write(path, content))
        .map_err(|error| Problems::one(format!("{} cannot be written: {error}", path.display())))
}

fn compare(path: &Path, content: &str) -> Result<(), Problems> {
    let kept = fs::read_to_string(path)
        .map_err(|error| Problems::one(format!("{} cannot be read: {error}. {ADVICE}", path.display())))?;
    // Git may have converted the line endings.
    let kept = kept.replace("\r\n", "\n");
    if kept == content {
        return Ok(());
    }
    Err(Problems::one(format!("{} is stale. {ADVICE}\n{}", path.display(), difference(&kept, content))))
}

const ADVICE: &str = "Run the test with UPDATE_SCHEMA=1 to update it";

/// Shows some of the lines between the first and the last that differ.
fn difference(kept: &str, content: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (kept.lines().collect(), content.lines().collect());
    let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let mut lines = vec![format!("line {}:", first + 1)];
    lines.extend(some(&old[..old.len() - last], '-'));
    lines.extend(some(&new[..new.len() - last], '+'));
    lines.join("\n")
}

fn some(lines: &[&str], sign: char) -> Vec<String> {
    let mut shown: Vec<String> = lines.iter().take(MOST_LINES).map(|line| format!("{sign} {line}")).collect();
    if lines.len() > MOST_LINES {
        shown.push(format!("{sign} … {} lines more", lines.len() - MOST_LINES));
    }
    shown
}

/// Enough to recognise the change; the commit's diff has the rest.
const MOST_LINES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let directory = env::temp_dir().join(format!("realtime-schema-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory
    }

    #[test]
    fn a_file_that_is_not_there_is_told_and_written() {
        let path = directory("missing").join("a/b.ts");
        let problems = compare(&path, "x\n").unwrap_err().to_string();
        assert!(problems.contains("b.ts cannot be read") && problems.contains("UPDATE_SCHEMA=1"), "{problems}");
        write(&path, "x\n").unwrap();
        assert_eq!(compare(&path, "x\n"), Ok(()));
        fs::write(&path, "x\r\n").unwrap();
        assert_eq!(compare(&path, "x\n"), Ok(()), "line ends do not count");
    }

    #[test]
    fn a_stale_file_is_told_by_the_lines_that_differ() {
        let told = difference("a\nb\nc\nd\n", "a\nB\nB2\nc\nd\n");
        assert_eq!(told, "line 2:\n- b\n+ B\n+ B2");
        let long: String = (0..20).map(|line| format!("{line}\n")).collect();
        let told = difference("a\n", &long);
        assert_eq!(told.lines().count(), 11, "{told}");
        assert!(told.ends_with("+ … 12 lines more"), "{told}");
    }
}
