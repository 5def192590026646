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

/// Gives each payment to the core that owns it now (I1), whatever the number of cores was, and
/// settled claims in the order in which they settled, as far as their dates say: the oldest go
/// first. The ledger knows no ids: any core may hold any part of it, as a summary adds all of them.
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
    let (mut begun, mut settled) = (Vec::new(), Vec::new());
    for (index, old) in olds.into_iter().enumerate() {
        begun.extend(old.pending().into_iter().cloned());
        // What settled behind another one is no older, whatever its own date is.
        let mut newest = UnixMillis(i64::MIN);
        settled.extend(old.settled().map(|(id, claim)| {
            newest = claim.requested_at.map_or(newest, |at| at.max(newest));
            (newest, id, claim)
        }));
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
    settled.sort_by_key(|(newest, ..)| *newest);
    for (_, id, claim) in settled {
        if let Some(state) = states.get_mut(id.owner(cores).index()) {
            state.settle(id, claim);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::claims::{FirstAnswer, SettledClaim};
    use crate::payment::{Cents, Status, UpstreamId};

    #[test]
    fn with_fewer_cores_the_oldest_claims_still_come_first() {
        let state = || State::new(1_000, Duration::from_secs(60));
        let mut olds: Vec<State> = std::iter::repeat_with(state).take(4).collect();
        for number in 0..200_u32 {
            let id = UpstreamId(u128::from(number) << 64 | 7);
            let core = id.owner(CoreCount(4)).index();
            // Those that no processor charged have no date.
            let requested_at = (number % 5 > 0).then_some(UnixMillis(i64::from(number)));
            let claim = SettledClaim {
                status: Status::Processed,
                amount: Cents(1),
                processor: None,
                requested_at,
                first_answer: FirstAnswer::Answered200,
                counted: false,
            };
            olds[core].settle(id, claim);
        }
        for count in [1, 2, 3] {
            let olds: Vec<State> = olds.iter().map(copy).collect();
            for new in distribute(olds, CoreCount(count), state).unwrap() {
                let dates: Vec<_> = new
                    .settled()
                    .filter_map(|(_, one)| one.requested_at)
                    .collect();
                assert!(dates.len() > 30 && dates.is_sorted(), "{count}: {dates:?}");
            }
        }
    }

    fn copy(old: &State) -> State {
        let mut new = State::new(1_000, Duration::from_secs(60));
        for (id, claim) in old.settled() {
            new.settle(id, claim);
        }
        new
    }
}
