//! A transaction as calls of statements. Pure; `reading` takes what they return.

use super::batch::{Batch, Pin};
use super::exchange::{Reads, Sweep, Transaction, Window};
use super::messages::{Call, Value, int2s, int4, int8, int8s, text, texts, uuid, uuids};
use super::page::PageFrom;
use super::parts::{Parts, seconds_of};
use super::sql::Statement;
use crate::journal::Authorities;
use crate::limits;
use crate::payment::{Processor, UpstreamId};
use crate::store::STORE_SWEEP_ROWS;
use crate::store::STORE_SWEEP_TURN;

/// Seconds of a writer's sums that one sweep gives to writer 0.
const STORE_SWEEP_SUMS: u32 = 10_000;

fn call(statement: Statement, values: Vec<Value>) -> Call {
    Call { statement, values }
}

fn lease() -> Value {
    int4(i32::try_from(limits::STORE_LEASE.as_secs()).unwrap_or(i32::MAX))
}

/// The calls of `transaction`, BEGIN and COMMIT around them. A writer registers where the store is
/// about `processors`; anywhere without.
pub(super) fn calls(transaction: &Transaction, processors: Option<&Authorities>) -> Vec<Call> {
    let mut calls = vec![call(Statement::Begin, Vec::new())];
    match transaction {
        Transaction::Register { holder, nonce } => {
            calls.push(call(Statement::NextWriter, Vec::new()));
            let places = processors
                .and_then(|all| texts(Processor::ALL.iter().map(|one| all.find(*one).cloned())));
            let values = vec![int8(*nonce), text(holder), lease(), places];
            calls.push(call(Statement::Register, values));
        }
        Transaction::Batch { batch, reads } => {
            batch_calls(batch, &mut calls);
            read_calls(batch, reads, &mut calls);
        }
        Transaction::Resolve {
            writer,
            epoch,
            number,
            nonce,
            claims,
        } => {
            let values = vec![int4(writer.0), int8(epoch.0), int8(*nonce)];
            calls.push(call(Statement::Doubt, values));
            let values = vec![int4(writer.0), int8(*number), ids(claims)];
            calls.push(call(Statement::Mine, values));
        }
        Transaction::Adopt {
            writer,
            epoch,
            nonce,
            holder,
        } => {
            let values = vec![
                int4(writer.0),
                int8(epoch.0),
                int8(*nonce),
                text(holder),
                lease(),
            ];
            calls.push(call(Statement::Adopt, values));
        }
        Transaction::Sweep(sweep) => sweep_calls(sweep, &mut calls),
    }
    calls.push(call(Statement::Commit, Vec::new()));
    calls
}

fn ids(all: &[UpstreamId]) -> Value {
    uuids(all.iter().map(|id| id.0))
}

fn batch_calls(batch: &Batch, calls: &mut Vec<Call>) {
    let guard = || {
        vec![
            int4(batch.writer.0),
            int8(batch.epoch.0),
            int8(batch.number),
            int8(batch.nonce),
        ]
    };
    let mut guarded = |statement: Statement, more: Vec<Value>| {
        let mut values = guard();
        values.extend(more);
        calls.push(call(statement, values));
    };
    let lease = if batch.is_last { int4(0) } else { lease() };
    let open_since = batch.open_since.and_then(int8);
    guarded(
        Statement::Fence,
        vec![
            int8(batch.expected),
            open_since,
            lease,
            int4(i32::from(batch.is_whole)),
        ],
    );
    if !batch.freed.is_empty() {
        guarded(Statement::Free, vec![ids(&batch.freed)]);
    }
    // An insert waits for a change of the same id that is under way. Were own rows changed first,
    // two writers that each claim an id of the other's would wait for each other.
    if !batch.claims.is_empty() {
        guarded(Statement::Claim, claims(batch));
    }
    if !batch.updates.is_empty() {
        guarded(Statement::Change, updates(batch));
    }
    let counted = batch.counted();
    if !counted.is_empty() {
        guarded(Statement::Roll, vec![ids(&counted)]);
    }
    if !batch.lingering.is_empty() {
        guarded(Statement::Linger, vec![ids(&batch.lingering)]);
    }
    if !batch.relieved.is_empty() {
        guarded(Statement::Relieve, vec![ids(&batch.relieved)]);
    }
    if !batch.sums.is_empty() {
        guarded(Statement::SetSums, sums(batch));
    }
    if batch.is_purge {
        purge_calls(guard, calls);
    }
}

/// What a purge consists of, in its order.
pub(super) const PURGE: [Statement; 6] = [
    Statement::PurgeTime,
    Statement::StopWriters,
    Statement::ForgetRows,
    Statement::ForgetSums,
    Statement::CountPurge,
    Statement::RenewWriters,
];

fn purge_calls(guard: impl Fn() -> Vec<Value>, calls: &mut Vec<Call>) {
    for statement in PURGE {
        let values = if statement == Statement::PurgeTime {
            let longest = limits::STORE_PURGE_STATEMENT_MAX.as_millis();
            vec![text(&longest.to_string())]
        } else {
            let renewal = (statement == Statement::RenewWriters).then(lease);
            guard().into_iter().chain(renewal).collect()
        };
        calls.push(call(statement, values));
    }
}

fn updates(batch: &Batch) -> Vec<Value> {
    let all = || batch.updates.iter();
    vec![
        uuids(all().map(|one| one.id.0)),
        int2s(all().map(|one| Some(one.change.number()))),
        int8s(all().map(|one| one.at.map(|at| at.0))),
        int2s(all().map(|one| match one.processor {
            Pin::Same => None,
            Pin::Nowhere => Some(-1),
            Pin::To(processor) => Some(i16::from(processor.number())),
        })),
        texts(all().map(|one| one.address.map(|address| address.to_string()))),
        int8s(all().map(|one| one.accepted_at.map(|at| at.0))),
        int2s(all().map(|one| Some(i16::from(one.was_heard)))),
    ]
}

fn claims(batch: &Batch) -> Vec<Value> {
    let all = || batch.claims.iter();
    vec![
        uuids(all().map(|one| one.id.0)),
        int8s(all().map(|one| i64::try_from(one.amount.0).ok())),
        int8s(all().map(|one| Some(one.at.0))),
        int8s(all().map(|one| one.accepted_at.map(|at| at.0))),
        int2s(all().map(|one| one.processor.map(|one| i16::from(one.number())))),
        int2s(all().map(|one| Some(one.status.number()))),
        texts(all().map(|one| one.correlation_id.clone())),
        texts(all().map(|one| one.address.map(|address| address.to_string()))),
        int8s(all().map(|one| one.first_sent.map(|at| at.0))),
    ]
}

fn sweep_calls(sweep: &Sweep, calls: &mut Vec<Call>) {
    let turn = STORE_SWEEP_TURN.as_secs();
    let turn = int4(i32::try_from(turn).unwrap_or(i32::MAX));
    let values = vec![int8(sweep.nonce), text(&sweep.holder), turn];
    calls.push(call(Statement::Turn, values));
    let mut mine = |statement: Statement, more: Vec<Value>| {
        let mut values = vec![int8(sweep.nonce)];
        values.extend(more);
        calls.push(call(statement, values));
    };
    let keep = i64::try_from(sweep.keep.as_millis()).unwrap_or(i64::MAX);
    if let Some((from, to)) = sweep.cut {
        mine(Statement::MoveCut, vec![int8(from), int8(to), int8(keep)]);
    }
    let most = i32::try_from(STORE_SWEEP_ROWS).unwrap_or(i32::MAX);
    if sweep.forgets {
        mine(Statement::Forget, vec![int8(keep), int4(most)]);
    }
    if let Some(dead) = sweep.bury {
        let most = i32::try_from(STORE_SWEEP_SUMS).unwrap_or(i32::MAX);
        mine(Statement::HoldDead, vec![int4(dead.0)]);
        mine(Statement::Fold, vec![int4(dead.0), int4(most)]);
        mine(Statement::Unfold, vec![int4(dead.0), int4(most)]);
        mine(Statement::Bury, vec![int4(dead.0)]);
    }
    mine(Statement::Standing, vec![int8(keep)]);
}

fn sums(batch: &Batch) -> Vec<Value> {
    let all = || batch.sums.iter();
    vec![
        int2s(all().map(|one| Some(i16::from(one.processor.number())))),
        int8s(all().map(|one| Some(one.second))),
        int8s(all().map(|one| Some(one.count))),
        int8s(all().map(|one| Some(one.cents))),
    ]
}

fn read_calls(batch: &Batch, reads: &Reads, calls: &mut Vec<Call>) {
    if !reads.rows.is_empty() {
        calls.push(call(Statement::Rows, vec![ids(&reads.rows)]));
    }
    if reads.open {
        let (from, to) = (Window::ALL.from, Window::ALL.to);
        calls.push(call(Statement::Open, vec![int8(from), int8(to)]));
    }
    for window in &reads.sums {
        let parts = Parts::of(*window);
        let range = |(from, to): (i64, i64)| vec![int8(from), int8(to)];
        // What is open first. Each statement sees what was committed before it: a verdict between
        // the two is open here and waited for, and never in neither.
        calls.push(call(Statement::Open, range((window.from, window.to))));
        for whole in parts.whole.into_iter().flatten() {
            calls.push(call(Statement::Whole, range(whole)));
        }
        for edge in parts.edges.into_iter().flatten() {
            calls.push(call(Statement::Edge, range(edge)));
            // Behind it: what was forgotten before is said here.
            calls.push(call(Statement::CutEdge, range(seconds_of(edge))));
        }
    }
    for writer in &reads.holders {
        calls.push(call(Statement::Holder, vec![int4(writer.0)]));
    }
    if reads.expired {
        calls.push(call(Statement::Expired, Vec::new()));
    }
    if let Some(from) = reads.page {
        let most = i32::try_from(limits::STORE_PAGE_ROWS + 1).unwrap_or(i32::MAX);
        let (statement, place) = match from {
            PageFrom::Lingering(id) => (Statement::Lingering, vec![uuid(id.0)]),
            PageFrom::Place(at, id) => (Statement::Page, vec![int8(at.0), uuid(id.0)]),
        };
        let mut values = vec![int4(batch.writer.0)];
        values.extend(place);
        values.push(int4(most));
        calls.push(call(statement, values));
    }
    if reads.purges {
        calls.push(call(Statement::Purges, Vec::new()));
    }
}
