//! What must hold of every state, and of a state in which nothing happens any more.
//!
//! What only a move can show (who freed, who said 200) is noted by the move, in `State::broken`.

use crate::scene::Property;
use crate::state::{Core, Database, IDS, Life, PROCESSORS, Row, State, Step, bit};

pub(crate) fn of(state: &State) -> u16 {
    let mut broken = 0;
    let mut expect = |property: Property, holds: bool| {
        if !holds {
            broken |= property.bit();
        }
    };
    for id in 0..IDS {
        expect(Property::ChargedOnce, charges(state, id) <= 1);
        let denied = |claim: u8| state.denied[id] & bit(usize::from(claim)) != 0;
        let mut charged = state.charged.iter().filter_map(|ids| ids[id]);
        expect(Property::Denied, !charged.any(denied));
        let row = &state.database.rows[id];
        expect(
            Property::Charged,
            !row.is_settled || is_charged(state, id, row),
        );
    }
    expect(Property::Rollup, is_rollup_right(&state.database));
    expect(
        Property::Believed,
        state.cores.iter().all(|core| is_right(state, core)),
    );
    broken
}

/// Once nothing happens any more and the processors are well.
pub(crate) fn at_rest(state: &State) -> u16 {
    let mut broken = 0;
    let told = state.told_200 | state.told_202;
    for id in 0..IDS {
        let row = &state.database.rows[id];
        let is_swept = !row.exists && state.forgotten & bit(id) != 0;
        let is_settled = row.is_settled && is_charged(state, id, row);
        let is_kept = charges(state, id) == 1 && (is_settled || is_swept);
        if told & bit(id) != 0 && !is_kept {
            broken |= Property::Promised.bit();
        }
        if row.is_open() {
            broken |= Property::Resolved.bit();
        }
    }
    let is_up = |core: &Core| core.life != Life::Gone;
    if state
        .cores
        .iter()
        .any(|core| is_up(core) && !core.is_idle())
    {
        broken |= Property::Resolved.bit();
    }
    broken
}

fn charges(state: &State, id: usize) -> usize {
    state.charged.iter().filter(|ids| ids[id].is_some()).count()
}

fn is_charged(state: &State, id: usize, row: &Row) -> bool {
    let processor = row.processor.map(usize::from);
    processor.is_some_and(|processor| state.charged[processor][id].is_some())
}

fn is_rollup_right(database: &Database) -> bool {
    (0..PROCESSORS).all(|processor| {
        let is_its =
            |row: &&Row| row.is_settled && row.processor.map(usize::from) == Some(processor);
        let rows = database.rows.iter().filter(is_its).count();
        rows + usize::from(database.swept[processor]) == usize::from(database.rollup[processor])
    })
}

/// An owner of the newest epoch has each Intent that it believes in the store, under its writer.
fn is_right(state: &State, core: &Core) -> bool {
    let epoch = state.database.writers[usize::from(core.writer)].epoch;
    if core.life != Life::Up || core.epoch != epoch {
        return true;
    }
    core.flows
        .iter()
        .zip(&state.database.rows)
        .all(|(flow, row)| {
            let is_its = row.is_open() && row.writer == core.writer && row.claim == flow.claim;
            match flow.step {
                Step::Ready | Step::Checked | Step::Sent | Step::Answered(_) | Step::Unknown => {
                    is_its && row.processor == Some(flow.processor)
                }
                Step::Parked => is_its,
                _ => true,
            }
        })
}
