//! One connection to a PostgreSQL server that writes: hosts in turn, and transactions in one write
//! with one Sync. It says what it saw; `doubt` says what that proves.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use socket2::SockAddr;

use super::doubt::{Ended, Sure};
use super::exchange::{Outcome, Transaction};
use super::login::{self, ServerFacts};
use super::messages::{Call, Fields, Output, Transcript, Value};
use super::place::StorePlace;
use super::reading;
use super::script;
use super::sql::Statement;
use super::talk::{Talk, UNREADABLE};
use crate::config::StoreHost;
use crate::journal::Authorities;
use crate::limits;
use crate::sockets::send_now;

/// How long a server may take for one transaction. Longer means that it, or the way to it, is gone.
const STORE_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long one sweep may take: longer than the role's own limit for a statement.
const STORE_SWEEP_MAX: Duration = Duration::from_secs(10);

/// See the header of this file.
pub struct Connection {
    talk: Talk,
    is_prepared: bool,
    needs_rollback: bool,
    facts: ServerFacts,
    host: String,
    /// Of those who register writers.
    processors: Option<Authorities>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the first host that writes, in the order in which STORE names them.
    ///
    /// # Errors
    /// Why none does, host by host.
    pub async fn open(place: &StorePlace) -> Result<Self, String> {
        Self::open_but_last(place, None).await
    }

    /// The same, but the host `last` comes last: it was silent, and to find that out again costs
    /// as much as all others together.
    ///
    /// # Errors
    /// Why none does, host by host.
    pub(super) async fn open_but_last(
        place: &StorePlace,
        last: Option<&str>,
    ) -> Result<Self, String> {
        let mut faults = Vec::new();
        let mut hosts = Vec::from_iter(&place.url.hosts);
        hosts.sort_by_key(|host| last == Some(host.to_string().as_str()));
        for host in hosts {
            match Self::open_one(place, host).await {
                Ok(one) if one.facts.is_standby || one.facts.is_read_only => {
                    faults.push(format!(
                        "{host}: it does not write (read-only or a standby)"
                    ));
                }
                Ok(mut one) => match one.prepare().await {
                    Ok(()) => return Ok(one),
                    Err(why) => faults.push(format!("{host}: {why}")),
                },
                Err(why) => faults.push(format!("{host}: {why}")),
            }
        }
        Err(faults.join("; "))
    }

    /// Connects to `host`, whether it writes or not, and logs in.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    pub async fn open_one(place: &StorePlace, host: &StoreHost) -> Result<Self, String> {
        let addresses = match host {
            StoreHost::Unix(folder, port) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                vec![SockAddr::unix(path).map_err(|fault| fault.to_string())?]
            }
            StoreHost::Tcp(name, port) => {
                let found = place.lookup.of(name, *port).await?;
                found
                    .into_iter()
                    .map(|one: SocketAddr| one.into())
                    .collect()
            }
        };
        let mut fault = "its name has no address".to_owned();
        for address in addresses {
            match login::reach(place, host, &address).await {
                Ok((talk, facts)) => {
                    return Ok(Self {
                        talk,
                        is_prepared: place.is_prepared,
                        needs_rollback: false,
                        facts,
                        host: host.to_string(),
                        processors: place.processors.clone(),
                    });
                }
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    /// What the server says of itself.
    #[must_use]
    pub const fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// Which of the hosts it is.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Prepares every statement, in one go.
    async fn prepare(&mut self) -> Result<(), String> {
        if !self.is_prepared {
            return Ok(());
        }
        let mut out = BytesMut::new();
        for statement in Statement::ALL {
            frontend::parse(statement.name(), statement.text(), [], &mut out)
                .map_err(|fault| fault.to_string())?;
        }
        frontend::sync(&mut out);
        let transcript = Transcript::of(0);
        let (ended, _) = self.talk.ask(out, transcript, STORE_ANSWER_MAX).await;
        match ended {
            Ended::Cut(why) => Err(why),
            Ended::Ready { error: None, .. } => Ok(()),
            Ended::Ready {
                error: Some((told, _)),
                ..
            } => Err(told.to_string()),
        }
    }

    /// Performs `transaction`, and says what came of it. After [`Outcome::Doubtful`] the connection
    /// is of no further use.
    pub async fn transact(&mut self, transaction: &Transaction) -> Outcome {
        let calls = script::calls(transaction, self.processors.as_ref());
        let longest = match transaction {
            Transaction::Batch { batch, .. } if batch.is_purge => limits::STORE_PURGE_MAX,
            Transaction::Batch { .. }
            | Transaction::Register { .. }
            | Transaction::Resolve { .. }
            | Transaction::Adopt { .. } => STORE_ANSWER_MAX,
            Transaction::Sweep(_) => STORE_SWEEP_MAX,
        };
        match self.perform(&calls, longest).await {
            Err(outcome) => outcome,
            Ok(outputs) if reading::is_importing(transaction, &outputs) => Outcome::NotDone {
                code: *b"55000",
                why: "it takes no payments yet: `p99 store import --done`".to_owned(),
            },
            Ok(outputs) if reading::is_elsewhere(transaction, &outputs) => Outcome::NotDone {
                code: *b"55000",
                why: "it is about other processors than UPSTREAM_A_URL and UPSTREAM_B_URL name"
                    .to_owned(),
            },
            Ok(outputs) => match reading::answer(transaction, outputs) {
                Ok(answer) => Outcome::Acknowledged(answer),
                Err(_) => Outcome::Doubtful(UNREADABLE.to_owned()),
            },
        }
    }

    async fn perform(&mut self, calls: &[Call], longest: Duration) -> Result<Vec<Output>, Outcome> {
        let mut out = BytesMut::new();
        if std::mem::take(&mut self.needs_rollback) {
            // Its answers come first, and are not part of the transaction.
            if let Err(why) = self.roll_back(longest).await {
                return Err(Outcome::Doubtful(why));
            }
        }
        for call in calls {
            if let Err(fault) = self.put(call, &mut out) {
                return Err(Outcome::Doubtful(fault.to_string()));
            }
        }
        frontend::sync(&mut out);
        let transcript = Transcript::of(calls.len());
        let (ended, outputs) = self.talk.ask(out, transcript, longest).await;
        let sure = ended.judge();
        self.needs_rollback = matches!(sure, Sure::NotDone(_));
        Result::from(sure).map(|()| outputs)
    }

    async fn roll_back(&mut self, longest: Duration) -> Result<(), String> {
        let mut out = BytesMut::new();
        frontend::query("ROLLBACK", &mut out).map_err(|fault| fault.to_string())?;
        let (ended, _) = self.talk.ask(out, Transcript::of(0), longest).await;
        match ended {
            Ended::Ready {
                status: b'I',
                error: None,
                ..
            } => Ok(()),
            Ended::Ready { .. } => Err("ROLLBACK was refused".to_owned()),
            Ended::Cut(why) => Err(why),
        }
    }

    fn put(&self, call: &Call, out: &mut BytesMut) -> io::Result<()> {
        let name = if self.is_prepared {
            call.statement.name()
        } else {
            frontend::parse("", call.statement.text(), [], out)?;
            ""
        };
        let value = |value: &Value, out: &mut BytesMut| match value {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        };
        let bound = frontend::bind("", name, [1], call.values.iter(), value, [1], out);
        bound.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        frontend::execute("", 0, out)
    }

    /// Has the server end its process of a connection that was left: while it waits for a lock or a
    /// standby it does not notice, and keeps the writer's row. What it has committed stays. One
    /// that is young has its number from before a restart of the server, and is another writer's.
    pub(super) async fn end_process(&mut self, process: i32) {
        let age = STORE_ANSWER_MAX.as_millis();
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid = {process} AND usename = current_user \
             AND backend_start < now() - interval '{age} milliseconds'"
        );
        // If it is refused, what it holds is waited for.
        let _ = self.within(&sql, STORE_ANSWER_MAX).await;
    }

    /// Runs one statement of an operator's command by itself, with text results.
    ///
    /// # Errors
    /// What the server says.
    pub async fn simple(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        self.within(sql, limits::STORE_PURGE_MAX).await
    }

    /// The same, within a time.
    pub(super) async fn within(
        &mut self,
        sql: &str,
        longest: Duration,
    ) -> Result<Vec<Vec<Option<String>>>, String> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|fault| fault.to_string())?;
        let (ended, outputs) = self.talk.ask(out, Transcript::of(0), longest).await;
        match ended {
            Ended::Cut(why) => Err(why),
            Ended::Ready {
                error: Some((told, _)),
                ..
            } => Err(told.to_string()),
            Ended::Ready { .. } => {
                let rows = outputs.into_iter().flat_map(|output| output.rows);
                let rows: Result<_, _> = rows.map(Fields::texts).collect();
                rows.map_err(|_| UNREADABLE.to_owned())
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Nothing is in flight here; the server is told, if that costs nothing.
        if self.talk.channel.session.is_none() {
            let mut out = BytesMut::new();
            frontend::terminate(&mut out);
            send_now(self.talk.channel.stream.as_raw_fd(), &out);
        }
    }
}
