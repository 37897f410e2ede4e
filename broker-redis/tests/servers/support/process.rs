use free_port::free_port;
use redis::{Client, Connection, RedisResult};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// A server in a folder of its own. It is killed when this is dropped, also where the test panics.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    program: &'static str,
    folder: PathBuf,
    pub(crate) port: u16,
    /// For connections of the test: with the login, if there is one.
    pub(crate) login: String,
}

/// It syncs its file on a disk that others use too.
const START: Duration = Duration::from_secs(30);

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// Starts a server whose data survives it.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let mut server = Self::prepare("redis-server", settings);
        server.run();
        server.wait();
        server
    }

    /// Writes the settings of a server.
    pub(crate) fn prepare(program: &'static str, settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!(
            "broker-redis-{}-{}",
            std::process::id(),
            FOLDERS.fetch_add(1, Relaxed)
        ));
        fs::create_dir_all(&folder).unwrap();
        let port = free_port().unwrap();
        let mut lines = vec![
            format!("port {port}"),
            format!("dir {}", folder.display()),
            "bind 127.0.0.1".to_owned(),
            "save \"\"".to_owned(),
            "logfile log".to_owned(),
        ];
        if program == "redis-server" {
            lines.extend(["appendonly yes".to_owned(), "appendfsync always".to_owned()]);
        } else {
            lines.retain(|line| !line.starts_with("save"));
        }
        lines.extend(settings.iter().map(|line| (*line).to_owned()));
        fs::write(folder.join("conf"), lines.join("\n")).unwrap();
        Self { child: None, program, folder, port, login: String::new() }
    }

    /// Starts the process.
    pub(crate) fn run(&mut self) {
        let child = Command::new(self.program)
            .arg(self.folder.join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let hint =
            "install redis-server and redis-sentinel, on Debian by `cargo xtask test --only brokers` as root";
        self.child =
            Some(child.unwrap_or_else(|error| panic!("{} does not start: {error}: {hint}", self.program)));
    }

    /// Waits until it answers.
    ///
    /// # Panics
    ///
    /// With what it logged, if it ends or does not answer in time.
    pub(crate) fn wait(&mut self) {
        let until = Instant::now() + START;
        let answers = |mut connection: Connection| redis::cmd("PING").exec(&mut connection).is_ok();
        while !self.try_connect().is_ok_and(answers) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if ended.is_some() || Instant::now() > until {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let what = ended.map_or(format!("no answer within {START:?}"), |status| status.to_string());
                panic!("{} on port {}: {what}: {log}", self.program, self.port);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.login, self.port)
    }

    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> RedisResult<redis::Value> {
        redis::cmd(words[0]).arg(&words[1..]).query(&mut self.try_connect()?)
    }

    /// Returns the name of a server of a cluster.
    pub(crate) fn id(&self) -> String {
        redis::from_redis_value(self.command(&["CLUSTER", "MYID"]).unwrap()).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn try_connect(&self) -> RedisResult<Connection> {
        connection(&self.url())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Connects as an operator does.
fn connection(url: &str) -> RedisResult<Connection> {
    let connection = Client::open(url)?.get_connection_with_timeout(Duration::from_secs(2))?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(connection)
}
