//! Roles that another processor got while payments are open there.

use super::*;

fn at(scratch: &Scratch, default: &str, fallback: &str) -> JournalSettings {
    JournalSettings {
        processors: Configured::try_from_vec([default, fallback].map(str::to_owned).to_vec()),
        ..scratch.settings(2)
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn swapped_processors_with_open_intents_are_refused_and_nothing_changes() {
    let scratch = Scratch::new();
    let right = at(&scratch, "a:80", "b:80");
    // Number 2 is open at the first processor.
    feed(start(&right, WALL).unwrap(), &stories(0..8));
    let before = files(&scratch.0);
    for (default, fallback) in [("b:80", "a:80"), ("c:80", "b:80"), ("a:81", "b:80")] {
        let fault = start(&at(&scratch, default, fallback), WALL).unwrap_err();
        let text = fault.to_string();
        let moved = format!("default was a:80 and is {default} now, 1 payments are open there");
        assert!(text.contains(&moved), "{text}");
        assert!(text.contains("accept-upstreams"), "{text}");
        assert_eq!(
            text.contains("fallback was b:80"),
            fallback != "b:80",
            "{text}"
        );
        assert_eq!(files(&scratch.0), before);
    }
    drop(start(&right, WALL).unwrap());
}

#[test]
fn a_role_without_open_intents_may_move() {
    let scratch = Scratch::new();
    feed(
        start(&at(&scratch, "a:80", "b:80"), WALL).unwrap(),
        &stories(0..8),
    );
    drop(start(&at(&scratch, "a:80", "c:80"), WALL).unwrap());
    // And from there on that is what counts.
    let moved = start(&at(&scratch, "a:80", "c:80"), WALL);
    drop(moved.unwrap());
    assert!(start(&at(&scratch, "b:80", "c:80"), WALL).is_err());
}

#[test]
fn an_operators_word_makes_a_move_good() {
    let scratch = Scratch::new();
    feed(
        start(&at(&scratch, "a:80", "b:80"), WALL).unwrap(),
        &stories(0..8),
    );
    let moved = at(&scratch, "new-a:80", "b:80");
    assert!(start(&moved, WALL).is_err());
    let authorities = moved.processors.clone().unwrap();
    let accepted = operator::accept_upstreams(&moved, &authorities).unwrap();
    assert_eq!(accepted.was.unwrap().get(Processor::DEFAULT), "a:80");
    assert_eq!(accepted.open, PerProcessor::of_first([1, 0]));
    drop(start(&moved, WALL).unwrap());
    assert!(start(&at(&scratch, "a:80", "b:80"), WALL).is_err());
}

/// B was taken out of the settings while a payment may have been charged there.
#[test]
fn a_processor_with_open_intents_must_stay_configured() {
    for has_file in [true, false] {
        let scratch = Scratch::new();
        let both = at(&scratch, "a:80", "b:80");
        let first = if has_file {
            both.clone()
        } else {
            scratch.settings(2)
        };
        // Refused by the first one, then sent to the second.
        let open_at_second = story(4)[..3].to_vec();
        feed(start(&first, WALL).unwrap(), &[open_at_second]);
        let alone = JournalSettings {
            processors: Some(Configured::of_one("a:80".to_owned())),
            ..scratch.settings(2)
        };
        let before = files(&scratch.0);
        let text = start(&alone, WALL).unwrap_err().to_string();
        assert!(
            text.contains("fallback") && text.contains("is not configured now, 1 payments"),
            "{text}"
        );
        // No operator's word makes it reachable.
        let authorities = alone.processors.clone().unwrap();
        assert!(operator::accept_upstreams(&alone, &authorities).is_err());
        assert_eq!(files(&scratch.0), before);
        drop(start(&both, WALL).unwrap());
    }
}

#[test]
fn a_processor_without_open_intents_may_go_and_come() {
    let scratch = Scratch::new();
    let both = at(&scratch, "a:80", "b:80");
    feed(start(&both, WALL).unwrap(), &[]);
    let alone = JournalSettings {
        processors: Some(Configured::of_one("a:80".to_owned())),
        ..scratch.settings(2)
    };
    drop(start(&alone, WALL).unwrap());
    drop(start(&both, WALL).unwrap());
}

#[test]
fn a_journal_without_the_file_gets_it_and_one_that_is_broken_is_refused() {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..8));
    let path = scratch.0.join("PROCESSORS");
    assert!(!path.exists());
    let settings = at(&scratch, "a:80", "b:80");
    drop(start(&settings, WALL).unwrap());
    let text = fs::read(&path).unwrap();
    assert_eq!(
        String::from_utf8(text.clone()).unwrap().lines().nth(1),
        Some("default at a:80")
    );
    for at in 0..text.len() {
        let mut broken = text.clone();
        broken[at] ^= 1;
        fs::write(&path, &broken).unwrap();
        assert!(start(&settings, WALL).is_err(), "{at}");
        fs::write(&path, &text[..at]).unwrap();
        assert!(start(&settings, WALL).is_err(), "{at}");
    }
    let authorities = settings.processors.clone().unwrap();
    operator::accept_upstreams(&settings, &authorities).unwrap();
    drop(start(&settings, WALL).unwrap());
}
