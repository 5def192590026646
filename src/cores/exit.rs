//! How a server ends, as its supervisor sees it.

use crate::pay::Failure;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All that was acknowledged is settled, or in the journal.
    Clean,
    /// Pending payments were given up that nothing remembers; each was logged.
    Forgotten(usize),
    /// A core, a thread or the journal failed.
    Failed,
    /// Another instance has taken over what this one had in the store: start again.
    Fenced,
    /// The store has forgotten what it had acknowledged: a person must look.
    StoreWentBack,
}

impl Exit {
    /// The end of a server that failed so, or did not, and left `forgotten` payments.
    pub(super) const fn of(failure: Option<Failure>, forgotten: usize) -> Self {
        match (failure, forgotten) {
            (Some(Failure::Broken), _) => Self::Failed,
            (Some(Failure::Fenced), _) => Self::Fenced,
            (Some(Failure::StoreWentBack), _) => Self::StoreWentBack,
            (None, 0) => Self::Clean,
            (None, count) => Self::Forgotten(count),
        }
    }

    /// The status for the shell.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Forgotten(_) => 3,
            Self::StoreWentBack => 4,
            // EX_TEMPFAIL of sysexits.h: nothing is wrong with this instance.
            Self::Fenced => 75,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_status_of_its_own() {
        let ends = [
            Exit::Clean,
            Exit::Failed,
            Exit::Forgotten(2),
            Exit::StoreWentBack,
            Exit::Fenced,
        ];
        assert_eq!(ends.map(Exit::code), [0, 1, 3, 4, 75]);
    }
}
