//! The child processes of the runner. Each ends when it is dropped, or when the runner ends.

use bench::{
    Outcome,
    process::{CORE, NICE, RUNNER},
};
use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Builds all binaries with the runner's own profile.
pub(crate) fn build() -> Outcome {
    if cfg!(debug_assertions) {
        return Err("the bench needs a release build: cargo run --release -p bench".into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "bench", "--bins"]).status()?;
    if !status.success() {
        return Err("the binaries could not be built".into());
    }
    Ok(())
}

pub(crate) struct Program(Command);

impl Program {
    /// Creates a command for a binary of this package, which is next to the runner's.
    pub(crate) fn new(name: &str, core: usize, nice: i32) -> Outcome<Self> {
        let mut command = Command::new(folder()?.join(name));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.env(CORE, core.to_string()).env(NICE, nice.to_string());
        command.env(RUNNER, std::process::id().to_string()).env("PORT", "0");
        Ok(Self(command))
    }

    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.0.env(name, value);
    }

    pub(crate) fn words(&mut self, words: impl IntoIterator<Item = String>) {
        self.0.args(words);
    }

    /// Starts a server, and waits for the port that it prints.
    pub(crate) fn start(mut self) -> Outcome<Running> {
        let mut child = self.0.spawn()?;
        let output = child.stdout.take().ok_or("a child without output")?;
        // From here on, dropping it ends the process.
        let mut running = Running { child, port: 0 };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let program = self.0.get_program().to_string_lossy();
        running.port = line.trim().parse().map_err(|_| format!("{program} did not print its port: {line:?}"))?;
        Ok(running)
    }

    /// Runs the program to its end and returns its output.
    pub(crate) fn output(mut self) -> Outcome<String> {
        let output = self.0.stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> Outcome<PathBuf> {
    let runner = env::current_exe()?;
    Ok(runner.parent().ok_or("the runner lies in no folder")?.to_path_buf())
}
