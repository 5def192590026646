//! The last line of the small texts beside the segments (manifest, processors, pauses, marks): a
//! checksum of all before it. It reads nothing: who reads such a text writes it anew and compares,
//! so that it has one spelling only.

/// `text` with its checksum.
pub(super) fn sealed(mut text: String) -> String {
    let checksum = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("checksum {checksum:08x}\n"));
    text
}
