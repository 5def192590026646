//! What the cores of an earlier start left, for the cores of this one: which payments and claims go
//! where, and how old all of it is. Pure; start calls it.

use super::replay::{Pending, State};
use crate::clock::UnixMillis;
use crate::ledger::ChunkFault;
use crate::payment::CoreCount;

/// Up to which moment a journal's own payments say that time has passed; `wall` where there are
/// none, or where a payment is dated later. A wall clock that is wrong ahead at a start would else
/// make everything old, for good.
#[must_use]
pub fn date_of(states: &[State], wall: UnixMillis) -> UnixMillis {
    let newest = states.iter().filter_map(|state| state.ledger.newest());
    newest.max().map_or(wall, |newest| newest.min(wall))
}

/// Gives each payment to the core that owns it now (I1), whatever the number of cores was. The
/// ledger knows no ids: any core may hold any part of it, as a summary adds all of them.
///
/// # Errors
/// A ledger does not read its own chunks.
pub fn distribute(
    olds: Vec<State>,
    cores: CoreCount,
    empty: impl Fn() -> State,
) -> Result<Vec<State>, ChunkFault> {
    let count = usize::from(cores.0.max(1));
    if olds.len() == count
        && olds
            .iter()
            .zip(0..)
            .all(|(old, core)| old.is_all_of(core, cores))
    {
        return Ok(olds);
    }
    let mut states: Vec<State> = std::iter::repeat_with(empty).take(count).collect();
    let mut begun = Vec::new();
    for (index, old) in olds.into_iter().enumerate() {
        begun.extend(old.pending().into_iter().cloned());
        for (id, claim) in old.settled() {
            if let Some(state) = states.get_mut(id.owner(cores).index()) {
                state.settle(id, claim);
            }
        }
        let Some(state) = states.get_mut(index % count) else {
            continue;
        };
        if index < count {
            state.ledger = old.ledger;
            continue;
        }
        for chunk in old.ledger.chunks() {
            state.ledger.absorb(&chunk)?;
        }
    }
    begun.sort_by_key(Pending::began_at);
    for pending in &begun {
        if let Some(state) = states.get_mut(pending.payment.id.owner(cores).index()) {
            state.adopt(pending);
        }
    }
    Ok(states)
}
