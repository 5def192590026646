//! Records of the journal: any bytes are one record or none, never a panic; what was read is
//! written and read as the same; a record that is cut short is none, and what a later release added
//! behind its fields is skipped.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p99::testing::journal::Record;
use p99_fuzz::{Input, records};

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = Record::decode(data) {
        check(&record);
    }
    let mut input = Input::new(data);
    let record = records::record(&mut input);
    let mut bytes = check(&record);
    // Damage that the checksum would have to find must not end the process either.
    let at = input.below(bytes.len());
    bytes[at] ^= input.byte();
    if let Ok(record) = Record::decode(&bytes) {
        check(&record);
    }
});

fn check(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(Record::decode(&bytes), Ok(*record));
    assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
    bytes.push(0);
    assert_eq!(Record::decode(&bytes), Ok(*record));
    bytes.pop();
    bytes
}
