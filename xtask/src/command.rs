//! Runs other programs in the repository and reports their failures.

use crate::telling::Telling;
use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, ErrorKind, Write},
    mem,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// A result whose `Err` says what failed and, if the cause is known, how to fix it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Returns the root of the repository, from cargo at run time: the compiled-in path may be of another clone that shares
/// the target directory.
pub(crate) fn repository() -> PathBuf {
    let compiled_in = || env!("CARGO_MANIFEST_DIR").into();
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(compiled_in);
    Path::new(&package).parent().expect("this package is a folder of the repository").to_path_buf()
}

/// Returns a command for the cargo that runs this program, at the root of the repository.
pub(crate) fn cargo() -> Command {
    program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Returns a command for a program, at the root of the repository.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(repository());
    command
}

/// Prints the command and runs it with its output visible. Fails with the lines that tell why.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    let unstarted = |error| format!("`{line}` could not be started: {error}");
    let (output, ours) = io::pipe().map_err(unstarted)?;
    let theirs = ours.try_clone().map_err(unstarted)?;
    let child = command.stdout(ours).stderr(theirs).spawn();
    // The command holds ends of the pipe, which would never be at its end.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut child = child.map_err(unstarted)?;
    let (done, is_done) = mpsc::channel();
    let telling = Arc::<Mutex<Telling>>::default();
    let noted = Arc::clone(&telling);
    thread::spawn(move || {
        copy(output, &noted);
        let _ = done.send(());
    });
    let status = child.wait().map_err(|error| format!("`{line}` was lost: {error}"))?;
    // A program that it has left behind may hold the pipe for longer.
    let _ = is_done.recv_timeout(Duration::from_secs(1));
    if !status.success() {
        let telling = mem::take(&mut *telling.lock().unwrap_or_else(PoisonError::into_inner));
        return Err(format!("`{line}` failed ({status}){}", telling.lines()));
    }
    Ok(())
}

/// Copies an output to ours, line by line.
fn copy(output: impl io::Read, telling: &Mutex<Telling>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        let _ = io::stdout().write_all(&line);
        telling.lock().unwrap_or_else(PoisonError::into_inner).note(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// Runs the command and returns its standard output, which is not shown.
pub(crate) fn output(command: &mut Command) -> Outcome<Vec<u8>> {
    let line = line(command);
    let output = command.output().map_err(|error| format!("`{line}` could not be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{line}` failed: {}", said.trim()));
    }
    Ok(output.stdout)
}

/// Returns true if the command can be started and succeeds.
pub(crate) fn works(command: &mut Command) -> Outcome<bool> {
    match command.output() {
        Ok(output) => Ok(output.status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("`{}` could not be started: {error}", line(command))),
    }
}

/// Runs a function for every item, even after a failure: one round shows all problems.
pub(crate) fn run_each<T>(items: impl IntoIterator<Item = T>, run_one: impl Fn(T) -> Outcome) -> Outcome {
    let outcomes = items.into_iter().map(run_one);
    none_of(outcomes.filter_map(Result::err).collect())
}

/// Fails with all of the problems, if there are any.
pub(crate) fn none_of(problems: Vec<String>) -> Outcome {
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.join("\n"))
}

fn line(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_stem();
    let variables =
        command.get_envs().filter_map(|(key, value)| Some(format!("{}={}", text(key), quoted(value?))));
    let words = command.get_args().map(|word| quoted(word).into_owned());
    variables.chain(name.map(|name| text(name).into_owned())).chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> Cow<'_, str> {
    let word = text(word);
    if word.is_empty() || word.contains(char::is_whitespace) {
        return format!("\"{word}\"").into();
    }
    word
}

fn text(word: &OsStr) -> Cow<'_, str> {
    word.to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/toolchain/bin/cargo");
        command.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps"]);
        assert_eq!(line(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn every_failure_is_named() {
        let odd_fails = |number: i32| match number % 2 {
            0 => Ok(()),
            _ => Err(format!("{number} is odd")),
        };
        assert_eq!(run_each([2, 4], odd_fails), Ok(()));
        assert_eq!(run_each([1, 2, 3], odd_fails), Err("1 is odd\n3 is odd".to_owned()));
    }
}
