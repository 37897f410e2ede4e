use super::{Ends, reader::Book};
use crate::Outcome;
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use tokio::task::spawn_blocking;

/// The clients that run in Node.js: a process that takes one command a line, and answers each with a line of JSON.
pub(crate) struct Others(Option<Process>);

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Others {
    /// Starts so many clients. They are those of the package's `dist`.
    pub(crate) fn start(url: &str, count: usize) -> Outcome<Self> {
        if count == 0 {
            return Ok(Self(None));
        }
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client-ts");
        if !package.join("dist/index.js").exists() {
            return Err("the TypeScript client is not built: run `npm ci` and `npm run build` in client-ts".into());
        }
        let mut command = Command::new("node");
        command.args(["--experimental-websocket", "--no-warnings", "scripts/soak.mjs", url, &count.to_string()]);
        let mut child = command.current_dir(package).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self(Some(Process { child, input, output })))
    }

    /// Waits until all have followed so many logs.
    pub(crate) async fn until_lives(self, lives: usize) -> Outcome<Self> {
        let Some(process) = self.0 else { return Ok(self) };
        let (process, _) = process.ask(format!(r#"{{"lives":{lives}}}"#)).await?;
        Ok(Self(Some(process)))
    }

    /// Waits until all have the rest, and returns their books.
    pub(crate) async fn stop(self, ends: &[(String, u64)]) -> Outcome<Vec<Book>> {
        let Some(process) = self.0 else { return Ok(Vec::new()) };
        let ends: Ends = ends.iter().cloned().collect();
        let command = serde_json::json!({ "ends": ends });
        let (mut process, answer) = process.ask(command.to_string()).await?;
        drop(process.input);
        process.child.wait()?;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Process {
    async fn ask(mut self, command: String) -> Outcome<(Self, String)> {
        spawn_blocking(move || {
            writeln!(self.input, "{command}")?;
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            Ok((self, line))
        })
        .await?
    }
}
