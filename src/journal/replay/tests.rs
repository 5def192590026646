//! What records come to, in every order in which an owner writes them.

use super::*;
use crate::payment::{Cents, CorrelationId};

const EXACT: Duration = Duration::from_secs(24 * 3600);
const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;

fn payment(number: u128) -> Payment {
    let id = UpstreamId(number);
    let correlation_id = CorrelationId::try_new(&id.to_string()).unwrap();
    Payment {
        id,
        correlation_id,
        amount: Cents(1990),
    }
}

fn accept(at: i64) -> Record {
    Record::Accept {
        payment: payment(1),
        accepted_at: UnixMillis(at),
    }
}

fn intent(processor: Processor, at: i64) -> Record {
    let requested_at = UnixMillis(at);
    Record::Intent {
        payment: payment(1),
        processor,
        requested_at,
        accepted_at: None,
        address: None,
    }
}

fn verdict(verdict: Verdict) -> Record {
    Record::Verdict {
        id: UpstreamId(1),
        verdict,
    }
}

fn applied(processor: Processor, at: i64) -> Record {
    let requested_at = UnixMillis(at);
    verdict(Verdict::Applied {
        processor,
        amount: Cents(1990),
        requested_at,
    })
}

fn refused(processor: Processor, fate: Fate) -> Record {
    verdict(Verdict::Refused { processor, fate })
}

fn not_sent(processor: Processor, fate: Fate) -> Record {
    verdict(Verdict::NotSent { processor, fate })
}

fn replay(records: &[Record]) -> State {
    let mut state = State::new(100, EXACT);
    records.iter().for_each(|record| state.apply(record));
    state
}

/// What the story of one payment leads to, in a line.
fn outcome(records: &[Record]) -> String {
    let state = replay(records);
    let sent = |sent: &Sent| format!("{}@{}", sent.processor.name(), sent.requested_at.0);
    let pending = state.find_pending(UpstreamId(1)).map(|pending| {
        let promised = pending
            .accepted_at
            .map_or_else(|| "none".into(), |at| at.0.to_string());
        let open = pending.open.as_ref().map_or_else(|| "-".into(), sent);
        let earlier: Vec<String> = pending.earlier.iter().map(sent).collect();
        format!(
            "pending promised:{promised} open:{open} earlier:{}",
            earlier.join(",")
        )
    });
    let settled = state.settled().next().map(|(_, claim)| {
        format!(
            "settled {} {:?} counted:{}",
            claim.status.name(),
            claim.first_answer,
            claim.counted
        )
    });
    let odd = if state.oddities() > 0 { " odd" } else { "" };
    pending.or(settled).unwrap_or_else(|| "free".to_owned()) + odd
}

type Row<'a> = (&'a [Record], &'a str);

fn check(rows: &[Row<'_>]) {
    for (records, expected) in rows {
        assert_eq!(outcome(records), *expected, "{records:?}");
    }
}

#[test]
fn a_payment_is_pending_until_a_verdict_ends_it() {
    check(&[
        (&[], "free"),
        (&[accept(5)], "pending promised:5 open:- earlier:"),
        (
            &[intent(A, 7)],
            "pending promised:none open:default@7 earlier:",
        ),
        (
            &[accept(5), intent(A, 7)],
            "pending promised:5 open:default@7 earlier:",
        ),
        (
            &[intent(A, 7), accept(9)],
            "pending promised:9 open:default@7 earlier:",
        ),
        (
            &[intent(A, 7), intent(A, 7)],
            "pending promised:none open:default@7 earlier:",
        ),
        (
            &[intent(A, 7), intent(B, 8)],
            "pending promised:none open:fallback@8 earlier:default@7",
        ),
        (
            &[accept(5), intent(A, 7), refused(A, Fate::Held)],
            "pending promised:5 open:- earlier:default@7",
        ),
        (
            &[accept(5), intent(A, 7), not_sent(A, Fate::Held)],
            "pending promised:5 open:- earlier:",
        ),
        (
            &[
                accept(5),
                intent(A, 7),
                refused(A, Fate::Held),
                intent(B, 8),
            ],
            "pending promised:5 open:fallback@8 earlier:default@7",
        ),
    ]);
}

#[test]
fn a_verdict_says_what_becomes_of_the_payment() {
    let foreign = verdict(Verdict::Foreign {
        processor: A,
        amount: Cents(1990),
        requested_at: UnixMillis(1),
    });
    let withdrawn = verdict(Verdict::Withdrawn);
    check(&[
        (&[intent(A, 7), refused(A, Fate::Freed)], "free"),
        (&[intent(A, 7), not_sent(A, Fate::Freed)], "free"),
        (&[intent(A, 7), withdrawn], "free"),
        (
            &[intent(A, 7), applied(A, 7)],
            "settled processed Answered200 counted:true",
        ),
        (
            &[accept(5), intent(A, 7), applied(A, 7)],
            "settled processed Accepted202 counted:true",
        ),
        (
            &[intent(A, 7), accept(9), applied(A, 7)],
            "settled processed Accepted202 counted:true",
        ),
        (
            &[intent(A, 7), foreign],
            "settled processed Answered200 counted:false",
        ),
        (
            &[accept(5), intent(A, 7), refused(A, Fate::Ended)],
            "settled refused Accepted202 counted:false",
        ),
    ]);
}

#[test]
fn what_cannot_be_is_obeyed_and_counted() {
    let withdrawn = verdict(Verdict::Withdrawn);
    check(&[
        // An id that its owner had forgotten begins anew.
        (
            &[intent(A, 7), applied(A, 7), intent(A, 9)],
            "pending promised:none open:default@9 earlier:",
        ),
        // What cannot be is obeyed and counted.
        (
            &[applied(A, 7)],
            "settled processed Answered200 counted:true odd",
        ),
        (&[refused(A, Fate::Held)], "free odd"),
        (&[refused(A, Fate::Ended)], "free odd"),
        (&[withdrawn], "free odd"),
        // Its client's time was up before the Accept was durable.
        (&[accept(5), withdrawn], "free"),
    ]);
}

#[test]
fn a_purge_forgets_what_is_settled_and_keeps_what_is_pending() {
    let open = Record::Intent {
        payment: payment(2),
        processor: B,
        requested_at: UnixMillis(8),
        accepted_at: None,
        address: None,
    };
    let purge = Record::Purge { at: UnixMillis(10) };
    let state = replay(&[intent(A, 7), applied(A, 7), open, purge]);
    assert_eq!(state.settled().count(), 0);
    assert_eq!(state.pending().len(), 1);
    assert_eq!(state.ledger, Ledger::new(EXACT));
    assert!(state.is_purged());
}

#[test]
fn a_pending_payment_is_written_as_records_that_lead_back_to_it() {
    let stories: &[&[Record]] = &[
        &[accept(5)],
        &[intent(A, 7)],
        &[accept(5), intent(A, 7), refused(A, Fate::Held)],
        &[intent(A, 7), refused(A, Fate::Held), intent(B, 8)],
        &[
            accept(5),
            intent(A, 7),
            intent(B, 8),
            intent(A, 9),
            not_sent(A, Fate::Held),
        ],
        &[
            intent(A, 7),
            intent(B, 8),
            intent(A, 9),
            intent(A, 10),
            intent(B, 11),
            intent(A, 12),
        ],
    ];
    for story in stories {
        let state = replay(story);
        let was = state.find_pending(UpstreamId(1)).unwrap();
        let again = replay(&was.records().collect::<Vec<_>>());
        let again = again.find_pending(UpstreamId(1)).unwrap();
        let order = was.order;
        assert_eq!(
            Pending {
                order,
                ..again.clone()
            },
            *was,
            "{story:?}"
        );
    }
}

#[test]
fn the_oldest_settled_claims_go_first() {
    let mut state = State::new(2, EXACT);
    let settle = |state: &mut State, number: u128| {
        let (processor, requested_at) = (A, UnixMillis(7));
        let payment = payment(number);
        state.apply(&Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at: None,
            address: None,
        });
        let amount = payment.amount;
        let verdict = Verdict::Applied {
            processor,
            amount,
            requested_at,
        };
        state.apply(&Record::Verdict {
            id: payment.id,
            verdict,
        });
    };
    for number in [1, 2, 1, 3, 3, 3, 3] {
        settle(&mut state, number);
    }
    let ids: Vec<u128> = state.settled().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [1, 3], "2 settled before 1 settled again");
    assert!(state.settled.claims.len() <= 4, "I8");
}

#[test]
fn a_start_forgets_what_nobody_counts_on_so_that_its_id_may_come_with_another_amount() {
    let mut state = replay(&[intent(A, 1), refused(A, Fate::Held)]);
    assert_eq!(state.end_unkept(), 1);
    let other = Payment {
        amount: Cents(5),
        ..payment(1)
    };
    state.apply(&Record::Intent {
        payment: other,
        processor: A,
        requested_at: UnixMillis(2),
        accepted_at: None,
        address: None,
    });
    let pending = state.find_pending(UpstreamId(1)).unwrap();
    assert_eq!(pending.payment.amount, Cents(5));
    assert_eq!(state.end_unkept(), 0, "it may have been sent");
}

#[test]
fn a_snapshot_that_settles_what_is_pending_leaves_it_pending() {
    let claim = SettledClaim {
        status: Status::Processed,
        amount: Cents(1990),
        processor: Some(A),
        requested_at: None,
        first_answer: FirstAnswer::Answered200,
        counted: true,
    };
    let mut state = State::new(100, EXACT);
    state.apply(&intent(A, 1));
    state.settle(UpstreamId(1), claim);
    assert_eq!((state.pending().len(), state.settled().count()), (1, 0));
    assert_eq!(state.oddities(), 1);
}

/// I1: as many files as cores, and an id in the file of a core that does not own it.
#[test]
fn a_payment_in_another_cores_file_reaches_its_owner() {
    let cores = CoreCount(2);
    let empty = || State::new(100, EXACT);
    let mut olds = vec![empty(), empty()];
    let owner = UpstreamId(1).owner(cores).index();
    olds[1 - owner].apply(&intent(A, 1));
    let states = crate::journal::distribute(olds, cores, empty).unwrap();
    assert_eq!(states[owner].pending().len(), 1);
    assert!(states[1 - owner].pending().is_empty());
}

#[test]
fn a_resend_at_another_address_is_the_same_send() {
    let (old, new) = (
        "10.0.0.1:80".parse().unwrap(),
        "10.0.0.2:80".parse().unwrap(),
    );
    let at = |address| Record::Intent {
        payment: payment(1),
        processor: A,
        requested_at: UnixMillis(7),
        accepted_at: None,
        address,
    };
    let state = replay(&[intent(A, 7), at(Some(old)), at(Some(new))]);
    let pending = state.find_pending(UpstreamId(1)).unwrap();
    assert_eq!(pending.open.and_then(|sent| sent.address), Some(new));
    assert_eq!(pending.earlier, []);
    let again: Vec<Record> = pending.records().collect();
    let state = replay(&again);
    assert_eq!(
        state.find_pending(UpstreamId(1)).unwrap().open,
        pending.open
    );
}
