//! A journal that is read while its owner writes to it.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::testing;
use super::*;

#[test]
fn what_is_being_written_is_never_taken_for_damage() {
    let scratch = Scratch::new();
    let path = scratch.0.join("segment");
    let batches: Vec<_> = (0..4_000)
        .map(|number| stories(number..number + 1).concat())
        .collect();
    let whole = testing::segment(1, &batches);
    let file = fs::File::create(&path).unwrap();
    // Reserved, as a segment is: a reader looks at all of it.
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&whole.bytes[..whole.ends[0]], 0).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            for batch in &batches {
                let (from, until) = (whole.ends[count], whole.ends[count + batch.len()]);
                file.write_all_at(&whole.bytes[from..until], from as u64)
                    .unwrap();
                count += batch.len();
            }
            is_done.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !is_done.load(Ordering::Acquire) {
            let mut count = 0;
            testing::read_segment(&path, 1, |_| count += 1).unwrap();
            assert!(count >= last, "{count} after {last}");
            last = count;
        }
    });
    let mut count = 0;
    let end = testing::read_segment(&path, 1, |_| count += 1).unwrap();
    assert_eq!((count, end.is_torn), (whole.ends.len() - 1, false));
}
