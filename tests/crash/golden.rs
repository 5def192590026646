//! Journals of earlier versions open for ever and say what they said: the directories in
//! `tests/data/journals` were written by the version that each of them is named for, and are never
//! written again.
//!
//! `NAME.txt` is the directory (`pack` in `examples/golden_journals.rs` says how), `NAME.says.txt`
//! what a start took over from it, by the version that wrote it: pending payments,
//! settled ids, ledger by processor and millisecond.
//! A change of the format adds journals here with `cargo run --example golden_journals -- PREFIX`,
//! which uses the real writer, keeper and start. `v1-killed` comes from a real instance instead:
//! two simulated processors, one of which answers nothing at times, 40 payments, `kill -9`.

mod told;

use std::fs;
use std::path::Path;

use p99::testing::clock::UnixMillis;
use p99::testing::journal::JournalFault;

use crate::kit::scratch::Scratch;

/// Shortly after the last date in any of the journals but `v1-killed`: all of the ledger is exact.
const WALL: UnixMillis = UnixMillis(1_752_150_896_000);

fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journals");
    fs::read_to_string(root.join(name)).unwrap()
}

/// Makes the directory that `text` holds. `padded` gives each file the size that it
/// had, else it ends with its last byte that is set.
fn unpack(text: &str, dir: &Path, padded: bool) {
    fs::create_dir_all(dir).unwrap();
    let mut files: Vec<(&str, u64, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("file ") {
            let (name, size) = head.split_once(' ').unwrap();
            files.push((name, size.parse().unwrap(), Vec::new()));
            continue;
        }
        let (_, _, bytes) = files.last_mut().unwrap();
        for at in (0..line.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&line[at..at + 2], 16).unwrap());
        }
    }
    for (name, size, bytes) in files {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        if padded {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(size).unwrap();
        }
    }
}

/// Opens the journal as it was written, its reserved zeros cut off, and with other CORES.
fn opens(name: &str) {
    let archive = read(&format!("{name}.txt"));
    let says = read(&format!("{name}.says.txt"));
    for (cores, padded) in [(1, true), (2, false), (3, true), (7, true)] {
        let scratch = Scratch::new("golden").unwrap();
        unpack(&archive, scratch.path(), padded);
        let told = told::tell(scratch.path(), cores, WALL).unwrap();
        assert_eq!(told, says, "{name} on {cores} cores");
        // What that start wrote says the same, but for what was replayed and cut.
        let again = told::tell(scratch.path(), cores, WALL).unwrap();
        let settled =
            |text: &str| -> Vec<String> { text.lines().skip(3).map(str::to_owned).collect() };
        assert_eq!(settled(&again), settled(&says), "{name}: started again");
    }
}

#[test]
fn segments_and_snapshots_after_compaction_and_purge() {
    opens("v1-compacted");
    opens("v2-compacted");
    opens("v3-compacted");
}

#[test]
fn segments_written_past_the_page_cache_after_a_restart_with_other_cores() {
    opens("v1-restarted");
    opens("v2-restarted");
    opens("v3-restarted");
}

#[test]
fn a_batch_that_was_torn_off() {
    opens("v1-torn");
    opens("v2-torn");
    opens("v3-torn");
}

#[test]
fn snapshots_of_a_start_that_nothing_followed() {
    opens("v1-fresh");
    opens("v2-fresh");
    opens("v3-fresh");
}

#[test]
fn a_journal_that_took_another_one_over() {
    opens("v1-absorber");
    opens("v2-absorber");
}

#[test]
fn a_shard_that_has_met_the_others() {
    opens("v3-shard");
}

#[test]
fn a_real_instance_that_was_killed() {
    opens("v1-killed");
}

#[test]
fn a_journal_that_was_taken_over_is_refused() {
    for name in ["v1-absorbed", "v2-absorbed"] {
        let scratch = Scratch::new("golden").unwrap();
        unpack(&read(&format!("{name}.txt")), scratch.path(), true);
        let fault = told::tell(scratch.path(), 1, WALL).unwrap_err();
        assert!(matches!(fault, JournalFault::HandedOver { .. }), "{fault}");
    }
}
