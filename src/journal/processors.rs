//! Which processors the journal's open Intents are about. Records name a role (`default`), and what
//! may have been sent to one processor must never be sent again to another one that got its role:
//! so the file `PROCESSORS` beside the manifest says where each role was, and a start that finds
//! open Intents of a role that is elsewhere now is refused.
//!
//! ```text
//! p99 processors 1
//! default at proc-a:8080
//! fallback at proc-b:8080
//! checksum 1f2e3d4c
//! ```
//!
//! It is written before any Intent of that start can be, and only when no Intent of a role that
//! moved is open, so a crash between the two leaves nothing that belongs to another address. A
//! version that does not know the file leaves it alone; a journal without one gets it.

use super::directory::Directory;
use super::fault::{Damage, JournalFault, Move, place};
use super::replay::State;
use super::seal::sealed;
use crate::payment::{Configured, PerProcessor, Processor};

const HEAD: &str = "p99 processors 1\n";

/// `host:port` of each processor that is configured.
pub type Authorities = Configured<String>;

fn write_text(authorities: &Authorities) -> String {
    let mut text = HEAD.to_owned();
    for (processor, authority) in authorities.iter() {
        let name = processor.name();
        text.push_str(&format!("{name} at {authority}\n"));
    }
    sealed(text)
}

fn read_text(text: &str) -> Option<Authorities> {
    let lines = text.strip_prefix(HEAD)?.lines().zip(Processor::ALL);
    let named = lines.map_while(|(line, processor)| {
        let authority = line.strip_prefix(processor.name())?.strip_prefix(" at ")?;
        Some(authority.to_owned())
    });
    let authorities = Configured::try_from_vec(named.collect())?;
    // One spelling only: whatever reads differently was not written by us.
    (write_text(&authorities) == text).then_some(authorities)
}

/// What the journal says; `None` in one that no start with addresses has seen.
pub(crate) fn read(dir: &Directory) -> Result<Option<Authorities>, JournalFault> {
    dir.read_small("PROCESSORS", Damage::Processors, read_text)
}

/// Replaces what the journal says, durably.
pub(crate) fn write(dir: &Directory, authorities: &Authorities) -> Result<(), JournalFault> {
    dir.replace_small("PROCESSORS", &write_text(authorities))
}

/// How many payments have an open Intent at each processor.
pub(crate) fn open(states: &[State]) -> PerProcessor<u64> {
    let mut open = PerProcessor::default();
    for pending in states.iter().flat_map(State::pending) {
        if let Some(sent) = &pending.open {
            *open.get_mut(sent.processor) += 1;
        }
    }
    open
}

/// Demands that every role with an open Intent is where it was, and writes down where all are now.
pub(crate) fn check(
    dir: &Directory,
    states: &[State],
    now: &Authorities,
) -> Result<(), JournalFault> {
    let was = read(dir)?;
    let open = open(states);
    let moves = moves(was.as_ref(), now, &open);
    if moves.iter().any(|one| one.open > 0) {
        return Err(JournalFault::ProcessorsMoved {
            dir: dir.path_to(""),
            moves,
        });
    }
    for Move {
        processor, was, is, ..
    } in &moves
    {
        let (name, was, is) = (processor.name(), place(was), place(is));
        log::warn!("processor {name} was {was} and is {is} now; no payment is open there");
    }
    if was.as_ref() != Some(now) {
        write(dir, now)?;
    }
    Ok(())
}

/// Processors that are elsewhere now, or not configured though payments are open there.
#[must_use]
pub(crate) fn moves(
    was: Option<&Authorities>,
    now: &Authorities,
    open: &PerProcessor<u64>,
) -> Vec<Move> {
    let all = Processor::ALL.into_iter().map(|processor| Move {
        processor,
        was: was.and_then(|was| was.find(processor)).cloned(),
        is: now.find(processor).cloned(),
        open: *open.get(processor),
    });
    all.filter(|one| match &one.is {
        None => one.was.is_some() || one.open > 0,
        Some(_) => was.is_some() && one.was != one.is,
    })
    .collect()
}
