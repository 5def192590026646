//! What STORE may be, and that no fault of it shows a password.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::LazyLock;

use super::*;

fn none(_: &str) -> Option<String> {
    None
}

/// With a certificate of its own as the authorities in SSL_CERT_FILE.
fn parse(text: &str) -> Result<StoreUrl, Vec<String>> {
    static CREATED: LazyLock<PathBuf> = LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
        // One file for all runs, any of them: a static is never dropped.
        let path = std::env::temp_dir().join("p99-store-ca.pem");
        let own = path.with_extension(std::process::id().to_string());
        std::fs::write(&own, made.cert.pem()).unwrap();
        std::fs::rename(own, &path).unwrap();
        path
    });
    StoreUrl::parse(text, &|name| {
        (name == "SSL_CERT_FILE").then(|| CREATED.display().to_string())
    })
}

#[test]
fn a_store_is_hosts_a_user_and_a_database() {
    let rows = [
        ("postgres://p99@h1/p99", "postgres://p99@h1:5432/p99"),
        (
            "postgresql://p99:pw%3A@H1:6432,[::1]:5433,10.0.0.1/p99?sslmode=verify-full",
            "postgres://p99@h1:6432,[::1]:5433,10.0.0.1:5432/p99",
        ),
        (
            "postgres://p99@/p99?host=/run/postgresql&target_session_attrs=read-write",
            "postgres://p99@/run/postgresql/.s.PGSQL.5432/p99",
        ),
        (
            "postgres://p99@%2Frun%2Fpg:5433/p99",
            "postgres://p99@/run/pg/.s.PGSQL.5433/p99",
        ),
    ];
    for (text, shown) in rows {
        let url = parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), shown);
    }
    let url = parse("postgres://p99:pw%3A@h1/p99?sslmode=require").unwrap();
    let password = url.password(&url.hosts[0]).unwrap();
    assert_eq!((password.reveal(), url.tls), ("pw:", StoreTls::Require));
    let url = parse("postgres://p99@h1/p99").unwrap();
    assert!(url.authorities.is_some());
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed_all_at_once() {
    let rows: [(&str, &[&str]); 17] = [
        ("", &["postgres://user@host"]),
        ("p99@h1/p99", &["postgres://user@host"]),
        ("mysql://p99@h1/p99", &["postgres://user@host"]),
        ("postgres://p99@h1/p99 ", &["postgres://user@host"]),
        ("postgres://h1/p99", &["a user before @"]),
        ("postgres://p99@h1", &["a database behind"]),
        ("postgres://p99@/p99", &["hosts as name"]),
        ("postgres://p99@h1:0/p99", &["hosts as name"]),
        (
            "postgres://p99@h1/p99?sslmode=prefer",
            &["sslmode=verify-full"],
        ),
        ("postgres://p99@h1/p99?options=-c", &["\"options\" is none"]),
        (
            "postgres://p99@h1/p99?target_session_attrs=any",
            &["target_session_attrs=read-write"],
        ),
        (
            "postgres://p99@h1/p99?sslmode=disable&sslrootcert=/a",
            &["sslrootcert with sslmode=verify-full only"],
        ),
        // A pipe without a writer must not hold up the start.
        (
            "postgres://p99@h1/p99?sslrootcert=/dev/zero",
            &["sslrootcert=/file of authorities in PEM; /dev/zero: it is no regular file"],
        ),
        (
            "postgres://p99@h1/p99?sslrootcert=/nowhere",
            &["/nowhere: it cannot be read: No such file"],
        ),
        (
            "postgres://p99@h1/p99?sslrootcert=/etc/passwd",
            &["sslrootcert=/file of authorities in PEM; /etc/passwd: "],
        ),
        (
            "postgres://p99@h1/p99?passfile=/nowhere",
            &["a password file"],
        ),
        (
            "postgres://@h1,a b/?sslmode=x&sslmode=disable&y=1",
            &["postgres://user@host"],
        ),
    ];
    for (text, expected) in rows {
        let faults = parse(text).unwrap_err();
        for word in expected {
            assert!(
                faults.iter().any(|fault| fault.contains(word)),
                "{text}: {faults:?}"
            );
        }
    }
    let faults = parse("postgres://:x@h1,-/?sslmode=x&sslmode=disable&y=1").unwrap_err();
    assert!(faults.len() >= 5, "{faults:?}");
    let none = StoreUrl::parse("postgres://p99@h1/p99", &none);
    let has_usual = none.is_ok_and(|url| url.authorities.is_some());
    assert!(has_usual || !PathBuf::from("/etc/ssl/certs/ca-certificates.crt").exists());
}

#[test]
fn no_fault_shows_a_password() {
    for text in [
        "postgres://p99:hush@h1/p99?x=1",
        "postgres://p99:hu@sh@h1/",
        "p99:hush",
        "postgres://p99:hush/p99",
    ] {
        let lookup = |name: &str| (name == "STORE").then(|| text.to_owned());
        let faults = store_from_lookup(lookup).unwrap_err();
        for fault in faults {
            assert!(!fault.to_string().contains("hu"), "{fault}");
        }
    }
}

#[test]
fn a_password_file_is_read_as_libpq_does() {
    let folder = std::env::temp_dir().join(format!("p99-passfile-{}", std::process::id()));
    let text = "# me\nh1:*:p99:p99:one\n*:5433:*:*:t\\:wo\n";
    std::fs::write(&folder, text).unwrap();
    let store = format!(
        "postgres://p99@h1,h2:5433,h3/p99?sslmode=disable&passfile={}",
        folder.display()
    );
    let may = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode));
    may(0o644).unwrap();
    assert!(parse(&store).unwrap_err()[0].contains("chmod 600"));
    // As Kubernetes hands a secret to a group: root's file.
    may(0o440).unwrap();
    let is_root = std::fs::metadata(&folder).unwrap().uid() == 0;
    assert_eq!(parse(&store).is_ok(), is_root);
    may(0o600).unwrap();
    let url = parse(&store).unwrap();
    let of = |index: usize| url.password(&url.hosts[index]).map(Secret::reveal);
    assert_eq!([of(0), of(1), of(2)], [Some("one"), Some("t:wo"), None]);
    std::fs::write(&folder, "h1:p99\n").unwrap();
    assert!(parse(&store).unwrap_err()[0].contains("line 1"));
    std::fs::remove_file(&folder).unwrap();
}
