//! Who is let in, and by whom p99 lets itself be spoken to.

use rcgen::{CertificateParams, KeyPair};

use super::kit::postgres::{self, Cluster, at_last};
use super::kit::scratch::Scratch;
use super::place;
use p99::testing::limits;
use p99::testing::reactor::Reactor;
use p99::testing::store::{Connection, StorePlace};

fn open(place: &StorePlace) -> Result<String, String> {
    Reactor::best().unwrap().run(at_last(async || {
        let connection = Connection::open(place).await?;
        Ok(connection.host().to_owned())
    }))
}

#[test]
fn only_the_right_password_is_let_in_and_only_a_server_that_knows_it_is_believed() {
    if !postgres::is_there("login") {
        return;
    }
    let scratch = Scratch::new("store-login").unwrap();
    let cluster = Cluster::new(&scratch, "pg", &[]);
    cluster.make_schema();
    let port = cluster.port();
    assert!(open(&place(&cluster.store("sslmode=disable"))).is_ok());
    // The first host is not there, the second one is.
    let two = format!("postgres://p99:s3cret@127.0.0.1:1,localhost:{port}/p99?sslmode=disable");
    assert_eq!(open(&place(&two)), Ok(format!("localhost:{port}")));
    let wrong = format!("postgres://p99:wrong@127.0.0.1:{port}/p99?sslmode=disable");
    let why = open(&place(&wrong)).unwrap_err();
    assert!(why.contains("28P01") && !why.contains("wrong@"), "{why}");
    let none = format!("postgres://p99@127.0.0.1:{port}/p99?sslmode=disable");
    let why = open(&place(&none)).unwrap_err();
    assert!(why.contains("asks for a password"), "{why}");
    // By its socket everyone is trusted: a server that proves nothing.
    let folder = cluster.path().display().to_string().replace('/', "%2F");
    let proofless = format!("postgres://p99:s3cret@{folder}:{port}/p99");
    let why = open(&place(&proofless)).unwrap_err();
    assert!(why.contains("without proving"), "{why}");
    let why = open(&place(&cluster.store("sslmode=require"))).unwrap_err();
    assert!(why.contains("does not speak TLS"), "{why}");
    cluster.sql(
        "p99",
        "ALTER ROLE p99 SET default_transaction_read_only = on",
    );
    let why = open(&place(&cluster.store("sslmode=disable"))).unwrap_err();
    assert!(why.contains("does not write"), "{why}");
}

#[test]
fn over_tls_the_certificate_must_be_the_hosts() {
    if !postgres::is_there("TLS") {
        return;
    }
    let scratch = Scratch::new("store-tls").unwrap();
    let mut cluster = Cluster::new(&scratch, "pg", &[]);
    cluster.make_schema();
    let made = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((chain, key), (stranger, _)) = (made("localhost"), made("localhost"));
    cluster.certify(&chain, &key);
    cluster.stop(libc::SIGINT);
    cluster.start();
    let (authority, other) = (scratch.file("ca.pem"), scratch.file("other.pem"));
    std::fs::write(&authority, &chain).unwrap();
    std::fs::write(&other, &stranger).unwrap();
    let port = cluster.port();
    let store = |host: &str, parameters: &str| {
        place(&format!(
            "postgres://p99:s3cret@{host}:{port}/p99?{parameters}"
        ))
    };
    let full = format!("sslmode=verify-full&sslrootcert={}", authority.display());
    assert!(open(&store("localhost", &full)).is_ok());
    let why = open(&store("127.0.0.1", &full)).unwrap_err();
    assert!(why.contains("for another name"), "{why}");
    let strange = format!("sslrootcert={}", other.display());
    let why = open(&store("localhost", &strange)).unwrap_err();
    assert!(why.contains("certificate"), "{why}");
    assert!(open(&store("127.0.0.1", "sslmode=require")).is_ok());
    let encrypted = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                     WHERE a.usename = 'p99' AND NOT s.ssl";
    assert_eq!(cluster.sql("p99", encrypted).trim(), "0");
}

#[test]
fn an_answer_may_be_as_long_as_is_said_and_no_longer() {
    if !postgres::is_there("long answers") {
        return;
    }
    let scratch = Scratch::new("store-long").unwrap();
    let cluster = Cluster::new(&scratch, "pg", &[]);
    cluster.make_schema();
    let place = place(&cluster.store("sslmode=disable"));
    let read = |bytes: usize| {
        let rows = bytes / 1_024;
        let sql = format!("SELECT repeat('x', 1000) FROM generate_series(1, {rows})");
        Reactor::best().unwrap().run(at_last(async || {
            let mut connection = Connection::open(&place).await?;
            connection.simple(&sql).await.map(|rows| rows.len())
        }))
    };
    let most = limits::STORE_ANSWER_BYTES_MAX;
    assert_eq!(read(most / 4 * 3), Ok(most / 4 * 3 / 1_024));
    let why = read(most / 4 * 5).unwrap_err();
    assert!(why.contains("too long"), "{why}");
}
