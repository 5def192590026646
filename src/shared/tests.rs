//! A core on the model of a store: what its clients hear when nothing becomes durable any more.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::breaker::BreakerSettings;
use crate::claims::Full;
use crate::concurrency::Bounds;
use crate::config::{Ack, AnswerAfter, OnDuplicate, Routing, Upstream500};
use crate::events::{Action, Answer, Arrival, ReplyTo};
use crate::limits;
use crate::owner::{Journalling, OwnerSettings, Processors};
use crate::payment::{Cents, CoreId, CorrelationId, PerProcessor, ProcessorCount};
use crate::store::Epoch;
use crate::store::model::Model;
use crate::table::Key;

const LONG: Duration = Duration::from_secs(86_400);

fn owner() -> Owner {
    let settings = OwnerSettings {
        processors: ProcessorCount::try_new(1).unwrap(),
        ack: Ack::Processed,
        routing: Routing::Cheapest,
        on_duplicate: OnDuplicate::Conflict,
        upstream_500: Upstream500::Ask,
        request_timeout: LONG,
        attempt_timeout: LONG,
        settle_timeout: LONG,
        hedge_delay: LONG,
        fallback_after: Duration::ZERO,
        waiting_max: 4,
        queue_max: 4,
        late_max: 1,
        claims_max: 100,
        claims_ttl: LONG,
        claims_full: Full::Forget,
        ledger_exact: LONG,
        identity: PerProcessor::default(),
        answer_after: AnswerAfter::Intent,
        journal: Journalling::Store,
    };
    let breaker = BreakerSettings {
        failure_per_mille: 1_000,
        min_samples: 20,
        open: LONG,
        window: LONG,
        probes: 1,
        probe_ttl: LONG,
    };
    let bounds = Bounds::new(64, 1);
    let processors = Processors::new(settings.processors, breaker, bounds);
    Owner::new(settings, Arc::new(processors))
}

/// A core that reaches every processor at once and hears no answer.
struct Core {
    owner: Owner,
    writers: Writers,
    now: Now,
    answers: Vec<Answer>,
}

impl Core {
    fn new() -> Self {
        Self::called("host", 7)
    }

    fn called(holder: &str, seed: u64) -> Self {
        let now = Now {
            boot: Boot(1_000_000_000),
            ..Now::default()
        };
        let terms = MachineTerms {
            holder: holder.to_owned(),
            seed,
            is_lookout: true,
            now: now.boot,
        };
        Self {
            owner: owner(),
            writers: Writers::new(terms),
            now,
            answers: Vec::new(),
        }
    }

    fn perform(&mut self) {
        let own = WriterSlot::OWN;
        loop {
            while let Some(action) = self.owner.next_action() {
                match action {
                    Action::Connect { attempt, .. } => {
                        self.owner.connected(attempt, None, self.now);
                    }
                    Action::Append(slot, haste) => {
                        let record = self.owner.next_record().unwrap();
                        self.writers.append(slot, &record, haste);
                    }
                    Action::Answer { answer, .. } => self.answers.push(answer),
                    Action::Flush(slot) => self.writers.flush(slot),
                    Action::AppendToStore(..)
                    | Action::Abandon { .. }
                    | Action::Send { .. }
                    | Action::Lookup { .. }
                    | Action::Close { .. }
                    | Action::Note(_)
                    | Action::Tell => {}
                }
            }
            if !self.writers.tell(own, &mut self.owner, self.now) {
                return;
            }
        }
    }

    fn settle(&mut self, model: &mut Model) {
        self.perform();
        while let Some(command) = self.writers.next(WriterSlot::OWN, self.now.boot) {
            let outcome = match command {
                Command::Connect => Outcome::Connected,
                Command::Transact(what) => {
                    Outcome::Acknowledged(model.perform(&what, self.now.boot.0))
                }
            };
            self.writers
                .outcome(WriterSlot::OWN, outcome, self.now.boot);
            self.perform();
        }
    }

    fn post(&mut self, number: u32) {
        let correlation_id = CorrelationId::try_new(&format!("order-{number}")).unwrap();
        let payment = Payment {
            id: correlation_id.upstream_id(),
            correlation_id,
            amount: Cents(1990),
        };
        let key = Key {
            slot: number,
            generation: 0,
        };
        let core = CoreId(0);
        let arrival = Arrival {
            payment,
            reply_to: ReplyTo { core, key },
            trace: None,
        };
        self.owner.arrive(arrival, self.now);
    }
}

#[test]
fn what_is_out_is_held_where_another_takes_over_and_not_where_the_store_forgot_it() {
    for (is_forgotten, answer) in [(false, Answer::Accepted), (true, Answer::Silence)] {
        let mut core = Core::new();
        let mut model = Model::default();
        core.settle(&mut model);
        let before = model.clone();
        core.post(1);
        core.settle(&mut model);
        assert_eq!((model.rows.len(), core.answers.len()), (1, 0), "it is out");
        if is_forgotten {
            model = before;
        } else {
            let writer = model.writers.values_mut().next().unwrap();
            writer.epoch = Epoch(2);
        }
        core.now.boot = core.now.boot.after(limits::STORE_HEARTBEAT);
        core.settle(&mut model);
        assert_eq!(core.answers, [answer]);
        let ends = std::iter::from_fn(|| core.writers.next_news());
        let ends = ends.filter(|one| matches!(one, News::Ended(_)));
        assert_eq!(ends.count(), 1);
        core.post(1);
        core.perform();
        assert!(!core.answers[1..].contains(&Answer::Accepted));
    }
}

/// It was adopted while no new connection was to be had, so another took it over before its first
/// batch. Nothing of it was used.
#[test]
fn a_writer_that_was_adopted_and_never_reached_ends_nothing_when_it_is_fenced() {
    let mut model = Model::default();
    let (mut core, mut dead) = (Core::new(), Core::called("dead", 8));
    core.settle(&mut model);
    dead.settle(&mut model);
    dead.post(1);
    dead.settle(&mut model);
    core.now.boot = core.now.boot.after(limits::STORE_LEASE * 2);
    for _ in 0..80 {
        core.now.boot = core.now.boot.after(Duration::from_millis(100));
        core.settle(&mut model);
    }
    let slot = core.writers.slots().nth(1).expect("it has adopted");
    let adopted = model.writers.values_mut().find(|row| row.epoch == Epoch(2));
    adopted.expect("its writer").epoch = Epoch(3);
    while let Some(command) = core.writers.next(slot, core.now.boot) {
        let outcome = match command {
            Command::Connect => Outcome::Connected,
            Command::Transact(what) => Outcome::Acknowledged(model.perform(&what, core.now.boot.0)),
        };
        core.writers.outcome(slot, outcome, core.now.boot);
        while core.writers.tell(slot, &mut core.owner, core.now) {}
    }
    assert!(core.writers.machine(slot).is_some_and(Machine::has_ended));
    let mut news = std::iter::from_fn(|| core.writers.next_news());
    assert!(!news.any(|one| matches!(one, News::Ended(_))));
    core.post(2);
    core.settle(&mut model);
    assert_eq!(model.rows.len(), 2, "it goes on");
}
