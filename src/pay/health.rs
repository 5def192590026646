//! The optional health poll (HEALTH_INTERVAL_MS): one poller for the whole instance, on core 0,
//! because a processor grants one question in five seconds to all its callers together.
//!
//! It may only hold traffic back: a processor that says that it is failing rests until the next
//! look. That it is well again is shown by payments, through the breaker. 429, silence and bodies
//! that say nothing are no news.

use std::rc::Rc;
use std::time::Duration;

use super::{CoreRuntime, notes};
use crate::events::Note;
use crate::payment::Processor;
use crate::wire;

/// How long a processor's health route may take. It has its own clock: a slow health answer must
/// not count as a slow payment. Shorter than the processors' permit of five seconds.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

impl CoreRuntime {
    /// Asks every processor in turn, for ever.
    pub(super) async fn watch_health(self: Rc<Self>, interval: Duration) {
        loop {
            for (processor, _) in self.config.upstream.iter() {
                self.look_after(processor, interval).await;
            }
            monoio::time::sleep(interval).await;
        }
    }

    async fn look_after(&self, processor: Processor, interval: Duration) {
        let called = self
            .upstream
            .ask(processor, "/service-health", HEALTH_TIMEOUT)
            .await;
        let health = called
            .ok()
            .filter(|called| called.status == 200)
            .and_then(|called| wire::read_health(&called.body));
        log::debug!("health processor={} {health:?}", processor.name());
        if health.is_some_and(|health| health.failing) {
            let breaker = self.shared.processors.breaker(processor);
            let now = self.now().mono;
            if let Some(transition) = breaker.rest(breaker.generation(), interval, now) {
                let note = Note::Breaker(processor, transition);
                notes::count(&self.metrics, &note, now);
                notes::show(&self.shared.metrics.events, &note, now);
            }
        }
    }
}
