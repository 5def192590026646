//! What a sweep's statements forget in real tables, what they keep, and what sums say afterwards.

use std::time::Duration;

use super::kit::postgres::{Cluster, at_last};
use super::writing::{A, Pen, applied, intent, on_a_store, payment};
use p99::testing::clock::UnixMillis;
use p99::testing::ledger::CutsOldSecond;
use p99::testing::store::{
    Answer, Connection, Machine, Outcome, Question, Reply, StorePlace, Sweep, Swept, Transaction,
    Window, WriterId,
};

const HOUR: i64 = 3_600_000;

fn wanted(nonce: i64) -> Sweep {
    Sweep {
        nonce,
        holder: "test".to_owned(),
        keep: Duration::from_secs(3_600),
        cut: None,
        forgets: true,
        bury: None,
    }
}

async fn sweep(place: &StorePlace, sweep: Sweep) -> Option<Swept> {
    let opened = at_last(async || Connection::open(place).await).await;
    let mut connection = opened.unwrap();
    match connection.transact(&Transaction::Sweep(sweep)).await {
        Outcome::Acknowledged(Answer::Swept(swept)) => swept,
        other => panic!("{other:?}"),
    }
}

/// Makes `ids` rows that settled two hours ago.
fn age(cluster: &Cluster, texts: &[&str]) {
    let ids: Vec<String> = texts
        .iter()
        .map(|text| format!("'{}'", payment(text).id))
        .collect();
    cluster.sql(
        "p99",
        &format!(
            "UPDATE p99.payment SET settled_at = now() - interval '2 hours' WHERE id IN ({})",
            ids.join(", ")
        ),
    );
}

/// How many entries of the index by writer and time were read. A session tells within a second.
pub(crate) fn entries_read(cluster: &Cluster) -> u64 {
    std::thread::sleep(Duration::from_millis(1_200));
    let read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'payment_at'";
    cluster.sql("p99", read).trim().parse().unwrap()
}

async fn count(pen: &Pen, from: i64, to: i64) -> Result<u64, Reply> {
    match pen.ask(Question::Sum(Window { from, to })).await {
        Reply::Sums(sums) => Ok(sums.charged.get(A).count),
        other => Err(other),
    }
}

#[test]
fn what_settled_before_the_cut_is_forgotten_and_its_seconds_are_summed_whole() {
    on_a_store("sweeping", async |cluster, place| {
        cluster.sql(
            "p99",
            &format!("UPDATE p99.meta SET made = made - {}", 4 * HOUR),
        );
        let one = Pen::new(&place, None, false);
        let first = sweep(&place, wanted(1)).await.unwrap();
        let recent = first.now;
        one.write([
            intent("order:1", 1_000),
            intent("order:2", 1_000),
            intent("order:3", 1_100),
            intent("order:4", recent),
        ])
        .await;
        one.write([
            applied("order:1", 1_000),
            applied("order:3", 1_100),
            applied("order:4", recent),
        ])
        .await;
        age(cluster, &["order:1", "order:4"]);
        assert_eq!(
            first.forgotten, 0,
            "nothing is old before the cut has moved"
        );
        assert!((0..60_000).contains(&(first.now - 5 * HOUR - first.cut)));
        assert_eq!(sweep(&place, wanted(2)).await, None, "one at a time");

        let to = first.now / 1_000 * 1_000 - HOUR - 1_000;
        let early = Sweep {
            cut: Some((first.cut, to + HOUR / 2)),
            ..wanted(1)
        };
        let swept = sweep(&place, early).await.unwrap();
        assert_eq!(
            (swept.cut, swept.forgotten),
            (first.cut, 0),
            "by the database's own clock"
        );
        let moving = Sweep {
            cut: Some((first.cut, to)),
            ..wanted(1)
        };
        let swept = sweep(&place, moving.clone()).await.unwrap();
        assert_eq!((swept.cut, swept.forgotten), (to, 1));
        let again = sweep(&place, moving).await.unwrap();
        assert_eq!((again.cut, again.forgotten), (to, 0), "a late copy");
        let left =
            "SELECT string_agg(correlation_id, ' ' ORDER BY correlation_id) FROM p99.payment";
        assert_eq!(cluster.sql("p99", left).trim(), "order:2 order:3 order:4");

        assert_eq!(
            count(&one, 1_000, 1_999).await,
            Ok(2),
            "whole seconds keep their sum"
        );
        let boundary = UnixMillis(to);
        let cut = Reply::Cut(CutsOldSecond { boundary });
        assert_eq!(count(&one, 1_050, 1_999).await, Err(cut));
        assert_eq!(
            count(&one, 0, 2_500).await,
            Ok(2),
            "nothing is in the second that it cuts"
        );
        assert_eq!(
            count(&one, recent, recent).await,
            Ok(1),
            "what is recent is exact"
        );
    });
}

#[test]
fn many_are_forgotten_part_by_part() {
    on_a_store("sweeping many", async |cluster, place| {
        let one = Pen::new(&place, None, false);
        one.write([intent("order:1", 1_000)]).await;
        let first = sweep(&place, wanted(1)).await.unwrap();
        cluster.sql(
            "p99",
            "INSERT INTO p99.payment (id, cents, at, epoch, batch, writer, status, settled_at) \
             SELECT gen_random_uuid(), 1, n, 1, 1, 1, 2 + n % 6, now() - interval '9 hours' \
             FROM generate_series(1, 1200) n",
        );
        let to = first.now / 1_000 * 1_000 - HOUR * 3 / 2;
        cluster.sql(
            "p99",
            &format!("UPDATE p99.meta SET cut = {to}, exact_from = {to}"),
        );
        // Many more are young, and none of them is to be looked at.
        cluster.sql(
            "p99",
            "INSERT INTO p99.writer (writer, epoch, batch, nonce, holder, lease_until) \
             SELECT n, 1, 0, 0, 'another', now() + interval '1 hour' \
             FROM generate_series(100, 139) n",
        );
        cluster.sql(
            "p99",
            "INSERT INTO p99.payment (id, cents, at, epoch, batch, writer, status, settled_at, \
             processor) SELECT gen_random_uuid(), 1, 9e12::bigint + n, 1, 1, 100 + n % 40, 2, \
             now(), 0 \
             FROM generate_series(1, 40000) n",
        );
        cluster.sql("p99", "ANALYZE p99.payment");
        let mut parts = Vec::new();
        for _ in 0..4 {
            parts.push(sweep(&place, wanted(1)).await.unwrap().forgotten);
        }
        assert_eq!(parts, [500, 500, 200, 0]);
        let forgetting = entries_read(cluster);
        assert!(forgetting < 6_000, "{forgetting} entries read");
        let window = (9_000_000_000_050, 9_000_000_000_070);
        assert_eq!(count(&one, window.0, window.1).await, Ok(21));
        let summing = entries_read(cluster) - forgetting;
        assert!(summing < 1_000, "{summing} entries read");
        cluster.sql("p99", "DELETE FROM p99.payment WHERE at > 9e12::bigint");
        assert_eq!(
            cluster
                .sql("p99", "SELECT count(*) FROM p99.payment")
                .trim(),
            "1"
        );
    });
}

#[test]
fn a_writer_that_is_gone_leaves_its_sums_and_nothing_else() {
    on_a_store("burying", async |cluster, place| {
        let (dead, live) = (Pen::new(&place, None, false), Pen::new(&place, None, false));
        dead.write([intent("order:1", 1_000), intent("order:2", 2_000)])
            .await;
        dead.write([applied("order:1", 1_000), applied("order:2", 2_000)])
            .await;
        live.write([intent("order:3", 1_500)]).await;
        live.write([applied("order:3", 1_500)]).await;
        let [gone, there] = [&dead, &live].map(|pen| pen.writer.look(Machine::writer).unwrap());
        dead.writer.close();
        let closed = format!(
            "SELECT open_since IS NULL FROM p99.writer WHERE writer = {}",
            gone.0
        );
        while cluster.sql("p99", &closed).trim() != "t" {
            monoio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = sweep(&place, wanted(1)).await.unwrap();
        let to = first.now / 1_000 * 1_000 - HOUR * 3 / 2;
        cluster.sql(
            "p99",
            &format!("UPDATE p99.meta SET cut = {to}, exact_from = {to}"),
        );
        let late = "UPDATE p99.writer SET lease_until = now() - interval '9 hours' WHERE writer = ";
        cluster.sql("p99", &format!("{late}{}", gone.0));
        let bury = async |writer: WriterId| {
            let bury = Some(writer);
            sweep(&place, Sweep { bury, ..wanted(1) })
                .await
                .unwrap()
                .dead
        };
        assert_eq!(bury(gone).await, None, "its payments are there");
        age(cluster, &["order:1", "order:2"]);
        assert_eq!(bury(there).await, Some(gone), "a live one is not buried");
        assert_eq!(bury(gone).await, None);
        let writers = "SELECT string_agg(writer::text, ' ' ORDER BY writer) FROM p99.writer";
        assert_eq!(cluster.sql("p99", writers).trim(), format!("0 {}", there.0));
        let sums = "SELECT string_agg(writer || ':' || sec || ':' || n || ':' || cents, ' ' \
                    ORDER BY writer, sec) FROM p99.rollup";
        let live_ones = format!("{0}:-1:1:1990 {0}:1:1:1990", there.0);
        let expected = format!("0:-1:2:3980 0:1:1:1990 0:2:1:1990 {live_ones}");
        assert_eq!(cluster.sql("p99", sums).trim(), expected);
        assert_eq!(count(&live, 0, 9_999).await, Ok(3));
    });
}

#[test]
fn a_window_of_hours_is_the_sum_of_what_is_in_it() {
    on_a_store("hours", async |_, place| {
        let one = Pen::new(&place, None, false);
        let hour = HOUR;
        let times = [
            1_000,
            hour - 1,
            hour,
            2 * hour + 500,
            3 * hour,
            5 * hour + 7,
        ];
        let ids = (1..).map(|number| format!("order:{number}"));
        for (id, at) in ids.zip(times) {
            one.write([intent(&id, at)]).await;
            one.write([applied(&id, at)]).await;
        }
        for (from, to) in [
            (0, i64::MAX),
            (0, hour - 1),
            (1, hour),
            (hour, 3 * hour),
            (hour - 1, 2 * hour + 500),
            (2 * hour, 5 * hour + 6),
            (500, 9 * hour + 1),
        ] {
            let inside = times.iter().filter(|at| (from..=to).contains(*at)).count();
            assert_eq!(
                count(&one, from, to).await,
                Ok(inside as u64),
                "{from} {to}"
            );
        }
    });
}
