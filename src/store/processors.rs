//! Which processors the store is about. Rows name a role (`default`) by its index, and what may
//! have been sent to one processor must never be sent again to another one that got its role (I10):
//! so the store says where each role is, and an instance whose settings say otherwise does not take
//! part while payments are open there, or while any other instance runs. The journal has the same
//! rule for one instance.
//!
//! What is agreed here is compared once more with each registration of a writer, so that of two
//! instances that start together with different settings one takes no payments.

use super::connection::Connection;
use super::operator::{demand_schema, value, writing};
use super::place::StorePlace;
use crate::journal::{Authorities, Move, moves};
use crate::payment::{Configured, PerProcessor, Processor};

/// Demands that the processors at `now` are those that the store is about, or writes down that
/// they are when nothing speaks against it. Returns what changed, for the log.
///
/// # Errors
/// Why this instance must not start, in words for the operator.
pub async fn agree(place: &StorePlace, now: &Authorities) -> Result<Vec<Move>, String> {
    let mut connection = writing(place).await?;
    demand_schema(&mut connection).await?;
    // Nothing is to be settled, so no lock is waited for: a sweep may hold it for as long as a
    // standby is away, and instances start again just then.
    if known(&mut connection).await?.as_ref() == Some(now) {
        return Ok(Vec::new());
    }
    settle(&mut connection, now, &PerProcessor::default(), false).await
}

/// Takes the operator's word that the processors at `now` are those that the store is about, under
/// other names. Returns what changed.
///
/// # Errors
/// An instance runs, or payments are open at a processor that `now` does not name.
pub async fn accept(place: &StorePlace, now: &Authorities) -> Result<Vec<Move>, String> {
    let mut connection = writing(place).await?;
    demand_schema(&mut connection).await?;
    settle(&mut connection, now, &PerProcessor::default(), true).await
}

/// The work of both, and of an import that brings `more` open payments.
pub(super) async fn settle(
    connection: &mut Connection,
    now: &Authorities,
    more: &PerProcessor<u64>,
    is_word: bool,
) -> Result<Vec<Move>, String> {
    connection.simple("BEGIN").await?;
    // No writer registers meanwhile.
    let lock = "UPDATE p99.meta SET importing = importing WHERE one = 1";
    connection.simple(lock).await?;
    let was = known(connection).await?;
    let mut open = open(connection).await?;
    for processor in Processor::ALL {
        *open.get_mut(processor) += more.get(processor);
    }
    let live = "SELECT count(*) FROM p99.writer WHERE lease_until >= now() AND writer > 0 \
                AND holder NOT LIKE 'journal %'";
    let live = value(connection, live).await?.as_deref() != Some("0");
    let changed = decide(was.as_ref(), now, &open, live, is_word)?;
    if was.as_ref() != Some(now) {
        for processor in Processor::ALL {
            let quoted = |authority: &String| format!("'{}'", authority.replace('\'', "''"));
            let authority = now.find(processor).map(quoted);
            let authority = authority.unwrap_or_else(|| "NULL".to_owned());
            let index = processor.number();
            let set =
                format!("UPDATE p99.processor SET authority = {authority} WHERE index = {index}");
            connection.simple(&set).await?;
        }
    }
    connection.simple("COMMIT").await?;
    Ok(changed)
}

/// What the store says; `None` in one that no instance with addresses has seen.
async fn known(connection: &mut Connection) -> Result<Option<Authorities>, String> {
    let all = "SELECT name, authority FROM p99.processor ORDER BY index";
    let rows = connection.simple(all).await?;
    let mut authorities = Vec::new();
    for (processor, row) in Processor::ALL.into_iter().zip(rows) {
        let mut fields = row.into_iter();
        let name = fields.next().flatten().unwrap_or_default();
        if name != processor.name() {
            return Err(format!(
                "the store knows processor {} as {name:?}, and this release as {:?}",
                processor.number(),
                processor.name()
            ));
        }
        authorities.extend(fields.next().flatten());
    }
    Ok(Configured::try_from_vec(authorities))
}

/// How many payments are open at each processor, of all writers.
async fn open(connection: &mut Connection) -> Result<PerProcessor<u64>, String> {
    // OFFSET as in `sql`: a planner without fresh statistics reads the index of all writers, while
    // no writer registers.
    let count = "SELECT o.processor, count(*) FROM (SELECT e.id, e.processor FROM p99.writer v \
                 CROSS JOIN LATERAL (SELECT p.id, p.processor FROM p99.payment p \
                 WHERE p.writer = v.writer AND p.at >= v.open_since \
                 AND p.status IN (0, 1) OFFSET 0) e UNION \
                 SELECT p.id, p.processor FROM p99.lingering l JOIN p99.payment p ON p.id = l.id \
                 WHERE p.status IN (0, 1)) o WHERE o.processor IS NOT NULL GROUP BY o.processor";
    let mut open = PerProcessor::default();
    for row in connection.simple(count).await? {
        let mut numbers = row.iter().map(|one| one.as_ref()?.parse::<u64>().ok());
        let (index, count) = (numbers.next().flatten(), numbers.next().flatten());
        let index = index.and_then(|index| usize::try_from(index).ok());
        let processor = index.and_then(Processor::of_index);
        let (Some(processor), Some(count)) = (processor, count) else {
            return Err("an open payment is at a processor that this release has not".to_owned());
        };
        *open.get_mut(processor) = count;
    }
    Ok(open)
}

/// What changes, if that may be. `live` is whether any instance runs, `is_word` whether an operator
/// says that the processors are the same ones.
fn decide(
    was: Option<&Authorities>,
    now: &Authorities,
    open: &PerProcessor<u64>,
    live: bool,
    is_word: bool,
) -> Result<Vec<Move>, String> {
    let moves = moves(was, now, open);
    let words = || {
        let all: Vec<String> = moves.iter().map(ToString::to_string).collect();
        all.join("; ")
    };
    // No word makes a processor reachable that the settings do not name.
    let is_hindered = |one: &&Move| one.open > 0 && (!is_word || one.is.is_none());
    if moves.iter().any(|one| is_hindered(&one)) {
        return Err(format!(
            "the store is about other processors: {}; set UPSTREAM_A_URL and UPSTREAM_B_URL as \
             they were, or, if the same processor has another name now, stop all instances and run \
             `p99 store accept-upstreams` once with the new settings",
            words()
        ));
    }
    if live && was.is_some_and(|was| was != now) {
        return Err(format!(
            "instances run whose processors are others: {}; all instances of a store have the \
             same, so stop them first",
            words()
        ));
    }
    Ok(moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(names: &[&str]) -> Authorities {
        let names = names.iter().map(|name| (*name).to_owned());
        Configured::try_from_vec(names.collect()).unwrap()
    }

    #[test]
    fn processors_move_only_where_nothing_is_open_and_no_one_runs() {
        let (a, b, c) = (at(&["a:1", "b:1"]), at(&["a:2", "b:1"]), at(&["a:1"]));
        let none = PerProcessor::default();
        let open = |index: usize| {
            let mut open = PerProcessor::<u64>::default();
            *open.get_mut(Processor::of_index(index).unwrap()) = 3;
            open
        };
        type Row<'a> = (
            Option<&'a Authorities>,
            &'a Authorities,
            PerProcessor<u64>,
            bool,
            bool,
        );
        let rows: [(Row<'_>, Option<usize>); 11] = [
            ((None, &a, none, false, false), Some(0)),
            ((Some(&a), &a, open(0), true, false), Some(0)),
            ((Some(&a), &b, none, false, false), Some(1)),
            ((Some(&a), &b, none, true, false), None),
            ((Some(&a), &b, open(1), false, false), Some(1)),
            ((Some(&a), &b, open(0), false, false), None),
            ((Some(&a), &b, open(0), false, true), Some(1)),
            ((Some(&a), &b, open(0), true, true), None),
            ((Some(&a), &c, open(1), false, true), None),
            ((Some(&a), &c, none, false, false), Some(1)),
            // One more, while others run that could not take up what is open there.
            ((Some(&c), &a, none, true, false), None),
        ];
        for ((was, now, open, live, is_word), expected) in rows {
            let decided = decide(was, now, &open, live, is_word);
            let count = decided.as_ref().ok().map(Vec::len);
            assert_eq!(
                count, expected,
                "{was:?} {now:?} {live} {is_word}: {decided:?}"
            );
        }
    }
}
