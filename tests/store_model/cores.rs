//! What a core does: it forms batches, believes their answers or asks, lets bytes leave, reads
//! answers, and stops when it is fenced. An adopter sends its rows again where they went, and does
//! nothing else with them.

use crate::outside;
use crate::scene::{Broken, Property, Scene};
use crate::state::{
    Answer, Batch, Core, Flow, HALF, IDS, Life, Mask, PROCESSORS, Record, Sent, State, Step,
    Transit, Wait, bit,
};

/// A batch without records, to learn whether this core is the owner still, or because a summary
/// waits.
pub(crate) fn wants_heartbeat(state: &State, scene: &Scene, core: &Core) -> bool {
    let waits = |flow: &Flow| matches!(flow.step, Step::Ready | Step::Unknown);
    let is_stale = core.age >= HALF && core.flows.iter().any(waits);
    is_stale || outside::sum_waits_for(state, scene, core.writer)
}

/// A nonce that nothing of this writer carries. Only equality counts, so used ones come again.
fn nonce(state: &State, writer: u8) -> u8 {
    let at = usize::from(writer);
    let is_used = |nonce: &u8| {
        let standby = state
            .standby
            .as_ref()
            .map(|standby| standby.writers[at].nonce);
        let mut copies = state.copies.iter().flatten();
        let mut cores = state.cores.iter();
        state.database.writers[at].nonce == *nonce
            || standby == Some(*nonce)
            || copies
                .any(|one| one.writer == writer && (one.nonce == *nonce || one.after == *nonce))
            || cores.any(|one| one.writer == writer && one.life == Life::Up && one.nonce == *nonce)
    };
    (0..u8::MAX)
        .find(|nonce| !is_used(nonce))
        .expect("a handful are in use")
}

pub(crate) fn send(state: &mut State, number: usize) {
    let nonce = nonce(state, state.cores[number].writer);
    let core = &mut state.cores[number];
    let records = match core.sent {
        Some(sent) => sent.records,
        None => std::mem::take(&mut core.forming),
    };
    core.sent = Some(Sent {
        records,
        age: 0,
        wait: Wait::Answer,
    });
    let copy = Batch {
        core: u8::try_from(number).ok(),
        writer: core.writer,
        epoch: core.epoch,
        batch: core.batch + 1,
        nonce,
        after: core.nonce,
        records,
        at: Transit::OnItsWay,
    };
    let place = state.copies.iter().position(Option::is_none);
    state.copies[place.expect("looked at before")] = Some(copy);
}

pub(crate) fn acknowledged(state: &mut State, scene: &Scene, number: usize) {
    let Some(copy) = state.copies[number].take() else {
        return;
    };
    let (
        Some(core),
        Transit::Answered {
            has_applied,
            won,
            with_notice,
        },
    ) = (copy.core, copy.at)
    else {
        return;
    };
    let core = usize::from(core);
    let is_success = !with_notice || scene.breaks(Broken::NoticeIsSuccess);
    if has_applied && is_success {
        state.cores[core].nonce = copy.nonce;
        durable(state, scene, core, won);
    } else {
        in_doubt(state, scene, core);
    }
}

/// The connection of this copy ends. What was on its way goes on or does not.
pub(crate) fn lose(state: &mut State, scene: &Scene, number: usize, goes_on: bool) {
    let Some(copy) = state.copies[number].take() else {
        return;
    };
    if goes_on {
        state.copies[number] = Some(Batch { core: None, ..copy });
    }
    if let Some(core) = copy.core {
        in_doubt(state, scene, usize::from(core));
    }
}

fn in_doubt(state: &mut State, scene: &Scene, number: usize) {
    if scene.breaks(Broken::DoubtIsNotDone) {
        not_done(state, number);
    } else if let Some(sent) = &mut state.cores[number].sent {
        sent.wait = Wait::Doubt;
    }
}

/// Broken: claims are given up and their clients told, everything else goes with the next batch.
fn not_done(state: &mut State, number: usize) {
    let core = &mut state.cores[number];
    let Some(sent) = core.sent.take() else {
        return;
    };
    for (id, record) in sent.records.into_iter().enumerate() {
        let flow = &mut core.flows[id];
        if matches!(record, Record::Claim { .. } | Record::Accept { .. }) {
            state.denied[id] |= bit(usize::from(flow.claim));
            *flow = Flow::default();
        } else if core.forming[id] == Record::Nothing {
            core.forming[id] = record;
        }
    }
}

/// The doubt statement: it writes a new nonce, so what it saw is replicated once it is
/// acknowledged, and no earlier copy applies after it.
pub(crate) fn ask(state: &mut State, scene: &Scene, number: usize) {
    let writer = state.cores[number].writer;
    let fresh = nonce(state, writer);
    let row = &mut state.database.writers[usize::from(writer)];
    let core = &mut state.cores[number];
    if row.epoch != core.epoch {
        fenced(state, number);
        return;
    }
    row.nonce = fresh;
    core.nonce = fresh;
    if row.batch == core.batch + 1 {
        let is_mine = |id: &usize| {
            let found = &state.database.rows[*id];
            found.exists && found.writer == writer && found.batch == row.batch
        };
        let won = (0..IDS).filter(is_mine).map(bit).sum();
        durable(state, scene, number, won);
    } else if row.batch == core.batch {
        if let Some(sent) = &mut core.sent {
            sent.wait = Wait::Again;
        }
    } else {
        // The store went back in time, or another has this writer: stop.
        crash(state, number);
    }
}

fn durable(state: &mut State, scene: &Scene, number: usize, won: Mask) {
    let core = &mut state.cores[number];
    let Some(sent) = core.sent.take() else {
        return;
    };
    core.batch += 1;
    core.age = if scene.breaks(Broken::AgeFromAnswer) {
        0
    } else {
        sent.age
    };
    for (id, record) in sent.records.into_iter().enumerate() {
        let flow = &mut core.flows[id];
        let has_won = won & bit(id) != 0;
        match record {
            Record::Nothing => {}
            // It is somebody's already: 409, which says nothing about a charge.
            Record::Claim { .. } | Record::Accept { .. } if !has_won => *flow = Flow::default(),
            Record::Claim { .. } => flow.step = Step::Ready,
            Record::Accept { .. } => {
                flow.step = Step::Parked;
                flow.is_waiting = false;
                flow.is_promised = true;
                state.told_202 |= bit(id);
            }
            Record::Intent { processor } => {
                flow.step = Step::Ready;
                flow.processor = processor;
                flow.is_doubtful = false;
            }
            Record::Paid { .. } => *flow = Flow::default(),
            Record::Free { .. } => {
                if flow.is_waiting {
                    state.denied[id] |= bit(usize::from(flow.claim));
                }
                *flow = Flow::default();
            }
            Record::Spoken => flow.has_spoken = true,
        }
    }
}

/// Takes nothing in and writes nothing any more; answers that are under way are read.
fn fenced(state: &mut State, number: usize) {
    let core = &mut state.cores[number];
    core.life = Life::Fenced;
    core.forming = Default::default();
    core.sent = None;
    for (id, flow) in core.flows.iter_mut().enumerate() {
        if matches!(flow.step, Step::Sent | Step::Answered(_)) {
            continue;
        }
        if flow.is_waiting && flow.has_durable_intent() {
            state.told_202 |= bit(id);
        }
        *flow = Flow::default();
    }
}

pub(crate) fn crash(state: &mut State, number: usize) {
    for id in 0..IDS {
        if state.cores[number].flows[id].step == Step::Sent {
            outside::leave_stray(state, number, id);
        }
    }
    for place in &mut state.copies {
        let is_ours = |copy: &Batch| copy.core.map(usize::from) == Some(number);
        if let Some(copy) = place.filter(is_ours) {
            let is_over = matches!(copy.at, Transit::Answered { .. });
            *place = (!is_over).then_some(Batch { core: None, ..copy });
        }
    }
    state.cores[number] = Core::default();
}

/// An accepted row without an Intent may go anywhere.
pub(crate) fn plan(state: &mut State, number: usize, id: usize, processor: u8) {
    let core = &mut state.cores[number];
    core.forming[id] = Record::Intent { processor };
    core.flows[id].step = Step::Changing;
}

pub(crate) fn bytes_leave(state: &mut State, number: usize, id: usize, is_again: bool) {
    let core = &mut state.cores[number];
    core.flows[id].step = Step::Sent;
    core.flows[id].is_doubtful |= is_again;
    let row = &state.database.rows[id];
    let epoch = state.database.writers[usize::from(core.writer)].epoch;
    if row.is_open() && row.writer == core.writer && core.epoch < epoch && row.epoch == epoch {
        state.broken |= Property::Spoken.bit();
    }
}

/// The exchange is over and proves nothing.
pub(crate) fn no_answer(state: &mut State, number: usize, id: usize) {
    let core = &mut state.cores[number];
    let flow = &mut core.flows[id];
    flow.step = Step::Unknown;
    flow.is_doubtful = true;
    if core.life == Life::Fenced {
        close(state, number, id);
    }
}

/// A fenced core's last word for this id: its Intent is durable, and the adopter has it.
fn close(state: &mut State, number: usize, id: usize) {
    let flow = &mut state.cores[number].flows[id];
    if flow.is_waiting {
        state.told_202 |= bit(id);
    }
    *flow = Flow::default();
}

pub(crate) fn read(state: &mut State, scene: &Scene, number: usize, id: usize, gives_up: bool) {
    let is_fenced = state.cores[number].life == Life::Fenced;
    let Step::Answered(answer) = state.cores[number].flows[id].step else {
        return;
    };
    if answer == Answer::Applied {
        tell_charged(state, scene, number, id);
    }
    if is_fenced {
        close(state, number, id);
        return;
    }
    let core = &mut state.cores[number];
    let flow = &mut core.flows[id];
    match answer {
        Answer::Applied => {
            core.forming[id] = Record::Paid {
                processor: flow.processor,
            };
            flow.step = Step::Settling;
        }
        Answer::Foreign => *flow = Flow::default(),
        Answer::Refused => {
            let stays = flow.is_adopted && !scene.breaks(Broken::AdopterChangesProcessor);
            let is_unanswered = flow.is_doubtful && !flow.is_adopted;
            if stays || is_unanswered {
                flow.step = Step::Unknown;
            } else if gives_up {
                free(core, id);
            } else {
                refused(core, id);
            }
        }
    }
}

/// Every attempt at this processor was refused: the other one, or none is left.
fn refused(core: &mut Core, id: usize) {
    let flow = &mut core.flows[id];
    let other = 1 - flow.processor;
    flow.refused |= bit(usize::from(flow.processor));
    if usize::from(flow.refused.count_ones() as u8) == PROCESSORS {
        if !flow.is_promised {
            free(core, id);
            return;
        }
        flow.refused = 0;
    }
    flow.step = Step::Changing;
    core.forming[id] = Record::Intent { processor: other };
}

fn free(core: &mut Core, id: usize) {
    let flow = &mut core.flows[id];
    flow.step = Step::Freeing;
    core.forming[id] = Record::Free {
        is_adopter: flow.is_adopted,
    };
}

/// 200 only while the last acknowledged batch was sent less than half a lease ago; else 202.
fn tell_charged(state: &mut State, scene: &Scene, number: usize, id: usize) {
    let core = &mut state.cores[number];
    let flow = &mut core.flows[id];
    if !std::mem::take(&mut flow.is_waiting) {
        return;
    }
    if core.age >= HALF && !scene.breaks(Broken::LateTwoHundred) {
        state.told_202 |= bit(id);
        return;
    }
    state.told_200 |= bit(id);
    if state.database.writers[usize::from(core.writer)].epoch != core.epoch {
        state.broken |= Property::OldOwner.bit();
    }
    if state.charged[usize::from(flow.processor)][id].is_none() {
        state.broken |= Property::Charged.bit();
    }
}

/// An adopter asks for the processor's record, more than half a lease after its epoch.
pub(crate) fn look_up(state: &mut State, scene: &Scene, number: usize, id: usize) {
    let core = &mut state.cores[number];
    let flow = &mut core.flows[id];
    let found = state.charged[usize::from(flow.processor)][id];
    if found == Some(flow.claim) {
        flow.step = Step::Settling;
        core.forming[id] = Record::Paid {
            processor: flow.processor,
        };
    } else if scene.breaks(Broken::FreedOnAdopted404) {
        free(core, id);
    } else {
        core.forming[id] = Record::Spoken;
    }
}
