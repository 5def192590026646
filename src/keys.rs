//! Keys from the kernel's random numbers: for hashes of what clients send, and for names that must
//! be unlike all others.
//!
//! A client may send any id. If it could know how the maps hash, it would send ids that all fall
//! into one place, and each would cost a walk over the others. The default keys of `ahash` come
//! from constants and addresses here (its `runtime-rng` would bring one more version of a crate),
//! so without address randomisation they are the same in every process. Whatever must be the same
//! after a restart or elsewhere is hashed by `UpstreamId::hash` instead, which has no key.
//!
//! Maps and the journal call this; nothing is kept here.

use std::hash::BuildHasher;

use ahash::RandomState;

/// The hasher of one map. No other map has its keys, in this process or another.
#[must_use]
pub(crate) fn hasher() -> RandomState {
    let [one, two, three, four] = random();
    RandomState::with_seeds(one, two, three, four)
}

/// A number that no other call will return.
#[must_use]
pub fn unlike_all() -> u64 {
    let [number, ..] = random();
    number
}

fn random() -> [u64; 4] {
    let mut bytes = [0_u8; 32];
    // SAFETY: the kernel writes at most that many bytes into the array.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(count) != Ok(bytes.len()) {
        // A filter that knows no getrandom. The standard library finds another way or stops.
        let other = std::hash::RandomState::new();
        return [0_u64, 1, 2, 3].map(|part| other.hash_one(part));
    }
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().copied().map(u64::from_ne_bytes);
    [(); 4].map(|()| words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// Set in a process that shall only say how it hashes.
    const SAY: &str = "P99_TEST_SAYS_ITS_KEYS";

    #[test]
    fn no_two_maps_hash_alike() {
        assert_ne!(hasher().hash_one(7_u64), hasher().hash_one(7_u64));
        assert_ne!(unlike_all(), unlike_all());
    }

    /// The same program at the same addresses, twice: what it hashes must differ.
    #[test]
    fn no_two_processes_hash_alike_even_without_address_randomisation() {
        if std::env::var_os(SAY).is_some() {
            let said = format!("keys: {} {}\n", hasher().hash_one(7_u64), unlike_all());
            std::io::stdout().write_all(said.as_bytes()).unwrap();
            return;
        }
        let said = [(), ()].map(|()| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--exact", "--nocapture", "--test-threads=1"])
                .arg("keys::tests::no_two_processes_hash_alike_even_without_address_randomisation")
                .env(SAY, "1");
            // SAFETY: personality takes no pointer. Where a container forbids it, the processes
            // differ in their addresses too.
            unsafe {
                command.pre_exec(|| {
                    libc::personality(0x004_0000);
                    Ok(())
                });
            }
            let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let (_, keys) = output.split_once("keys: ").unwrap();
            keys.lines().next().unwrap().to_owned()
        });
        let [one, other] = said.each_ref().map(|said| said.split_once(' ').unwrap());
        assert_ne!(one.0, other.0, "the maps");
        assert_ne!(one.1, other.1, "the names");
    }
}
