//! Which processors an operator has paused, in the file `PAUSED` beside the manifest. It is no
//! record: it holds before any payment of the journal is gone on with, is about no payment, and a
//! release that does not know it leaves it alone.
//!
//! ```text
//! p99 paused 1
//! default
//! checksum 1f2e3d4c
//! ```
//!
//! A pause is of a processor and not of its role, so the file `PAUSED-AT` says where each was, as
//! `PROCESSORS` does. Releases that know `PAUSED` alone refuse any other line there, and leave this
//! file as it is:
//!
//! ```text
//! p99 paused places 1
//! for 5e6f7a8b 5e6f7a8b
//! default at proc-a:8080
//! checksum 2f3e4d5c
//! ```
//!
//! `for` has the checksums of the files `PAUSED` that it goes with: while both change, that of the
//! old and of the new one. So a crash between leaves one meaning, and what another release wrote
//! into `PAUSED` since counts by its names alone.

use std::path::Path;

use super::directory::Directory;
use super::fault::{Damage, JournalFault};
use super::files;
use super::processors::Authorities;
use super::seal::sealed;
use crate::payment::{Processor, ProcessorSet};

const HEAD: &str = "p99 paused 1\n";
const PLACES_HEAD: &str = "p99 paused places 1\n";
const PAUSED: &str = "PAUSED";
const PLACES: &str = "PAUSED-AT";

/// A role that is paused, and where its processor was; `None` where that is not known.
type Pause = (Processor, Option<String>);

fn write_text(paused: ProcessorSet) -> String {
    let mut text = HEAD.to_owned();
    for processor in paused {
        text.push_str(processor.name());
        text.push('\n');
    }
    sealed(text)
}

fn read_text(text: &str) -> Option<ProcessorSet> {
    let names = text.strip_prefix(HEAD)?.lines();
    let paused: ProcessorSet = names.filter_map(Processor::of_name).collect();
    // One spelling only: whatever reads differently was not written by us.
    (write_text(paused) == text).then_some(paused)
}

fn write_places([old, new]: [u32; 2], pauses: &[Pause]) -> String {
    let mut text = format!("{PLACES_HEAD}for {old:08x} {new:08x}\n");
    for (processor, place) in pauses {
        text.push_str(processor.name());
        if let Some(place) = place {
            text.push_str(" at ");
            text.push_str(place);
        }
        text.push('\n');
    }
    sealed(text)
}

fn read_places(text: &str) -> Option<([u32; 2], Vec<Pause>)> {
    let mut lines = text.strip_prefix(PLACES_HEAD)?.lines();
    let (old, new) = lines.next()?.strip_prefix("for ")?.split_once(' ')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let goes_with = [number(old)?, number(new)?];
    let pauses = lines.filter_map(|line| match line.split_once(" at ") {
        Some((name, place)) => Some((Processor::of_name(name)?, Some(place.to_owned()))),
        None => Some((Processor::of_name(line)?, None)),
    });
    let pauses: Vec<Pause> = pauses.collect();
    (write_places(goes_with, &pauses) == text).then_some((goes_with, pauses))
}

fn checksum(text: Option<&str>) -> u32 {
    crc32fast::hash(text.unwrap_or_default().as_bytes())
}

fn load(dir: &Directory) -> Result<Vec<Pause>, JournalFault> {
    let found = dir.read_small(PAUSED, Damage::Pauses, |text| {
        Some((read_text(text)?, checksum(Some(text))))
    })?;
    let (paused, is) = found.unwrap_or_else(|| (ProcessorSet::NONE, checksum(None)));
    match dir.read_small(PLACES, Damage::PausePlaces, read_places)? {
        Some((goes_with, pauses)) if goes_with.contains(&is) => Ok(pauses),
        Some(_) | None => Ok(paused.into_iter().map(|one| (one, None)).collect()),
    }
}

fn names(pauses: &[Pause]) -> ProcessorSet {
    pauses.iter().map(|(processor, _)| *processor).collect()
}

/// The processors that are paused, by the roles that they had when it was written.
///
/// # Errors
/// A file is there and cannot be read, or is not what was written.
pub(crate) fn read(dir: &Path) -> Result<ProcessorSet, JournalFault> {
    load(&Directory::peek(dir)).map(|pauses| names(&pauses))
}

/// Replaces what [`read`] reads, durably; the processors are at `places`. The directory is this
/// process's own.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(
    dir: &Path,
    paused: ProcessorSet,
    places: &Authorities,
) -> Result<(), JournalFault> {
    let place = |one| (one, places.find(one).cloned());
    let pauses: Vec<Pause> = paused.into_iter().map(place).collect();
    store(&Directory::peek(dir), &pauses)
}

fn store(dir: &Directory, pauses: &[Pause]) -> Result<(), JournalFault> {
    // One that cannot be read is replaced, and nothing goes with it.
    let was = files::read_text(&dir.path_to(PAUSED)).ok();
    let is = write_text(names(pauses));
    let (old, new) = (checksum(was.as_deref()), checksum(Some(&is)));
    if old != new {
        dir.replace_small(PLACES, &write_places([old, new], pauses))?;
        dir.replace_small(PAUSED, &is)?;
    }
    dir.replace_small(PLACES, &write_places([new, new], pauses))
}

/// The processors that are paused, by the roles that they have at a start with these places. A
/// pause moves with its processor; where that is none any more it stays with the role.
///
/// # Errors
/// A file cannot be read or written, or is not what was written.
pub(crate) fn follow(dir: &Path, now: &Authorities) -> Result<ProcessorSet, JournalFault> {
    let dir = Directory::peek(dir);
    let was = load(&dir)?;
    let mut is: Vec<Pause> = was.iter().map(|pause| followed(pause, now)).collect();
    is.sort();
    is.dedup_by_key(|(processor, _)| *processor);
    if is != was {
        store(&dir, &is)?;
    }
    Ok(names(&is))
}

fn followed((processor, was): &Pause, now: &Authorities) -> Pause {
    let here = now.find(*processor);
    let Some(was) = was.as_ref().filter(|was| here != Some(was)) else {
        return (*processor, here.cloned());
    };
    let name = processor.name();
    if let Some((moved, _)) = now.iter().find(|(_, place)| *place == was) {
        let to = moved.name();
        log::warn!("the processor at {was} was paused as {name} and is {to} now: it stays paused");
        return (moved, Some(was.clone()));
    }
    let Some(here) = here else {
        // It is not asked at all; it may come back.
        return (*processor, Some(was.clone()));
    };
    log::warn!(
        "processor {name} was paused at {was}, where none is now: the pause stays with {name}, \
         which is {here} now"
    );
    (*processor, Some(here.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::payment::Configured;

    const OLD_PAUSED: &str = "p99 paused 1\nfallback\nchecksum";

    struct Dir(std::path::PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("p99-pauses-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }

        fn follow(&self, all: &[&str]) -> ProcessorSet {
            follow(&self.0, &at(all)).unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn at(all: &[&str]) -> Authorities {
        Configured::try_from_vec(all.iter().map(|one| (*one).to_owned()).collect()).unwrap()
    }

    const DEFAULT: ProcessorSet = ProcessorSet::NONE.with(Processor::DEFAULT);
    const FALLBACK: ProcessorSet = ProcessorSet::NONE.with(Processor::FALLBACK);

    #[test]
    fn a_pause_goes_with_its_processor_to_another_role() {
        let dir = Dir::new("moved");
        assert_eq!(dir.follow(&["a:80", "b:80"]), ProcessorSet::NONE);
        write(&dir.0, DEFAULT, &at(&["a:80", "b:80"])).unwrap();
        assert_eq!(dir.follow(&["a:80", "b:80"]), DEFAULT);
        for _ in 0..2 {
            assert_eq!(dir.follow(&["b:80", "a:80"]), FALLBACK);
            assert_eq!(read(&dir.0).unwrap(), FALLBACK);
        }
        // The release before reads it, and says the same.
        assert!(dir.text("PAUSED").starts_with(OLD_PAUSED));
        assert_eq!(dir.follow(&["a:80", "b:80"]), DEFAULT);
        // Both, at roles that were exchanged.
        write(
            &dir.0,
            DEFAULT.with(Processor::FALLBACK),
            &at(&["a:80", "b:80"]),
        )
        .unwrap();
        assert_eq!(dir.follow(&["b:80", "c:80", "a:80"]).into_iter().count(), 2);
        assert_eq!(dir.follow(&["c:80", "b:80", "a:80"]).into_iter().count(), 2);
        assert!(
            !dir.follow(&["c:80", "b:80", "a:80"])
                .has(Processor::DEFAULT)
        );
    }

    #[test]
    fn a_pause_whose_processor_is_gone_stays_with_its_role() {
        let dir = Dir::new("gone");
        write(&dir.0, FALLBACK, &at(&["a:80", "b:80"])).unwrap();
        // Without that role it waits, until the processor or its role is back.
        assert_eq!(dir.follow(&["a:80"]), FALLBACK);
        assert_eq!(dir.follow(&["b:80"]), DEFAULT);
        assert_eq!(dir.follow(&["a:80", "b:80"]), FALLBACK);
        assert_eq!(dir.follow(&["a:80", "c:80"]), FALLBACK);
        assert_eq!(dir.follow(&["c:80", "a:80"]), DEFAULT, "it is c's now");
    }

    #[test]
    fn what_the_release_before_wrote_counts_by_its_names() {
        let dir = Dir::new("before");
        let both = ["a:80", "b:80"];
        dir.put(PAUSED, &write_text(FALLBACK));
        assert_eq!(
            dir.follow(&["b:80", "a:80"]),
            FALLBACK,
            "as it was read then"
        );
        assert_eq!(
            dir.follow(&both),
            DEFAULT,
            "and with its place from then on"
        );
        // It let one go on, and paused another one.
        for paused in [ProcessorSet::NONE, FALLBACK] {
            dir.put(PAUSED, &write_text(paused));
            assert_eq!(dir.follow(&both), paused);
        }
    }

    #[test]
    fn a_crash_between_the_two_files_leaves_one_meaning() {
        let dir = Dir::new("between");
        write(&dir.0, DEFAULT, &at(&["a:80", "b:80"])).unwrap();
        let old = dir.text(PAUSED);
        let [crc, moved] = [old.as_str(), &write_text(FALLBACK)].map(|one| checksum(Some(one)));
        let pauses = [(Processor::FALLBACK, Some("a:80".to_owned()))];
        dir.put(PLACES, &write_places([crc, moved], &pauses));
        assert_eq!(read(&dir.0).unwrap(), FALLBACK);
        assert_eq!(dir.follow(&["b:80", "a:80"]), FALLBACK);
        dir.put(PAUSED, &write_text(FALLBACK));
        assert_eq!(dir.follow(&["b:80", "a:80"]), FALLBACK);
        let text = dir.text(PLACES);
        for bad in [
            text.replace("a:80", "b:80"),
            format!("{text}\n"),
            String::new(),
        ] {
            dir.put(PLACES, &bad);
            let fault = read(&dir.0).unwrap_err().to_string();
            assert!(fault.contains("PAUSED-AT"), "{bad:?}: {fault}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let scratch = Dir::new("written");
        let (dir, places) = (scratch.0.clone(), at(&["a:80", "b:80"]));
        assert_eq!(read(&dir).unwrap(), ProcessorSet::NONE);
        let one = ProcessorSet::NONE.with(Processor::FALLBACK);
        for paused in [one, one.with(Processor::DEFAULT), ProcessorSet::NONE] {
            write(&dir, paused, &places).unwrap();
            assert_eq!(read(&dir).unwrap(), paused);
        }
        write(&dir, one, &places).unwrap();
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
    }
}
