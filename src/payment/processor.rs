//! The payment processors: an index in the order of cost with a permanent name. The journal, the
//! ledger, claims, metrics and the API know a processor by index or name only, so how many there
//! are is a matter of the settings alone.

/// The most processors that can be told apart.
pub const PROCESSORS_MAX: usize = 8;

/// The permanent names, in the order of the index. A name is in journals, summaries and metrics
/// of every version: it never changes and never moves.
const NAMES: [&str; PROCESSORS_MAX] = [
    "default", "fallback", "third", "fourth", "fifth", "sixth", "seventh", "eighth",
];

/// One of the payment processors: its place in the order of cost, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Processor(u8);

impl Processor {
    /// The cheapest: UPSTREAM_A_URL, `default` in the API.
    pub const DEFAULT: Self = Self(0);
    /// The next one: UPSTREAM_B_URL, `fallback` in the API.
    pub const FALLBACK: Self = Self(1);

    /// Every one that can be told apart, cheapest first.
    pub const ALL: [Self; PROCESSORS_MAX] = [
        Self(0),
        Self(1),
        Self(2),
        Self(3),
        Self(4),
        Self(5),
        Self(6),
        Self(7),
    ];

    /// The processor at `index`, below [`PROCESSORS_MAX`].
    #[must_use]
    pub fn of_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    /// Its place in the order of cost, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The same as one byte, for records.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The processor of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Its name in the API, in logs, in the journal and in metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self.index() % PROCESSORS_MAX]
    }
}

/// How many processors are configured: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorCount(u8);

impl ProcessorCount {
    /// `count` processors; `None` unless it is 1 to [`PROCESSORS_MAX`].
    #[must_use]
    pub fn try_new(count: usize) -> Option<Self> {
        let count = u8::try_from(count).ok()?;
        (1..=PROCESSORS_MAX)
            .contains(&usize::from(count))
            .then_some(Self(count))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    /// Each of them, cheapest first.
    pub fn all(self) -> impl DoubleEndedIterator<Item = Processor> + Clone {
        (0..self.0).map(Processor)
    }

    /// The same as a list.
    #[must_use]
    pub fn list(self) -> &'static [Processor] {
        const ALL: &[Processor] = &Processor::ALL;
        ALL.get(..self.get()).unwrap_or_default()
    }

    /// The set of them.
    #[must_use]
    pub fn set(self) -> ProcessorSet {
        ProcessorSet(u8::MAX >> (8 - self.0))
    }
}

/// Some of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessorSet(u8);

impl ProcessorSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Whether `processor` is among them.
    #[must_use]
    pub const fn has(self, processor: Processor) -> bool {
        self.0 & 1 << processor.0 != 0
    }

    /// These and `processor`.
    #[must_use]
    pub const fn with(self, processor: Processor) -> Self {
        Self(self.0 | 1 << processor.0)
    }

    /// These but `processor`.
    #[must_use]
    pub const fn without(self, processor: Processor) -> Self {
        Self(self.0 & !(1 << processor.0))
    }

    /// These and `others`.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those of these that are among `others` too.
    #[must_use]
    pub const fn intersection(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those of these that are not among `others`.
    #[must_use]
    pub const fn minus(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The cheapest of them.
    #[must_use]
    pub fn first(self) -> Option<Processor> {
        (self.0 != 0).then(|| Processor(u8::try_from(self.0.trailing_zeros()).unwrap_or(0)))
    }
}

/// Each of them, cheapest first.
impl Iterator for ProcessorSet {
    type Item = Processor;

    fn next(&mut self) -> Option<Processor> {
        let first = self.first()?;
        *self = self.without(first);
        Some(first)
    }
}

impl FromIterator<Processor> for ProcessorSet {
    fn from_iter<I: IntoIterator<Item = Processor>>(processors: I) -> Self {
        processors.into_iter().fold(Self::NONE, Self::with)
    }
}

/// A value for each processor that can be told apart, configured or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerProcessor<T>(pub [T; PROCESSORS_MAX]);

impl<T> PerProcessor<T> {
    /// The value that `make` gives for each.
    pub fn from_fn(make: impl FnMut(Processor) -> T) -> Self {
        Self(Processor::ALL.map(make))
    }

    /// `first` for the cheapest ones, the default for the others.
    #[must_use]
    pub fn of_first<const N: usize>(first: [T; N]) -> Self
    where
        T: Default,
    {
        let mut first = first.into_iter();
        Self::from_fn(|_| first.next().unwrap_or_default())
    }

    /// The value of `processor`.
    #[must_use]
    pub fn get(&self, processor: Processor) -> &T {
        // The index is below the length; the remainder tells it to the compiler.
        &self.0[processor.index() % PROCESSORS_MAX]
    }

    /// The value of `processor`, to change.
    pub fn get_mut(&mut self, processor: Processor) -> &mut T {
        &mut self.0[processor.index() % PROCESSORS_MAX]
    }
}

/// A value for each processor that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured<T>(Box<[T]>);

impl<T> Configured<T> {
    /// The value that `make` gives for each of `count` processors.
    pub fn new(count: ProcessorCount, make: impl FnMut(Processor) -> T) -> Self {
        Self(count.all().map(make).collect())
    }

    /// `value` for the only processor.
    #[must_use]
    pub fn of_one(value: T) -> Self {
        Self(Box::new([value]))
    }

    /// `values`, cheapest first; `None` unless there are 1 to [`PROCESSORS_MAX`].
    #[must_use]
    pub fn try_from_vec(values: Vec<T>) -> Option<Self> {
        ProcessorCount::try_new(values.len())?;
        Some(Self(values.into_boxed_slice()))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> ProcessorCount {
        // Both constructors demand 1 to 8.
        ProcessorCount(u8::try_from(self.0.len()).unwrap_or(1))
    }

    /// The value of `processor`, if that one is configured.
    #[must_use]
    pub fn find(&self, processor: Processor) -> Option<&T> {
        self.0.get(processor.index())
    }

    /// The value of `processor`.
    ///
    /// # Panics
    /// When it is not configured. Only a start meets processors of other settings, in a journal,
    /// and refuses them by name.
    #[must_use]
    pub fn get(&self, processor: Processor) -> &T {
        let value = self.0.get(processor.index());
        let Some(value) = value else {
            not_configured(processor)
        };
        value
    }

    /// The value of `processor`, to change.
    ///
    /// # Panics
    /// As [`Configured::get`].
    pub fn get_mut(&mut self, processor: Processor) -> &mut T {
        let value = self.0.get_mut(processor.index());
        let Some(value) = value else {
            not_configured(processor)
        };
        value
    }

    /// Each processor with its value, cheapest first.
    pub fn iter(&self) -> impl Iterator<Item = (Processor, &T)> {
        Processor::ALL.into_iter().zip(&self.0)
    }
}

#[cold]
#[allow(clippy::panic, reason = "the contract of `Configured::get`")]
fn not_configured(processor: Processor) -> ! {
    panic!("I2: no processor {} is configured", processor.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_told_apart() {
        for processor in Processor::ALL {
            assert_eq!(Processor::of_name(processor.name()), Some(processor));
            assert_eq!(Processor::of_index(processor.index()), Some(processor));
        }
        assert_eq!(Processor::of_name("ninth"), None);
        assert_eq!(Processor::of_index(PROCESSORS_MAX), None);
    }

    #[test]
    fn a_set_is_what_was_put_into_it() {
        for count in 1..=PROCESSORS_MAX {
            let count = ProcessorCount::try_new(count).unwrap();
            let set = count.set();
            assert!(set.eq(count.all()));
            for processor in count.all() {
                assert!(set.has(processor));
                let fewer = set.without(processor);
                assert!(!fewer.has(processor) && fewer.with(processor) == set);
                assert_eq!(set.minus(fewer).first(), Some(processor));
            }
        }
        assert!(ProcessorCount::try_new(0).is_none() && ProcessorCount::try_new(9).is_none());
        assert!(ProcessorSet::NONE.is_empty() && ProcessorSet::NONE.first().is_none());
    }
}
