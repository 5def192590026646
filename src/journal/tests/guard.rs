//! Who may read and write the files, whatever umask and earlier versions left.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A journal with a compaction behind it, in a directory that p99 made.
fn made(scratch: &Scratch) -> JournalSettings {
    let settings = JournalSettings {
        dir: scratch.0.join("below").join("journal"),
        segment_bytes: 2048,
        compact_bytes_min: 4096,
        ..scratch.settings(2)
    };
    feed(start(&settings, WALL).unwrap(), &stories(0..100));
    settings
}

#[test]
fn directory_and_files_are_for_their_owner_alone() {
    let scratch = Scratch::new();
    let settings = made(&scratch);
    assert_eq!(mode(&settings.dir), 0o700);
    for entry in fs::read_dir(&settings.dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn what_an_earlier_version_left_open_is_closed_and_starts() {
    for open in [0o755, 0o750, 0o775, 0o2770] {
        let scratch = Scratch::new();
        let settings = made(&scratch);
        set_mode(&settings.dir, open);
        for entry in fs::read_dir(&settings.dir).unwrap() {
            set_mode(&entry.unwrap().path(), 0o644);
        }
        drop(start(&settings, WALL).unwrap());
        assert_eq!(mode(&settings.dir), 0o700);
        for entry in fs::read_dir(&settings.dir).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
}

/// A home directory, say, that was named by mistake.
#[test]
fn a_directory_that_holds_other_things_is_refused_untouched() {
    let listed = |path: &Path| -> BTreeSet<_> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    for (name, text) in [
        ("letters", ""),
        (".profile", ""),
        ("audit.2b.log", ""),
        ("00000001-000-000000.segments", ""),
        // Other programs have one too.
        ("MANIFEST", "Manifest-Version: 1.0\n"),
    ] {
        let scratch = Scratch::new();
        set_mode(&scratch.0, 0o755);
        fs::write(scratch.0.join(name), text).unwrap();
        fs::write(scratch.0.join("other"), "").unwrap();
        let before = listed(&scratch.0);
        let fault = start(&scratch.settings(1), WALL).unwrap_err();
        assert!(matches!(fault, JournalFault::Foreign { .. }), "{fault}");
        let told = fault.to_string();
        assert!(told.contains(scratch.0.to_str().unwrap()), "{told}");
        assert!(told.contains(name) || told.contains("other"), "{told}");
        assert_eq!(look_at(&scratch.0).unwrap_err().to_string(), told);
        assert_eq!((mode(&scratch.0), listed(&scratch.0)), (0o755, before));
    }
}

#[test]
fn an_empty_directory_and_what_a_start_left_that_was_cut_short_are_taken() {
    let scratch = Scratch::new();
    look_at(&scratch.0.join("not-there")).unwrap();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    look_at(&file).unwrap_err();
    for names in [
        &["lost+found"] as &[&str],
        &["LOCK", "MANIFEST.new", "00000001-000-000000.snapshot"],
        &["audit.log", "audit.lock", "audit.3.log"],
    ] {
        let scratch = Scratch::new();
        set_mode(&scratch.0, 0o755);
        for name in names {
            fs::write(scratch.0.join(name), "").unwrap();
        }
        look_at(&scratch.0).unwrap();
        drop(start(&scratch.settings(1), WALL).unwrap());
        assert_eq!(mode(&scratch.0), 0o700);
        // Once it is ours, a note beside the files does no harm.
        fs::write(scratch.0.join("note"), "").unwrap();
        set_mode(&scratch.0, 0o755);
        look_at(&scratch.0).unwrap();
        drop(start(&scratch.settings(1), WALL).unwrap());
        assert_eq!(mode(&scratch.0), 0o700);
    }
}

#[test]
fn a_directory_that_anybody_may_write_to_is_refused_untouched() {
    for open in [0o777, 0o1777, 0o702] {
        let scratch = Scratch::new();
        let settings = made(&scratch);
        set_mode(&settings.dir, open);
        let fault = start(&settings, WALL).unwrap_err();
        assert!(matches!(fault, JournalFault::Unsafe { .. }), "{fault}");
        let text = fault.to_string();
        assert!(
            text.contains(&format!("{open:04o}")) && text.contains("chmod 700"),
            "{text}"
        );
        assert_eq!(mode(&settings.dir), open);
    }
}

#[test]
fn a_link_in_the_place_of_a_file_is_refused_and_its_target_left_alone() {
    for name in ["LOCK", "MANIFEST", "MANIFEST.new"] {
        let scratch = Scratch::new();
        let settings = made(&scratch);
        let target = scratch.0.join("target");
        let path = settings.dir.join(name);
        if path.exists() {
            fs::rename(&path, &target).unwrap();
        } else {
            fs::write(&target, "precious").unwrap();
        }
        let before = fs::read(&target).unwrap();
        symlink(&target, &path).unwrap();
        start(&settings, WALL).unwrap_err();
        assert_eq!(fs::read(&target).unwrap(), before, "{name}");
    }
}

#[test]
fn a_pipe_or_a_directory_in_the_place_of_a_file_is_refused() {
    for (name, is_pipe) in [
        ("MANIFEST", true),
        ("MANIFEST", false),
        ("MANIFEST.new", true),
        ("PROCESSORS", true),
        ("PROCESSORS.new", true),
        ("LOCK", false),
    ] {
        let scratch = Scratch::new();
        let settings = made(&scratch);
        let path = settings.dir.join(name);
        let _ = fs::remove_file(&path);
        if is_pipe {
            let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: the text ends in a zero byte and outlives the call.
            assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        } else {
            fs::create_dir(&path).unwrap();
        }
        start(&settings, WALL).unwrap_err();
    }
}

#[test]
fn the_directory_itself_may_be_named_by_a_link() {
    let scratch = Scratch::new();
    let settings = made(&scratch);
    let link = scratch.0.join("link");
    symlink(&settings.dir, &link).unwrap();
    let settings = JournalSettings {
        dir: link,
        ..settings
    };
    drop(start(&settings, WALL).unwrap());
}

#[test]
fn a_directory_of_another_user_is_refused() {
    // SAFETY: the call takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let scratch = Scratch::new();
    let settings = made(&scratch);
    std::os::unix::fs::chown(&settings.dir, Some(12_345), None).unwrap();
    let fault = start(&settings, WALL).unwrap_err().to_string();
    assert!(fault.contains("owner 12345"), "{fault}");
}
