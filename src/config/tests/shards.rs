//! SHARD and PEERS: what can be seen to be wrong before any other shard was asked.

use super::*;

#[test]
fn a_shard_names_every_other_one_and_nothing_else() {
    for settings in [
        &[("SHARD", "1/1")][..],
        &[("SHARD", "1/2"), ("PEERS", "http://c:1")],
        &[("SHARD", "3/3"), ("PEERS", "http://c:1,http://d:1")],
        // Another port of this machine is another instance.
        &[("SHARD", "1/2"), ("PEERS", "http://127.0.0.1:9998")],
        &[("SHARD", "1/2"), ("PEERS", "http://10.0.0.2:9999")],
    ] {
        assert!(read(settings).is_ok(), "{settings:?}");
    }
    let shard = ("SHARD", "1/2");
    #[rustfmt::skip]
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let rows: &[Row<'_>] = &[
        (&[("PEERS", "http://c:1")], "PEERS=", "none without SHARD"),
        (
            &[("SHARD", "1/1"), ("PEERS", "http://c:1")],
            "PEERS=",
            "SHARD=1/1 has 0 others, PEERS names 1",
        ),
        (
            &[shard],
            "PEERS is not set",
            "SHARD=1/2 has 1 other, PEERS names 0",
        ),
        (
            &[shard, ("PEERS", "none")],
            "PEERS=",
            "SHARD=1/2 has 1 other, PEERS names 0",
        ),
        (
            &[shard, ("PEERS", "http://c:1,http://d:1")],
            "PEERS=",
            "SHARD=1/2 has 1 other, PEERS names 2",
        ),
        (
            &[("SHARD", "2/3"), ("PEERS", "http://c:1,http://c.:1")],
            "PEERS=",
            "named twice",
        ),
        (
            &[shard, ("PEERS", "http://a.:8001")],
            "PEERS=",
            "is a processor",
        ),
        (
            &[shard, ("PEERS", "http://127.0.0.1:9999")],
            "PEERS=",
            "is this one",
        ),
        (
            &[shard, ("PEERS", "http://localhost.:9999")],
            "PEERS=",
            "is this one",
        ),
        (
            &[
                shard,
                ("PEERS", "http://[::1]:9999"),
                ("LISTEN", "[::]:9999"),
            ],
            "PEERS=",
            "is this one",
        ),
        (
            &[
                shard,
                ("PEERS", "http://10.0.0.1:80"),
                ("ADMIN_LISTEN", "10.0.0.1:80"),
            ],
            "PEERS=",
            "is this one",
        ),
        (
            &[("SHARD", "3/2"), ("PEERS", "http://c:1")],
            "SHARD=",
            "number/count",
        ),
    ];
    for (settings, start, rule) in rows {
        let told = faults(settings);
        let [told] = told.as_slice() else {
            panic!("{settings:?} gave {told:?}")
        };
        assert!(told.starts_with(start) && told.contains(rule), "{told}");
    }
    let all = faults(&[
        ("SHARD", "0/2"),
        ("ACK", "y"),
        ("PEER_SECRET_FILE", "/nowhere/x"),
    ]);
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn the_secret_of_peers_is_read_and_never_shown() {
    let path = std::env::temp_dir().join(format!("p99-peer-secret-{}", std::process::id()));
    std::fs::write(&path, "hunter2\nhunter3\n").unwrap();
    let file = ("PEER_SECRET_FILE", path.to_str().unwrap());
    let journal = ("JOURNAL_DIR", "/journal");
    let settings = [("SHARD", "1/2"), ("PEERS", "http://c:1"), journal, file];
    let config = read(&settings).unwrap();
    assert_eq!(config.shards.secret.as_ref().unwrap().values.len(), 2);
    assert!(config.warnings.is_empty());
    let shown = format!("{}{config:?}", report(&config, &[]));
    assert!(!shown.contains("hunter"), "{shown}");
    let auth = ("AUTH_HEADER_VALUE", "x");
    let open = ("AUTH_READS", "off");
    for (more, doubts) in [
        (&[auth][..], 1),
        (&[auth, file], 0),
        (&[auth, open], 0),
        (&[auth, open, ("ALLOW_PURGE", "true")], 1),
        (&[("ALLOW_PURGE", "true")], 0),
        (
            &[("ALLOW_PURGE", "true"), ("ADMIN_LISTEN", "127.0.0.1:9")],
            1,
        ),
    ] {
        let warnings = read(&[&settings[..3], more].concat()).unwrap().warnings;
        assert_eq!(warnings.len(), doubts, "{warnings:?}");
        let is_named = |text: &String| text.contains("without PEER_SECRET_FILE");
        assert!(warnings.iter().all(is_named), "{warnings:?}");
    }
    let alone = read(&[file]).unwrap().warnings;
    assert_eq!(alone, ["PEER_SECRET_FILE has no effect without PEERS"]);
    std::fs::write(&path, "hunter2\nhunter3\nhunter4\n").unwrap();
    let told = faults(&settings).concat();
    assert!(
        told.contains("3 values") && !told.contains("hunter"),
        "{told}"
    );
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn shards_without_a_journal_are_warned_that_none_of_them_is_known_by_it() {
    let settings = [("SHARD", "1/2"), ("PEERS", "http://c:1")];
    let [warning] = &*read(&settings).unwrap().warnings else {
        panic!("one warning");
    };
    assert!(
        warning.starts_with("PEERS without JOURNAL_DIR:"),
        "{warning}"
    );
    let journal = ("JOURNAL_DIR", "/journal");
    let kept = read(&[settings[0], settings[1], journal]).unwrap();
    assert!(kept.warnings.is_empty(), "{:?}", kept.warnings);
    assert!(read(&[]).unwrap().warnings.is_empty());
}

#[test]
fn a_store_is_instead_of_a_journal_and_of_shards() {
    let store = ("STORE", "postgres://p99:hunter2@db/p99?sslmode=disable");
    let config = read(&[store]).unwrap();
    assert!(config.store.is_some());
    let shown = config.in_force.iter().find(|one| one.name == "STORE");
    assert_eq!(shown.unwrap().text, "postgres://p99@db:5432/p99");
    for (name, value) in [
        ("JOURNAL_DIR", "/journal"),
        ("SHARD", "1/2"),
        ("PEERS", "http://other:1"),
    ] {
        let told = faults(&[store, (name, value)]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("while STORE is set"), "{told:?}");
        assert!(!told.concat().contains("hunter2"), "{told:?}");
    }
    let none = [("JOURNAL_DIR", "off"), ("SHARD", "1/1"), ("PEERS", "none")];
    let settings: Vec<_> = none.into_iter().chain([store]).collect();
    assert!(
        read(&settings).unwrap().store.is_some(),
        "all said, none used"
    );
    let idle = read(&[store, ("LEDGER_EXACT_HOURS", "48")]).unwrap();
    let told = "LEDGER_EXACT_HOURS has no effect with STORE";
    assert!(
        idle.warnings.iter().any(|one| one.starts_with(told)),
        "{:?}",
        idle.warnings
    );
    let idle = read(&[store, ("CACHE_FULL", "refuse")]).unwrap();
    let told = "CACHE_FULL has no effect with STORE";
    assert!(idle.warnings.iter().any(|one| one.starts_with(told)));
    let told = faults(&[("STORE", "postgres://p99:hunter2@db")]).concat();
    assert!(told.contains("a database behind the hosts"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}
