use realtime_core::{Error, Result};
use redis::{Client, ConnectionInfo, ProtocolVersion, RedisConnectionInfo};

/// What a client shows to servers, and how it recognizes them.
///
/// It has no `Debug`, because it has a password in it.
#[derive(Clone, Default)]
pub(crate) struct Login {
    /// User and password, where they do not stand in the URL.
    pub(crate) user: Option<(String, String)>,
    #[cfg(feature = "tls")]
    pub(crate) root: Option<Vec<u8>>,
    #[cfg(feature = "tls")]
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Login {
    /// Returns the settings of a connection to a server whose URL is not known.
    pub(crate) fn settings(&self) -> RedisConnectionInfo {
        let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        match &self.user {
            Some((user, password)) => settings.set_username(user).set_password(password),
            None => settings,
        }
    }

    pub(crate) fn client(&self, info: &ConnectionInfo) -> Result<Client> {
        let refused = |error| Error::invalid_argument(format!("Redis at {}: {error}", info.addr()));
        #[cfg(feature = "tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            return Client::build_with_tls(info.clone(), self.certificates()).map_err(refused);
        }
        Client::open(info.clone()).map_err(refused)
    }

    #[cfg(feature = "tls")]
    fn certificates(&self) -> redis::TlsCertificates {
        // Whoever has two providers of cryptography in the program must choose one; this one is taken if nobody has.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = |(certificate, key): &(Vec<u8>, Vec<u8>)| redis::ClientTlsConfig {
            client_cert: certificate.clone(),
            client_key: key.clone(),
        };
        redis::TlsCertificates { client_tls: self.client.as_ref().map(client), root_cert: self.root.clone() }
    }
}
