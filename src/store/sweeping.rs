//! The sweeper's task: performs what it wants on a connection of its own, and says what came of it.
//! It decides nothing.

use std::rc::Rc;

use super::executor::Executor;
use super::place::StorePlace;
use super::sweeper::{News, Sweeper};
use crate::clock::Boot;

/// Sweeps as long as the core's loop runs. `tell` hears what the sweeper says, `fault` why a
/// connection or a sweep came to nothing.
pub(crate) async fn sweep(
    place: Rc<StorePlace>,
    mut sweeper: Sweeper,
    mut tell: impl FnMut(News),
    mut fault: impl FnMut(&str),
) {
    let mut executor = Executor::new(place);
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
            Some(command) => executor.perform(command).await,
        };
        if let Some(why) = outcome.fault() {
            fault(why);
        }
        sweeper.outcome(outcome, Boot::now());
    }
}
