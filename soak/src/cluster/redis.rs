use crate::Outcome;
use free_port::free_port;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A server of this program's own, on a free port and in a folder that goes with it.
pub(crate) struct Redis {
    settings: Vec<String>,
    folder: PathBuf,
    pub(crate) port: u16,
    server: Option<Child>,
}

/// Each write is in the file before it is acknowledged.
pub(crate) const FILE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// A server that is started again is empty.
pub(crate) const NO_FILE: &[&str] = &["--appendonly", "no"];

/// It syncs its file on a disk that others use too.
const START: Duration = Duration::from_secs(30);

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Redis {
    /// Prepares a server and starts it.
    pub(crate) fn start(settings: &[&str]) -> Outcome<Self> {
        let number = FOLDERS.fetch_add(1, Relaxed);
        let folder = env::temp_dir().join(format!("realtime-soak-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let settings = settings.iter().map(|&word| word.to_owned()).collect();
        let mut redis = Self { settings, folder, port: free_port()?, server: None };
        redis.run()?;
        redis.wait()?;
        Ok(redis)
    }

    /// Starts the process.
    pub(crate) fn run(&mut self) -> Outcome {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &self.port.to_string(), "--dir"]);
        command.arg(&self.folder).args(&self.settings).stdin(Stdio::null()).stdout(Stdio::null());
        let hint = "on Debian, `apt-get install -y --no-install-recommends redis-server` as root installs it";
        self.server = Some(command.spawn().map_err(|error| format!("redis-server: {error}; {hint}"))?);
        Ok(())
    }

    fn wait(&mut self) -> Outcome {
        let until = Instant::now() + START;
        while self.ask("PING").is_err() {
            if let Some(status) = self.server.as_mut().map_or(Ok(None), Child::try_wait)? {
                return Err(format!("redis-server on port {} ended while it started: {status}", self.port).into());
            }
            if Instant::now() > until {
                return Err(format!("redis-server on port {} does not answer within {START:?}", self.port).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns the first line of the answer to a command.
    pub(crate) fn ask(&self, command: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        match line.trim_end() {
            "" => Err(format!("no answer to {command}").into()),
            refusal if refusal.starts_with('-') => Err(format!("{command}: {refusal}").into()),
            answer => Ok(answer.to_owned()),
        }
    }

    pub(crate) fn kill(&mut self) -> Outcome {
        self.server.take().map_or(Ok(()), |mut server| end(&mut server))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        self.server.as_ref().map_or(Ok(()), |server| send(server, signal))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Kills a process, as a crash or the system would.
pub(super) fn end(process: &mut Child) -> Outcome {
    process.kill()?;
    process.wait()?;
    Ok(())
}

pub(super) fn send(process: &Child, signal: Signal) -> Outcome {
    Ok(kill_process(Pid::from_child(process), signal)?)
}
