//! What can happen next in a state, and making it happen. The order of the list has one meaning:
//! the moves in front are those that come about by themselves when nothing fails any more.
//!
//! Ids, cores and processors that nothing has touched yet are alike: of these only the first is
//! touched. That is the reduction by symmetry.

use crate::scene::{Broken, Scene};
use crate::state::{
    Answer, COPIES, CORES, Core, HALF, IDS, LEASE, Life, PROCESSORS, Record, State, Step, Transit,
    Wait, bit,
};
use crate::{cores, faults, outside, store};

/// One step of the world. `core` is a place in [`State::cores`], `copy` one in [`State::copies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Start,
    /// A client's request, and the processor that this core would take.
    Arrives {
        core: u8,
        id: u8,
        processor: u8,
    },
    Sends {
        core: u8,
    },
    TakesLocks {
        copy: u8,
    },
    Commits {
        copy: u8,
    },
    Acknowledged {
        copy: u8,
    },
    AsksAfterDoubt {
        core: u8,
    },
    /// The connection ends; the copy was never there, or its answer is lost.
    Lost {
        copy: u8,
    },
    /// The connection ends, and the copy goes on.
    Delayed {
        copy: u8,
    },
    Vanishes {
        copy: u8,
    },
    Plans {
        core: u8,
        id: u8,
        processor: u8,
    },
    ReadsClock {
        core: u8,
        id: u8,
    },
    BytesLeave {
        core: u8,
        id: u8,
    },
    SendsAgain {
        core: u8,
        id: u8,
    },
    Charges {
        core: u8,
        id: u8,
    },
    Refuses {
        core: u8,
        id: u8,
    },
    Cut {
        core: u8,
        id: u8,
    },
    Silent {
        core: u8,
        id: u8,
    },
    ReadsAnswer {
        core: u8,
        id: u8,
    },
    /// Reads a refusal and asks no one else.
    GivesUp {
        core: u8,
        id: u8,
    },
    Deadline {
        core: u8,
        id: u8,
    },
    LooksUp {
        core: u8,
        id: u8,
    },
    StrayArrives {
        processor: u8,
        id: u8,
        claim: u8,
    },
    StrayVanishes {
        processor: u8,
        id: u8,
        claim: u8,
    },
    Adopts {
        writer: u8,
    },
    Crashes {
        core: u8,
    },
    Registers,
    HalfALeasePasses,
    /// The same, when nothing else can happen.
    HalfALeasePassesAtRest,
    DatabaseClockJumps,
    AsksForSum,
    AnswersSum,
    Sweeps {
        id: u8,
    },
    StandbyFallsBehind,
    StandbyCatchesUp,
    FailsOver,
}

pub(crate) fn small(index: usize) -> u8 {
    u8::try_from(index).expect("a handful")
}

/// Fills `moves`; how many of them need no fault and no client.
pub(crate) fn possible(state: &State, scene: &Scene, moves: &mut Vec<Move>) -> usize {
    moves.clear();
    for copy in 0..COPIES {
        copy_moves(state, scene, copy, moves);
    }
    for core in 0..CORES {
        core_moves(state, scene, core, moves);
    }
    for writer in 0..state.database.next_writer {
        if store::may_adopt(state, scene, writer) {
            moves.push(Move::Adopts { writer });
        }
    }
    for processor in 0..PROCESSORS {
        for id in 0..IDS {
            for claim in (0..8).filter(|claim| state.strays[processor][id] & bit(*claim) != 0) {
                let (processor, id, claim) = (small(processor), small(id), small(claim));
                moves.push(Move::StrayArrives {
                    processor,
                    id,
                    claim,
                });
                moves.push(Move::StrayVanishes {
                    processor,
                    id,
                    claim,
                });
            }
        }
    }
    if state.standby.is_some() {
        moves.push(Move::StandbyCatchesUp);
    }
    if outside::is_sum_ready(state, scene) {
        moves.push(Move::AnswersSum);
    }
    let mut needed = moves.len();
    if needed == 0 && state.later(scene) != *state {
        moves.push(Move::HalfALeasePassesAtRest);
        needed = 1;
    }
    let passes = needed == 1 && moves[0] == Move::HalfALeasePassesAtRest;
    faults::possible(state, scene, !passes, moves);
    needed
}

fn copy_moves(state: &State, scene: &Scene, number: usize, moves: &mut Vec<Move>) {
    let Some(copy) = state.copies[number] else {
        return;
    };
    let number = small(number);
    match copy.at {
        Transit::OnItsWay if scene.has_locks => {
            if !store::is_locked_out(state, &copy) {
                moves.push(Move::TakesLocks { copy: number });
            }
        }
        Transit::OnItsWay | Transit::Open => moves.push(Move::Commits { copy: number }),
        Transit::Answered { .. } => moves.push(Move::Acknowledged { copy: number }),
    }
    if copy.core.is_none() {
        moves.push(Move::Vanishes { copy: number });
    }
}

fn core_moves(state: &State, scene: &Scene, number: usize, moves: &mut Vec<Move>) {
    let one = &state.cores[number];
    let core = small(number);
    if one.life == Life::Up {
        let has_place = state.copies.iter().any(Option::is_none);
        let wait = one.sent.map(|sent| sent.wait);
        let has_records = one.forming != [Record::Nothing; IDS];
        let would = wait == Some(Wait::Again)
            || wait.is_none() && (has_records || cores::wants_heartbeat(state, scene, one));
        if would && has_place {
            moves.push(Move::Sends { core });
        }
        if wait == Some(Wait::Doubt) && store::may_ask(state, scene, one.writer) {
            moves.push(Move::AsksAfterDoubt { core });
        }
    }
    for id in 0..IDS {
        flow_moves(one, scene, core, id, moves);
    }
}

fn flow_moves(one: &Core, scene: &Scene, core: u8, index: usize, moves: &mut Vec<Move>) {
    let (flow, id) = (&one.flows[index], small(index));
    let is_up = one.life == Life::Up;
    let is_fresh = one.age < HALF || scene.breaks(Broken::LateBytes);
    match flow.step {
        Step::Parked if is_up && one.forming[index] == Record::Nothing => {
            for processor in 0..small(PROCESSORS) {
                moves.push(Move::Plans {
                    core,
                    id,
                    processor,
                });
            }
        }
        Step::Ready if is_up && is_fresh && scene.breaks(Broken::PauseBeforeWrite) => {
            moves.push(Move::ReadsClock { core, id });
        }
        Step::Ready if is_up && is_fresh => moves.push(Move::BytesLeave { core, id }),
        Step::Checked if is_up => moves.push(Move::BytesLeave { core, id }),
        Step::Sent => moves.push(Move::Charges { core, id }),
        Step::Answered(answer) => {
            moves.push(Move::ReadsAnswer { core, id });
            let is_free = !flow.is_promised && !flow.is_adopted && !flow.is_doubtful;
            if answer == Answer::Refused && is_up && is_free {
                moves.push(Move::GivesUp { core, id });
            }
        }
        Step::Unknown if is_up => {
            if is_fresh {
                moves.push(Move::SendsAgain { core, id });
            }
            let is_late = one.epoch_age >= HALF || scene.breaks(Broken::SpokenAtOnce);
            let has_record = |records: &[Record; IDS]| records[index] != Record::Nothing;
            let has_said =
                has_record(&one.forming) || one.sent.is_some_and(|it| has_record(&it.records));
            if scene.has_lookups && flow.is_adopted && !flow.has_spoken && is_late && !has_said {
                moves.push(Move::LooksUp { core, id });
            }
        }
        _ => {}
    }
}

/// Makes one move and brings the state into its plainest form.
#[allow(clippy::too_many_lines, reason = "a line or two for each kind of move")]
pub(crate) fn make(state: &mut State, step: Move, scene: &Scene) {
    let at = usize::from;
    match step {
        Move::Start => {}
        Move::Arrives {
            core,
            id,
            processor,
        } => {
            outside::arrive(state, scene, at(core), at(id), processor);
        }
        Move::Sends { core } => cores::send(state, at(core)),
        Move::TakesLocks { copy } => store::take_locks(state, at(copy)),
        Move::Commits { copy } => store::commit(state, scene, at(copy)),
        Move::Acknowledged { copy } => cores::acknowledged(state, scene, at(copy)),
        Move::AsksAfterDoubt { core } => cores::ask(state, scene, at(core)),
        Move::Lost { copy } => {
            state.budget.losses -= 1;
            cores::lose(state, scene, at(copy), false);
        }
        Move::Delayed { copy } => {
            state.budget.delays -= 1;
            cores::lose(state, scene, at(copy), true);
        }
        Move::Vanishes { copy } => state.copies[at(copy)] = None,
        Move::Plans {
            core,
            id,
            processor,
        } => cores::plan(state, at(core), at(id), processor),
        Move::ReadsClock { core, id } => state.cores[at(core)].flows[at(id)].step = Step::Checked,
        Move::BytesLeave { core, id } => cores::bytes_leave(state, at(core), at(id), false),
        Move::SendsAgain { core, id } => cores::bytes_leave(state, at(core), at(id), true),
        Move::Charges { core, id } => outside::charge(state, at(core), at(id)),
        Move::Refuses { core, id } => {
            state.budget.refusals -= 1;
            state.cores[at(core)].flows[at(id)].step = Step::Answered(Answer::Refused);
        }
        Move::Cut { core, id } => {
            state.budget.cuts -= 1;
            cores::no_answer(state, at(core), at(id));
        }
        Move::Silent { core, id } => {
            state.budget.silences -= 1;
            outside::leave_stray(state, at(core), at(id));
            cores::no_answer(state, at(core), at(id));
        }
        Move::ReadsAnswer { core, id } => cores::read(state, scene, at(core), at(id), false),
        Move::GivesUp { core, id } => cores::read(state, scene, at(core), at(id), true),
        Move::Deadline { core, id } => outside::deadline(state, at(core), at(id)),
        Move::LooksUp { core, id } => cores::look_up(state, scene, at(core), at(id)),
        Move::StrayArrives {
            processor,
            id,
            claim,
        } => {
            state.strays[at(processor)][at(id)] &= !bit(at(claim));
            state.charged[at(processor)][at(id)].get_or_insert(claim);
        }
        Move::StrayVanishes {
            processor,
            id,
            claim,
        } => {
            state.strays[at(processor)][at(id)] &= !bit(at(claim));
        }
        Move::Adopts { writer } => store::adopt(state, writer),
        Move::Crashes { core } => {
            state.budget.crashes -= 1;
            cores::crash(state, at(core));
        }
        Move::Registers => store::register(state, scene),
        Move::HalfALeasePasses => {
            state.budget.steps -= 1;
            state.pass_time(scene);
        }
        Move::HalfALeasePassesAtRest => state.pass_time(scene),
        Move::DatabaseClockJumps => {
            state.budget.jumps -= 1;
            state
                .database
                .writers
                .iter_mut()
                .for_each(|writer| writer.age = LEASE);
        }
        Move::AsksForSum => outside::ask_sum(state, scene),
        Move::AnswersSum => outside::answer_sum(state, scene),
        Move::Sweeps { id } => store::sweep(state, at(id)),
        Move::StandbyFallsBehind => {
            state.budget.lags -= 1;
            state.standby = Some(state.database);
        }
        Move::StandbyCatchesUp => state.standby = None,
        Move::FailsOver => store::fail_over(state, scene),
    }
    state.simplify(scene);
}
