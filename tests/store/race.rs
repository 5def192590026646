//! Writers race for the same ids while the server ends their connections.

use super::filled;
use super::kit::postgres;
use super::kit::report::Report;
use super::kit::scratch::Scratch;
use super::kit::store_race::{Race, judge, run};

/// Ends every connection of p99's each 50 ms, for two seconds.
const END_THEM: &str = "DO $$ BEGIN FOR i IN 1..40 LOOP PERFORM pg_stat_clear_snapshot(); \
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'p99'; \
    PERFORM pg_sleep(0.05); END LOOP; END $$";

#[test]
fn no_claim_is_believed_twice_or_lost_while_connections_are_ended() {
    if !postgres::is_there("the race") {
        return;
    }
    // On a busy machine a connection may end before anything was sent over it.
    assert!((0..5).any(|_| race() > 0), "no batch was ever in doubt");
}

/// How many batches were in doubt.
fn race() -> u64 {
    let scratch = Scratch::new("store-race").unwrap();
    let cluster = filled(&scratch, &[]);
    let mut ending = cluster.begin_sql("p99", END_THEM);
    let beliefs = run(&Race {
        store: cluster.store("sslmode=disable"),
        writers: 4,
        seconds: 3,
        burst: 16,
    });
    ending.wait().unwrap();
    let mut table = Report::default();
    judge(&beliefs, &cluster, &mut table);
    assert!(table.print("writers race"), "a promise was broken");
    beliefs.iter().map(|belief| belief.doubtful).sum()
}
