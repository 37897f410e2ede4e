//! Runs other programs in the repository and reports their failures.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
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

/// Prints the command and runs it with its output visible.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().map_err(|error| format!("`{line}` could not be started: {error}"))?;
    if !status.success() {
        return Err(format!("`{line}` failed ({status})"));
    }
    Ok(())
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
