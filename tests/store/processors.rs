//! Which processors a store is about, and who may not take part with others.

use std::process::Command;
use std::rc::Rc;

use super::kit::postgres::{Cluster, at_last, was_too_slow};
use super::kit::start;
use super::sweeping::entries_read;
use super::writing::{Pen, applied, intent, on_a_store};
use super::{StorePlace, place};
use p99::testing::journal::Authorities;
use p99::testing::payment::Configured;
use p99::testing::store::{Report, processors};

/// How many have moved, however busy the machine.
async fn agree(place: &StorePlace, all: &Authorities) -> Result<usize, String> {
    at_last(async || Ok(processors::agree(place, all).await?.len())).await
}

fn at(names: &[&str]) -> Authorities {
    let names = names.iter().map(|name| (*name).to_owned());
    Configured::try_from_vec(names.collect()).unwrap()
}

fn named(cluster: &Cluster) -> String {
    let all = "SELECT string_agg(name || ' ' || authority, ', ' ORDER BY index) FROM p99.processor";
    cluster.sql("p99", all).trim().to_owned()
}

/// Every lease is over, as if the instances had ended.
fn end_leases(cluster: &Cluster) {
    let end = "UPDATE p99.writer SET lease_until = now() - interval '1 second', epoch = epoch + 1";
    cluster.sql("p99", end);
}

#[test]
fn an_instance_with_other_processors_takes_no_part_while_payments_are_open_or_others_run() {
    on_a_store("processors", async |cluster, _| {
        let about = |all: &Authorities| -> Rc<StorePlace> {
            let place = place(&cluster.store("sslmode=disable"));
            Rc::new(place.about(all.clone()))
        };
        let (here, there) = (at(&["a:80", "b:80"]), at(&["a:81", "b:80"]));
        let early = Pen::new(&about(&here), None, false);
        early
            .wait(|report| matches!(report, Report::Unreachable { .. }).then_some(()))
            .await;
        assert_eq!(
            named(cluster),
            "",
            "nothing was agreed yet, so none registers"
        );
        assert_eq!(agree(&about(&here), &here).await, Ok(0));
        assert_eq!(named(cluster), "default a:80, fallback b:80");
        // Now it gets in; one with other settings does not.
        early.write([intent("order:1", 1_000)]).await;
        let other = Pen::new(&about(&there), None, false);
        other
            .wait(|report| matches!(report, Report::Unreachable { .. }).then_some(()))
            .await;
        let refused = async |word: &str| {
            let why = agree(&about(&there), &there).await.unwrap_err();
            assert!(why.contains(word), "{why}");
        };
        refused("default was a:80 and is a:81 now, 1 payments are open there").await;
        early.write([applied("order:1", 1_000)]).await;
        refused("instances run whose processors are others").await;
        assert!(
            agree(&about(&here), &here).await.is_ok(),
            "one more of them"
        );
        let writers = cluster.sql("p99", "SELECT count(*) FROM p99.writer WHERE writer > 0");
        assert_eq!(writers.trim(), "1", "no writer with other processors");
        end_leases(cluster);
        assert_eq!(agree(&about(&there), &there).await, Ok(1));
        assert_eq!(named(cluster), "default a:81, fallback b:80");

        cluster.sql(
            "p99",
            "UPDATE p99.processor SET name = 'cheap' WHERE index = 0",
        );
        let why = agree(&about(&there), &there).await.unwrap_err();
        assert!(why.contains("\"cheap\""), "{why}");
    });
}

#[test]
fn an_operators_word_moves_a_processor_with_open_payments() {
    on_a_store("accepted", async |cluster, place| {
        let here = at(&["a:80", "b:80"]);
        agree(&place, &here).await.unwrap();
        let one = Pen::new(&place, None, false);
        one.write([intent("order:1", 1_000)]).await;
        let accept_once = || {
            let owner = cluster.store_of_superuser();
            let mut command = Command::new(start::binary());
            command.env_clear().args(["store", "accept-upstreams"]);
            command.env("STORE", owner);
            command.env("UPSTREAM_A_URL", "http://c:80");
            let output = command
                .env("UPSTREAM_B_URL", "http://b:80")
                .output()
                .unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            (
                output.status.code(),
                text(output.stdout),
                text(output.stderr),
            )
        };
        let accept = || {
            let mut told = accept_once();
            for _ in 0..20 {
                if was_too_slow(&told.2) {
                    told = accept_once();
                }
            }
            told
        };
        let (status, _, told) = accept();
        assert!(
            status == Some(1) && told.contains("instances run"),
            "{told}"
        );
        end_leases(cluster);
        let (status, said, told) = accept();
        assert_eq!(status, Some(0), "{told}");
        assert!(
            said.contains("default was a:80 and is c:80 now, 1 payments are open"),
            "{said}"
        );
        assert_eq!(named(cluster), "default c:80, fallback b:80");
    });
}

/// Statistics of a table that has grown fast say nothing, and no writer registers meanwhile.
#[test]
fn a_start_reads_what_is_open_and_not_all_that_was_paid() {
    on_a_store("a start on many", async |cluster, place| {
        let here = at(&["a:80", "b:80"]);
        assert!(agree(&place, &here).await.is_ok());
        let many = "INSERT INTO p99.writer (writer, epoch, batch, nonce, holder, lease_until, \
                    open_since) SELECT n, 1, 0, 0, 'x', now(), 9e12::bigint + 40000 \
                    FROM generate_series(1, 16) n; \
                    INSERT INTO p99.payment (id, cents, at, epoch, batch, writer, status, \
                    settled_at, processor) SELECT gen_random_uuid(), 1, 9e12::bigint + n, 1, 1, \
                    1 + n % 16, 2, now(), 0 FROM generate_series(1, 40000) n";
        cluster.sql("p99", many);
        let before = entries_read(cluster);
        assert!(agree(&place, &here).await.is_ok());
        let read = entries_read(cluster) - before;
        assert!(read < 1_000, "{read} entries read");
    });
}
