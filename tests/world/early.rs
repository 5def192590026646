//! A charge that is told before its Verdict is durable (I5): a crash finds it open again, and until
//! it is resolved no sum leaves it out.

use std::time::Duration;

use p99::testing::config::AnswerAfter;
use p99::testing::limits;
use p99::testing::owner::SumFault;
use p99::testing::payment::{Processor, Status, UpstreamId};

use crate::machine::Machine;
use crate::plan::MS;
use crate::simulation::World;

impl World {
    /// What was told is written soon, also while nothing else is.
    pub(crate) fn check_haste(&self, core: usize) {
        let machine = &self.cores[core];
        // A timer is at most a step late, and a core that stood still notices with its next one.
        let idle = machine
            .disk
            .as_ref()
            .map(|disk| disk.idle_for(self.now(core).mono));
        let late = Duration::from_micros(machine.stalled_in_all + 2 * MS);
        assert!(
            machine.has_failed || idle.is_none_or(|idle| idle <= limits::JOURNAL_LATER_MAX + late),
            "I5: a verdict that was told waits for {idle:?}"
        );
    }

    /// A charge is told: its Verdict is durable, or its Intent is where that is enough, so that a
    /// start finds it again.
    pub(crate) fn check_early(&self, core: usize, id: UpstreamId, answer: &str) {
        let Some(disk) = &self.cores[core].disk else {
            return;
        };
        if disk.settled(id) == Some(Status::Processed) {
            return;
        }
        let open = disk.state.find_pending(id).and_then(|one| one.open);
        let is_there = open.is_some_and(|open| self.row(open.processor, id).is_some());
        assert!(
            self.plan.settings.answer_after == AnswerAfter::Intent && is_there,
            "I5: {answer} and the disk has {open:?}"
        );
    }

    /// What a client was told is in the sum of its moment, or there is no such sum.
    pub(crate) fn check_sum(&self, id: UpstreamId) {
        // A restart with other cores leaves old sums at another core than their claims: a purge
        // that was durable at the one and not at the other took the sums alone.
        if self.is_purge_torn {
            return;
        }
        let ours = |one: Processor| self.row(one, id).filter(|row| row.is_ours);
        for processor in Processor::ALL {
            let Some(row) = ours(processor) else { continue };
            // A restart with other cores leaves old sums where they were.
            let sums = |one: &Machine| one.owner.sums(Some(row.sent), Some(row.sent));
            let sums: Result<Vec<_>, _> = self.cores.iter().map(sums).collect();
            match sums {
                Ok(sums) => assert!(
                    sums.iter()
                        .any(|sums| sums.charged.get(processor).count > 0),
                    "exact: {id} was told 200 and its moment has {sums:?}"
                ),
                Err(SumFault::Unresolved | SumFault::CutsOldSecond(_)) => {}
            }
        }
    }
}
