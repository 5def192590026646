//! What an answer to a payment means, by its status alone.

/// What an answer to a payment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Charged,
    Accepted,
    /// The client's to mend, or a duplicate.
    Refused,
    Failed,
}

impl Met {
    pub(super) const fn of(status: u16) -> Self {
        match status {
            202 => Self::Accepted,
            ..300 => Self::Charged,
            300..500 => Self::Refused,
            500.. => Self::Failed,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Charged => 0,
            Self::Accepted => 1,
            Self::Refused => 2,
            Self::Failed => 3,
        }
    }
}
