//! Certificates and keys out of PEM, checked as far as they can be without a peer, and what
//! sessions are made of. A key is never shown.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::identity::Identity;
use super::session::Session;

/// Sessions that one core remembers for one processor, to go on with one instead of a whole
/// handshake: pooled connections come first, so few are ever wanted. Each takes about 2 KiB.
const TLS_SESSIONS_KEPT: usize = 64;

/// What a peer is checked by, and what p99 shows of itself.
pub struct Material {
    authorities: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    identity: Option<ChainAndKey>,
}

/// p99's own certificate with those that lead to it, and its key.
struct ChainAndKey {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What is wrong, and with which text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaterialFault {
    /// The authorities.
    Authorities(String),
    /// The certificate.
    Certificate(String),
    /// The key, or it does not fit the certificate.
    Key(String),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("authorities", &self.authorities.len())
            .field("has_identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        let identity = |one: &Self| {
            let identity = one.identity.as_ref();
            identity.map(|one| (one.chain.clone(), one.key.secret_der().to_vec()))
        };
        self.authorities == other.authorities && identity(self) == identity(other)
    }
}

impl Eq for Material {}

impl Material {
    /// Reads the authorities that are believed, and the certificate and the key that are shown to
    /// a peer that asks for them.
    ///
    /// # Errors
    /// Which of the texts is not as it must be.
    pub fn read(
        authorities: &[u8],
        identity: Option<(&[u8], &[u8])>,
    ) -> Result<Self, MaterialFault> {
        let authorities = certificates(authorities).map_err(MaterialFault::Authorities)?;
        let mut roots = RootCertStore::empty();
        // A machine's own list may hold some that rustls cannot use.
        let (used, _) = roots.add_parsable_certificates(authorities.iter().cloned());
        if used == 0 {
            let none = "none of its certificates can be an authority".to_owned();
            return Err(MaterialFault::Authorities(none));
        }
        let identity = match identity {
            None => None,
            Some((chain, key)) => Some(ChainAndKey {
                chain: certificates(chain).map_err(MaterialFault::Certificate)?,
                key: PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| MaterialFault::Key("it has no private key in PEM".to_owned()))?,
            }),
        };
        let material = Self {
            authorities,
            roots: Arc::new(roots),
            identity,
        };
        material.config().map_err(MaterialFault::Key)?;
        Ok(material)
    }

    /// What sessions with the peer of this name are made of. Each has tickets and a memory of
    /// sessions of its own, so make one for each core.
    ///
    /// # Errors
    /// It cannot be had, which [`Material::read`] has ruled out.
    pub fn client(&self, name: &ServerName<'static>) -> Result<Client, String> {
        self.client_speaking(b"http/1.1", name)
    }

    /// The same for a PostgreSQL server.
    ///
    /// # Errors
    /// As [`Material::client`].
    pub fn client_of_postgresql(&self, name: &ServerName<'static>) -> Result<Client, String> {
        self.client_speaking(POSTGRESQL, name)
    }

    fn client_speaking(
        &self,
        protocol: &[u8],
        name: &ServerName<'static>,
    ) -> Result<Client, String> {
        let (mut config, identity) = self.config()?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Client {
            config: Arc::new(config),
            identity,
            name: name.clone(),
        })
    }

    fn config(&self) -> Result<(ClientConfig, Arc<Identity>), String> {
        let provider = Arc::new(default_provider());
        let identity = match &self.identity {
            None => Identity::default(),
            Some(ChainAndKey { chain, key }) => {
                Identity::new(chain.clone(), key.clone_key(), &provider)
                    .map_err(|_| "it is no key of the certificate".to_owned())?
            }
        };
        let identity = Arc::new(identity);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|fault| fault.to_string())?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_cert_resolver(identity.clone());
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_KEPT);
        // A replay by the network would be a second charge.
        config.enable_early_data = false;
        Ok((config, identity))
    }
}

/// Makes sessions with one peer.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    identity: Arc<Identity>,
    name: ServerName<'static>,
}

impl Client {
    /// A session that has not begun.
    ///
    /// # Errors
    /// It cannot be had, in words for the operator.
    pub fn session(&self) -> Result<Session, String> {
        let identity = Arc::clone(&self.identity);
        Session::new(Arc::clone(&self.config), identity, self.name.clone())
    }

    /// The same over a stream that blocks: a peer that goes without close_notify is an error of
    /// its reads.
    ///
    /// # Errors
    /// As [`Client::session`].
    pub fn over<S: Read + Write>(&self, stream: S) -> Result<impl Read + Write + use<S>, String> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let connection = connection.map_err(|fault| fault.to_string())?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Sessions with a PostgreSQL server whose certificate is not looked at (`sslmode=require`): they
/// keep out who only listens, and no one else.
///
/// # Errors
/// It cannot be had, in words for the operator.
pub(crate) fn unverified_postgresql(name: &ServerName<'static>) -> Result<Client, String> {
    let provider = Arc::new(default_provider());
    let identity = Arc::new(Identity::default());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|fault| fault.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_client_cert_resolver(identity.clone());
    config.alpn_protocols = vec![POSTGRESQL.to_vec()];
    config.enable_early_data = false;
    Ok(Client {
        config: Arc::new(config),
        identity,
        name: name.clone(),
    })
}

/// What a PostgreSQL server from version 17 on wants to be asked for.
const POSTGRESQL: &[u8] = b"postgresql";

/// Believes every certificate, and that its owner speaks.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The name or the address that a peer's certificate must be for.
#[must_use]
pub(crate) fn peer_name(host: &str) -> Option<ServerName<'static>> {
    // A dot at the end is the resolver's; no certificate has it.
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("it has no certificate in PEM".to_owned()),
        Ok(all) => Ok(all),
        Err(_) => Err("its PEM is broken".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};

    use super::*;

    #[test]
    fn what_cannot_work_is_refused_and_no_key_is_shown() {
        let made = || generate_simple_self_signed(["a".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made();
        let (cert, key) = (cert.pem(), signing_key.serialize_pem());
        let other = made().signing_key.serialize_pem();
        let read = |authorities: &str, identity: Option<(&str, &str)>| {
            let identity = identity.map(|(chain, key)| (chain.as_bytes(), key.as_bytes()));
            Material::read(authorities.as_bytes(), identity)
        };
        let both = read(&cert, Some((&cert, &key))).unwrap();
        assert_eq!(both, read(&cert, Some((&cert, &key))).unwrap());
        assert_ne!(both, read(&cert, None).unwrap());
        assert!(!format!("{both:?}").contains("key"), "{both:?}");
        assert!(both.client(&peer_name("a").unwrap()).is_ok());
        let broken = cert.replace("-----END", "----END");
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        type Is = fn(MaterialFault) -> bool;
        let authorities: Is = |fault| matches!(fault, MaterialFault::Authorities(_));
        let certificate: Is = |fault| matches!(fault, MaterialFault::Certificate(_));
        let wrong_key: Is = |fault| matches!(fault, MaterialFault::Key(_));
        for (roots, identity, is_at_fault) in [
            ("", None, authorities),
            (key.as_str(), None, authorities),
            (&broken, None, authorities),
            (junk, None, authorities),
            (&cert, Some(("", key.as_str())), certificate),
            (&cert, Some((&broken, &key)), certificate),
            (&cert, Some((&cert, &cert)), wrong_key),
            (&cert, Some((&cert, &other)), wrong_key),
        ] {
            assert!(is_at_fault(read(roots, identity).unwrap_err()), "{roots}");
        }
    }

    #[test]
    fn a_list_with_a_useless_certificate_is_of_use() {
        let pair = KeyPair::generate().unwrap();
        let good = CertificateParams::default()
            .self_signed(&pair)
            .unwrap()
            .pem();
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Material::read(format!("{junk}{good}").as_bytes(), None).is_ok());
    }

    #[test]
    fn a_peer_is_a_name_or_an_address() {
        for host in ["a", "psp.example.", "127.0.0.1", "::1"] {
            assert!(peer_name(host).is_some(), "{host}");
        }
        for host in ["", "a b", "a/b", "-", "a..b"] {
            assert!(peer_name(host).is_none(), "{host}");
        }
    }
}
