//! What was adopted and is still open: when its processor has spoken about its id, so that sums
//! need not wait for it any more.

use std::time::Duration;

use super::early::restored;
use super::play::Play;
use super::shared;
use crate::clock::UnixMillis;
use crate::events::{Lookup, StoreLine, WriterSlot};
use crate::limits;
use crate::payment::{Cents, Processor, UpstreamId};

/// A payment that another instance left open, sent again.
struct Adopted {
    play: Play,
    writer: WriterSlot,
    id: UpstreamId,
}

impl Adopted {
    /// At a processor that has shown a charged id, if it `is_proven` to have the route.
    fn new(is_proven: bool) -> Self {
        let mut play = shared::begin();
        play.owner.acknowledged(WriterSlot::OWN, play.now.boot);
        if is_proven {
            play.prove_lookups();
        }
        let writer = play.owner.adopt().unwrap();
        let mut open = restored(7, 100);
        open.writer = writer;
        play.owner.restore(&open, play.now);
        play.owner.acknowledged(writer, play.now.boot);
        play.perform();
        play.sync_of(writer);
        let id = open.payment.id;
        let mut one = Self { play, writer, id };
        one.await_send(0);
        one
    }

    /// Time passes on the clock of leases, and batches with it.
    fn pass(&mut self, span: Duration) {
        let play = &mut self.play;
        play.now.boot = play.now.boot.after(span);
        play.owner.acknowledged(self.writer, play.now.boot);
        play.pass(Duration::from_millis(10));
    }

    /// Until it is sent once more than `before`.
    fn await_send(&mut self, before: usize) {
        while self.play.sent.len() <= before {
            self.play.pass(Duration::from_millis(500));
            self.play.sync_of(self.writer);
        }
    }

    /// It is sent again and answered 500, and what is asked about it then is answered so.
    fn ask(&mut self, lookup: Lookup) {
        self.play.hear(500);
        let last = self.play.lookups.len() - 1;
        self.play.show(last, lookup);
        let sent = self.play.sent.len();
        self.await_send(sent);
    }

    fn is_heard(&self) -> bool {
        let heard = StoreLine::Heard { id: self.id };
        let lines = &self.play.lines;
        assert!(lines.len() <= 1 && lines.iter().all(|one| *one == heard));
        let of_own = self.play.appended_to(WriterSlot::OWN);
        let records = u64::try_from(self.play.records.len()).unwrap();
        let of_adopted = self.play.appended_to(self.writer);
        assert_eq!(of_own + of_adopted, records + lines.len() as u64);
        !lines.is_empty()
    }
}

const LATE: Duration = Duration::from_secs(4);

#[test]
fn a_question_that_was_sent_late_enough_and_answered_is_heard_once() {
    let mut one = Adopted::new(true);
    one.ask(Lookup::NotFound);
    assert!(!one.is_heard(), "its former owner may still tell 200");
    one.pass(limits::STORE_FRESH);
    one.ask(Lookup::NotFound);
    assert!(!one.is_heard(), "not later than half a lease");
    one.pass(Duration::from_millis(1));
    one.ask(Lookup::NotFound);
    assert!(one.is_heard());
    one.ask(Lookup::NotFound);
    assert!(one.is_heard(), "once");
    // It is held, and stays with its processor.
    let view = one.play.owner.find(one.id).unwrap();
    assert_eq!(view.processor, Some(Processor::DEFAULT));
    let tried = one.play.sent_to();
    assert!(tried.iter().all(|at| *at == Processor::DEFAULT));
    one.play.hear(200);
    one.play.sync_of(one.writer);
    assert_eq!(one.play.owner.pending(), 0);
}

#[test]
fn what_says_nothing_about_the_id_is_not_heard() {
    let mut one = Adopted::new(true);
    one.pass(LATE);
    one.ask(Lookup::NoAnswer);
    for status in [400, 401, 429, 503] {
        one.play.hear(status);
        let sent = one.play.sent.len();
        one.await_send(sent);
        assert!(!one.is_heard(), "{status}");
    }
    // A 404 of a route that never showed an id may be about the path.
    let mut one = Adopted::new(false);
    one.pass(LATE);
    one.ask(Lookup::NotFound);
    assert!(!one.is_heard());
}

#[test]
fn what_settles_it_needs_no_word_more_and_what_was_not_adopted_none() {
    let mut one = Adopted::new(true);
    one.pass(LATE);
    one.play.hear(500);
    let last = one.play.lookups.len() - 1;
    let stored = Lookup::Stored {
        requested_at: UnixMillis(100),
        amount: Cents(1990),
    };
    one.play.show(last, stored);
    one.play.sync_of(one.writer);
    assert_eq!(one.play.owner.pending(), 0);
    assert!(!one.is_heard());
    one.play
        .owner
        .acknowledged(WriterSlot::OWN, one.play.now.boot);
    one.play.post(8);
    one.play.sync();
    one.pass(LATE);
    one.play.hear(500);
    let last = one.play.lookups.len() - 1;
    one.play.show(last, Lookup::NotFound);
    assert!(!one.is_heard());
}
