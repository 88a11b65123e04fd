//! HTTPS on this machine alone: a certificate authority that nobody else trusts, and servers with its certificates.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A certificate authority.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Creates an authority with a new key.
    ///
    /// # Errors
    ///
    /// No key can be generated.
    pub fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Root certificate that a client has to trust.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// TLS acceptor of a server for these host names or addresses.
    ///
    /// # Errors
    ///
    /// A host is not a name.
    pub fn acceptor(&self, hosts: &[&str]) -> io::Result<TlsAcceptor> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).into()).collect();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(hosts).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
