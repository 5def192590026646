//! The writer that a journal is imported as: it begins, sends batch after batch until each is known
//! to be done, and says at the end that all is there. `import` says what it writes.

use std::time::Duration;

use super::batch::Batch;
use super::connection::Connection;
use super::exchange::{Answer, Outcome, Reading, Reads, Transaction};
use super::operator::{value, writing};
use super::place::StorePlace;
use super::record::{Epoch, Row, WriterId};
use crate::keys;
use crate::limits;
use crate::payment::UpstreamId;

/// How often `p99 store import` sends one batch, a pause and a question between, before it gives
/// up: some 10 s when the server refuses at once, as long as a failover takes.
const STORE_IMPORT_TRIES_MAX: u32 = 100;

/// See the header of this file.
pub(super) struct Pen<'a> {
    place: &'a StorePlace,
    pub(super) connection: Connection,
    name: String,
    pub(super) writer: WriterId,
    epoch: Epoch,
    number: i64,
    nonce: i64,
    /// The least `at` of the open rows that do not linger.
    pub(super) open_since: Option<i64>,
}

/// What came of a batch.
pub(super) struct Sent {
    pub(super) won: Vec<UpstreamId>,
    /// What was read with it; nothing when its answer was lost and it was done all the same.
    reading: Option<Reading>,
}

fn nonce() -> i64 {
    keys::unlike_all().cast_signed()
}

/// The columns of a row in text, read as numbers.
pub(super) fn numbers<const N: usize>(rows: &[Vec<Option<String>>]) -> Option<[i64; N]> {
    let row = rows.first()?.iter();
    let row: Option<Vec<i64>> = row.map(|one| one.as_ref()?.parse().ok()).collect();
    row?.try_into().ok()
}

impl<'a> Pen<'a> {
    /// Registers the writer, or takes over what an earlier run left of it: that one has ended,
    /// since the journal's lock is ours.
    pub(super) async fn begin(
        place: &'a StorePlace,
        mut connection: Connection,
        name: &str,
    ) -> Result<Self, String> {
        let (nonce, lease) = (nonce(), limits::STORE_LEASE.as_secs());
        let until = format!("now() + interval '{lease} seconds'");
        connection.simple("BEGIN").await?;
        // Imports begin one after the other.
        let lock = "UPDATE p99.meta SET importing = importing WHERE one = 1 AND importing \
                    RETURNING next_writer";
        if connection.simple(lock).await?.is_empty() {
            return Err(
                "this store takes payments already: journals are imported before \
                        `p99 store import --done`"
                    .to_owned(),
            );
        }
        let others = format!(
            "SELECT holder FROM p99.writer WHERE lease_until >= now() \
             AND holder NOT IN ('{name}', '{name}, whole')"
        );
        if let Some(other) = value(&mut connection, &others).await? {
            return Err(format!("{other} is being imported: one after the other"));
        }
        let take_over = format!(
            "UPDATE p99.writer SET epoch = epoch + 1, nonce = {nonce}, lease_until = {until} \
             WHERE holder IN ('{name}', '{name}, whole') RETURNING writer, epoch, batch"
        );
        let mut held = connection.simple(&take_over).await?;
        if held.is_empty() {
            let count = "UPDATE p99.meta SET next_writer = next_writer + 1 WHERE one = 1";
            connection.simple(count).await?;
            let register = format!(
                "INSERT INTO p99.writer (writer, epoch, batch, nonce, holder, lease_until) \
                 SELECT next_writer - 1, 1, 0, {nonce}, '{name}', {until} FROM p99.meta \
                 WHERE one = 1 RETURNING writer, epoch, batch"
            );
            held = connection.simple(&register).await?;
        }
        connection.simple("COMMIT").await?;
        let misread = || "the writer of the import cannot be read".to_owned();
        let [writer, epoch, number] = numbers(&held).ok_or_else(misread)?;
        Ok(Self {
            place,
            connection,
            name: name.to_owned(),
            writer: WriterId(i32::try_from(writer).map_err(|_| misread())?),
            epoch: Epoch(epoch),
            number,
            nonce,
            open_since: None,
        })
    }

    pub(super) async fn read(&mut self, ids: Vec<UpstreamId>) -> Result<Vec<Row>, String> {
        let reads = Reads {
            rows: ids,
            ..Reads::default()
        };
        loop {
            if let Some(reading) = self.send(Batch::default(), &reads).await?.reading {
                let unreadable = reading.unreadable.into_iter().next();
                return unreadable.map_or(Ok(reading.rows), |(_, why)| Err(why));
            }
        }
    }

    /// Performs a batch, until it is known to be done.
    pub(super) async fn send(&mut self, batch: Batch, reads: &Reads) -> Result<Sent, String> {
        let number = self.number + 1;
        let mut why = String::new();
        for _ in 0..STORE_IMPORT_TRIES_MAX {
            let (expected, nonce) = (self.nonce, nonce());
            let batch = Batch {
                writer: self.writer,
                epoch: self.epoch,
                number,
                expected,
                nonce,
                open_since: self.open_since,
                ..batch.clone()
            };
            let claims = batch.claimed();
            let reads = reads.clone();
            let transaction = Transaction::Batch { batch, reads };
            match self.connection.transact(&transaction).await {
                Outcome::Acknowledged(Answer::Batch {
                    held: true,
                    won,
                    reading,
                    ..
                }) => {
                    (self.number, self.nonce) = (number, nonce);
                    let reading = Some(reading);
                    return Ok(Sent { won, reading });
                }
                // The connection goes on as before.
                Outcome::NotDone { why: said, .. } => why = said,
                Outcome::Doubtful(said) => {
                    why = said;
                    self.connection = writing(self.place).await?;
                }
                // An earlier copy of it was done, or the writer is another run's.
                Outcome::Acknowledged(_) | Outcome::Connected | Outcome::Unconnected(_) => {}
            }
            monoio::time::sleep(PAUSE).await;
            match self.resolve(number, claims).await {
                Ok(Some(won)) => return Ok(Sent { won, reading: None }),
                Ok(None) => {}
                Err(said) => why = said,
            }
        }
        Err(format!("{why}; run it again, it goes on where it is"))
    }

    /// Whether batch `number` was done, and which claims it won; from then on no copy of it is.
    async fn resolve(
        &mut self,
        number: i64,
        claims: Vec<UpstreamId>,
    ) -> Result<Option<Vec<UpstreamId>>, String> {
        let nonce = nonce();
        let asked = Transaction::Resolve {
            writer: self.writer,
            epoch: self.epoch,
            number,
            nonce,
            claims,
        };
        match self.connection.transact(&asked).await {
            Outcome::Acknowledged(Answer::Resolved {
                number: Some(found),
                mine,
            }) => {
                self.nonce = nonce;
                if found == number {
                    self.number = number;
                    return Ok(Some(mine));
                }
                Ok(None)
            }
            Outcome::Acknowledged(_) => Err("another run of this import took over".to_owned()),
            Outcome::NotDone { why, .. } | Outcome::Unconnected(why) => Err(why),
            Outcome::Doubtful(why) => {
                self.connection = writing(self.place).await?;
                Err(why)
            }
            Outcome::Connected => Ok(None),
        }
    }

    /// Says that all is there, and ends the lease.
    pub(super) async fn finish(&mut self, exact_from: i64) -> Result<(), String> {
        let (name, writer, epoch) = (&self.name, self.writer.0, self.epoch.0);
        self.connection.simple("BEGIN").await?;
        let exact = format!(
            "UPDATE p99.meta SET exact_from = GREATEST(exact_from, {exact_from}) WHERE one = 1"
        );
        self.connection.simple(&exact).await?;
        let end = format!(
            "UPDATE p99.writer SET holder = '{name}, whole', lease_until = now() \
             WHERE writer = {writer} AND epoch = {epoch} RETURNING writer"
        );
        if self.connection.simple(&end).await?.is_empty() {
            return Err("another run of this import took over".to_owned());
        }
        self.connection.simple("COMMIT").await?;
        Ok(())
    }

    /// Nothing of it is there: neither is its writer.
    pub(super) async fn give_up(&mut self) -> Result<(), String> {
        let (writer, epoch) = (self.writer.0, self.epoch.0);
        let end = format!(
            "DELETE FROM p99.writer w WHERE writer = {writer} AND epoch = {epoch} \
             AND NOT EXISTS (SELECT 1 FROM p99.payment p WHERE p.writer = w.writer)"
        );
        self.connection.simple(&end).await.map(|_| ())
    }
}

/// Before it asks what became of a batch.
const PAUSE: Duration = Duration::from_millis(100);
