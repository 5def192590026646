//! The audit file: rotation, its queue, and whom it trusts.

use crate::audit::AUDIT_FILE_BYTES_MAX;
use crate::audit::AUDIT_FILES_MAX;
use crate::audit::AUDIT_UNWRITTEN_BYTES_MAX;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("p99-audit-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn line(id: u128, text: &str) -> Item {
    Item::Line(format!(r#"{{"id":"{}","text":"{text}"}}"#, UpstreamId(id)))
}

#[test]
fn a_start_goes_on_behind_what_is_there_and_a_cut_line_ends() {
    let dir = Dir::new("start");
    let audit = Audit::start(&dir.0).unwrap();
    assert!(audit.put(line(1, "a")) && audit.put(line(2, "b")));
    let fault = Audit::start(&dir.0).unwrap_err();
    assert!(fault.to_string().contains("another process"), "{fault}");
    drop(audit);
    let file = path(&dir.0, 0);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut cut = OpenOptions::new().append(true).open(&file).unwrap();
    cut.write_all(br#"{"id":"0000"#).unwrap();
    let audit = Audit::start(&dir.0).unwrap();
    audit.put(line(1, "c"));
    drop(audit);
    let texts: Vec<String> = read(&dir.0, UpstreamId(1)).unwrap();
    let told = |text: &str| texts.iter().any(|line| line.contains(text));
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(told(r#""text":"a""#) && told(r#""text":"c""#), "{texts:?}");
}

/// A full disk for a moment: nothing is lost, and no line is torn.
#[test]
fn what_the_disk_does_not_take_is_written_when_it_does() {
    let dir = Dir::new("taken");
    let left_out = Arc::new(AtomicU64::new(0));
    let mut writer = Writer::open(&dir.0, Arc::clone(&left_out), Arc::default()).unwrap();
    let (queue, items) = sync_channel(8);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let real = std::mem::replace(&mut writer.file, full);
    queue.send(line(1, "a")).unwrap();
    assert!(!writer.gather(&items));
    assert!(writer.write().is_err());
    writer.file = real;
    queue.send(line(1, "b")).unwrap();
    assert!(!writer.gather(&items));
    writer.write().unwrap();
    let texts: Vec<String> = read(&dir.0, UpstreamId(1)).unwrap();
    assert_eq!(texts.len(), 2, "{texts:?}");
    // What is too much is counted.
    writer.text = vec![b'x'; AUDIT_UNWRITTEN_BYTES_MAX];
    queue.send(line(1, "c")).unwrap();
    assert!(!writer.gather(&items));
    assert_eq!(left_out.load(Ordering::Relaxed), 1);
    writer.text.clear();
    assert!(!writer.gather(&items));
    assert!(writer.text.starts_with(br#"{"step":"left_out","count":1}"#));
}

#[test]
fn files_are_bounded_in_size_and_number() {
    let dir = Dir::new("rotation");
    let left_out = Arc::new(AtomicU64::new(0));
    let mut writer = Writer::open(&dir.0, left_out, Arc::default()).unwrap();
    for round in 0..=AUDIT_FILES_MAX {
        let line = format!("{{\"id\":\"{}\",\"round\":{round}}}\n", UpstreamId(3));
        writer.text = line.into_bytes();
        writer.write().unwrap();
        writer.bytes = AUDIT_FILE_BYTES_MAX;
    }
    let files = fs::read_dir(&dir.0).unwrap().count();
    assert_eq!(files, 5, "four, and the one that is locked");
    let kept = read(&dir.0, UpstreamId(3)).unwrap();
    let rounds: Vec<bool> = (1..)
        .zip(&kept)
        .map(|(round, line)| line.contains(&format!("\"round\":{round}")))
        .collect();
    assert_eq!(
        rounds, [true; 4],
        "the oldest went, and the order is kept: {kept:?}"
    );
}

#[test]
fn what_does_not_fit_is_counted_and_no_one_waits() {
    let (queue, items) = sync_channel(2);
    let left_out = Arc::new(AtomicU64::new(0));
    let audit = Audit {
        queue: Some(queue),
        left_out: Arc::clone(&left_out),
        rounds: Arc::default(),
        thread: None,
    };
    let put: Vec<bool> = (0..5).map(|id| audit.put(line(id, "x"))).collect();
    assert_eq!(put, [true, true, false, false, false]);
    let dir = Dir::new("full");
    let mut writer = Writer::open(&dir.0, left_out, Arc::default()).unwrap();
    assert!(!writer.gather(&items));
    assert!(
        writer
            .text
            .ends_with(b"{\"step\":\"left_out\",\"count\":3}\n")
    );
    drop(audit);
    writer.text.clear();
    assert!(writer.gather(&items), "no more can come");
    assert!(writer.text.is_empty());
}

#[test]
fn a_link_in_its_place_is_refused() {
    let dir = Dir::new("link");
    symlink("/dev/null", path(&dir.0, 0)).unwrap();
    assert!(Audit::start(&dir.0).is_err());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_others_could_write_or_read_is_refused_by_name() {
    let dir = Dir::new("modes");
    set_mode(&dir.0, 0o777);
    let told = |path: &Path, word: &str| {
        let fault = Audit::start(&dir.0).unwrap_err().to_string();
        assert!(fault.contains(path.to_str().unwrap()), "{fault}");
        assert!(fault.contains(word), "{fault}");
    };
    told(&dir.0, "chmod 700");
    set_mode(&dir.0, 0o755);
    drop(Audit::start(&dir.0).unwrap());
    assert_eq!(mode_of(&dir.0), 0o700, "it is closed to others");
    for number in [0, 2] {
        let file = path(&dir.0, number);
        fs::write(&file, "{}\n").unwrap();
        set_mode(&file, 0o644);
        told(&file, "chmod 600");
        set_mode(&file, 0o600);
        drop(Audit::start(&dir.0).unwrap());
        // Only root can give a file away.
        if chown(&file, Some(65_534), None).is_ok() {
            told(&file, "chown");
            fs::remove_file(&file).unwrap();
        }
    }
    if chown(&dir.0, Some(65_534), None).is_ok() {
        told(&dir.0, "chown");
    }
}

/// A folder of logs that others read on purpose.
#[test]
fn a_directory_with_other_things_in_it_keeps_its_mode() {
    let dir = Dir::new("shared");
    fs::write(dir.0.join("other.log"), "").unwrap();
    set_mode(&dir.0, 0o755);
    for _ in 0..2 {
        drop(Audit::start(&dir.0).unwrap());
        assert_eq!(mode_of(&dir.0), 0o755);
        assert_eq!(mode_of(&path(&dir.0, 0)), 0o600);
        assert_eq!(mode_of(&dir.0.join(LOCK)), 0o600);
    }
}

/// Every user who may read a directory may lock it.
#[test]
fn a_lock_of_the_directory_keeps_no_one_out() {
    let dir = Dir::new("lock");
    let stranger = File::open(&dir.0).unwrap();
    stranger.try_lock().unwrap();
    let audit = Audit::start(&dir.0).unwrap();
    let fault = Audit::start(&dir.0).unwrap_err();
    assert!(fault.to_string().contains("another process"), "{fault}");
    drop(audit);
}
