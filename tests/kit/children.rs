//! Two processors in this process that outlive each p99 that is started before them as a child.

use p99::testing::payment::UpstreamId;
use p99::testing::sim::SimulatorHandle;

use super::process::P99;
use super::stack::{Told, hold_against, processors};
use super::start;

pub(crate) struct Processors {
    pub(crate) a: SimulatorHandle,
    pub(crate) b: SimulatorHandle,
}

impl Processors {
    pub(crate) fn start() -> Self {
        let [a, b] = processors();
        Self { a, b }
    }

    pub(crate) fn p99(&self, driver: &str, settings: &[(&str, &str)]) -> P99 {
        start::start([&self.a.url(), &self.b.url()], driver, settings)
    }

    pub(crate) fn attempts(&self, id: UpstreamId) -> u32 {
        self.a.attempts(id) + self.b.attempts(id)
    }

    pub(crate) fn charges(&self, id: UpstreamId) -> u32 {
        let is_there = |sim: &SimulatorHandle| u32::from(sim.find(id).is_some());
        is_there(&self.a) + is_there(&self.b)
    }

    /// Holds what was charged against what clients were told.
    pub(crate) fn audit(&self, told: &[(UpstreamId, Told)]) {
        hold_against("the books", told, |id| self.charges(id));
    }
}
