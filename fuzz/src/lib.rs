//! What the fuzz targets share: reading choices off the front of the input, and the records that
//! these choices make.

pub mod http;
pub mod records;

/// Choices, taken from the front of a fuzz target's input. When it is used up every choice is 0.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub fn number<const BYTES: usize>(&mut self) -> u64 {
        (0..BYTES).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number below `end`, which fits in two bytes.
    pub fn below(&mut self, end: usize) -> usize {
        self.number::<2>() as usize % end.max(1)
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.byte() as usize % choices.len()]
    }

    /// A piece whose length is the next byte.
    pub fn piece(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(count);
        self.0 = rest;
        piece
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Cuts `stream` into pieces of any size; one `seed` always gives the same ones. Seed 0 cuts at
/// every byte.
pub fn pieces(stream: &[u8], seed: u16) -> Vec<&[u8]> {
    let mut state = u64::from(seed) + 1;
    let most = match seed % 4 {
        0 => 1,
        1 => 7,
        2 => 100,
        _ => 3_000,
    };
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let count = 1 + usize::try_from(state % most).unwrap();
        let (piece, behind) = rest.split_at(count.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// A file of this process for what one input writes; in memory where there is such a place.
pub fn scratch_file(name: &str) -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("p99-fuzz-{name}-{}", std::process::id()))
}
