//! The database: what a batch does when its transaction commits, who may adopt, what retention
//! deletes, and what a failover loses.
//!
//! A transaction takes the lock of its writer's row first, and its claims wait for ids that another
//! open transaction inserts or deletes; all locks end at the commit. So READ COMMITTED gives what
//! one commit after the other gives, and a batch takes effect at its commit, whole. Scenes with
//! locks keep a transaction open meanwhile.

use crate::scene::{Broken, Property, Scene};
use crate::state::{
    Batch, Core, Database, IDS, LEASE, Life, Mask, PROCESSORS, RETENTION, Record, Row, State, Step,
    Transit, WRITERS, bit,
};

fn claims(record: Record) -> bool {
    matches!(record, Record::Claim { .. } | Record::Accept { .. })
}

/// Whether an open transaction holds a lock that this copy needs.
pub(crate) fn is_locked_out(state: &State, copy: &Batch) -> bool {
    let open = state
        .copies
        .iter()
        .flatten()
        .filter(|other| other.at == Transit::Open);
    let mut open = open.filter(|other| *other != copy);
    open.any(|other| {
        let frees = |record| claims(record) || matches!(record, Record::Free { .. });
        let waits = |id: usize| claims(copy.records[id]) && frees(other.records[id]);
        other.writer == copy.writer || (0..IDS).any(waits)
    })
}

pub(crate) fn take_locks(state: &mut State, number: usize) {
    if let Some(copy) = &mut state.copies[number] {
        copy.at = Transit::Open;
    }
}

fn is_writer_locked(state: &State, writer: u8) -> bool {
    let mut copies = state.copies.iter().flatten();
    copies.any(|copy| copy.at == Transit::Open && copy.writer == writer)
}

/// Whether a commit is acknowledged as p99 wants it: by a standby that has all before it too.
pub(crate) fn is_believed(state: &State, scene: &Scene) -> bool {
    state.standby.is_none()
        || scene.breaks(Broken::NoticeIsSuccess)
        || scene.breaks(Broken::AsynchronousStandby)
}

pub(crate) fn may_ask(state: &State, scene: &Scene, writer: u8) -> bool {
    is_believed(state, scene) && !is_writer_locked(state, writer)
}

pub(crate) fn commit(state: &mut State, scene: &Scene, number: usize) {
    let Some(copy) = state.copies[number] else {
        return;
    };
    let (won, broken) = apply(&mut state.database, scene, &copy);
    state.broken |= broken;
    let with_notice = state.standby.is_some() && !scene.breaks(Broken::AsynchronousStandby);
    let answered = Transit::Answered {
        has_applied: won.is_some(),
        won: won.unwrap_or_default(),
        with_notice,
    };
    let is_awaited = copy.core.is_some();
    state.copies[number] = is_awaited.then_some(Batch {
        at: answered,
        ..copy
    });
}

/// The statements of a batch. None where F met no row; else the claims that were won.
fn apply(database: &mut Database, scene: &Scene, copy: &Batch) -> (Option<Mask>, u16) {
    let writer = &mut database.writers[usize::from(copy.writer)];
    let is_own = writer.epoch == copy.epoch;
    let is_let_in = is_own || scene.breaks(Broken::NoFence);
    let is_next = is_let_in
        && writer.batch + 1 == copy.batch
        && (writer.nonce == copy.after || scene.breaks(Broken::NoNonceOfDoubt));
    if is_next {
        writer.batch = copy.batch;
        writer.nonce = copy.nonce;
        writer.age = 0;
    }
    let is_guarded = is_let_in
        && writer.batch == copy.batch
        && (writer.nonce == copy.nonce || scene.breaks(Broken::NoNonce));
    if !is_guarded {
        return (None, 0);
    }
    let mut broken = if is_next {
        0
    } else {
        Property::BatchOnce.bit()
    };
    let mut won = 0;
    for (id, record) in copy.records.into_iter().enumerate() {
        let row = &mut database.rows[id];
        broken |= apply_record(row, scene, copy, record);
        if claims(record) && !row.exists {
            *row = claimed(copy, record);
            won |= bit(id);
        }
        let lets_in = won & bit(id) != 0 || matches!(record, Record::Intent { .. });
        if lets_in && !is_own {
            broken |= Property::Fenced.bit();
        }
        if matches!(record, Record::Free { .. }) && !is_own {
            broken |= Property::Freed.bit();
        }
    }
    for processor in 0..PROCESSORS {
        database.rollup[processor] += settled_by(database, scene, copy, processor);
    }
    (is_next.then_some(won), broken)
}

fn claimed(copy: &Batch, record: Record) -> Row {
    let (processor, claim) = match record {
        Record::Claim { processor, claim } => (Some(processor), claim),
        Record::Accept { claim } => (None, claim),
        _ => unreachable!("a claim"),
    };
    Row {
        exists: true,
        processor,
        claim,
        writer: copy.writer,
        epoch: copy.epoch,
        batch: copy.batch,
        ..Row::default()
    }
}

/// Everything but a claim: it changes rows of its own writer alone.
fn apply_record(row: &mut Row, scene: &Scene, copy: &Batch, record: Record) -> u16 {
    let is_mine = row.exists && row.writer == copy.writer;
    match record {
        Record::Intent { processor } if is_mine && row.is_open() => {
            row.processor = Some(processor);
        }
        Record::Paid { processor } => {
            let settles = row.is_open() || scene.breaks(Broken::VerdictOnSettled);
            if !(is_mine && row.is_open()) {
                if is_mine && settles {
                    row.settled_batch = copy.batch;
                }
                return Property::VerdictOnOpen.bit();
            }
            row.is_settled = true;
            row.processor = Some(processor);
            row.settled_batch = copy.batch;
            row.settled_age = 0;
        }
        Record::Free { is_adopter } if is_mine => {
            *row = Row::default();
            if is_adopter {
                return Property::Freed.bit();
            }
        }
        Record::Spoken if is_mine && row.is_open() => row.epoch = copy.epoch,
        _ => {}
    }
    0
}

fn settled_by(database: &Database, scene: &Scene, copy: &Batch, processor: usize) -> u8 {
    let paid_by = |record: &Record| match record {
        Record::Paid { processor } => Some(usize::from(*processor)),
        _ => None,
    };
    let by_parameters = |record: &&Record| paid_by(record) == Some(processor);
    let by_rows = |row: &&Row| {
        row.is_settled
            && row.writer == copy.writer
            && row.settled_batch == copy.batch
            && row.processor.map(usize::from) == Some(processor)
    };
    let count = if scene.breaks(Broken::RollupFromParameters) {
        copy.records.iter().filter(by_parameters).count()
    } else {
        database.rows.iter().filter(by_rows).count()
    };
    u8::try_from(count).expect("a handful")
}

/// A writer whose lease is over, and of which something may be open.
pub(crate) fn may_adopt(state: &State, scene: &Scene, number: u8) -> bool {
    let writer = &state.database.writers[usize::from(number)];
    if writer.age < LEASE || !may_ask(state, scene, number) {
        return false;
    }
    let has_place = state.cores.iter().any(|core| core.life == Life::Gone);
    let mut rows = state.database.rows.iter();
    let mut cores = state.cores.iter();
    let mut copies = state.copies.iter().flatten();
    has_place
        && (rows.any(|row| row.is_open() && row.writer == number)
            || cores
                .any(|core| core.writer == number && core.epoch == writer.epoch && !core.is_idle())
            || copies.any(|copy| copy.writer == number && copy.epoch == writer.epoch))
}

/// Takes the writer by its epoch, and then reads its open rows: after that no one else changes
/// them.
pub(crate) fn adopt(state: &mut State, number: u8) {
    let writer = &mut state.database.writers[usize::from(number)];
    writer.epoch += 1;
    writer.age = 0;
    let mut core = Core {
        life: Life::Up,
        is_adopter: true,
        writer: number,
        epoch: writer.epoch,
        batch: writer.batch,
        nonce: writer.nonce,
        ..Core::default()
    };
    for (id, row) in state.database.rows.iter().enumerate() {
        if !row.is_open() || row.writer != number {
            continue;
        }
        let flow = &mut core.flows[id];
        flow.claim = row.claim;
        flow.is_promised = true;
        flow.processor = row.processor.unwrap_or_default();
        flow.is_adopted = row.processor.is_some();
        flow.is_doubtful = flow.is_adopted;
        flow.step = if flow.is_adopted {
            Step::Unknown
        } else {
            Step::Parked
        };
    }
    let place = state.cores.iter().position(|core| core.life == Life::Gone);
    state.cores[place.expect("looked at before")] = core;
}

/// The number that a registration gets. Broken: the lowest whose row is empty and expired.
pub(crate) fn number_to_give(state: &State, scene: &Scene) -> Option<u8> {
    if !is_believed(state, scene) || state.cores.iter().all(|core| core.life != Life::Gone) {
        return None;
    }
    let database = &state.database;
    let is_empty = |number: &u8| {
        let mut rows = database.rows.iter();
        database.writers[usize::from(*number)].age >= LEASE
            && !rows.any(|row| row.is_open() && row.writer == *number)
    };
    if scene.breaks(Broken::WriterNumbersReused) {
        return (0..database.next_writer).find(is_empty);
    }
    (usize::from(database.next_writer) < WRITERS).then_some(database.next_writer)
}

pub(crate) fn register(state: &mut State, scene: &Scene) {
    let number = number_to_give(state, scene).expect("looked at before");
    if number < state.database.next_writer {
        state.broken |= Property::WriterOnce.bit();
    }
    state.budget.registrations -= 1;
    state.register(number);
}

/// A settled row older than retention, for whose id nothing is under way: requests are younger.
pub(crate) fn may_sweep(state: &State, scene: &Scene, id: usize) -> bool {
    let row = &state.database.rows[id];
    let is_claiming = state
        .cores
        .iter()
        .any(|core| core.flows[id].step == Step::Claiming)
        || state
            .copies
            .iter()
            .flatten()
            .any(|copy| claims(copy.records[id]));
    let is_over = row.settled_age >= RETENTION || scene.breaks(Broken::RetentionByRequestedAt);
    row.exists && row.is_settled && row.age >= RETENTION && is_over && !is_claiming
}

pub(crate) fn sweep(state: &mut State, id: usize) {
    state.budget.sweeps -= 1;
    let row = std::mem::take(&mut state.database.rows[id]);
    state.database.swept[usize::from(row.processor.unwrap_or_default())] += 1;
    if row.settled_age >= RETENTION {
        state.forgotten |= bit(id);
    }
}

/// The standby becomes the primary with what it has; every connection ends.
pub(crate) fn fail_over(state: &mut State, scene: &Scene) {
    state.budget.failovers -= 1;
    if let Some(standby) = state.standby.take() {
        state.database = standby;
    }
    for number in 0..state.copies.len() {
        crate::cores::lose(state, scene, number, false);
    }
}
