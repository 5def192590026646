//! A processor's book: where it is, and its rows one at a time. A file or a pipe, or the answer to
//! a GET; JSON or CSV, as its first byte says. What cannot be read is named by its line, and then
//! nothing is compared: a row that is left out would look like a payment that is missing.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use super::row::Row;
pub(crate) use super::row::{BookFault, Bounds, End};
use super::row::{Taker, Timed};
use super::web::Access;
use super::{csv, json, web};
use crate::clock::UnixMillis;
use crate::config;
use crate::reconcile::RECONCILE_READ_BYTES;
use crate::reconcile::RECONCILE_ROW_BYTES_MAX;

/// How often a wait for a book's pipe looks whether its time is over.
const RECONCILE_PIPE_STEP: Duration = Duration::from_millis(100);

/// Where a book is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, or a pipe such as /dev/stdin.
    File(PathBuf),
    /// `http://host[:port]/path` or `unix:/socket:/path`.
    Web(String),
}

impl Place {
    /// Reads what an operator writes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let is_web = ["http://", "https://", "unix:"]
            .iter()
            .any(|one| text.starts_with(one));
        match is_web {
            true => Self::Web(text.to_owned()),
            false => Self::File(text.into()),
        }
    }
}

impl Place {
    /// Whether it is asked for over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Web(url) if url.starts_with("https://"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Web(url) => f.write_str(&config::without_values(url)),
        }
    }
}

/// Reads the book at `place` and hands each row to `each`. `window` fills `{from}` and `{to}` in a
/// URL, and `access` goes with the request. It is read as far as `bounds` say.
///
/// # Errors
/// It cannot be reached, or some of it cannot be understood. What was handed on until then is not
/// the whole book.
pub fn read(
    place: &Place,
    access: &Access,
    window: (Option<UnixMillis>, Option<UnixMillis>),
    bounds: Bounds,
    each: &mut dyn FnMut(Row) -> io::Result<()>,
) -> Result<(), BookFault> {
    match place {
        Place::File(path) => match bounds.end {
            None => read_rows(File::open(path).map_err(BookFault::Io)?, bounds, each),
            Some(end) => {
                let file = Patient::open(path, end).map_err(BookFault::Io)?;
                read_rows(file, bounds, each)
            }
        },
        Place::Web(url) => {
            let answer = web::get(url, access, window, bounds.end)?;
            read_rows(answer, bounds, each)
        }
    }
}

/// A file or a pipe that is read until a moment: no call of it waits longer.
struct Patient {
    file: File,
    end: End,
}

impl Patient {
    fn open(path: &Path, end: End) -> io::Result<Self> {
        let mut options = File::options();
        // Else a pipe that has no writer yet would be waited for in the call that opens it.
        let options = options.read(true).custom_flags(libc::O_NONBLOCK);
        options.open(path).map(|file| Self { file, end })
    }
}

impl Read for Patient {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let step = RECONCILE_PIPE_STEP.as_millis();
        let mut poll = libc::pollfd {
            fd: self.file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        loop {
            self.end.check()?;
            // SAFETY: `poll` is one valid pollfd that outlives the call.
            let ready =
                unsafe { libc::poll(&raw mut poll, 1, i32::try_from(step).unwrap_or(i32::MAX)) };
            if ready > 0 {
                return self.file.read(out);
            }
        }
    }
}

/// Reads the rows of an open book.
pub(super) fn read_rows(
    source: impl Read,
    bounds: Bounds,
    each: &mut dyn FnMut(Row) -> io::Result<()>,
) -> Result<(), BookFault> {
    let mut taker = Taker::new(bounds.rows_max, each);
    let source = Timed {
        source,
        end: bounds.end,
    };
    let mut source = BufReader::with_capacity(RECONCILE_READ_BYTES, source);
    let mut start = Vec::new();
    first_line(&mut source, &mut start).map_err(BookFault::Io)?;
    let text = start.strip_prefix(csv::BOM).unwrap_or(&start);
    match text.trim_ascii_start().first() {
        Some(b'[' | b'{') => json::read(text.chain(source), &mut taker)?,
        Some(_) | None => csv::read((text, source), &mut taker)?,
    }
    taker.finish()
}

/// The first line that is not empty, or as much of it as a row may have.
fn first_line(source: &mut impl BufRead, out: &mut Vec<u8>) -> io::Result<()> {
    for byte in source.bytes().take(RECONCILE_ROW_BYTES_MAX) {
        out.push(byte?);
        if out.ends_with(b"\n") && !out.trim_ascii().is_empty() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The rows of a book, or its fault in words.
    pub(in crate::reconcile) fn rows(bytes: &[u8]) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        let read = read_rows(bytes, Bounds::COMMAND, &mut |row| {
            rows.push(row);
            Ok(())
        });
        read.map(|()| rows).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_place_is_a_url_or_a_file() {
        for text in [
            "http://a/b?from={from}",
            "unix:/run/psp.sock:/payments",
            "https://a/",
        ] {
            assert_eq!(Place::parse(text), Place::Web(text.to_owned()));
        }
        for text in ["book.csv", "/dev/stdin", "./http.csv"] {
            assert_eq!(Place::parse(text), Place::File(text.into()));
        }
    }

    #[test]
    fn a_pipe_without_a_writer_is_waited_for_until_the_end() {
        let folder = std::env::temp_dir().join(format!("p99-book-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (pipe, file) = (folder.join("pipe"), folder.join("file"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::fs::write(&file, "id,amount\na,1.00\n").unwrap();
        let count = |path: &Path, seconds| {
            let bounds = Bounds {
                end: Some(End::after(Duration::from_secs(seconds))),
                ..Bounds::COMMAND
            };
            let mut count = 0;
            let taken = &mut |_| {
                count += 1;
                Ok(())
            };
            let read = read(
                &Place::File(path.into()),
                &Access::default(),
                (None, None),
                bounds,
                taken,
            );
            read.map(|()| count).map_err(|fault| fault.to_string())
        };
        assert_eq!(count(&file, 60), Ok(1));
        let fault = count(&pipe, 1).unwrap_err();
        assert!(
            fault.contains("is not read to its end within 1 s"),
            "{fault}"
        );
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut pipe = File::options().write(true).open(pipe).unwrap();
                for part in ["id,amo", "unt\na,1.00\nb,", "2.00\n"] {
                    io::Write::write_all(&mut pipe, part.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(150));
                }
            }
        });
        assert_eq!(count(&pipe, 60), Ok(2));
        writer.join().unwrap();
        assert!(count(&folder, 60).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_the_first_faults_are_told() {
        let lines: String = (0..25).map(|_| "no-uuid-!;1,00\n").collect();
        let fault = rows(format!("id;amount\n{lines}").as_bytes()).unwrap_err();
        assert!(fault.starts_with("line 2: "), "{fault}");
        assert!(
            fault.contains("line 11: ") && !fault.contains("line 12: "),
            "{fault}"
        );
        assert!(fault.ends_with("; and 15 lines more"), "{fault}");
    }

    #[test]
    fn a_book_without_end_is_a_fault_of_it() {
        use std::time::Duration;
        let line = b"00000000-0000-0000-0000-000000000001,1.00\n";
        let rows = || (0..).flat_map(|_: u64| line.iter().copied());
        let head = || b"id,amount\n".iter().copied();
        let is_endless = |source: &mut dyn Iterator<Item = u8>, bounds| {
            let mut taken = 0_u64;
            let source = Endless(source);
            let read = read_rows(source, bounds, &mut |_| {
                taken += 1;
                Ok(())
            });
            (read.unwrap_err().to_string(), taken)
        };
        let few = Bounds {
            rows_max: 1_000,
            end: None,
        };
        let (fault, taken) = is_endless(&mut head().chain(rows()), few);
        assert!(fault.contains("more than 1000 rows"), "{fault}");
        assert_eq!(taken, 1_000);
        let soon = Bounds {
            rows_max: u64::MAX,
            end: Some(End::after(Duration::from_millis(50))),
        };
        for source in [
            &mut head().chain(rows()) as &mut dyn Iterator<Item = u8>,
            // No row at all, and none of them one.
            &mut std::iter::once(b'[').chain(std::iter::repeat(b' ')),
            &mut head().chain(std::iter::repeat(b'\n')),
            &mut head().chain((0..).flat_map(|_: u64| b"x,y\n".iter().copied())),
        ] {
            let (fault, _) = is_endless(source, soon);
            assert!(fault.contains("not read to its end within 0 s"), "{fault}");
        }
    }

    struct Endless<'a>(&'a mut dyn Iterator<Item = u8>);

    impl Read for Endless<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let bytes = out.iter_mut().zip(&mut *self.0);
            Ok(bytes.map(|(to, from)| *to = from).count())
        }
    }
}
