//! The owner where a crash found it wrong; its whole behaviour is the world test's.

use std::sync::Arc;
use std::time::Duration;

use super::{Journalling, Owner, OwnerSettings, Processors, breaker_settings};
use crate::breaker::BreakerSettings;
use crate::clock::{Now, UnixMillis};
use crate::config::{Ack, Config, OnDuplicate, Routing};
use crate::events::{Action, Answer, Arrival, AttemptRef, Exchange, ReplyTo, Standing};
use crate::journal::Record;
use crate::journal::replay::State;
use crate::payment::{Cents, CoreId, CorrelationId, Payment, Processor};
use crate::table::Key;

fn owner() -> Owner {
    let lookup = |name: &str| match name {
        "UPSTREAM_A_URL" => Some("http://127.0.0.1:8001".to_owned()),
        "UPSTREAM_B_URL" => Some("http://127.0.0.1:8002".to_owned()),
        "JOURNAL_DIR" => Some("/nowhere".to_owned()),
        "CORES" => Some("1".to_owned()),
        _ => None,
    };
    let config = Config::from_lookup(lookup).unwrap();
    let processors = Arc::new(Processors::new(breaker_settings(&config)));
    Owner::new(OwnerSettings::of(&config), processors)
}

fn at(ms: u64) -> Now {
    let mut now = Now {
        wall: UnixMillis(1_752_150_896_000 + i64::try_from(ms).unwrap()),
        ..Now::default()
    };
    now.mono = now.mono.after(Duration::from_millis(ms));
    now.run = now.mono;
    now
}

fn arrival() -> Arrival {
    let correlation_id = CorrelationId::try_new("order-1").unwrap();
    Arrival {
        payment: Payment {
            id: correlation_id.upstream_id(),
            correlation_id,
            amount: Cents(1990),
        },
        reply_to: ReplyTo {
            core: CoreId(0),
            key: Key {
                slot: 0,
                generation: 0,
            },
        },
        trace: None,
        standing: Standing::Own,
    }
}

/// What the owner asks for; whoever connects has its connection at once.
fn actions(owner: &mut Owner, now: Now) -> Vec<Action> {
    let mut all = Vec::new();
    while let Some(action) = owner.next_action() {
        if let Action::Connect { attempt, .. } = action {
            owner.connected(attempt, now);
        }
        all.push(action);
    }
    all
}

fn records(actions: &[Action]) -> Vec<&Record> {
    let mut found = Vec::new();
    for action in actions {
        if let Action::Append { record } = action {
            found.push(record);
        }
    }
    found
}

/// I5: replay takes an Accept behind the Verdict for an id that was forgotten and came again, and
/// charges it a second time.
#[test]
fn a_202_while_the_verdict_is_being_written_leaves_no_accept_behind_the_verdict() {
    let mut owner = owner();
    owner.arrive(arrival(), at(0));
    let done = actions(&mut owner, at(0));
    assert!(
        matches!(records(&done)[..], [Record::Intent { .. }]),
        "{done:?}"
    );
    owner.durable(1, at(1));
    let done = actions(&mut owner, at(1));
    let Some(Action::Send { attempt, .. }) = done.first() else {
        panic!("{done:?}");
    };
    let answered = Exchange::Answered {
        status: 200,
        retry_after_secs: None,
    };
    owner.exchanged(*attempt, answered, at(2));
    let done = actions(&mut owner, at(2));
    assert!(
        records(&done)
            .iter()
            .any(|record| matches!(record, Record::Verdict { .. })),
        "{done:?}"
    );
    // The sync takes longer than the client waits.
    owner.tick(at(1_000));
    let done = actions(&mut owner, at(1_000));
    assert!(
        done.iter().any(|action| matches!(
            action,
            Action::Answer {
                answer: Answer::Accepted,
                ..
            }
        )),
        "{done:?}"
    );
    assert_eq!(records(&done), Vec::<&Record>::new());
    owner.durable(2, at(1_001));
    assert_eq!(owner.pending(), 0);
}

const PATIENCE: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_secs(86_400);

/// An owner with a driver that connects at once and keeps what is said.
struct Play {
    owner: Owner,
    now: Now,
    records: Vec<Record>,
    answers: Vec<Answer>,
    sent: Vec<AttemptRef>,
}

impl Play {
    fn begin() -> Self {
        let settings = OwnerSettings {
            ack: Ack::Processed,
            routing: Routing::Cheapest,
            on_duplicate: OnDuplicate::Conflict,
            request_timeout: PATIENCE,
            attempt_timeout: PATIENCE,
            settle_timeout: Duration::from_millis(200),
            hedge_delay: Duration::from_millis(5),
            fallback_after: Duration::ZERO,
            waiting_max: 4,
            queue_max: 4,
            slots_max: 4,
            late_max: 1,
            claims_max: 10,
            claims_ttl: DAY,
            ledger_exact: DAY,
            journal: Journalling::On,
        };
        let processors = Processors::new(BreakerSettings {
            failure_per_mille: 300,
            min_samples: 20,
            open: PATIENCE,
            window: DAY,
            probes: 1,
            probe_ttl: PATIENCE,
        });
        Self {
            owner: Owner::new(settings, Arc::new(processors)),
            now: Now::default(),
            records: Vec::new(),
            answers: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn perform(&mut self) {
        while let Some(action) = self.owner.next_action() {
            match action {
                Action::Connect { attempt, .. } => self.owner.connected(attempt, self.now),
                Action::Append { record } => self.records.push(record),
                Action::Answer { answer, .. } => self.answers.push(answer),
                Action::Send { attempt, .. } => self.sent.push(attempt),
                Action::Abandon { .. }
                | Action::Lookup { .. }
                | Action::Close { .. }
                | Action::Investigate { .. }
                | Action::Note(_) => {}
            }
        }
    }

    fn post(&mut self) {
        let correlation_id = CorrelationId::try_new("test-123").unwrap();
        let payment = Payment {
            id: correlation_id.upstream_id(),
            correlation_id,
            amount: Cents(1990),
        };
        let key = Key {
            slot: 0,
            generation: 0,
        };
        let reply_to = ReplyTo {
            core: CoreId(0),
            key,
        };
        let arrival = Arrival {
            payment,
            reply_to,
            trace: None,
            standing: Standing::Own,
        };
        self.owner.arrive(arrival, self.now);
        self.perform();
    }

    /// All that was appended is durable.
    fn sync(&mut self) {
        let up_to = u64::try_from(self.records.len()).unwrap();
        self.owner.durable(up_to, self.now);
        self.perform();
    }

    fn hear(&mut self, status: u16) {
        let answered = Exchange::Answered {
            status,
            retry_after_secs: None,
        };
        let attempt = *self.sent.last().unwrap();
        self.owner.exchanged(attempt, answered, self.now);
        self.perform();
    }

    fn pass(&mut self, span: Duration) {
        self.now.mono = self.now.mono.after(span);
        self.now.run = self.now.run.after(span);
        self.now.wall.0 += i64::try_from(span.as_millis()).unwrap();
        self.owner.tick(self.now);
        self.perform();
    }

    fn replay(&self, records: usize) -> State {
        let mut state = State::new(10, DAY);
        for record in &self.records[..records] {
            state.apply(record);
        }
        state
    }
}

#[test]
fn a_charge_whose_verdict_was_not_durable_outlives_a_purge_at_replay_too() {
    let mut play = Play::begin();
    play.post();
    play.sync();
    play.hear(200);
    let at_purge = play.records.len();
    play.owner.purge(play.now);
    play.perform();
    play.owner
        .durable(u64::try_from(at_purge).unwrap(), play.now);
    play.perform();
    assert_eq!(
        play.answers,
        [],
        "the verdict that counts is not durable yet"
    );
    play.sync();
    assert_eq!(play.answers, [Answer::Charged]);
    let totals = play.owner.totals(None, None).unwrap();
    assert_eq!(totals.get(Processor::Default).count, 1);
    let state = play.replay(play.records.len());
    assert_eq!(state.ledger.totals(None, None), Ok(totals), "I6");
    assert_eq!((state.settled().count(), state.oddities()), (1, 0));
    for end in at_purge + 2..play.records.len() {
        let state = play.replay(end);
        assert!(
            state.pending().iter().any(|one| one.open.is_some()),
            "I3: pinned when the process dies after record {end}"
        );
    }
}

#[test]
fn a_client_that_waits_for_the_disk_does_not_make_its_core_spin() {
    let mut play = Play::begin();
    play.post();
    play.sync();
    play.hear(400);
    for _ in 0..3 {
        play.pass(PATIENCE);
    }
    assert_eq!(play.answers, [], "not told before the refusal is durable");
    assert!(
        play.owner
            .next_timer()
            .is_none_or(|next| next > play.now.mono)
    );
    play.sync();
    assert_eq!(play.answers, [Answer::RefusedForGood]);
}

#[test]
fn an_answer_that_never_came_leaves_the_list_of_late_ones() {
    let mut play = Play::begin();
    play.post();
    play.sync();
    play.pass(PATIENCE);
    assert_eq!(play.owner.gauges().late, 1);
    play.pass(Duration::from_millis(200));
    assert_eq!(play.owner.gauges().late, 0);
    assert!(play.owner.next_timer().is_some(), "it is sent again");
}
