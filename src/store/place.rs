//! What connections to the store are made of: the URL with what it names, and names that are being
//! looked up. Opens nothing.

use super::resolve::Lookup;
use crate::config::{StoreTls, StoreUrl};
use crate::journal::Authorities;
use crate::tls::{Client, peer_name, unverified_postgresql};

/// See the header of this file.
#[derive(Debug)]
pub struct StorePlace {
    pub(super) url: StoreUrl,
    /// Whether statements are prepared (STORE_PREPARE).
    pub(super) is_prepared: bool,
    pub(super) lookup: Lookup,
    /// Where the processors are of those who register writers.
    pub(super) processors: Option<Authorities>,
}

impl StorePlace {
    /// The place that `url` names; the same for every connection.
    #[must_use]
    pub fn new(url: StoreUrl, is_prepared: bool) -> Self {
        Self {
            url,
            is_prepared,
            lookup: Lookup::default(),
            processors: None,
        }
    }

    /// Writers that register from here register only where the store is about these processors.
    #[must_use]
    pub fn about(mut self, processors: Authorities) -> Self {
        self.processors = Some(processors);
        self
    }

    /// Where it is, without a password.
    #[must_use]
    pub const fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// What sessions with `host` are made of, if it is to be spoken to over TLS.
    pub(super) fn client(&self, host: &str) -> Result<Option<Client>, String> {
        let Some(name) = peer_name(host) else {
            return Err(format!("no certificate can be for {host:?}"));
        };
        match (self.url.tls, &self.url.authorities) {
            (StoreTls::Disable, _) => Ok(None),
            (StoreTls::Require, _) => unverified_postgresql(&name).map(Some),
            (StoreTls::VerifyFull, Some(material)) => {
                material.client_of_postgresql(&name).map(Some)
            }
            (StoreTls::VerifyFull, None) => Err("no authorities are known".to_owned()),
        }
    }
}
