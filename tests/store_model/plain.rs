//! Brings a state into its plainest form: what can make no difference any more is forgotten, and
//! numbers of which only order or equality counts start from the least.
//!
//! Whatever is done here must change no behaviour; it only makes more states equal.

use crate::scene::Scene;
use crate::state::{Batch, Core, Flow, IDS, Life, PROCESSORS, State, Step};

impl State {
    pub(crate) fn simplify(&mut self, scene: &Scene) {
        for core in &mut self.cores {
            let is_done = core.is_adopter || core.life == Life::Fenced;
            if is_done && core.is_idle() {
                *core = Core::default();
            }
            forget_age(core);
        }
        for processor in 0..PROCESSORS {
            for id in 0..IDS {
                if self.charged[processor][id].is_some() {
                    self.strays[processor][id] = 0;
                }
            }
        }
        for row in self.database.rows.iter_mut().filter(|row| row.is_settled) {
            row.epoch = 0;
        }
        self.forget_row_batches();
        for writer in 0..self.database.next_writer {
            self.count_from_least(writer);
            self.name_nonces(writer);
            if scene.budget.registrations == 0 {
                self.forget_idle_lease(writer);
            }
        }
        self.copies.sort_unstable();
    }

    /// A row's batches matter only while one of that number may still be under way.
    fn forget_row_batches(&mut self) {
        let (cores, copies) = (self.cores, self.copies);
        for row in self.database.rows.iter_mut().filter(|row| row.exists) {
            let is_live = |batch: u8| {
                let waits = |core: &Core| {
                    core.sent.is_some() && core.writer == row.writer && core.batch + 1 == batch
                };
                let carries = |copy: &Batch| copy.writer == row.writer && copy.batch == batch;
                cores.iter().any(waits) || copies.iter().flatten().any(carries)
            };
            if !is_live(row.batch) {
                row.batch = 0;
            }
            if !is_live(row.settled_batch) {
                row.settled_batch = 0;
            }
        }
    }

    /// Batches of a writer are compared with each other alone.
    fn count_from_least(&mut self, writer: u8) {
        let mut least = u8::MAX;
        self.each_batch(writer, |batch, next| least = least.min(*batch - next));
        if least == 0 {
            return;
        }
        self.each_batch(writer, |batch, _| *batch -= least);
        let standby = self
            .standby
            .iter_mut()
            .flat_map(|standby| &mut standby.rows);
        for row in self.database.rows.iter_mut().chain(standby) {
            if row.writer == writer {
                row.batch = row.batch.saturating_sub(least);
                row.settled_batch = row.settled_batch.saturating_sub(least);
            }
        }
    }

    /// Every number of a batch of this writer, and by how much it is ahead of what is applied.
    fn each_batch(&mut self, writer: u8, mut look: impl FnMut(&mut u8, u8)) {
        let at = usize::from(writer);
        look(&mut self.database.writers[at].batch, 0);
        if let Some(standby) = &mut self.standby {
            look(&mut standby.writers[at].batch, 0);
        }
        for core in &mut self.cores {
            if core.life == Life::Up && core.writer == writer {
                look(&mut core.batch, 0);
            }
        }
        if let Some(question) = &mut self.question {
            for id in 0..IDS {
                if question.writers[id] == writer {
                    look(&mut question.batches[id], 0);
                }
            }
        }
        for copy in self
            .copies
            .iter_mut()
            .flatten()
            .filter(|copy| copy.writer == writer)
        {
            look(&mut copy.batch, 1);
        }
    }

    /// Nonces are compared for equality alone, so they are numbered as they are met.
    fn name_nonces(&mut self, writer: u8) {
        let at = usize::from(writer);
        let mut met = [u8::MAX; 16];
        let mut name = |nonce: &mut u8| {
            let is_it = |known: &u8| *known == *nonce || *known == u8::MAX;
            let place = met.iter().position(is_it).expect("a handful are in use");
            met[place] = *nonce;
            *nonce = u8::try_from(place).expect("sixteen");
        };
        name(&mut self.database.writers[at].nonce);
        if let Some(standby) = &mut self.standby {
            name(&mut standby.writers[at].nonce);
        }
        for core in &mut self.cores {
            if core.life == Life::Up && core.writer == writer {
                name(&mut core.nonce);
            }
        }
        for copy in self
            .copies
            .iter_mut()
            .flatten()
            .filter(|copy| copy.writer == writer)
        {
            name(&mut copy.after);
            name(&mut copy.nonce);
        }
    }

    /// Idle cores renew their leases, and a writer without anything is never adopted.
    fn forget_idle_lease(&mut self, writer: u8) {
        let mut rows = self.database.rows.iter();
        let mut copies = self.copies.iter().flatten();
        let is_busy = rows.any(|row| row.is_open() && row.writer == writer)
            || self
                .cores
                .iter()
                .any(|core| core.writer == writer && !core.is_idle())
            || copies.any(|copy| copy.writer == writer);
        if !is_busy {
            self.database.writers[usize::from(writer)].age = 0;
        }
    }
}

/// The age of the last batch matters to what may leave, and to a 200.
fn forget_age(core: &mut Core) {
    let is_over = |flow: &Flow| matches!(flow.step, Step::Idle | Step::Settling | Step::Freeing);
    if core.flows.iter().all(is_over) {
        core.age = 0;
        if let Some(sent) = &mut core.sent {
            sent.age = 0;
        }
    }
}
