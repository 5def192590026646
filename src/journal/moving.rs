//! A journal whose contents move to a shared store. Only `p99 store import` calls it. It reads the
//! journal of a stopped instance, and writes one thing: a line in its manifest that says where the
//! contents are, before the first of them is there. From then on no start takes the journal up: two
//! owners of one history would both send what is open (I2).

use super::directory::Directory;
use super::fault::JournalFault;
use super::manifest::{JournalId, Manifest, StoreId};
use super::processors::{self, Authorities};
use super::replay::State;
use super::settings::JournalSettings;
use super::start::{StartReport, demand_original, distributed, read_all};
use crate::payment::{CoreCount, PerProcessor};

/// A journal that is being moved; its directory is locked.
#[derive(Debug)]
pub struct Moving {
    dir: Directory,
    manifest: Manifest,
    state: State,
}

impl Moving {
    /// Reads the journal in `settings.dir`, all cores of it as one.
    ///
    /// # Errors
    /// An instance holds the directory; it holds no journal, a damaged one, a backup, or one that
    /// another journal has taken over.
    pub fn open(settings: &JournalSettings) -> Result<Self, JournalFault> {
        let dir = Directory::lock(&settings.dir)?;
        let path = dir.manifest_path();
        let manifest = dir.manifest()?.ok_or(JournalFault::Missing { path })?;
        demand_original(&settings.dir, &manifest)?;
        let settings = JournalSettings {
            cores: CoreCount(1),
            ..settings.clone()
        };
        let olds = read_all(&dir, &manifest, &settings, &mut StartReport::default())?;
        let empty = || State::new(settings.claims_max, settings.ledger_exact);
        let mut state = distributed(olds, &settings)?.pop().unwrap_or_else(empty);
        state.end_unkept();
        Ok(Self {
            dir,
            manifest,
            state,
        })
    }

    /// Which journal it is.
    #[must_use]
    pub const fn id(&self) -> JournalId {
        self.manifest.id
    }

    /// Where its contents are already, or were to go.
    #[must_use]
    pub const fn moved_to(&self) -> Option<StoreId> {
        self.manifest.moved_to
    }

    /// What it holds; payments that end with their process are not among it.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Where the processors are that it is about, if it says so.
    ///
    /// # Errors
    /// The list of them cannot be read.
    pub fn processors(&self) -> Result<Option<Authorities>, JournalFault> {
        processors::read(&self.dir)
    }

    /// How many payments are open at each processor.
    #[must_use]
    pub fn open_at(&self) -> PerProcessor<u64> {
        processors::open(std::slice::from_ref(&self.state))
    }

    /// Says durably that its contents are in `store`.
    ///
    /// # Errors
    /// The disk says so.
    pub fn mark(&mut self, store: StoreId) -> Result<(), JournalFault> {
        self.manifest.moved_to = Some(store);
        self.dir.switch(&self.manifest)
    }
}
