use free_port::free_port;
use std::{env, fs, io, net::Ipv4Addr, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// A Redis server of this program's own, on a free port and in a folder that goes with it.
pub(crate) struct Redis {
    port: u16,
    folder: PathBuf,
    server: Child,
}

impl Redis {
    /// Starts the server, and installs it first if it is missing and that is possible.
    pub(crate) async fn start() -> io::Result<Self> {
        if !works("redis-server").await {
            install().await?;
        }
        let port = free_port()?;
        let folder = env::temp_dir().join(format!("realtime-cluster-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // Each write is in the file before it is acknowledged: what the chat has accepted outlives the server.
        let server = on_its_own(Command::new("redis-server"))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--port", &port.to_string(), "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let redis = Self { port, folder, server };
        redis.until_it_answers().await?;
        Ok(redis)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    async fn until_it_answers(&self) -> io::Result<()> {
        let answers = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let late = |_| io::Error::other("redis-server does not answer: is its port taken?");
        timeout(Duration::from_secs(10), answers).await.map_err(late)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.start_kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Keeps Ctrl-C in a terminal from a process: its starter ends it.
pub(crate) fn on_its_own(mut command: Command) -> Command {
    #[cfg(unix)]
    command.process_group(0);
    command
}

/// Ends a server whose starter could not end it.
pub(crate) async fn shut_down(port: &str) {
    if let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")).await {
        let _ = stream.write_all(b"SHUTDOWN NOSAVE\r\n").await;
    }
}

async fn install() -> io::Result<()> {
    let is_root = Command::new("id").arg("-u").output().await.is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    let by_hand = "there is no redis-server: install it, on Debian as root by `apt-get update && \
                   apt-get install -y --no-install-recommends redis-server`";
    if !is_root || !works("apt-get").await {
        return Err(io::Error::other(by_hand));
    }
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", "redis-server"]] {
        let status =
            Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status().await?;
        if !status.success() {
            return Err(io::Error::other(by_hand));
        }
    }
    Ok(())
}

async fn works(program: &str) -> bool {
    Command::new(program).arg("--version").output().await.is_ok_and(|output| output.status.success())
}
