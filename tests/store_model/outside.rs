//! What is no core and no database: clients, both processors, time, and who asks for a sum.
//!
//! A processor keeps docs/PROCESSOR.md: an id is charged once there, a known one is answered with
//! its record, a refusal is final, and bytes that no one waits for any more may still be charged.

use crate::scene::{Broken, Property, Scene};
use crate::state::{
    Answer, Core, Flow, HALF, IDS, LEASE, Life, Mask, Question, RETENTION, Record, Row, State,
    Step, bit,
};

impl Flow {
    /// An Intent of it is in the store, and no verdict is on its way.
    pub(crate) fn has_durable_intent(&self) -> bool {
        let Self { step, .. } = self;
        let is_out = matches!(step, Step::Sent | Step::Answered(_) | Step::Unknown);
        is_out || matches!(step, Step::Ready | Step::Checked | Step::Changing)
    }
}

impl Core {
    pub(crate) fn is_idle(&self) -> bool {
        self.flows == <[Flow; IDS]>::default()
            && self.forming == [Record::Nothing; IDS]
            && self.sent.is_none()
    }
}

impl State {
    /// Two cores that nothing has touched since they registered.
    pub(crate) fn are_twins(&self, one: &Core, other: &Core) -> bool {
        let is_alike = Core {
            writer: other.writer,
            ..*one
        } == *other;
        let rows = &self.database.writers;
        let uses = |writer: u8| {
            let in_rows = self
                .database
                .rows
                .iter()
                .any(|row| row.exists && row.writer == writer);
            in_rows
                || self
                    .copies
                    .iter()
                    .flatten()
                    .any(|copy| copy.writer == writer)
        };
        is_alike
            && one.is_idle()
            && rows[usize::from(one.writer)] == rows[usize::from(other.writer)]
            && !uses(one.writer)
            && !uses(other.writer)
    }

    pub(crate) fn later(&self, scene: &Scene) -> Self {
        let mut later = *self;
        later.pass_time(scene);
        later.simplify(scene);
        later
    }

    /// Half a lease, on every clock.
    pub(crate) fn pass_time(&mut self, scene: &Scene) {
        let age = |age: &mut u8, most: u8| *age = (*age + 1).min(most);
        for writer in &mut self.database.writers[..usize::from(self.database.next_writer)] {
            age(&mut writer.age, LEASE);
        }
        for core in self.cores.iter_mut().filter(|core| core.life != Life::Gone) {
            age(&mut core.age, HALF);
            if core.is_adopter {
                age(&mut core.epoch_age, HALF);
            }
            if let Some(sent) = &mut core.sent {
                age(&mut sent.age, HALF);
            }
        }
        if scene.budget.sweeps > 0 {
            for row in self.database.rows.iter_mut().filter(|row| row.exists) {
                age(&mut row.age, RETENTION);
                if row.is_settled {
                    age(&mut row.settled_age, RETENTION);
                }
            }
        }
    }
}

/// A request arrives, and this core does not know the id.
pub(crate) fn arrive(state: &mut State, scene: &Scene, number: usize, id: usize, processor: u8) {
    let claim = scene.budget.requests[id] - state.budget.requests[id];
    state.budget.requests[id] -= 1;
    let core = &mut state.cores[number];
    core.forming[id] = if scene.is_accepting {
        Record::Accept { claim }
    } else {
        Record::Claim { processor, claim }
    };
    core.flows[id] = Flow {
        step: Step::Claiming,
        processor,
        claim,
        is_waiting: true,
        ..Flow::default()
    };
}

pub(crate) fn charge(state: &mut State, number: usize, id: usize) {
    let flow = &mut state.cores[number].flows[id];
    let charged = &mut state.charged[usize::from(flow.processor)][id];
    let found = *charged.get_or_insert(flow.claim);
    let is_ours = found == flow.claim;
    flow.step = Step::Answered(if is_ours {
        Answer::Applied
    } else {
        Answer::Foreign
    });
}

/// The bytes of this attempt may arrive later, or never.
pub(crate) fn leave_stray(state: &mut State, number: usize, id: usize) {
    let flow = &state.cores[number].flows[id];
    state.strays[usize::from(flow.processor)][id] |= bit(usize::from(flow.claim));
}

/// The client's time is up: 202, whose promise the durable Intent carries.
pub(crate) fn deadline(state: &mut State, number: usize, id: usize) {
    state.budget.deadlines -= 1;
    let flow = &mut state.cores[number].flows[id];
    flow.is_waiting = false;
    flow.is_promised = true;
    state.told_202 |= bit(id);
}

/// How many batches of a writer a sum waits for.
fn barrier(scene: &Scene) -> u8 {
    if scene.breaks(Broken::NoBarrier) {
        0
    } else if scene.breaks(Broken::BarrierOfOne) {
        1
    } else {
        2
    }
}

/// The first read: what is open, and how far its writers are.
pub(crate) fn ask_sum(state: &mut State, scene: &Scene) {
    state.budget.questions -= 1;
    let rows = &state.database.rows;
    let writers = [rows[0].writer, rows[1].writer];
    state.question = Some(Question {
        told: state.told_200,
        open: (0..IDS).filter(|id| rows[*id].is_open()).map(bit).sum(),
        writers,
        batches: writers.map(|writer| state.database.writers[usize::from(writer)].batch),
        charged: if scene.breaks(Broken::ChargedReadFirst) {
            charged(state)
        } else {
            0
        },
    });
    if scene.breaks(Broken::ChargedReadFirst) {
        // What is open is read another moment.
        return;
    }
    if is_sum_ready(state, scene) {
        answer_sum(state, scene);
    }
}

fn charged(state: &State) -> Mask {
    let settled = (0..IDS).filter(|id| state.database.rows[*id].is_settled);
    settled.map(bit).sum::<Mask>() | state.forgotten
}

fn is_behind(state: &State, scene: &Scene, question: &Question, id: usize) -> bool {
    let row = &state.database.rows[id];
    let writer = &state.database.writers[usize::from(row.writer)];
    let is_same =
        question.open & bit(id) != 0 && row.is_open() && row.writer == question.writers[id];
    is_same && writer.batch < question.batches[id] + barrier(scene)
}

/// Whether a batch of this writer would bring a sum further.
pub(crate) fn sum_waits_for(state: &State, scene: &Scene, writer: u8) -> bool {
    let is_its = |question: &Question, id: usize| question.writers[id] == writer;
    state.question.is_some_and(|question| {
        (0..IDS).any(|id| is_its(&question, id) && is_behind(state, scene, &question, id))
    })
}

pub(crate) fn is_sum_ready(state: &State, scene: &Scene) -> bool {
    let Some(question) = state.question else {
        return false;
    };
    if scene.breaks(Broken::ChargedReadFirst) {
        let is_open = |row: &Row| row.is_open();
        return !state.database.rows.iter().any(is_open);
    }
    let is_silent = |id: usize| {
        let row = &state.database.rows[id];
        let epoch = state.database.writers[usize::from(row.writer)].epoch;
        question.open & bit(id) != 0
            && row.is_open()
            && row.processor.is_some()
            && row.epoch < epoch
            && !scene.breaks(Broken::SumBeforeSpoken)
    };
    (0..IDS).all(|id| !is_behind(state, scene, &question, id) && !is_silent(id))
        && crate::store::is_believed(state, scene)
}

/// The last read. What retention has deleted is in the rollup.
pub(crate) fn answer_sum(state: &mut State, scene: &Scene) {
    let Some(question) = state.question.take() else {
        return;
    };
    let counted = if scene.breaks(Broken::ChargedReadFirst) {
        question.charged
    } else {
        charged(state)
    };
    if question.told & !counted != 0 {
        state.broken |= Property::Exact.bit();
    }
}
