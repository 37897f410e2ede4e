use std::env;
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Reads the PEM files named by the variables `CERTIFICATE` and `KEY`. In the first, the server's certificate is
/// followed by those of intermediate authorities.
///
/// # Errors
///
/// Returns a message that names the variable or file.
pub fn config() -> Result<ServerConfig, String> {
    let (certificate, key) = (path("CERTIFICATE")?, path("KEY")?);
    let chain = CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| format!("{certificate}: {error}"))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| format!("{key}: {error}"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| format!("{certificate} with {key}: {error}"))?;
    // Offers HTTP/2 first.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn path(variable: &str) -> Result<String, String> {
    env::var(variable).map_err(|_| format!("{variable} must be the path of a PEM file"))
}
