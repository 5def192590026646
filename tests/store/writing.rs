//! One story after the other on real tables: what is written is read again as it was meant.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::kit::client::DEADLINE;
use super::kit::postgres::{self, Cluster};
use super::kit::scratch::Scratch;
use super::{filled, place};
use p99::testing::clock::{Boot, UnixMillis};
use p99::testing::journal::{Fate, Haste, Verdict};
use p99::testing::limits;
use p99::testing::payment::{Cents, CorrelationId, Payment, Processor, Status, UpstreamId};
use p99::testing::reactor::Reactor;
use p99::testing::store::{
    Adoption, Epoch, Machine, MachineTerms, Question, Record, Reply, Report, Row, StorePlace,
    Window, Writer, WriterId,
};

pub(crate) const A: Processor = Processor::DEFAULT;

pub(crate) fn payment(text: &str) -> Payment {
    let correlation_id = CorrelationId::try_new(text).unwrap();
    Payment {
        id: correlation_id.upstream_id(),
        correlation_id,
        amount: Cents(1_990),
    }
}

pub(crate) fn intent(text: &str, at: i64) -> Record {
    Record::Intent {
        payment: payment(text),
        processor: A,
        requested_at: UnixMillis(at),
        accepted_at: None,
        address: Some("10.0.0.1:80".parse().unwrap()),
    }
}

fn verdict(text: &str, verdict: Verdict) -> Record {
    let id = payment(text).id;
    Record::Verdict { id, verdict }
}

pub(crate) fn applied(text: &str, at: i64) -> Record {
    let verdict_of = Verdict::Applied {
        processor: A,
        amount: Cents(1_990),
        requested_at: UnixMillis(at),
    };
    verdict(text, verdict_of)
}

/// A writer on its task, and what it was told.
pub(crate) struct Pen {
    pub(crate) writer: Writer,
    told: Rc<RefCell<Vec<Report>>>,
    pub(crate) faults: Rc<RefCell<Vec<String>>>,
}

impl Pen {
    pub(crate) fn new(
        place: &Rc<StorePlace>,
        adoption: Option<&Adoption>,
        is_lookout: bool,
    ) -> Self {
        let terms = MachineTerms {
            holder: "test".to_owned(),
            seed: p99::testing::keys::unlike_all(),
            is_lookout,
            now: Boot::now(),
        };
        let machine = match adoption {
            None => Machine::new(terms),
            Some(adoption) => Machine::adopted(terms, adoption),
        };
        let (writer, task) = Writer::new(machine, Rc::clone(place));
        let told: Rc<RefCell<Vec<Report>>> = Rc::default();
        let hears = Rc::clone(&told);
        let faults: Rc<RefCell<Vec<String>>> = Rc::default();
        let notes = Rc::clone(&faults);
        monoio::spawn(task.run(
            move |report| hears.borrow_mut().push(report),
            move |why| notes.borrow_mut().push(why.to_owned()),
        ));
        Self {
            writer,
            told,
            faults,
        }
    }

    /// Waits for what `found` finds among the reports, and takes it.
    pub(crate) async fn wait<R>(&self, found: impl Fn(&Report) -> Option<R>) -> R {
        for _ in 0..5_000 {
            let place = self
                .told
                .borrow()
                .iter()
                .position(|one| found(one).is_some());
            if let Some(place) = place {
                let report = self.told.borrow_mut().remove(place);
                return found(&report).unwrap();
            }
            monoio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("not told: {:?}", self.told.borrow());
    }

    /// Appends, and waits until all is durable.
    pub(crate) async fn write(&self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            self.writer.append(record, Haste::Now);
        }
        let last = self.writer.look(Machine::last);
        self.wait(|report| match report {
            Report::Durable { up_to, .. } if *up_to >= last => Some(()),
            _ => None,
        })
        .await;
    }

    /// Adopts `writer`, which is in its first epoch, as if it had been paused for longer than its
    /// lease.
    pub(crate) async fn adopt(&self, cluster: &Cluster, writer: WriterId) -> Adoption {
        let late = "UPDATE p99.writer SET lease_until = now() - interval '1 second'";
        loop {
            cluster.sql("p99", &format!("{late} WHERE writer = {}", writer.0));
            self.writer.adopt(writer, Epoch(1));
            for _ in 0..20 {
                monoio::time::sleep(Duration::from_millis(2)).await;
                let told = self.told.borrow();
                let adopted = told.iter().find_map(|report| match report {
                    Report::Adopted(adoption) => Some(*adoption),
                    _ => None,
                });
                if let Some(adoption) = adopted {
                    return adoption;
                }
            }
        }
    }

    /// All open rows of the adopted writer that it has, page after page.
    pub(crate) async fn pages(&self) -> Vec<Row> {
        let mut all = Vec::new();
        loop {
            let page = self.wait(|report| match report {
                Report::Page { rows, is_last } => Some((rows.clone(), *is_last)),
                _ => None,
            });
            let (rows, is_last) = page.await;
            assert!(rows.len() <= limits::STORE_PAGE_ROWS as usize);
            all.extend(rows);
            if is_last {
                return all;
            }
            self.writer.want_page();
        }
    }

    pub(crate) async fn ask(&self, question: Question) -> Reply {
        self.answer(self.writer.ask(question)).await
    }

    /// Waits for what is answered to the question of this number.
    pub(crate) async fn answer(&self, number: u64) -> Reply {
        self.wait(|report| match report {
            Report::Answered { question, reply } if *question == number => Some(reply.clone()),
            _ => None,
        })
        .await
    }
}

pub(crate) fn on_a_store(name: &str, test: impl AsyncFnOnce(&Cluster, Rc<StorePlace>)) {
    if !postgres::is_there(name) {
        return;
    }
    let scratch = Scratch::new("store-writing").unwrap();
    let cluster = filled(&scratch, &[]);
    let place = Rc::new(place(&cluster.store("sslmode=disable")));
    Reactor::best().unwrap().run(test(&cluster, place));
}

#[test]
fn a_payment_is_claimed_once_settled_and_summed() {
    on_a_store("claims", async |cluster, place| {
        let one = Pen::new(&place, None, false);
        let other = Pen::new(&place, None, false);
        let accept = Record::Accept {
            payment: payment("order:3"),
            accepted_at: UnixMillis(900),
        };
        one.write([intent("order:1", 1_000), intent("order:2", 1_500), accept])
            .await;
        other.writer.append(intent("order:1", 1_200), Haste::Now);
        let row = other
            .wait(|report| match report {
                Report::Known { row, .. } => Some(*row),
                _ => None,
            })
            .await
            .unwrap();
        assert_eq!(Some(row.writer), one.writer.look(Machine::writer));
        assert_eq!(row.correlation_id.as_str(), "order:1");
        assert_eq!((row.at.0, row.address.unwrap().port()), (1_000, 80));
        assert_eq!(row.status.in_api(), Status::Pending);

        let refused = Verdict::Refused {
            processor: A,
            fate: Fate::Freed,
        };
        let held = Verdict::Refused {
            processor: A,
            fate: Fate::Held,
        };
        one.write([applied("order:1", 1_000), verdict("order:2", refused)])
            .await;
        one.write([intent("order:3", 2_500)]).await;
        one.write([verdict("order:3", held), intent("order:3", 2_600)])
            .await;
        one.write([applied("order:3", 2_600)]).await;
        let Reply::Found(None) = other.ask(Question::Find(payment("order:2").id)).await else {
            panic!("order:2 is free")
        };
        let Reply::Found(Some(row)) = other.ask(Question::Find(payment("order:3").id)).await else {
            panic!("order:3 is there")
        };
        let was = (row.at.0, row.first_sent.unwrap().0, row.status.number());
        assert_eq!(was, (2_600, 2_500, 3), "after its promise");
        for (from, to, count) in [(0, i64::MAX, 2), (1_000, 1_999, 1), (2_000, 2_599, 0)] {
            let window = Window { from, to };
            let Reply::Sums(sums) = other.ask(Question::Sum(window)).await else {
                panic!("no sum")
            };
            let totals = sums.charged.get(A);
            assert_eq!(
                (totals.count, totals.cents),
                (count, u128::from(count) * 1_990)
            );
            assert_eq!(sums.pending, 0);
        }
        assert_eq!(other.ask(Question::Purge).await, Reply::Purged);
        one.wait(|report| (*report == Report::Purged).then_some(()))
            .await;
        let left = "SELECT (SELECT count(*) FROM p99.payment) + (SELECT count(*) FROM p99.rollup)";
        assert_eq!(cluster.sql("p99", left).trim(), "0");
    });
}

#[test]
fn a_dead_writer_is_adopted_its_rows_go_on_and_the_dead_one_is_fenced() {
    on_a_store("adoption", async |cluster, place| {
        let dead = Pen::new(&place, None, false);
        dead.write([intent("order:1", 1_000)]).await;
        let live = Pen::new(&place, None, true);
        live.write([intent("order:2", 1_100)]).await;
        let writer = dead.writer.look(Machine::writer).unwrap();
        let adoption = live.adopt(cluster, writer).await;
        let Reply::Unavailable = live.ask(Question::Sum(Window::ALL)).await else {
            panic!("its client may have been told 200")
        };
        let second = Pen::new(&place, Some(&adoption), false);
        let rows = second.pages().await;
        assert_eq!((rows.len(), rows[0].id), (1, payment("order:1").id));
        dead.writer.append(intent("order:9", 1_200), Haste::Now);
        dead.wait(|report| (*report == Report::Fenced).then_some(()))
            .await;
        let heard = Record::Heard {
            id: payment("order:1").id,
        };
        second.write([heard]).await;
        let Reply::Sums(sums) = live.ask(Question::Sum(Window::ALL)).await else {
            panic!("its processor has spoken")
        };
        assert_eq!(sums.pending, 2);
        second.write([applied("order:1", 1_000)]).await;
        second.writer.close();
        let is_free = format!(
            "SELECT count(*) FROM p99.writer WHERE writer = {} AND open_since IS NULL \
             AND lease_until <= now()",
            writer.0
        );
        for _ in 0..1_000 {
            if cluster.sql("p99", &is_free).trim() == "1" {
                break;
            }
            monoio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(cluster.sql("p99", &is_free).trim(), "1");
        let absent = UpstreamId(payment("order:9").id.0);
        let Reply::Found(None) = live.ask(Question::Find(absent)).await else {
            panic!("the fenced one wrote")
        };
    });
}

#[test]
fn a_store_that_is_being_filled_registers_no_writer() {
    on_a_store("importing", async |cluster, place| {
        cluster.sql("p99", "UPDATE p99.meta SET importing = true");
        let one = Pen::new(&place, None, false);
        one.wait(|report| matches!(report, Report::Unreachable { .. }).then_some(()))
            .await;
        cluster.sql("p99", "UPDATE p99.meta SET importing = false");
        one.write([intent("order:1", 1_000)]).await;
    });
}

#[test]
fn a_charge_that_is_written_while_a_sum_is_read_is_in_it() {
    on_a_store("sums and charges", async |cluster, place| {
        let one = Pen::new(&place, None, false);
        let other = Pen::new(&place, None, false);
        one.write([intent("order:1", 1_000)]).await;
        other.write([intent("order:2", 1_100)]).await;
        // Open rows that linger are read with all that is open: that statement waits for this.
        let hold = "BEGIN; LOCK TABLE p99.lingering IN ACCESS EXCLUSIVE MODE; \
                    SELECT pg_sleep(0.3); COMMIT";
        let is_held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' \
                       AND relation = 'p99.lingering'::regclass AND granted";
        let mut holds = cluster.begin_sql("p99", hold);
        let began = Instant::now();
        while cluster.sql("p99", is_held).trim() != "1" {
            assert!(began.elapsed() < DEADLINE, "the lock is never seen");
            // On a busy machine it may be over before it is seen.
            if holds.try_wait().unwrap().is_some() {
                holds = cluster.begin_sql("p99", hold);
            }
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        let number = other.writer.ask(Question::Sum(Window::ALL));
        monoio::time::sleep(Duration::from_millis(50)).await;
        one.write([applied("order:1", 1_000)]).await;
        let sums = other.answer(number).await;
        holds.wait().unwrap();
        let Reply::Sums(sums) = sums else {
            panic!("{sums:?}");
        };
        assert_eq!(sums.charged.get(A).count, 1, "{sums:?}");
    });
}

#[test]
fn a_purge_may_take_longer_than_any_other_statement() {
    on_a_store("a long purge", async |cluster, place| {
        let one = Pen::new(&place, None, false);
        let other = Pen::new(&place, None, false);
        one.write([intent("order:1", 1_000)]).await;
        one.write([applied("order:1", 1_000)]).await;
        other.write([intent("order:2", 1_000)]).await;
        // The role's own limit for a statement is 2 s, a lease 6 s.
        let slow = "CREATE FUNCTION p99.slow() RETURNS trigger LANGUAGE plpgsql \
                    AS 'BEGIN PERFORM pg_sleep(7); RETURN NULL; END'; \
                    CREATE TRIGGER slow BEFORE DELETE ON p99.payment \
                    FOR EACH STATEMENT EXECUTE FUNCTION p99.slow()";
        cluster.sql("p99", slow);
        assert_eq!(one.ask(Question::Purge).await, Reply::Purged);
        let live = "SELECT count(*) FROM p99.writer WHERE writer > 0 AND lease_until >= now()";
        assert_eq!(cluster.sql("p99", live).trim(), "2", "nobody was idle");
        other.write([applied("order:2", 1_000)]).await;
        let left = "SELECT (SELECT count(*) FROM p99.payment) + (SELECT count(*) FROM p99.rollup)";
        assert_eq!(
            cluster.sql("p99", left).trim(),
            "3",
            "in a second and an hour"
        );
    });
}
