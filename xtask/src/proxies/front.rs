//! Proxies for tests that start the server behind them by themselves.

use super::{
    Folder,
    process::{Server, free_port},
    proxy::PROXIES,
};
use crate::command::Outcome;

/// A proxy that runs, in front of a port at which no server listens yet.
pub(crate) struct Front {
    name: &'static str,
    proxy: Server,
    server: u16,
    _folder: Folder,
}

impl Front {
    /// Installs the proxy of this name if it is missing, and starts it with the documented configuration.
    pub(crate) fn start(name: &'static str) -> Outcome<Self> {
        let proxy = PROXIES.iter().find(|proxy| proxy.name == name).ok_or(format!("{name:?} is not a proxy"))?;
        proxy.install()?;
        let folder = Folder::create(name)?;
        let server = free_port()?;
        Ok(Self { name, proxy: proxy.start(server, &folder.0, None)?, server, _folder: folder })
    }

    /// Returns the name and ports for the environment of a test: `nginx=8080:3000`.
    pub(crate) fn variable(&self) -> String {
        format!("{}={}:{}", self.name, self.proxy.port, self.server)
    }
}
