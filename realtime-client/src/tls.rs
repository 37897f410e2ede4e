use crate::state::Cause;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::sync::{Arc, OnceLock};
use tokio_tungstenite::Connector;

/// TLS with the system's root certificates, which are read once.
///
/// # Errors
///
/// There are none.
pub(crate) async fn connector() -> Result<Connector, Cause> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();

    // Certificates are files.
    let config = tokio::task::spawn_blocking(|| CONFIG.get_or_init(configure).clone()).await;
    let config = config.map_err(|error| Cause::Lost(error.to_string()))?;
    config.map(Connector::Rustls).map_err(|error| Cause::Invalid(format!("no TLS: {error}")))
}

fn configure() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(format!("the system has no root certificates: {:?}", found.errors));
    }
    // The process may have chosen another provider, or several of them be compiled in: this one is named.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
