//! What a payment in work remembers of itself: what about it was not plain, and where its entries
//! are. A few words in `flow::Flow`; a plain payment only ever writes two of them.

use crate::events::Reason;

/// One way in which a payment is not plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Remark {
    /// It was open when a process ended.
    Restored = 1,
    /// REQUEST_TIMEOUT_MS was over before its end was known: its client was told 202.
    Deadline = 1 << 1,
    /// It was sent to another processor after one could not be reached or refused it.
    Failover = 1 << 2,
    /// An attempt proved nothing.
    Unknown = 1 << 3,
    /// It was sent to the same processor again.
    Resent = 1 << 4,
    /// Its second attempt was answered first.
    HedgeWon = 1 << 5,
    /// Every processor, or one for good, refused it.
    Refused = 1 << 6,
    /// Another client had charged the id.
    Foreign = 1 << 7,
    /// None could be tried in time.
    Unavailable = 1 << 8,
    /// An operator settled it.
    ByHand = 1 << 9,
}

impl Remark {
    /// All of them, the one that says most first.
    pub const ALL: [Self; 10] = [
        Self::ByHand,
        Self::Foreign,
        Self::Refused,
        Self::Unavailable,
        Self::Unknown,
        Self::Failover,
        Self::HedgeWon,
        Self::Resent,
        Self::Restored,
        Self::Deadline,
    ];

    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Deadline => "deadline",
            Self::Failover => "failover",
            Self::Unknown => "unknown",
            Self::Resent => "resent",
            Self::HedgeWon => "hedge_won",
            Self::Refused => "refused",
            Self::Foreign => "foreign",
            Self::Unavailable => "unavailable",
            Self::ByHand => "by_hand",
        }
    }
}

/// Any number of remarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks(u16);

impl Remarks {
    /// Whether the payment is plain so far.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, remark: Remark) -> bool {
        self.0 & remark as u16 != 0
    }

    /// With it.
    pub const fn add(&mut self, remark: Remark) {
        self.0 |= remark as u16;
    }

    /// All of them, the one that says most first.
    pub fn iter(self) -> impl Iterator<Item = Remark> {
        Remark::ALL
            .into_iter()
            .filter(move |remark| self.has(*remark))
    }
}

/// Why an attempt went to its processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// ROUTING prefers it.
    #[default]
    Preferred,
    /// The preferred one's breaker is Open or HalfOpen.
    Breaker,
    /// The preferred one is paused.
    Paused,
    /// The preferred one was tried in vain.
    Tried,
    /// The preferred one had no place or no connection in time.
    Slow,
    /// It has bytes of the payment already.
    Pinned,
}

impl Choice {
    /// Its name where it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Breaker => "breaker_of_preferred",
            Self::Paused => "preferred_is_paused",
            Self::Tried => "preferred_was_tried",
            Self::Slow => "preferred_was_slow",
            Self::Pinned => "pinned",
        }
    }
}

/// See the header of this file.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// What was not plain.
    pub remarks: Remarks,
    /// Why the processor of the next first attempt was chosen.
    pub choice: Choice,
    /// How its last attempt that did not charge ended.
    pub last: Option<Reason>,
    /// Its newest entry among the recent ones; 0 for none.
    pub newest: u32,
    /// Its newest entry that was passed on; 0 for none.
    pub passed_on: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_told_by_what_they_say_most() {
        let mut remarks = Remarks::default();
        assert!(remarks.is_empty());
        for remark in [Remark::Deadline, Remark::Unknown, Remark::Deadline] {
            remarks.add(remark);
        }
        let told: Vec<_> = remarks.iter().map(Remark::name).collect();
        assert_eq!(told, ["unknown", "deadline"]);
        for remark in Remark::ALL {
            let mut one = Remarks::default();
            one.add(remark);
            assert_eq!(one.iter().collect::<Vec<_>>(), [remark]);
        }
    }

    /// The words between backticks, from `begin` to `end`.
    fn words<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
        let (_, rest) = text.split_once(begin).unwrap();
        let (part, _) = rest.split_once(end).unwrap();
        part.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_document_for_operators_has_each_name() {
        const TEXT: &str = include_str!("../../docs/OPERATIONS.md");
        let row = words(TEXT, "\n| `reason` |", "\n");
        assert_eq!(row, Remark::ALL.map(Remark::name), "the row of `reason`");
        let all = [
            Choice::Preferred,
            Choice::Breaker,
            Choice::Paused,
            Choice::Tried,
            Choice::Slow,
            Choice::Pinned,
        ];
        let told = words(TEXT, "\n`because` is ", "\n\n");
        assert_eq!(told, all.map(Choice::name), "what `because` may be");
    }
}
