//! Authorities and certificates that a test makes for itself, and servers that show them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p99::testing::sim::SimulatorOptions;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// Both versions of TLS, by name.
pub(crate) const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [
    ("TLS 1.2", &rustls::version::TLS12),
    ("TLS 1.3", &rustls::version::TLS13),
];

/// Signs certificates, and has a folder for the files of its test.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = std::env::temp_dir().join(format!("p99-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let authority = Self { issuer, folder };
        authority.write("ca.pem", &authority.pem());
        authority
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Where its own certificate is.
    pub(crate) fn file(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts a file into its folder, in the place of an older one.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let (path, fresh) = (self.path(name), self.path("fresh"));
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, &path).unwrap();
        path.display().to_string()
    }

    /// A certificate for this host.
    pub(crate) fn issue(&self, host: &str) -> Issued {
        self.issue_as(host, |_| ())
    }

    /// The same with something else about it.
    pub(crate) fn issue_as(
        &self,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        }
    }

    /// What a server shows that speaks this version alone, and wants a certificate of `clients`.
    pub(crate) fn server(
        &self,
        host: &str,
        version: &'static SupportedProtocolVersion,
        clients: Option<&Self>,
    ) -> Arc<ServerConfig> {
        let Issued {
            certificate, key, ..
        } = self.issue(host);
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.issuer.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all::<&Path>(&self.folder);
    }
}

/// A simulator that shows this.
pub(crate) fn over_tls(config: Arc<ServerConfig>) -> SimulatorOptions {
    SimulatorOptions {
        tls: Some(config),
        ..SimulatorOptions::default()
    }
}
