//! Samples of one shape each: a plain cell, cells by one label, cells by processor and one more.
//! All cores are added up here; names and helps stand in `families`.

use crate::payment::Processor;

use super::cells::{By, Cell, Label};
use super::page::{Kind, Page};
use super::{ByProcessor, CoreMetrics, Metrics};

/// The label of processors.
pub(super) const PROCESSOR: &str = "processor";

/// A metric's name and help.
pub(super) type Plain<'a> = (&'static str, &'a str);
/// A metric's name, help and label.
pub(super) type Labelled<'a> = (&'static str, &'a str, &'a str);
/// Where a core keeps a cell.
pub(super) type CellOf<C> = fn(&CoreMetrics) -> &C;

impl Metrics {
    /// A cell of every core, added up.
    pub(super) fn sum<C: Cell>(&self, cell: impl Fn(&CoreMetrics) -> &C) -> u64 {
        self.cores()
            .map(|core| cell(core).get())
            .fold(0, u64::wrapping_add)
    }

    pub(super) fn each_core(&self, mut show: impl FnMut(&str, &CoreMetrics)) {
        for (number, core) in self.cores().enumerate() {
            show(itoa::Buffer::new().format(number), core);
        }
    }

    pub(super) fn total<C: Cell>(&self, page: &mut Page<'_>, family: Plain<'_>, cell: CellOf<C>) {
        page.begin(Kind::Counter, family.0, family.1);
        page.sample(&[], self.sum(cell));
    }

    pub(super) fn gauge<C: Cell>(&self, page: &mut Page<'_>, family: Plain<'_>, cell: CellOf<C>) {
        page.begin(Kind::Gauge, family.0, family.1);
        page.sample(&[], self.sum(cell));
    }

    pub(super) fn totals<L: Label, C: Cell, const N: usize>(
        &self,
        page: &mut Page<'_>,
        (name, help, label): Labelled<'_>,
        cells: CellOf<By<L, C, N>>,
    ) {
        page.begin(Kind::Counter, name, help);
        self.samples(page, label, cells);
    }

    pub(super) fn gauges<L: Label, C: Cell, const N: usize>(
        &self,
        page: &mut Page<'_>,
        (name, help, label): Labelled<'_>,
        cells: CellOf<By<L, C, N>>,
    ) {
        page.begin(Kind::Gauge, name, help);
        self.samples(page, label, cells);
    }

    fn samples<L: Label, C: Cell, const N: usize>(
        &self,
        page: &mut Page<'_>,
        label: &str,
        cells: CellOf<By<L, C, N>>,
    ) {
        for value in L::shown(self.setup.processors) {
            page.sample(
                &[(label, value.name())],
                self.sum(|core| cells(core).get(*value)),
            );
        }
    }

    /// Counters by processor and by one more label.
    pub(super) fn totals2<L: Label, C: Cell, const N: usize>(
        &self,
        page: &mut Page<'_>,
        (name, help, label): Labelled<'_>,
        cells: CellOf<ByProcessor<By<L, C, N>>>,
    ) {
        page.begin(Kind::Counter, name, help);
        for (processor, value) in self.pairs::<L>() {
            let labels = [(PROCESSOR, processor.name()), (label, value.name())];
            page.sample(
                &labels,
                self.sum(|core| cells(core).get(processor).get(value)),
            );
        }
    }

    /// Every pair of a processor and a label.
    pub(super) fn pairs<L: Label>(&self) -> impl Iterator<Item = (Processor, L)> + use<L> {
        let processors = self.setup.processors.all();
        processors.flat_map(|processor| L::ALL.iter().map(move |label| (processor, *label)))
    }
}
