//! The stages of a payment, and the table of all steps from one to the next. `owner` decides when a
//! step is due; a step that the table does not have ends the process before a byte follows from it.
//! The diagram in docs/ARCHITECTURE.md is drawn from this table, and a test compares them.

use crate::clock::{Mono, UnixMillis};
use crate::events::AttemptRef;
use crate::payment::{Cents, Processor};

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its id was claimed just now, or it was brought back by a start; it has not been planned yet.
    Claimed,
    /// Its Accept is being written.
    Accepting,
    /// It waits for a slot, a breaker or its pause in the queue of this processor.
    Waiting {
        /// Whose queue.
        at: Processor,
        /// Not before.
        not_before: Mono,
    },
    /// An attempt has a slot and gets a connection.
    Connecting {
        /// The one attempt that may write.
        attempt: AttemptRef,
    },
    /// Its Intent is being written; the connection is ready.
    WritingIntent {
        /// The one attempt that may write.
        attempt: AttemptRef,
    },
    /// Bytes are out and an answer is awaited.
    Sending {
        /// The attempt that was sent first.
        attempt: AttemptRef,
        /// The second attempt, if there is one.
        hedge: HedgeState,
    },
    /// Bytes are out and no one can say what became of them; it is sent there again at `resend_at`.
    Unknown {
        /// When to send it again.
        resend_at: Mono,
    },
    /// A verdict that ends it is being written.
    WritingVerdict {
        /// What to do when it is durable.
        ending: Ending,
    },
    /// Another writer of the store had claimed its id before; what that one knows is being read.
    Elsewhere,
}

/// The hedge of a payment that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeState {
    /// It may be sent when this time comes.
    Armed {
        /// On the run axis.
        at: Mono,
    },
    /// It gets a connection or waits for its answer.
    Out {
        /// The second attempt.
        attempt: AttemptRef,
    },
    /// There will be none.
    Over,
}

impl Ending {
    /// Whether the payment was charged, by whomever.
    #[must_use]
    pub const fn is_charge(self) -> bool {
        match self {
            Self::Applied { .. } | Self::Foreign { .. } => true,
            Self::RefusedForGood { .. } | Self::RefusedByAll | Self::Withdrawn => false,
        }
    }

    /// By whom and with which time, where the payment was charged by us.
    #[must_use]
    pub const fn charged(self) -> Option<(Processor, UnixMillis)> {
        match self {
            Self::Applied {
                processor,
                requested_at,
            } => Some((processor, requested_at)),
            Self::Foreign { .. }
            | Self::RefusedForGood { .. }
            | Self::RefusedByAll
            | Self::Withdrawn => None,
        }
    }
}

/// How a payment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Charged by us.
    Applied {
        /// The processor that it is about.
        processor: Processor,
        /// With this time, which decides its summary window.
        requested_at: UnixMillis,
    },
    /// Charged by another client.
    Foreign {
        /// The processor that it is about.
        processor: Processor,
        /// With this time.
        requested_at: UnixMillis,
        /// How much; our client may have asked for another amount.
        amount: Cents,
    },
    /// A processor refused it for good.
    RefusedForGood {
        /// The processor that it is about.
        processor: Processor,
    },
    /// At least one refused and none is left: the id is free again.
    RefusedByAll,
    /// None could be tried in time: the id is free again.
    Withdrawn,
}

/// A stage without what it carries; [`StageName::Settled`] is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageName {
    /// [`Stage::Claimed`].
    Claimed,
    /// [`Stage::Accepting`].
    Accepting,
    /// [`Stage::Waiting`].
    Waiting,
    /// [`Stage::Connecting`].
    Connecting,
    /// [`Stage::WritingIntent`].
    WritingIntent,
    /// [`Stage::Sending`].
    Sending,
    /// [`Stage::Unknown`].
    Unknown,
    /// [`Stage::WritingVerdict`].
    WritingVerdict,
    /// [`Stage::Elsewhere`].
    Elsewhere,
    /// Claims, ledger and client were told.
    Settled,
}

/// Why a payment changes its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is promised before anything else can be done for it.
    Promised,
    /// No processor takes it now.
    Queued,
    /// A processor that may get it has a slot for it.
    Started,
    /// Its connection is ready.
    Connected,
    /// Its bytes left.
    Sent,
    /// A second attempt was begun or will not be, or one of two is left.
    Hedged,
    /// Bytes are out, and no attempt will prove what became of them.
    Unproven,
    /// The same bytes go to the same processor again.
    Resent,
    /// Its fate is known, and must be durable before it is told.
    Ended,
    /// Its claim was lost to another writer of the store.
    Lost,
    /// Its fate is known and may be told.
    Settled,
}

/// Every step that there is: from which stage, why, to which stage.
pub(crate) const STEPS: &[(StageName, Step, StageName)] = {
    use StageName as At;
    &[
        (At::Claimed, Step::Promised, At::Accepting),
        (At::Claimed, Step::Started, At::Connecting),
        (At::Claimed, Step::Queued, At::Waiting),
        // Brought back by a start, with an open Intent.
        (At::Claimed, Step::Unproven, At::Unknown),
        // No processor is left, and nothing was written of it.
        (At::Claimed, Step::Settled, At::Settled),
        (At::Accepting, Step::Started, At::Connecting),
        (At::Accepting, Step::Queued, At::Waiting),
        (At::Waiting, Step::Started, At::Connecting),
        (At::Waiting, Step::Queued, At::Waiting),
        (At::Waiting, Step::Ended, At::WritingVerdict),
        (At::Waiting, Step::Settled, At::Settled),
        (At::Connecting, Step::Connected, At::WritingIntent),
        // Its Intent is open already, or there is no journal.
        (At::Connecting, Step::Sent, At::Sending),
        (At::Connecting, Step::Started, At::Connecting),
        (At::Connecting, Step::Queued, At::Waiting),
        (At::Connecting, Step::Unproven, At::Unknown),
        (At::Connecting, Step::Ended, At::WritingVerdict),
        (At::Connecting, Step::Settled, At::Settled),
        (At::WritingIntent, Step::Sent, At::Sending),
        (At::WritingIntent, Step::Started, At::Connecting),
        (At::WritingIntent, Step::Queued, At::Waiting),
        (At::WritingIntent, Step::Unproven, At::Unknown),
        (At::WritingIntent, Step::Ended, At::WritingVerdict),
        (At::WritingIntent, Step::Settled, At::Settled),
        (At::Sending, Step::Hedged, At::Sending),
        // Refused there.
        (At::Sending, Step::Started, At::Connecting),
        (At::Sending, Step::Queued, At::Waiting),
        (At::Sending, Step::Unproven, At::Unknown),
        (At::Sending, Step::Ended, At::WritingVerdict),
        (At::Sending, Step::Settled, At::Settled),
        (At::Unknown, Step::Resent, At::Connecting),
        (At::Unknown, Step::Unproven, At::Unknown),
        // Refused there after all.
        (At::Unknown, Step::Started, At::Connecting),
        (At::Unknown, Step::Queued, At::Waiting),
        (At::Unknown, Step::Ended, At::WritingVerdict),
        (At::Unknown, Step::Settled, At::Settled),
        (At::WritingVerdict, Step::Settled, At::Settled),
        // No byte leaves before its claim is won.
        (At::Accepting, Step::Lost, At::Elsewhere),
        (At::Waiting, Step::Lost, At::Elsewhere),
        (At::Connecting, Step::Lost, At::Elsewhere),
        (At::WritingIntent, Step::Lost, At::Elsewhere),
        (At::WritingVerdict, Step::Lost, At::Elsewhere),
        // The other one has freed it.
        (At::Elsewhere, Step::Promised, At::Accepting),
        (At::Elsewhere, Step::Started, At::Connecting),
        (At::Elsewhere, Step::Queued, At::Waiting),
        (At::Elsewhere, Step::Settled, At::Settled),
    ]
};

/// `STEPS` for the eye of the machine: by step and stage, one bit for each stage that it leads to.
const ALLOWED: [[u16; 10]; 11] = {
    let mut allowed = [[0; 10]; 11];
    let mut row = 0;
    while row < STEPS.len() {
        let (from, step, to) = STEPS[row];
        allowed[step as usize][from as usize] |= 1 << to as u16;
        row += 1;
    }
    allowed
};

impl Step {
    /// Whether [`STEPS`] has this step from `from` to `to`.
    #[must_use]
    pub const fn leads(self, from: StageName, to: StageName) -> bool {
        ALLOWED[self as usize][from as usize] & (1 << to as u16) != 0
    }
}

impl Stage {
    /// Which one it is.
    #[must_use]
    pub const fn name(self) -> StageName {
        match self {
            Self::Claimed => StageName::Claimed,
            Self::Accepting => StageName::Accepting,
            Self::Waiting { .. } => StageName::Waiting,
            Self::Connecting { .. } => StageName::Connecting,
            Self::WritingIntent { .. } => StageName::WritingIntent,
            Self::Sending { .. } => StageName::Sending,
            Self::Unknown { .. } => StageName::Unknown,
            Self::WritingVerdict { .. } => StageName::WritingVerdict,
            Self::Elsewhere => StageName::Elsewhere,
        }
    }

    /// The second attempt, while there is one.
    #[must_use]
    pub const fn hedge(self) -> Option<AttemptRef> {
        match self {
            Self::Sending {
                hedge: HedgeState::Out { attempt },
                ..
            } => Some(attempt),
            Self::Claimed
            | Self::Accepting
            | Self::Waiting { .. }
            | Self::Connecting { .. }
            | Self::WritingIntent { .. }
            | Self::Sending { .. }
            | Self::Unknown { .. }
            | Self::WritingVerdict { .. }
            | Self::Elsewhere => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The diagram as docs/ARCHITECTURE.md has it: one arrow for two stages, with all its steps.
    fn diagram() -> String {
        let mut arrows: Vec<((StageName, StageName), Vec<Step>)> = Vec::new();
        for (from, step, to) in STEPS {
            match arrows.iter_mut().find(|(ends, _)| *ends == (*from, *to)) {
                Some((_, steps)) => steps.push(*step),
                None => arrows.push(((*from, *to), vec![*step])),
            }
        }
        let mut text = String::from("```mermaid\nstateDiagram-v2\n    [*] --> Claimed\n");
        for ((from, to), steps) in arrows {
            let is_end = to == StageName::Settled;
            let to = if is_end {
                "[*]".to_owned()
            } else {
                format!("{to:?}")
            };
            let steps: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
            text.push_str(&format!("    {from:?} --> {to}: {}\n", steps.join(", ")));
        }
        text.push_str("```\n");
        text
    }

    #[test]
    fn the_diagram_in_the_documents_shows_the_table() {
        let text = include_str!("../../docs/ARCHITECTURE.md");
        let drawn = diagram();
        assert!(
            text.contains(&drawn),
            "docs/ARCHITECTURE.md must contain:\n{drawn}"
        );
    }

    #[test]
    fn no_row_stands_twice_and_the_table_says_what_its_rows_say() {
        for (number, row) in STEPS.iter().enumerate() {
            assert!(!STEPS[..number].contains(row), "{row:?}");
        }
        let bits: u32 = ALLOWED.iter().flatten().map(|bits| bits.count_ones()).sum();
        assert_eq!(usize::try_from(bits).unwrap(), STEPS.len());
        assert!(Step::Sent.leads(StageName::WritingIntent, StageName::Sending));
        assert!(!Step::Sent.leads(StageName::Waiting, StageName::Sending));
    }

    /// What must be durable first is written in a stage of its own; a verdict that is being written
    /// leads to the end, or was void from the start (I5).
    #[test]
    fn nothing_goes_on_from_a_verdict() {
        let behind = STEPS
            .iter()
            .filter(|(from, ..)| *from == StageName::WritingVerdict);
        let behind: Vec<_> = behind.map(|(_, step, to)| (*step, *to)).collect();
        let settled = (Step::Settled, StageName::Settled);
        assert_eq!(behind, [settled, (Step::Lost, StageName::Elsewhere)]);
    }
}
