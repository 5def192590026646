//! Who may call, and how often: the settings together.

use super::*;

#[test]
fn a_limit_that_knows_every_client_is_not_warned_about() {
    let rows: &[&[(&str, &str)]] = &[
        &[("RATE_LIMIT_RPS", "1")],
        &[("LISTEN", "unix:/x")],
        &[("RATE_LIMIT_RPS", "1"), ("ADMIN_LISTEN", "unix:/x")],
        &[
            ("RATE_LIMIT_RPS", "1"),
            ("LISTEN", "unix:/x"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ],
    ];
    for settings in rows {
        assert!(read(settings).unwrap().warnings.is_empty(), "{settings:?}");
    }
}

#[test]
fn credentials_come_from_the_environment_or_a_file() {
    let path = std::env::temp_dir().join(format!("p99-config-{}", std::process::id()));
    let file = path.to_str().unwrap();
    std::fs::write(&path, "hunter2\nhunter3\n").unwrap();
    let settings = [("AUTH_HEADER_VALUE_FILE", file), ("AUTH_READS", "off")];
    let config = read(&settings).unwrap();
    let report = report(&config, &[]);
    assert!(
        report.contains(&format!("AUTH_HEADER_VALUE_FILE = {file}\n")),
        "{report}"
    );
    assert!(
        !format!("{report}{config:?}").contains("hunter"),
        "{report}"
    );
    let auth = config.auth.unwrap();
    let values: Vec<&str> = auth.values.iter().map(Secret::reveal).collect();
    assert_eq!(values, ["hunter2", "hunter3"]);
    assert!(!auth.guards_reads && config.warnings.is_empty());
    let both = faults(&[settings[0], ("AUTH_HEADER_VALUE", "x")]);
    assert_eq!(both.len(), 1, "{both:?}");
    assert!(
        both.concat()
            .contains("unset while AUTH_HEADER_VALUE is set"),
        "{both:?}"
    );
    std::fs::write(&path, "hunter2\n\thunter3\n").unwrap();
    let told = faults(&settings[..1]).concat();
    assert!(
        told.contains("line 2") && !told.contains("hunter"),
        "{told}"
    );
    std::fs::remove_file(&path).unwrap();
}
