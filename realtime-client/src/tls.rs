use crate::{connect::BoxIo, state::Cause};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// TLS with the system's root certificates, and the application's own.
#[derive(Default)]
pub(crate) struct Tls {
    own: Vec<CertificateDer<'static>>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    /// Trusts the certificates of a PEM file too.
    ///
    /// # Errors
    ///
    /// The PEM has no valid certificate.
    pub(crate) fn trust(&mut self, pem: &[u8]) -> Result<(), String> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| format!("invalid root certificates: {error}"))?;
        if found.is_empty() {
            return Err("invalid root certificates: the PEM has none".to_owned());
        }
        self.own.extend(found);
        Ok(())
    }

    /// Runs the TLS handshake.
    ///
    /// # Errors
    ///
    /// No root certificates were found, or the server's certificate is not valid.
    pub(crate) async fn connect(&self, host: &str, io: BoxIo) -> Result<BoxIo, Cause> {
        let config = self.config.get_or_try_init(|| load(self.own.clone())).await?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Cause::Invalid(format!("TLS failed: {host:?} is not a host name")))?;
        let connected = TlsConnector::from(Arc::clone(config)).connect(name, io).await;
        let stream = connected.map_err(|error| Cause::Lost(format!("TLS failed: {error}")))?;
        Ok(Box::new(stream))
    }
}

async fn load(own: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, Cause> {
    // Loading the system's certificates reads files.
    let configured = tokio::task::spawn_blocking(|| configure(own)).await;
    let configured = configured.map_err(|error| Cause::Lost(error.to_string()))?;
    configured.map_err(|error| Cause::Invalid(format!("TLS failed: {error}")))
}

fn configure(own: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    static SYSTEM: OnceLock<(RootCertStore, String)> = OnceLock::new();

    let (system, errors) = SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        (roots, format!("{:?}", found.errors))
    });
    let mut roots = system.clone();
    for certificate in own {
        roots.add(certificate).map_err(|error| format!("invalid root certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("the system has no root certificates: {errors}"));
    }
    // Names the provider, since the process may have installed another, or have several compiled in.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
