//! Books that are asked for over https.

use std::process::{Command, Stdio};
use std::sync::Arc;

use p99::testing::sim::{Simulator, SimulatorOptions};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;

use crate::again::Comparing;
use crate::book::{Story, write_journal};
use crate::kit::children::Processors;
use crate::kit::client::id;
use crate::kit::scratch::Scratch;

/// A processor whose certificate is for 127.0.0.1, and alone among the authorities in `name`.
fn sealed(scratch: &Scratch, name: &str) -> SimulatorOptions {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(scratch.file(name), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let chain = vec![made.cert.der().clone()];
    SimulatorOptions {
        tls: Some(Arc::new(builder.with_single_cert(chain, key).unwrap())),
        ..SimulatorOptions::default()
    }
}

/// What `p99 reconcile` says where these authorities are believed.
fn reconcile(
    (scratch, journal): (&Scratch, &str),
    url: &str,
    authorities: &str,
) -> (i32, String, String) {
    std::fs::write(scratch.file("token"), "X-Rinha-Token: 123\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_p99"))
        .args(["reconcile", "--csv", "--journal", &scratch.text(journal)])
        .args(["--to", "2100-01-01T00:00:00Z"])
        .args(["--processor", &format!("default={url}/admin/payments")])
        .arg("--headers-file")
        .arg(format!("default={}", scratch.text("token")))
        .env_clear()
        .env("SSL_CERT_FILE", scratch.text(authorities))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_book_over_https_is_compared_and_its_certificate_is_proven() {
    let scratch = Scratch::new("sealed").unwrap();
    let a = Simulator::start(sealed(&scratch, "ca")).unwrap();
    let url = a.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    sealed(&scratch, "other");
    let processors = Processors {
        a,
        b: Simulator::start(SimulatorOptions::default()).unwrap(),
    };
    let believed = scratch.text("ca");
    let p99 = Comparing::start(&processors, &scratch, &[("UPSTREAM_A_TLS_CA", &believed)]);
    p99.pay(1);
    p99.await_another();
    assert!(p99.differences("missing_there") < 1.0);
    p99.stop();
    assert!(processors.a.find(id(1)).is_some());
    let (status, out, err) = reconcile((&scratch, "journal"), &url, "ca");
    assert_eq!((status, out.lines().count()), (0, 1), "{out} {err}");

    // Another journal, which knows nothing of it.
    write_journal(&scratch.file("bare"), 100, Story::default().records());
    let (status, out, err) = reconcile((&scratch, "bare"), &url, "ca");
    assert_eq!(status, 1, "{err}");
    assert!(out.contains(&format!("missing_here,{}", id(1))), "{out}");

    let elsewhere = url.replace("127.0.0.1", "localhost");
    for (url, authorities) in [(&url, "other"), (&elsewhere, "ca")] {
        let (status, out, err) = reconcile((&scratch, "journal"), url, authorities);
        assert_eq!((status, out.as_str()), (2, ""), "{url} {authorities}");
        assert!(err.contains("certificate"), "{err}");
    }
}
