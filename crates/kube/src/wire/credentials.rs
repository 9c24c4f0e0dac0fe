//! A certificate, its key and whom it trusts, as TLS settings for both directions.

use crate::ca::Issued;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::{Arc, Mutex, PoisonError};

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// One of the three texts is not what it should be.
    #[error("{what} is no PEM of a certificate or key: {why}")]
    NotPem {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// They do not fit together.
    #[error("certificate, key and CA do not fit together: {0}")]
    Unfit(String),
}

/// What somebody proves its identity with, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The CAs that are trusted: the one in force, and during a change the other one too.
    pub(crate) trusted_cas: String,
    /// The own certificate.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    read.map_err(|error| CredentialsError::NotPem { what, why: error.to_string() })
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| CredentialsError::NotPem { what: "the key", why: error.to_string() })
}

fn unfit(error: &dyn std::fmt::Display) -> CredentialsError {
    CredentialsError::Unfit(error.to_string())
}

/// Settings of a server that anybody may talk to: it proves who it is and asks nobody.
pub(crate) fn open_server(issued: &Issued) -> Result<rustls::ServerConfig, CredentialsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(&error))?
        .with_no_client_auth()
        .with_single_cert(certificates("the certificate", &issued.certificate)?, key(&issued.key)?)
        .map_err(|error| unfit(&error))
}

/// TLS settings made from an identity.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    pub(crate) server: Arc<rustls::ServerConfig>,
    pub(crate) client: Arc<rustls::ClientConfig>,
}

impl TlsSettings {
    fn new(identity: &Identity) -> Result<Self, CredentialsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for ca in certificates("the CA", &identity.trusted_cas)? {
            roots.add(ca).map_err(|error| unfit(&error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates("the certificate", &identity.certificate)?;
        let key = || key(&identity.key);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unfit(&error))?;
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .map_err(|error| unfit(&error))?;
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .map_err(|error| unfit(&error))?;
        // No session is taken up again: everybody proves itself anew to the CAs of now. Connections are kept, so that this is
        // rare; and the memory that rustls sets aside for sessions (170 KiB) would be most of what an operator keeps of a cluster.
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// An identity in use, replaced when it is renewed: connections made from then on have the new one.
#[derive(Debug)]
pub(crate) struct Credentials {
    current: Mutex<(Identity, TlsSettings)>,
}

impl Credentials {
    pub(crate) fn new(identity: Identity) -> Result<Self, CredentialsError> {
        let settings = TlsSettings::new(&identity)?;
        Ok(Self { current: Mutex::new((identity, settings)) })
    }

    pub(crate) fn settings(&self) -> TlsSettings {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Uses another identity from now on, and says whether it is another. One that does not work leaves the old one in use.
    pub(crate) fn replace(&self, identity: Identity) -> Result<bool, CredentialsError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == identity {
            return Ok(false);
        }
        let settings = TlsSettings::new(&identity)?;
        *current = (identity, settings);
        Ok(true)
    }
}
