//! How a core's work at the store ends: by a stop, or because nothing becomes durable any more.

use super::store::Store;
use super::{CoreRuntime, Failure};
use crate::logging;
use crate::pay::TIMER_STEP;
use crate::shared::End;
use std::time::Duration;

/// How long an instance that stops waits for the store to take its last batch.
const STORE_CLOSE_MAX: Duration = Duration::from_secs(3);

impl CoreRuntime {
    pub(super) fn end_store(&self, end: &End) {
        let (failure, why) = match end {
            End::Fenced(writer) => {
                let writer = writer.map_or(0, |writer| writer.0);
                let why = format!("writer {writer} is another instance's: this one was silent");
                (Failure::Fenced, why)
            }
            End::WentBack {
                acknowledged,
                found,
                ids,
            } => {
                logging::be_patient();
                for id in ids {
                    log::error!("store: what it had acknowledged of id={id} is gone");
                }
                let why = format!(
                    "THE STORE HAS FORGOTTEN WHAT IT HAD ACKNOWLEDGED: batch {acknowledged}, and \
                     it knows {found} ({} ids are listed above)",
                    ids.len()
                );
                (Failure::StoreWentBack, why)
            }
            End::Broken(why) => (Failure::Broken, why.clone()),
        };
        log::error!("store: {why}; no payment is taken in any more");
        self.give_up(failure, why);
    }

    /// Has everything written, and ends the leases with it. What is open is another instance's
    /// then.
    pub(super) async fn close_store(&self, store: &Store) {
        store.writers.borrow_mut().close();
        let mut now = self.now();
        let end = now.mono.after(STORE_CLOSE_MAX);
        self.tell(now, |_| ());
        while !store.tasks.borrow().is_empty() && now.mono < end {
            monoio::time::sleep(TIMER_STEP).await;
            now = self.now();
        }
        if !store.writers.borrow().is_idle() {
            log::error!(
                "core {}: the store did not take what was to be written in time; who waited for \
                 it was told nothing, and other instances go on with what it has",
                self.core.0
            );
        }
    }
}
