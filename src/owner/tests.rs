//! The owner where a crash found it wrong; its whole behaviour is the world test's.

use std::sync::Arc;
use std::time::Duration;

use super::{Owner, OwnerSettings, Processors, breaker_settings};
use crate::clock::{Now, UnixMillis};
use crate::config::Config;
use crate::events::{Action, Answer, Arrival, Exchange, ReplyTo, Standing};
use crate::journal::Record;
use crate::payment::{Cents, CoreId, CorrelationId, Payment};
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
