//! One writer's way to the database: performs what its machine wants, and says what came of it. It
//! decides nothing.

use std::rc::Rc;

use super::connection::Connection;
use super::exchange::{Command, Outcome};
use super::place::StorePlace;

/// See the header of this file.
#[derive(Debug)]
pub(crate) struct Executor {
    place: Rc<StorePlace>,
    connection: Option<Connection>,
    /// The host whose answer did not come, and its process that was asked.
    silent: Option<(String, i32)>,
}

impl Executor {
    /// One without a connection.
    #[must_use]
    pub(crate) const fn new(place: Rc<StorePlace>) -> Self {
        Self {
            place,
            connection: None,
            silent: None,
        }
    }

    /// Performs `command`.
    pub(crate) async fn perform(&mut self, command: Command) -> Outcome {
        let outcome = match command {
            Command::Connect => {
                drop(self.connection.take());
                let last = self.silent.as_ref().map(|(host, _)| host.as_str());
                match Connection::open_but_last(&self.place, last).await {
                    Ok(mut opened) => {
                        if let Some((host, process)) = self.silent.take()
                            && host == opened.host()
                        {
                            opened.end_process(process).await;
                        }
                        self.connection = Some(opened);
                        Outcome::Connected
                    }
                    Err(why) => Outcome::Unconnected(why),
                }
            }
            Command::Transact(transaction) => match &mut self.connection {
                Some(connection) => connection.transact(&transaction).await,
                None => Outcome::Doubtful("there is no connection".to_owned()),
            },
        };
        if matches!(outcome, Outcome::Doubtful(_))
            && let Some(connection) = self.connection.take()
        {
            self.silent = Some((connection.host().to_owned(), connection.facts().process));
        }
        outcome
    }
}
