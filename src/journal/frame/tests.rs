//! Frames whole, cut and flipped: what is a tear and what is damage.

use super::*;

const IDENTITY: Identity = Identity {
    kind: Kind::Segment,
    epoch: 3,
    core: CoreId(1),
    index: 7,
};

fn frames(batches: &[&[&[u8]]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sequence = 0;
    for batch in batches {
        for (position, payload) in (0..).zip(*batch) {
            sequence += 1;
            let place = Place { sequence, position };
            assert!(write(IDENTITY.seed(), place, &mut bytes, |out| {
                out.extend_from_slice(payload);
            }));
        }
    }
    bytes
}

fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let mut frames = Frames::new(bytes, IDENTITY.seed());
    let mut payloads = Vec::new();
    while let Next::Frame(_, payload) = frames.next().unwrap() {
        payloads.push(payload.to_vec());
    }
    (payloads, frames.offset())
}

#[test]
fn frames_are_read_back_in_order_and_stop_at_zeros() {
    let mut bytes = frames(&[&[b"one", b"two"], &[b"three"]]);
    let end = bytes.len() as u64 + FILE_HEAD_BYTES as u64;
    bytes.resize(4096, 0);
    let (payloads, offset) = read_all(&bytes);
    assert_eq!(payloads, [&b"one"[..], b"two", b"three"]);
    assert_eq!(offset, end);
}

#[test]
fn a_frame_of_another_core_epoch_or_kind_is_none_of_ours() {
    let bytes = frames(&[&[b"one"]]);
    for other in [
        Identity {
            core: CoreId(2),
            ..IDENTITY
        },
        Identity {
            epoch: 4,
            ..IDENTITY
        },
        Identity {
            kind: Kind::Snapshot,
            ..IDENTITY
        },
    ] {
        let mut frames = Frames::new(&bytes[..], other.seed());
        assert!(matches!(frames.next(), Ok(Next::Stop)), "{other:?}");
    }
}

#[test]
fn names_are_read_back_and_nothing_else_is_a_name() {
    for identity in [
        IDENTITY,
        Identity {
            kind: Kind::Snapshot,
            ..IDENTITY
        },
    ] {
        assert_eq!(Identity::from_name(&identity.name()), Some(identity));
    }
    for name in [
        "MANIFEST",
        "3-1-7.segment",
        "00000003-001-000007.segment.new",
        "-",
        ".",
    ] {
        assert_eq!(Identity::from_name(name), None, "{name}");
    }
    assert!(IDENTITY.head().iter().all(|byte| *byte != 0) || IDENTITY.head()[0] != 0);
}

#[test]
fn a_payload_beyond_the_cap_is_not_written() {
    let mut bytes = vec![1, 2, 3];
    let place = Place {
        sequence: 1,
        position: 0,
    };
    let fits = write(1, place, &mut bytes, |out| {
        out.resize(out.len() + JOURNAL_PAYLOAD_BYTES_MAX, 9);
    });
    assert!(!fits);
    assert_eq!(bytes, [1, 2, 3]);
}

/// Every sector of the last batch may be missing after a power cut; none of the batch before.
#[test]
fn lost_sectors_are_a_tear_in_the_last_batch_and_damage_before_it() {
    let payload = [7_u8; 200];
    let batch: Vec<&[u8]> = vec![&payload; 9];
    let first = frames(&[&batch]);
    let both = frames(&[&batch, &batch]);
    let judge = |bytes: &[u8]| {
        let (payloads, stop) = read_all(bytes);
        let rest = &bytes[usize::try_from(stop).unwrap() - FILE_HEAD_BYTES..];
        let expected = payloads.len() as u64 + 1;
        (
            payloads.len(),
            judge_rest(rest, stop, expected, IDENTITY.seed()),
        )
    };
    for sector in 0..both.len().div_ceil(SECTOR_BYTES) {
        // The file's sectors begin FILE_HEAD_BYTES before ours.
        let from = (sector * SECTOR_BYTES).saturating_sub(FILE_HEAD_BYTES);
        let to = ((sector + 1) * SECTOR_BYTES - FILE_HEAD_BYTES).min(both.len());
        let mut torn = both.clone();
        torn.resize(8192, 0);
        torn[from.max(first.len()).min(to)..to].fill(0);
        if to <= first.len() {
            torn[from..to].fill(0);
            assert_eq!(judge(&torn).1, Rest::Damaged, "sector {sector}");
        } else {
            let (count, rest) = judge(&torn);
            assert!(count >= 9, "the synced batch is whole");
            assert_eq!(rest, Rest::Torn, "sector {sector}");
        }
    }
}
