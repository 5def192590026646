//! `p99 store import`: brings what a journal holds into a store that takes no payments yet. Each
//! journal is a writer of its own, whose batches are numbered and fenced as any writer's; when it
//! is done its lease is over, so that instances take up what is open as that of a dead writer.
//!
//! Nothing is written twice however often it runs: a row is claimed once by its id, and sums are
//! set, not added to. What is in the store from another journal is compared before the first row
//! of this one is written, and before its manifest says that it has moved.

use std::collections::BTreeSet;

use super::batch::{Batch, Claim, Sum};
use super::connection::Connection;
use super::exchange::Reads;
use super::facts::{self, Facts, Found};
use super::operator::{demand_schema, value, writing};
use super::pen::{Pen, numbers};
use super::place::StorePlace;
use super::processors;
use crate::journal::StoreId;
use crate::journal::moving::Moving;
use crate::payment::{UpstreamId, write_cents};
use crate::store::STORE_BATCH_IDS_MAX;

/// What came of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// All of the journal is in the store, as these lines say.
    Whole(Vec<String>),
    /// The store says something else of these ids. Nothing of the journal is there, and it may go
    /// on serving.
    Contradicted(Vec<String>),
}

/// Brings `journal` into the store at `place`.
///
/// # Errors
/// Why not, in words for the operator: the store takes payments already, the journal was moved to
/// another one, another import is running, or the server failed. What is there stays, and the next
/// run goes on with it.
pub async fn import(place: &StorePlace, journal: &mut Moving) -> Result<Imported, String> {
    let mut facts = Facts::of(journal.state());
    let name = format!("journal {}", journal.id());
    let mut connection = writing(place).await?;
    demand_schema(&mut connection).await?;
    let store = store(&mut connection).await?;
    if let Some(other) = journal.moved_to().filter(|other| *other != store) {
        return Err(format!(
            "this journal was moved to the store {other}, and this is {store}"
        ));
    }
    if let Some(processors) = journal.processors().map_err(|fault| fault.to_string())? {
        processors::settle(&mut connection, &processors, &journal.open_at(), false).await?;
    }
    let mut pen = Pen::begin(place, connection, &name).await?;
    let (absent, theirs) = match pen.compare(&facts.claims).await? {
        Ok(found) => found,
        Err(contradictions) => {
            pen.give_up().await?;
            return Ok(Imported::Contradicted(contradictions));
        }
    };
    facts.leave(&theirs);
    let marked = journal.mark(store);
    marked.map_err(|fault| fault.to_string())?;
    let added = pen.write(&facts, &absent).await?;
    pen.look_again(&facts).await?;
    pen.finish(facts.exact_from()).await?;
    Ok(Imported::Whole(in_words(
        &name,
        &facts,
        added,
        theirs.len(),
    )))
}

fn in_words(name: &str, facts: &Facts, added: usize, theirs: usize) -> Vec<String> {
    let (ids, open) = (facts.claims.len(), facts.open());
    let mut lines = vec![format!(
        "{name}: {ids} ids, {open} of them open; {added} were added now"
    )];
    if theirs > 0 {
        lines.push(format!(
            "{theirs} more came with another journal, which says the same of them"
        ));
    }
    let mut amount = Vec::new();
    write_cents(facts.sums.values().map(|sum| sum.cents).sum(), &mut amount);
    let count: u64 = facts.sums.values().map(|sum| sum.count).sum();
    let amount = String::from_utf8_lossy(&amount);
    lines.push(format!("charged: payments {count}, amount {amount}"));
    lines
}

/// Which store it is.
async fn store(connection: &mut Connection) -> Result<StoreId, String> {
    let id = value(connection, "SELECT id FROM p99.meta WHERE one = 1").await?;
    let id = id.as_deref().and_then(StoreId::read);
    id.ok_or_else(|| "the schema has no id; was it made by hand?".to_owned())
}

impl Pen<'_> {
    /// The ids that the store has not, and those that it has from another journal; or, as lines,
    /// those of which it says something else.
    async fn compare(
        &mut self,
        claims: &[Claim],
    ) -> Result<Result<(BTreeSet<UpstreamId>, BTreeSet<UpstreamId>), Vec<String>>, String> {
        let (mut absent, mut theirs) = (BTreeSet::new(), BTreeSet::new());
        let mut contradictions = Vec::new();
        for part in claims.chunks(STORE_BATCH_IDS_MAX) {
            let rows = self
                .read(part.iter().map(|claim| claim.id).collect())
                .await?;
            for claim in part {
                let row = rows.iter().find(|row| row.id == claim.id);
                match facts::find(claim, row, self.writer) {
                    Found::Absent => drop(absent.insert(claim.id)),
                    Found::Same => drop(theirs.insert(claim.id)),
                    Found::Own => {}
                    Found::Other => contradictions.extend(row.map(|row| facts::both(claim, row))),
                }
            }
        }
        Ok(if contradictions.is_empty() {
            Ok((absent, theirs))
        } else {
            Err(contradictions)
        })
    }

    /// Writes rows and sums, and returns how many rows were new.
    async fn write(
        &mut self,
        facts: &Facts,
        absent: &BTreeSet<UpstreamId>,
    ) -> Result<usize, String> {
        let (lingering, open_since) = facts.lingering();
        self.open_since = open_since;
        let claims = facts.claims.iter().filter(|one| absent.contains(&one.id));
        let claims: Vec<&Claim> = claims.collect();
        for part in claims.chunks(STORE_BATCH_IDS_MAX) {
            let ids = part.iter().map(|claim| claim.id);
            let batch = Batch {
                claims: part.iter().map(|claim| (*claim).clone()).collect(),
                lingering: ids.filter(|id| lingering.contains(id)).collect(),
                ..Batch::default()
            };
            if self.send(batch, &Reads::default()).await?.won.len() != part.len() {
                return Err(
                    "another import claimed ids of this journal meanwhile: run it again, \
                            and it says which"
                        .to_owned(),
                );
            }
        }
        let sums = facts.written().ok_or("a sum is too large for the store")?;
        for part in sums.chunks(STORE_BATCH_IDS_MAX) {
            let batch = Batch {
                sums: part.to_vec(),
                ..Batch::default()
            };
            self.send(batch, &Reads::default()).await?;
        }
        Ok(claims.len())
    }

    /// Demands that the store has the journal's rows and sums, whatever earlier runs wrote.
    async fn look_again(&mut self, facts: &Facts) -> Result<(), String> {
        self.connection.simple("SET statement_timeout = 0").await?;
        let writer = self.writer.0;
        let question = format!(
            "SELECT (SELECT count(*) FROM p99.payment WHERE writer = {writer}), \
             COALESCE(sum(n), 0)::bigint, COALESCE(sum(cents), 0)::bigint \
             FROM p99.rollup WHERE writer = {writer}"
        );
        let found = numbers::<3>(&self.connection.simple(&question).await?);
        let sum = |of: fn(&Sum) -> i64| {
            let written = facts.written().unwrap_or_default();
            written.iter().map(of).sum::<i64>()
        };
        let rows = i64::try_from(facts.claims.len()).unwrap_or(i64::MAX);
        let wanted = [rows, sum(|one| one.count), sum(|one| one.cents)];
        if found != Some(wanted) {
            return Err(format!(
                "the store should have ids, payments and cents of this journal {wanted:?} and has \
                 {found:?}: was another copy of it imported, or did an instance run on it?"
            ));
        }
        Ok(())
    }
}
