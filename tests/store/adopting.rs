//! What an adopter reads of the writer that it takes over: every open row.

use super::writing::{Pen, intent, on_a_store, payment};
use p99::store::Machine;

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
