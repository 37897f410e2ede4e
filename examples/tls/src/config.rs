use std::env;
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Reads the PEM files that `CERTIFICATE` and `KEY` name. The certificate comes first in its file, then those of the
/// authorities between it and a root.
///
/// # Errors
///
/// Says which variable or file is wrong.
pub fn config() -> Result<ServerConfig, String> {
    let (certificate, key) = (path("CERTIFICATE")?, path("KEY")?);
    let chain = CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| format!("{certificate}: {error}"))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| format!("{key}: {error}"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| format!("{certificate} with {key}: {error}"))?;
    // HTTP/2 for the clients that speak it.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn path(variable: &str) -> Result<String, String> {
    env::var(variable).map_err(|_| format!("{variable} is to be the path of a PEM file"))
}
