//! One step back: what the next release may write is read by this one, or refused by name and left
//! as it is.

use std::collections::BTreeMap;

use super::super::frame::{self, Frames, Identity, Next};
use super::*;

const RECORD_KINDS: std::ops::RangeInclusive<u8> = 0x81..=0x8b;
const FOOTER: u8 = 0xa3;

/// A journal with a snapshot and a segment behind it, and what it says.
fn sample() -> (Scratch, Facts) {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(1), WALL).unwrap(), &stories(0..16));
    feed(start(&scratch.settings(1), WALL).unwrap(), &stories(16..32));
    let facts = Facts::of_dir(&scratch.0).unwrap();
    (scratch, facts)
}

/// Writes each payload of each file anew, as `change` has it.
fn rewrite(scratch: &Scratch, mut change: impl FnMut(&mut Vec<u8>)) {
    for entry in fs::read_dir(&scratch.0).unwrap() {
        let path = entry.unwrap().path();
        let Some(identity) = Identity::from_name(path.file_name().unwrap().to_str().unwrap())
        else {
            continue;
        };
        let (head, rest) = (identity.head(), fs::read(&path).unwrap());
        let mut frames = Frames::new(&rest[head.len()..], identity.seed());
        let mut bytes = head.to_vec();
        while let Next::Frame(place, payload) = frames.next().unwrap() {
            let mut payload = payload.to_vec();
            change(&mut payload);
            frame::write(identity.seed(), place, &mut bytes, |out| {
                out.extend_from_slice(&payload);
            });
        }
        fs::write(path, bytes).unwrap();
    }
}

/// Every file with its bytes.
fn contents(scratch: &Scratch) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(&scratch.0).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_kept = |path: &PathBuf| !path.ends_with("LOCK");
    paths
        .filter(is_kept)
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_step_back_reads_what_the_next_release_added_to_records() {
    let (scratch, facts) = sample();
    let mut changed = 0;
    rewrite(&scratch, |payload| {
        if RECORD_KINDS.contains(&payload[0]) || payload[0] == FOOTER {
            payload.extend_from_slice(b"a field of the next release");
            changed += 1;
        }
    });
    assert!(changed > 40, "{changed} records were given a new field");
    let started = start(&scratch.settings(1), WALL).unwrap();
    assert_eq!(Facts::of_start(&started), facts);
    // It goes on there, and the next release reads both.
    feed(started, &stories(32..40));
    let mut expected = facts;
    let later = Facts::of_records(&stories(32..40).concat());
    for processor in Processor::ALL {
        let more = *later.totals.get(processor);
        expected.totals.get_mut(processor).add(more);
    }
    expected.pending.extend(later.pending);
    expected.settled.extend(later.settled);
    assert_eq!(Facts::of_dir(&scratch.0).unwrap(), expected);
}

#[test]
fn an_unknown_kind_or_version_is_refused_by_name_and_nothing_is_changed() {
    // A later version of a kind that is known, and kinds of which nothing is known.
    for (first_bytes, name) in [
        (vec![0x82, 2], "kind 2, version 2"),
        (vec![0xa0, 2], "kind 32, version 2"),
        (vec![0x8c, 1], "kind 12, version 1"),
        (vec![0xff, 1], "kind 127, version 1"),
        (vec![12], "kind 12, version 0"),
    ] {
        let (scratch, _) = sample();
        let mut is_changed = false;
        rewrite(&scratch, |payload| {
            let is_claims = payload[0] == 0xa0;
            if !is_changed && is_claims == (first_bytes[0] == 0xa0) {
                payload.splice(..2, first_bytes.iter().copied());
                is_changed = true;
            }
        });
        assert!(is_changed);
        let before = contents(&scratch);
        let fault = start(&scratch.settings(1), WALL).unwrap_err().to_string();
        assert!(fault.contains(name), "{name}: {fault}");
        assert!(
            fault.contains("offset ") && !fault.contains("damaged"),
            "{fault}"
        );
        assert_eq!(contents(&scratch), before, "{name}");
    }
}
