//! What an adopter reads of the writer that it takes over: every open row.

use std::collections::BTreeSet;

use super::writing::{Pen, intent, on_a_store, payment};
use p99::testing::store::Machine;

/// The id that a page's own beginning must not be taken for.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

#[test]
fn an_adopter_reads_the_oldest_row_also_where_its_id_is_nil() {
    on_a_store("a nil id", async |cluster, place| {
        let dead = Pen::new(&place, None, false);
        dead.write([intent(NIL, 1_000), intent("order:1", 1_000)])
            .await;
        let writer = dead.writer.look(Machine::writer).unwrap();
        let live = Pen::new(&place, None, true);
        live.write([intent("order:2", 1_100)]).await;
        let adoption = live.adopt(cluster, writer).await;
        assert_eq!(adoption.open_since, Some(1_000));
        let second = Pen::new(&place, Some(&adoption), false);
        let ids: Vec<u128> = second.pages().await.iter().map(|row| row.id.0).collect();
        assert_eq!(ids, [0, payment("order:1").id.0]);
    });
}

#[test]
fn an_adopter_reads_all_rows_that_linger_page_after_page() {
    on_a_store("lingering rows", async |cluster, place| {
        let dead = Pen::new(&place, None, false);
        dead.write([intent("order:1", 1_000)]).await;
        let writer = dead.writer.look(Machine::writer).unwrap();
        // The first and the last id that there are among them.
        let lingering = format!(
            "INSERT INTO p99.payment (id, cents, at, epoch, batch, writer, processor, status) \
             SELECT CASE n WHEN 1 THEN '{NIL}' WHEN 2 THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' \
             ELSE md5(n::text) END::uuid, 1990, n % 7, 1, 1, {0}, 0, 1 \
             FROM generate_series(1, 2500) n; \
             INSERT INTO p99.lingering (writer, id) SELECT {0}, id FROM p99.payment \
             WHERE at < 1000",
            writer.0
        );
        cluster.sql("p99", &lingering);
        let live = Pen::new(&place, None, true);
        live.write([intent("order:2", 1_100)]).await;
        let adoption = live.adopt(cluster, writer).await;
        let second = Pen::new(&place, Some(&adoption), false);
        let rows = second.pages().await;
        let ids = BTreeSet::from_iter(rows.iter().map(|row| row.id));
        assert_eq!((rows.len(), ids.len()), (2_501, 2_501));
        assert_eq!(second.writer.look(Machine::open_rows), 2_501);
    });
}
