//! Sessions against a server in memory: every way to cut the bytes, every way to end.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::super::{Client, Material, peer_name};
use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What a client and a server that know each other are made of, in one version.
fn both_sides(version: &'static SupportedProtocolVersion, asks: bool) -> (Client, ServerConfig) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["psp.example".to_owned()]).unwrap();
    let material = Material::read(cert.pem().as_bytes(), None).unwrap();
    let client = material.client(&peer_name("psp.example").unwrap()).unwrap();
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let builder = match asks {
        true => builder.with_client_cert_verifier(verifier),
        false => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = builder
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (client, config)
}

/// Both at the beginning of a session.
fn pair(version: &'static SupportedProtocolVersion, asks: bool) -> (Session, ServerConnection) {
    let (client, config) = both_sides(version, asks);
    let server = ServerConnection::new(Arc::new(config)).unwrap();
    (client.session().unwrap(), server)
}

/// What the server has to write.
fn written(server: &mut ServerConnection) -> Vec<u8> {
    let mut out = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut out).unwrap();
    }
    out
}

fn hand_over(server: &mut ServerConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).unwrap();
        if server.process_new_packets().is_err() {
            return;
        }
    }
}

/// Both talk until neither has anything to say; what the client was told, in pieces of `step`.
fn talk(
    client: &mut Session,
    server: &mut ServerConnection,
    step: usize,
) -> Result<Vec<u8>, TlsFault> {
    let mut said = Vec::new();
    loop {
        let mut out = Vec::new();
        client.take_pending(&mut out);
        hand_over(server, &out);
        let back = written(server);
        for piece in back.chunks(step) {
            client.receive(piece, &mut said)?;
        }
        if out.is_empty() && back.is_empty() {
            return Ok(said);
        }
    }
}

#[test]
fn what_is_said_arrives_however_the_bytes_are_cut() {
    for version in VERSIONS {
        for step in [1, 2, 7, 1_000, 100_000] {
            let (mut client, mut server) = pair(version, false);
            assert!(client.is_handshaking());
            assert_eq!(talk(&mut client, &mut server, step).unwrap(), b"");
            assert!(!client.is_handshaking() && client.is_between_records());
            let mut out = Vec::new();
            assert!(client.send(b"question", &mut out));
            assert!(!out.windows(8).any(|part| part == b"question"));
            hand_over(&mut server, &out);
            let mut heard = [0; 8];
            server.reader().read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"question");
            // Longer than a record, and than rustls buffers at once.
            let answer: Vec<u8> = (0..70_000_u32)
                .map(|number| number.to_le_bytes()[0])
                .collect();
            let mut said = Vec::new();
            for part in answer.chunks(10_000) {
                server.writer().write_all(part).unwrap();
                for piece in written(&mut server).chunks(step) {
                    client.receive(piece, &mut said).unwrap();
                }
            }
            assert_eq!(said, answer);
            assert!(client.is_between_records() && !client.has_ended());
        }
    }
}

#[test]
fn a_part_of_a_record_is_something_behind_the_answer() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version, false);
        talk(&mut client, &mut server, 1_000).unwrap();
        server.writer().write_all(b"answer").unwrap();
        let whole = written(&mut server);
        server.writer().write_all(b"more").unwrap();
        let more = written(&mut server);
        let mut said = Vec::new();
        for cut in 1..more.len() {
            let mut bytes = whole.clone();
            bytes.extend_from_slice(&more[..cut]);
            let mut records = Records::default();
            records.note(&bytes);
            assert!(!records.is_between(), "{cut}");
        }
        client
            .receive(&[whole, more[..3].to_vec()].concat(), &mut said)
            .unwrap();
        assert_eq!(
            (&*said, client.is_between_records()),
            (&b"answer"[..], false)
        );
    }
}

#[test]
fn only_the_peers_own_word_is_an_end() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version, false);
        talk(&mut client, &mut server, 1_000).unwrap();
        server.writer().write_all(b"answer").unwrap();
        server.send_close_notify();
        let bytes = written(&mut server);
        let mut said = Vec::new();
        client
            .receive(&bytes[..bytes.len() - 1], &mut said)
            .unwrap();
        assert_eq!((&*said, client.has_ended()), (&b"answer"[..], false));
        client
            .receive(&bytes[bytes.len() - 1..], &mut said)
            .unwrap();
        assert!(client.has_ended());
        client.receive(b"anything", &mut said).unwrap();
        assert_eq!(said, b"answer", "behind the end there is nothing");
        let mut out = Vec::new();
        client.end(&mut out);
        assert!(!out.is_empty());
    }
}

#[test]
fn bytes_that_were_changed_on_the_way_end_the_session() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version, false);
        talk(&mut client, &mut server, 1_000).unwrap();
        server.writer().write_all(b"answer").unwrap();
        let mut bytes = written(&mut server);
        *bytes.last_mut().unwrap() ^= 1;
        let mut said = Vec::new();
        let fault = client.receive(&bytes, &mut said).unwrap_err();
        assert!(!fault.to_string().is_empty());
        assert_eq!(said, b"");
        let (mut client, _) = pair(version, false);
        assert!(
            client
                .receive(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut said)
                .is_err()
        );
    }
}

/// With TLS 1.3 the client is done before the server has looked at its certificate.
#[test]
fn a_server_that_wants_a_certificate_is_waited_for() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version, true);
        assert!(!client.awaits_verdict(), "it has not asked yet");
        let fault = talk(&mut client, &mut server, 1_000).unwrap_err();
        assert!(fault.to_string().contains("certificate"), "{fault}");
        assert_eq!(client.is_handshaking(), version == &TLS12);
        assert_eq!(client.awaits_verdict(), version == &TLS13);
    }
}

#[test]
fn an_answer_counts_although_what_follows_in_the_same_read_was_changed_on_the_way() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version, false);
        talk(&mut client, &mut server, 1_000).unwrap();
        server.writer().write_all(b"answer").unwrap();
        let mut bytes = written(&mut server);
        server.writer().write_all(b"more").unwrap();
        bytes.extend(written(&mut server));
        *bytes.last_mut().unwrap() ^= 1;
        let mut said = Vec::new();
        let fault = client.receive(&bytes, &mut said);
        assert_eq!(said, b"answer");
        assert!(fault.is_err());
    }
}

/// A server may change its keys at any time, and wants to be answered before it is spoken to.
#[test]
fn a_change_of_keys_is_answered_and_what_is_sent_after_it_is_read() {
    let (mut client, mut server) = pair(&TLS13, false);
    talk(&mut client, &mut server, 1_000).unwrap();
    for question in [b"question", b"the next"] {
        server.refresh_traffic_keys().unwrap();
        let mut said = Vec::new();
        client.receive(&written(&mut server), &mut said).unwrap();
        assert_eq!(said, b"");
        let mut out = Vec::new();
        assert!(client.send(question, &mut out));
        hand_over(&mut server, &out);
        let mut heard = [0; 8];
        server.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, question);
        server.writer().write_all(b"answer").unwrap();
        client.receive(&written(&mut server), &mut said).unwrap();
        assert_eq!(said, b"answer");
    }
}

/// What is sent before the server has answered can be repeated by the network: a second charge.
#[test]
fn a_session_that_goes_on_sends_nothing_early_to_a_server_that_would_take_it() {
    let (client, mut config) = both_sides(&TLS13, false);
    config.max_early_data_size = u32::MAX;
    let config = Arc::new(config);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut session = client.session().unwrap();
        let mut server = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut hello = Vec::new();
        session.take_pending(&mut hello);
        hand_over(&mut server, &hello);
        assert!(server.early_data().is_none());
        let mut said = Vec::new();
        session.receive(&written(&mut server), &mut said).unwrap();
        talk(&mut session, &mut server, 1_000).unwrap();
        assert_eq!(server.handshake_kind(), Some(kind));
    }
}
