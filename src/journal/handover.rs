//! Taking over the journal of an instance that was stopped for good: its ledger, so that summaries
//! stay whole, and its settled claims, so that a late duplicate is still known. `p99 journal
//! absorb` calls it; both instances are stopped.
//!
//! The order makes it safe to run again after a crash at any step, and impossible to count the
//! same journal twice: first the journal that goes says to which one, for ever, and can no longer
//! be started nor handed to a third; then one switch of the other's manifest brings in its
//! contents and its id together.

use std::collections::HashSet;
use std::path::Path;

use super::directory::{Directory, Manifest};
use super::distribution;
use super::fault::{Damage, JournalFault};
use super::replay::State;
use super::settings::JournalSettings;
use super::start::{StartReport, read_all, renew};
use crate::clock::UnixMillis;
use crate::payment::{CoreCount, PerProcessor, Totals, UpstreamId};

/// What a journal that was taken over held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Settled claims.
    pub settled: u64,
    /// What its ledger held.
    pub totals: PerProcessor<Totals>,
    /// Its contents were here already: nothing was changed.
    pub was_done: bool,
}

/// Adds what the journal in `from` holds to the one in `settings.dir`, durably. `wall` ages the
/// ledger. `settings.cores` is not used: the number of cores stays.
///
/// # Errors
/// An instance holds one of the directories; one holds no journal or a damaged one; payments are
/// pending in `from`, or pending here and settled there; `from` was handed to another journal.
/// Nothing that counts was changed then.
pub fn absorb(
    settings: &JournalSettings,
    from: &Path,
    wall: UnixMillis,
) -> Result<Handover, JournalFault> {
    let handed_over = || JournalFault::HandedOver {
        dir: from.to_owned(),
    };
    // Looked at first: taking the lock would create what is not there.
    journal_in(&Directory::peek(from))?;
    journal_in(&Directory::peek(&settings.dir))?;
    let ours = Directory::lock(&settings.dir)?;
    let theirs = Directory::lock(from)?;
    let mut manifest = journal_in(&ours)?;
    let mut leaving = journal_in(&theirs)?;
    if manifest.handed_to.is_some() {
        return Err(JournalFault::HandedOver {
            dir: settings.dir.clone(),
        });
    }
    if leaving.id == manifest.id || leaving.handed_to.is_some_and(|id| id != manifest.id) {
        return Err(handed_over());
    }

    let found = read(&theirs, &leaving, settings)?;
    let settled: HashSet<UpstreamId> = found.iter().flat_map(State::settled).map(id).collect();
    let mut handover = Handover {
        settled: settled.len() as u64,
        totals: PerProcessor::default(),
        was_done: manifest.absorbed.contains(&leaving.id),
    };
    for state in &found {
        state.add_totals(&mut handover.totals);
    }
    if handover.was_done {
        return Ok(handover);
    }
    let count = found.iter().flat_map(State::pending).count();
    if count > 0 {
        return Err(JournalFault::StillPending {
            dir: from.to_owned(),
            count,
        });
    }
    let kept = read(&ours, &manifest, settings)?;
    let pending = kept.iter().flat_map(State::pending);
    let mut ids = pending.map(|pending| pending.payment.id);
    if let Some(id) = ids.find(|id| settled.contains(id)) {
        return Err(JournalFault::Conflict { id });
    }
    drop(ids);

    leaving.handed_to = Some(manifest.id);
    theirs.switch(&leaving)?;
    let cores = CoreCount(u16::try_from(manifest.firsts.len()).unwrap_or(u16::MAX));
    let empty = || State::new(settings.claims_max, settings.ledger_exact);
    let all = kept.into_iter().chain(found).collect();
    let mut states =
        distribution::distribute(all, cores, empty).map_err(|_| JournalFault::Damaged {
            path: from.to_owned(),
            offset: 0,
            what: Damage::Content,
        })?;
    let date = distribution::date_of(&states, wall);
    for state in &mut states {
        state.ledger.age_by(date, usize::MAX);
    }
    manifest.absorbed.push(leaving.id);
    renew(&ours, Some(manifest), &states)?;
    Ok(handover)
}

/// What a start would go on with. A payment that ends with its process must not take the place of
/// the same id's settled claim in the other journal.
fn read(
    dir: &Directory,
    manifest: &Manifest,
    settings: &JournalSettings,
) -> Result<Vec<State>, JournalFault> {
    let mut states = read_all(dir, manifest, settings, &mut StartReport::default())?;
    for state in &mut states {
        state.end_unkept();
    }
    Ok(states)
}

fn journal_in(dir: &Directory) -> Result<Manifest, JournalFault> {
    dir.manifest()?.ok_or_else(|| JournalFault::Missing {
        path: dir.manifest_path(),
    })
}

fn id<T>((id, _): (UpstreamId, T)) -> UpstreamId {
    id
}
