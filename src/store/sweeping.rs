//! The sweeper's task: performs what it wants on a connection of its own, and says what came of it.
//! It decides nothing.

use super::connection::Connection;
use super::exchange::{Command, Outcome};
use super::place::StorePlace;
use super::sweeper::{News, Sweeper};
use crate::clock::Boot;

/// Sweeps as long as the core's loop runs. `tell` hears what the sweeper says, `fault` why a
/// connection or a sweep came to nothing.
pub async fn sweep(
    place: &StorePlace,
    mut sweeper: Sweeper,
    mut tell: impl FnMut(News),
    mut fault: impl FnMut(&str),
) {
    let mut connection: Option<Connection> = None;
    loop {
        while let Some(news) = sweeper.next_news() {
            tell(news);
        }
        let outcome = match sweeper.next(Boot::now()) {
            None => {
                let now = Boot::now();
                let due = sweeper.wake_at().unwrap_or(now);
                monoio::time::sleep(due.since(now)).await;
                continue;
            }
            Some(Command::Connect) => {
                drop(connection.take());
                match Connection::open(place).await {
                    Ok(opened) => {
                        connection = Some(opened);
                        Outcome::Connected
                    }
                    Err(why) => Outcome::Unconnected(why),
                }
            }
            Some(Command::Transact(transaction)) => match &mut connection {
                Some(connection) => connection.transact(&transaction).await,
                None => Outcome::Doubtful("there is no connection".to_owned()),
            },
        };
        if let Outcome::Unconnected(why) | Outcome::NotDone { why, .. } | Outcome::Doubtful(why) =
            &outcome
        {
            fault(why);
        }
        sweeper.outcome(outcome, Boot::now());
    }
}
