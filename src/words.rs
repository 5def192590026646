//! Text looked at eight bytes at a time. Readers of HTTP and of JSON pass over what is usual with
//! it, and judge the byte where it stops by their own rules. Decides nothing about any grammar.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Eight bytes of a text; the first is the lowest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word(u64);

/// The highest bit of each byte that was looked for, as far as the first of them: what lies behind
/// it may be marked wrongly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks(u64);

impl Word {
    /// Marks bytes below `bound`, which is at most 0x80.
    #[must_use]
    pub(crate) const fn below(self, bound: u8) -> Marks {
        // A byte that borrows is marked itself before it can disturb the bytes behind it.
        Marks(self.0.wrapping_sub(ONES.wrapping_mul(bound as u64)) & !self.0)
    }

    /// Marks this byte.
    #[must_use]
    pub(crate) const fn equal(self, byte: u8) -> Marks {
        Self(self.0 ^ ONES.wrapping_mul(byte as u64)).below(1)
    }

    /// Marks bytes outside ASCII.
    #[must_use]
    pub(crate) const fn beyond_ascii(self) -> Marks {
        Marks(self.0)
    }

    /// Marks what is neither an ASCII letter nor a dash.
    #[must_use]
    pub(crate) const fn no_letter_or_dash(self) -> Marks {
        // Seven bits each, so that no sum carries into the next byte.
        let low = self.0 & !HIGHS;
        let small = low | ONES.wrapping_mul(0x20);
        let from_a = small.wrapping_add(ONES.wrapping_mul(0x80 - b'a' as u64));
        let beyond_z = small.wrapping_add(ONES.wrapping_mul(0x7f - b'z' as u64));
        let is_no_dash = (low ^ ONES.wrapping_mul(b'-' as u64)).wrapping_add(ONES * 0x7f);
        Marks(((!from_a | beyond_z) & is_no_dash) | self.0)
    }
}

impl Marks {
    /// Both.
    #[must_use]
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bytes before the first mark; 8 where there is none.
    const fn first(self) -> usize {
        ((self.0 & HIGHS).trailing_zeros() / 8) as usize
    }
}

/// Cuts `text` before the first byte that is not `allowed`. What `unusual` does not mark must be
/// allowed; what it marks need not be forbidden.
pub(crate) fn split(
    text: &[u8],
    unusual: impl Fn(Word) -> Marks,
    allowed: impl Fn(u8) -> bool,
) -> (&[u8], &[u8]) {
    let mut rest = text;
    loop {
        if let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
            let passed = unusual(Word(u64::from_le_bytes(*chunk))).first();
            if passed == 8 {
                rest = behind;
                continue;
            }
            rest = rest.get(passed..).unwrap_or_default();
        }
        match rest {
            [byte, behind @ ..] if allowed(*byte) => rest = behind,
            [..] => return text.split_at(text.len().saturating_sub(rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_mark_is_where_a_look_at_each_byte_finds_it(
            bytes in prop_oneof![any::<[u8; 8]>(), prop::array::uniform8(b'A'..=b'{')],
            byte in any::<u8>(),
            bound in 0..=0x80_u8,
        ) {
            let word = Word(u64::from_le_bytes(bytes));
            let first = |is: &dyn Fn(u8) -> bool| {
                bytes.iter().position(|byte| is(*byte)).unwrap_or(8)
            };
            prop_assert_eq!(word.below(bound).first(), first(&|one| one < bound));
            prop_assert_eq!(word.equal(byte).first(), first(&|one| one == byte));
            prop_assert_eq!(word.beyond_ascii().first(), first(&|one| !one.is_ascii()));
            let no_letter = |one: u8| !one.is_ascii_alphabetic() && one != b'-';
            prop_assert_eq!(word.no_letter_or_dash().first(), first(&no_letter));
            let both = word.below(bound).or(word.equal(byte));
            prop_assert_eq!(both.first(), first(&|one| one < bound || one == byte));
        }

        #[test]
        fn a_text_is_cut_before_what_is_not_allowed(text in "[a-c0-1-]{0,30}") {
            let (before, behind) = split(
                text.as_bytes(),
                Word::no_letter_or_dash,
                |byte| byte != b'1',
            );
            let whole = text.split_once('1').map_or(&*text, |(before, _)| before);
            prop_assert_eq!(before, whole.as_bytes());
            prop_assert_eq!([before, behind].concat(), text.as_bytes());
        }
    }
}
