//! A row that is not as p99 writes it: someone changed it by hand.

use super::writing::{Pen, intent, on_a_store, payment};
use p99::testing::journal::Haste;
use p99::testing::store::{Machine, Question, Reply, Report};

#[test]
fn a_row_that_cannot_be_read_stops_only_who_asks_for_it() {
    on_a_store("an unreadable row", async |cluster, place| {
        let one = Pen::new(&place, None, false);
        let other = Pen::new(&place, None, false);
        one.write([intent("order:1", 1_000), intent("order:2", 1_000)])
            .await;
        for change in ["status = 9", "status = 2, cents = -1"] {
            let id = payment("order:1").id;
            let sql = format!("UPDATE p99.payment SET {change} WHERE id = '{id}'");
            cluster.sql("p99", &sql);
            let unread = other.writer.ask(Question::Find(id));
            let read = other.writer.ask(Question::Find(payment("order:2").id));
            assert_eq!(other.answer(unread).await, Reply::Unavailable, "{change}");
            let Reply::Found(Some(_)) = other.answer(read).await else {
                panic!("it is as it was")
            };
            // Nobody else can have claimed it: who lost it asks again, a few times.
            other.writer.append(intent("order:1", 1_200), Haste::Now);
            other.write([intent("order:3", 1_200)]).await;
            let winner = other
                .wait(|report| match report {
                    Report::Known { row, .. } => Some(*row),
                    _ => None,
                })
                .await;
            assert_eq!(winner, None, "{change}");
        }
        assert_eq!(other.writer.look(Machine::doubtful), 0);
        let told = "the row of ";
        assert!(
            other
                .faults
                .borrow()
                .iter()
                .all(|why| why.starts_with(told))
        );
        assert!(!other.faults.borrow().is_empty());
    });
}
