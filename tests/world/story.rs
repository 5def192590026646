//! What is true of one id, told by what was seen going out and coming in, never by p99's own
//! opinion: which sends may still be charged, and what clients may count on.

use std::collections::{BTreeMap, BTreeSet};

use p99::testing::claims::FirstAnswer;
use p99::testing::clock::UnixMillis;
use p99::testing::config::Upstream500;
use p99::testing::events::Answer;
use p99::testing::payment::{Cents, PerProcessor, Processor, Status};

/// One send that no one has proven to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) amount: Cents,
    pub(crate) requested_at: UnixMillis,
}

#[derive(Debug, Default)]
pub(crate) struct Story {
    /// By the number of the request.
    pub(crate) unresolved: PerProcessor<BTreeMap<usize, Sent>>,
    /// What was unresolved when p99 said that it is over: it is again, if the process dies before
    /// that is durable.
    settled_sends: PerProcessor<BTreeMap<usize, Sent>>,
    /// Those of them that their processor itself answered: nothing of them can come any more.
    answered: BTreeSet<usize>,
    /// What went there last, where names move.
    last: PerProcessor<Option<Sent>>,
    /// A processor proved that it did not charge some attempt.
    was_refused: bool,
    /// What its first client was told, if anything.
    pub(crate) first: Option<FirstAnswer>,
    /// A client was told 202 and the end is not known.
    pub(crate) is_promised: bool,
    /// A client was told 200.
    pub(crate) is_charged: bool,
    /// It was settled when ledger and claims were purged: nothing is known of it any more.
    pub(crate) is_purged: bool,
    /// How it ended, as far as p99 says.
    pub(crate) settled: Option<Status>,
    /// The wall clock when the last time for it was minted.
    pub(crate) minted: Option<UnixMillis>,
}

impl Story {
    pub(crate) fn has_unresolved(&self, processor: Processor) -> bool {
        !self.unresolved.get(processor).is_empty()
    }

    /// Whether it may have ended as refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.was_refused && Processor::ALL.iter().all(|one| !self.has_unresolved(*one))
    }

    /// I2, I3, I9: bytes go to `processor`.
    pub(crate) fn send(
        &mut self,
        request: usize,
        (processor, has_names): (Processor, bool),
        sent: Sent,
    ) {
        for other in Processor::ALL.into_iter().filter(|one| *one != processor) {
            assert!(
                !self.has_unresolved(other),
                "I2: bytes for {} while {} may still charge it: {:?}",
                processor.name(),
                other.name(),
                self.unresolved
            );
        }
        match self.unresolved.get(processor).values().next() {
            Some(earlier) => assert_eq!(*earlier, sent, "I9: a re-send repeats what was sent"),
            // Where names move p99 may not believe a refusal that was one.
            None => assert!(
                self.minted == Some(sent.requested_at) || *self.last.get(processor) == Some(sent),
                "I9: a first send, or one after a refusal, has a time of its own"
            ),
        }
        *self.last.get_mut(processor) = has_names.then_some(sent);
        self.unresolved.get_mut(processor).insert(request, sent);
        self.settled = None;
    }

    /// A whole answer with this status was handed to p99. Gives what a lookup that is sent now may
    /// prove absent, where the processor must be asked.
    pub(crate) fn answered(
        &mut self,
        request: usize,
        processor: Processor,
        (status, on_500): (u16, Upstream500),
    ) -> Option<BTreeSet<usize>> {
        let is_asked_about = match status {
            500 => on_500 == Upstream500::Ask,
            _ => matches!(status, 409 | 422 | 423 | 425),
        };
        if is_asked_about {
            self.answered.insert(request);
            return Some(self.all_answered(processor).unwrap_or_default());
        }
        if matches!(status, 400..=499) && status != 408 {
            self.unresolved.get_mut(processor).remove(&request);
            self.was_refused = true;
            // A refusal is the last answer of several: the record speaks of those before it, but
            // where the path itself is refused it is not asked.
            let is_about_the_path = matches!(status, 401 | 403 | 404 | 405);
            let others = self.all_answered(processor).filter(|all| !all.is_empty());
            return others.filter(|_| !is_about_the_path);
        }
        None
    }

    /// What is open at `processor`, where it has answered all of that.
    fn all_answered(&self, processor: Processor) -> Option<BTreeSet<usize>> {
        let open: BTreeSet<_> = self.unresolved.get(processor).keys().copied().collect();
        open.is_subset(&self.answered).then_some(open)
    }

    /// A lookup that may prove the requests of `covered` absent, and no others, said 404.
    pub(crate) fn not_found(&mut self, covered: &BTreeSet<usize>, processor: Processor) {
        let open = self.unresolved.get_mut(processor);
        if open.keys().all(|request| covered.contains(request)) {
            open.clear();
            self.was_refused = true;
        }
    }

    /// p99 says that it is over.
    pub(crate) fn settle(&mut self, status: Status) {
        if status == Status::Refused {
            assert!(
                Processor::ALL.iter().all(|one| !self.has_unresolved(*one)),
                "I3: ended as refused although {:?} may still be charged",
                self.unresolved
            );
        }
        self.settled = Some(status);
        self.is_promised = false;
        // Whatever is still under way can only be a second word about the same charge.
        self.settled_sends = std::mem::take(&mut self.unresolved);
    }

    /// A start found its Intent open, whatever was said of it before.
    pub(crate) fn reopen(&mut self) {
        if self.settled.take().is_some() {
            self.unresolved = std::mem::take(&mut self.settled_sends);
        }
    }

    /// What a client was told.
    pub(crate) fn told(&mut self, answer: Answer) {
        match answer {
            Answer::Charged => {
                self.is_charged = true;
                self.first.get_or_insert(FirstAnswer::Answered200);
            }
            Answer::Accepted => {
                self.is_promised = self.settled.is_none();
                self.first.get_or_insert(FirstAnswer::Accepted202);
            }
            Answer::Replayed(again) => {
                let first = *self.first.get_or_insert(again);
                assert_eq!(again, first, "the first answer again");
            }
            Answer::RefusedForGood | Answer::RefusedByAll | Answer::Unavailable => {
                assert!(!self.is_promised, "a promised payment is never freed");
                assert!(
                    Processor::ALL.iter().all(|one| !self.has_unresolved(*one)),
                    "I3: {answer:?} although {:?} may still be charged",
                    self.unresolved
                );
            }
            Answer::Duplicate(_)
            | Answer::AmountDiffers
            | Answer::NotTried
            | Answer::Overloaded
            | Answer::NoRoom
            | Answer::JournalDown
            | Answer::Silence => {}
        }
    }
}
