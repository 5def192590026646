//! p99's own certificate: shown to a peer that asks for one. That a peer asks is remembered, since
//! with TLS 1.3 it says what it thinks of the certificate only after the handshake.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, crypto::CryptoProvider, pki_types};

/// See the header of this file. Sessions of one core with one peer share it.
#[derive(Default)]
pub(super) struct Identity {
    /// `None`: there is nothing to be shown.
    certified: Option<Arc<CertifiedKey>>,
    was_asked: AtomicBool,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("has_certificate", &self.certified.is_some())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The certificate with those that lead to it, and its key.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub(super) fn new(
        chain: Vec<pki_types::CertificateDer<'static>>,
        key: pki_types::PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            certified: Some(Arc::new(CertifiedKey::from_der(chain, key, provider)?)),
            was_asked: AtomicBool::new(false),
        })
    }

    /// Whether the peer has ever asked for a certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}
