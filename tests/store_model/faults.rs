//! What may go wrong next, and what clients may ask: as often as the budget says.

use crate::moves::{Move, small};
use crate::scene::Scene;
use crate::state::{IDS, LEASE, Life, PROCESSORS, State, Step, Transit, bit};
use crate::store;

/// What fails, and what clients do.
pub(crate) fn possible(state: &State, scene: &Scene, time_too: bool, moves: &mut Vec<Move>) {
    let budget = &state.budget;
    for (number, copy) in state.copies.iter().enumerate() {
        let Some(copy) = copy.filter(|copy| copy.core.is_some()) else {
            continue;
        };
        let number = small(number);
        if budget.losses > 0 {
            moves.push(Move::Lost { copy: number });
        }
        if budget.delays > 0 && copy.at == Transit::OnItsWay {
            moves.push(Move::Delayed { copy: number });
        }
    }
    for (number, core) in state.cores.iter().enumerate() {
        if core.life == Life::Up {
            arrivals(state, scene, number, moves);
            if budget.crashes > 0 && !core.is_idle() {
                moves.push(Move::Crashes {
                    core: small(number),
                });
            }
        }
        for (id, flow) in core.flows.iter().enumerate() {
            let (core, id) = (small(number), small(id));
            if flow.step == Step::Sent {
                let known = state.charged[usize::from(flow.processor)][usize::from(id)];
                if budget.refusals > 0 && known.is_none() {
                    moves.push(Move::Refuses { core, id });
                }
                if budget.silences > 0 {
                    moves.push(Move::Silent { core, id });
                }
            }
            if budget.cuts > 0 && matches!(flow.step, Step::Sent | Step::Answered(_)) {
                moves.push(Move::Cut { core, id });
            }
            if budget.deadlines > 0 && flow.is_waiting && flow.has_durable_intent() {
                moves.push(Move::Deadline { core, id });
            }
        }
    }
    if time_too && budget.steps > 0 && state.later(scene) != *state {
        moves.push(Move::HalfALeasePasses);
    }
    if budget.questions > 0 && state.told_200 != 0 && store::is_believed(state, scene) {
        moves.push(Move::AsksForSum);
    }
    if budget.registrations > 0 && store::number_to_give(state, scene).is_some() {
        moves.push(Move::Registers);
    }
    for id in 0..IDS {
        if budget.sweeps > 0 && store::may_sweep(state, scene, id) {
            moves.push(Move::Sweeps { id: small(id) });
        }
    }
    if budget.lags > 0 && state.standby.is_none() {
        moves.push(Move::StandbyFallsBehind);
    }
    if budget.failovers > 0 && state.standby.is_some() {
        moves.push(Move::FailsOver);
    }
    if budget.jumps > 0
        && state
            .database
            .writers
            .iter()
            .any(|writer| writer.age < LEASE)
    {
        moves.push(Move::DatabaseClockJumps);
    }
}

fn arrivals(state: &State, scene: &Scene, number: usize, moves: &mut Vec<Move>) {
    let core = &state.cores[number];
    let has_twin = state.cores[..number]
        .iter()
        .any(|other| state.are_twins(other, core));
    if core.is_adopter || has_twin {
        return;
    }
    let requests = &state.budget.requests;
    let is_first = *requests == scene.budget.requests;
    for id in 0..IDS {
        let like_the_first = id > 0
            && scene.budget.requests[0] == scene.budget.requests[id]
            && requests[0] == scene.budget.requests[0];
        let is_forgotten = state.forgotten & bit(id) != 0;
        if requests[id] == 0 || like_the_first || is_forgotten || core.flows[id].step != Step::Idle
        {
            continue;
        }
        let choices = if is_first || scene.is_accepting {
            1
        } else {
            PROCESSORS
        };
        for processor in 0..choices {
            moves.push(Move::Arrives {
                core: small(number),
                id: small(id),
                processor: small(processor),
            });
        }
    }
}
