//! What the comparison with the processors' books has found, for RECONCILE_EVERY. Its thread alone
//! writes it.

use std::time::Duration;

use super::cells::{By, Cell, Gauge, Label};
use super::labels::label;
use super::page::{Kind, Page};
use crate::clock::Mono;

label! {
    /// How the journal and the processors' books differ about a payment, as `p99 reconcile` says.
    pub BookDifference {
        /// Two processors charged it.
        ChargedAtTwo = "charged_at_two",
        /// One processor has it more than once.
        ChargedTwice = "charged_twice",
        /// Another processor than the journal says has it.
        OtherProcessor = "other_processor",
        /// The processor has it, the journal has not charged it.
        MissingHere = "missing_here",
        /// The journal has it, the processor has not.
        MissingThere = "missing_there",
        /// Both have it, with other amounts.
        Amount = "amount",
    }
}

/// See the header of this file.
#[derive(Debug, Default)]
pub struct BooksMetrics {
    /// Payments that differ, as the last comparison found them.
    pub differences: By<BookDifference, Gauge, { BookDifference::COUNT }>,
    interval_us: Gauge,
    compared: Gauge,
}

impl BooksMetrics {
    /// They are compared every `interval`.
    pub fn begin(&self, interval: Duration) {
        self.interval_us.set(super::cells::micros(interval));
    }

    /// They were compared.
    pub fn compared(&self, now: Mono) {
        self.compared.set(now.0);
    }

    pub(super) fn render(&self, now: Mono, page: &mut Page<'_>) {
        let help = "Payments in which the journal and the processors' books differ, by kind.";
        page.begin(Kind::Gauge, "p99_reconcile_differences", help);
        for kind in BookDifference::ALL {
            page.sample(&[("kind", kind.name())], self.differences.get(*kind).get());
        }
        let interval = self.interval_us.get();
        let help = "RECONCILE_EVERY; 0 while it is off.";
        page.begin(Kind::Gauge, "p99_reconcile_interval_seconds", help);
        page.seconds(&[], interval);
        let help = "How long ago the books were compared, or the process began; 0 while \
                    RECONCILE_EVERY is off.";
        page.begin(Kind::Gauge, "p99_reconcile_age_seconds", help);
        let age = now.0.saturating_sub(self.compared.get());
        page.seconds(&[], if interval > 0 { age } else { 0 });
    }
}
