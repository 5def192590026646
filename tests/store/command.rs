//! `p99 store migrate`, `check` and `import` as a shell sees them.

use std::process::{Command, Stdio};

use super::kit::postgres::{self, Cluster, was_too_slow};
use super::kit::scratch::Scratch;

/// Status, stdout and stderr.
pub(crate) fn store(arguments: &[&str], store: &str) -> (Option<i32>, String, String) {
    for _ in 0..20 {
        let told = store_once(arguments, store);
        if !was_too_slow(&told.2) {
            return told;
        }
    }
    store_once(arguments, store)
}

fn store_once(arguments: &[&str], store: &str) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_p99"))
        .arg("store")
        .args(arguments)
        .env_clear()
        .env("STORE", store)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_store_is_made_looked_at_and_opened_for_payments() {
    if !postgres::is_there("p99 store") {
        return;
    }
    let scratch = Scratch::new("store-command").unwrap();
    let cluster = Cluster::new(&scratch, "pg", &[]);
    let service = cluster.store("sslmode=disable");
    let (status, _, told) = store(&["check"], &service);
    assert_eq!(status, Some(1));
    assert!(told.contains("there is no schema p99"), "{told}");
    let (status, _, told) = store(&["migrate"], &service);
    assert_eq!(status, Some(1), "its role may make no schema");
    assert!(told.contains("42501"), "{told}");
    let owner = cluster.store_of_superuser();
    let (status, _, told) = store(&["migrate", "--role", "nope"], &owner);
    assert!(status == Some(1) && told.contains("no role nope"), "{told}");
    for _ in 0..2 {
        let (status, said, told) = store(&["migrate"], &owner);
        assert_eq!(status, Some(0), "{told}");
        assert!(said.contains("version 1"), "{said}");
    }
    let (status, _, told) = store(&["check"], &service);
    assert!(
        status == Some(1) && told.contains("import --done"),
        "{told}"
    );
    assert_eq!(store(&["import", "--done"], &owner).0, Some(0));
    let (status, said, told) = store(&["check"], &service);
    assert_eq!(status, Some(0), "{told}");
    assert!(said.contains("writers: 0"), "{said}");
    assert!(
        told.contains("ONE disk") && told.contains("POWER CUT"),
        "{told}"
    );

    cluster.sql(
        "p99",
        "ALTER ROLE p99 SET jit = on; REVOKE DELETE ON p99.rollup FROM p99",
    );
    cluster.sql("p99", "ALTER ROLE p99 SET synchronous_commit = off");
    let (status, _, told) = store(&["check"], &service);
    assert_eq!(status, Some(1));
    for word in [
        "jit is on",
        "no right to DELETE on p99.rollup",
        "synchronous_commit is off",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    cluster.sql("p99", "UPDATE p99.meta SET version = 2");
    for task in [&["check"][..], &["migrate"], &["import", "--done"]] {
        let (status, _, told) = store(task, &owner);
        assert!(
            status == Some(1) && told.contains("version 2"),
            "{task:?}: {told}"
        );
    }
}

#[test]
fn the_role_that_is_named_gets_its_rights_as_it_is_spelled() {
    if !postgres::is_there("p99 store migrate --role") {
        return;
    }
    let scratch = Scratch::new("store-role").unwrap();
    let cluster = Cluster::new(&scratch, "pg", &[]);
    let make = r#"CREATE ROLE "P99" LOGIN; CREATE ROLE "order" LOGIN"#;
    cluster.sql("p99", make);
    let owner = cluster.store_of_superuser();
    for role in ["P99", "order"] {
        let (status, _, told) = store(&["migrate", "--role", role], &owner);
        assert_eq!(status, Some(0), "{told}");
        let has = format!(
            "SELECT r.rolconfig IS NOT NULL, has_table_privilege(r.oid, 'p99.payment', 'INSERT') \
             FROM pg_roles r WHERE r.rolname = '{role}'"
        );
        assert_eq!(cluster.sql("p99", &has).trim(), "t|t", "{role}");
    }
    let other = "SELECT has_table_privilege('p99', 'p99.payment', 'INSERT')";
    assert_eq!(cluster.sql("p99", other).trim(), "f", "no one named it");
}

#[test]
fn a_store_that_cannot_be_is_refused_by_name() {
    for (text, word) in [
        ("p99@h1/p99", "postgres://user@host"),
        (
            "postgres://p99:hush@h1/p99?sslmode=off",
            "sslmode=verify-full",
        ),
    ] {
        let (status, _, told) = store(&["check"], text);
        assert_eq!(status, Some(2), "{told}");
        assert!(told.contains(word) && !told.contains("hush"), "{told}");
    }
}
