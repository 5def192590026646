//! Which processors an operator has paused, in the file `PAUSED` beside the manifest. It is no
//! record: it holds before any payment of the journal is gone on with, is about no payment, and a
//! release that does not know it leaves it alone.
//!
//! ```text
//! p99 paused 1
//! default
//! checksum 1f2e3d4c
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::directory::Directory;
use super::fault::{Damage, JournalFault};
use super::files;
use crate::payment::{Processor, ProcessorSet};

const HEAD: &str = "p99 paused 1\n";

fn write_text(paused: ProcessorSet) -> String {
    let mut text = HEAD.to_owned();
    for processor in paused {
        text.push_str(processor.name());
        text.push('\n');
    }
    let checksum = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("checksum {checksum:08x}\n"));
    text
}

fn read_text(text: &str) -> Option<ProcessorSet> {
    let names = text.strip_prefix(HEAD)?.lines();
    let paused: ProcessorSet = names.filter_map(Processor::of_name).collect();
    // One spelling only: whatever reads differently was not written by us.
    (write_text(paused) == text).then_some(paused)
}

/// The processors that are paused.
///
/// # Errors
/// The file is there and cannot be read, or is not what was written.
pub(crate) fn read(dir: &Path) -> Result<ProcessorSet, JournalFault> {
    let path = Directory::peek(dir).path_to("PAUSED");
    let damaged = || JournalFault::Damaged {
        path: path.clone(),
        offset: 0,
        what: Damage::Pauses,
    };
    match files::read_text(&path) {
        Ok(text) => read_text(&text).ok_or_else(damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ProcessorSet::NONE),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged()),
        Err(error) => Err(JournalFault::io(&path, error)),
    }
}

/// Replaces what [`read`] reads, durably. The directory is this process's own.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(dir: &Path, paused: ProcessorSet) -> Result<(), JournalFault> {
    let dir = Directory::peek(dir);
    let fresh = dir.path_to("PAUSED.new");
    let io = |error| JournalFault::io(&fresh, error);
    let mut file = files::create_empty(&fresh).map_err(io)?;
    file.write_all(write_text(paused).as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&fresh, dir.path_to("PAUSED")).map_err(io)?;
    dir.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("p99-pauses-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(read(&dir).unwrap(), ProcessorSet::NONE);
        let one = ProcessorSet::NONE.with(Processor::FALLBACK);
        for paused in [one, one.with(Processor::DEFAULT), ProcessorSet::NONE] {
            write(&dir, paused).unwrap();
            assert_eq!(read(&dir).unwrap(), paused);
        }
        write(&dir, one).unwrap();
        let text = fs::read_to_string(dir.join("PAUSED")).unwrap();
        for bad in [
            text.replace("fallback", "default"),
            text.replace("paused 1", "paused 2"),
            format!("{text}\n"),
            String::new(),
        ] {
            fs::write(dir.join("PAUSED"), &bad).unwrap();
            let fault = read(&dir).unwrap_err().to_string();
            assert!(fault.contains("PAUSED"), "{bad:?}: {fault}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
