//! Which slots of the wheel hold anything: one bit for each slot, and above it one bit for each
//! word, so that finding the next occupied slot reads a handful of words.

/// Slots of a core's timer wheel, one for each millisecond of 16 s: longer than every attempt's
/// wait, so only long pauses stay for another round. Four bytes a slot are 64 KiB, the bitmap 2
/// KiB. A multiple of 4,096, because one word of the upper bitmap stands for 64 x 64 slots.
pub(super) const WHEEL_SLOTS: usize = 16_384;
const WORDS: usize = WHEEL_SLOTS / 64;
const UPPER_WORDS: usize = WORDS / 64;

const _: () = assert!(
    WHEEL_SLOTS == UPPER_WORDS * 64 * 64 && UPPER_WORDS > 0,
    "no part of a word"
);

#[derive(Debug)]
pub(super) struct Bitmap {
    words: Box<[u64]>,
    /// A bit is set when the word of that place is not zero.
    upper: [u64; UPPER_WORDS],
}

impl Bitmap {
    pub(super) fn new() -> Self {
        Self {
            words: vec![0; WORDS].into_boxed_slice(),
            upper: [0; UPPER_WORDS],
        }
    }

    pub(super) fn set(&mut self, slot: usize) {
        set(&mut self.words, slot);
        set(&mut self.upper, slot / 64);
    }

    pub(super) fn clear(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
            if *word == 0
                && let Some(upper) = self.upper.get_mut(slot / 64 / 64)
            {
                *upper &= !(1 << (slot / 64 % 64));
            }
        }
    }

    /// The first set slot from `from` on, wrapping around once.
    pub(super) fn first_from(&self, from: usize) -> Option<usize> {
        self.first_at_or_after(from)
            .or_else(|| self.first_at_or_after(0))
    }

    fn first_at_or_after(&self, from: usize) -> Option<usize> {
        let place = from / 64;
        if let Some(bit) = first_bit(&self.words, place, from % 64) {
            return Some(place * 64 + bit);
        }
        // The rest of this word's group, then the groups behind it.
        let behind = place + 1;
        (behind / 64..UPPER_WORDS).find_map(|group| {
            let start = if group == behind / 64 { behind % 64 } else { 0 };
            let place = group * 64 + first_bit(&self.upper, group, start)?;
            Some(place * 64 + first_bit(&self.words, place, 0)?)
        })
    }
}

fn set(words: &mut [u64], bit: usize) {
    if let Some(word) = words.get_mut(bit / 64) {
        *word |= 1 << (bit % 64);
    }
}

/// The first set bit of the word at `place`, not below `start`.
fn first_bit(words: &[u64], place: usize, start: usize) -> Option<usize> {
    let word = words.get(place)? >> start;
    let ahead = usize::try_from(word.trailing_zeros()).ok()?;
    (word != 0).then_some(start + ahead)
}
