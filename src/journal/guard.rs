//! Whose the journal's directory is: amounts and ids of payments are for the user alone that p99
//! runs as, and a stranger who can write there could hold the lock, or put a link in the place of a
//! file. And it is for p99 alone: one that holds other things is another's, and stays as it is.
//! `directory` calls it before it takes the lock.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::fault::JournalFault;
use super::files;
use super::frame::Identity;

const OTHERS: u32 = 0o077;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// What every ext4 file system has in its first directory.
const OF_THE_FILE_SYSTEM: &str = "lost+found";
/// How a manifest begins.
const MANIFEST_HEAD: &[u8] = b"p99 journal ";
/// What the directory holds besides segments and snapshots.
const NAMED_FILES: [&str; 11] = [
    "LOCK",
    "MANIFEST",
    "MANIFEST.new",
    "PROCESSORS",
    "PROCESSORS.new",
    "PAUSED",
    "PAUSED.new",
    "PAUSED-AT",
    "PAUSED-AT.new",
    "MARKS",
    "MARKS.new",
];
/// Others may write to the directory, but only rename what is theirs.
const STICKY: u32 = 0o1000;

/// Creates the directory, for its owner alone, when it is not there. Demands that it is ours, that
/// no stranger can write to it, and that nothing but a journal is in it. One that others could read
/// is closed to them.
pub(crate) fn make(path: &Path) -> Result<(), JournalFault> {
    if path.is_dir() {
        demand_nothing_else(path)?;
    }
    make_shared(path)
}

/// The same of one that may hold other things of its owner's too, who then says who may read it.
pub(crate) fn make_shared(path: &Path) -> Result<(), JournalFault> {
    let io = |error| JournalFault::io(path, error);
    if !path.is_dir() {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            match fs::metadata(parent) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(parent).map_err(io)?;
                }
                // `create_dir_all` would say that it exists already.
                Err(error) => return Err(io(error)),
            }
        }
        match DirBuilder::new().mode(files::DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            Ok(()) | Err(_) => {}
        }
        if let Some(parent) = parent {
            files::sync_directory(parent)?;
        }
    }
    warn_of_open_parent(path);
    let dir = files::directory(path).map_err(io)?;
    let found = dir.metadata().map_err(io)?;
    let mode = found.mode() & 0o7777;
    let unsafe_dir = |why: &'static str| JournalFault::Unsafe {
        path: path.to_owned(),
        owner: found.uid(),
        mode,
        why,
    };
    if found.uid() != us() {
        return Err(unsafe_dir(
            "it belongs to another user than p99 runs as: chown it, or name a directory below it, \
             which p99 then makes itself",
        ));
    }
    // Kubernetes opens volumes to the group that it gave the pod, at each start.
    let is_strange_group = mode & GROUP_WRITES != 0 && !is_our_group(found.gid());
    if mode & OTHERS_WRITE != 0 || is_strange_group {
        return Err(unsafe_dir(
            "others may write to it: look at what is in it, then chmod 700",
        ));
    }
    if mode & OTHERS != 0 && foreign_in(path).map_err(io)?.is_none() {
        dir.set_permissions(Permissions::from_mode(files::DIRECTORY_MODE))
            .map_err(io)?;
        log::warn!(
            "directory {} was open to others (mode {mode:04o}); it is 0700 now",
            path.display()
        );
    }
    Ok(())
}

/// What `p99 check` says of a directory that is there: nothing is made or changed.
///
/// # Errors
/// It is none, holds other things than a journal, or cannot be written to.
pub fn look_at(path: &Path) -> Result<(), JournalFault> {
    let io = |error| JournalFault::io(path, error);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.is_dir() => return Err(io(io::ErrorKind::NotADirectory.into())),
        found => found.map_err(io)?,
    };
    files::demand_writable(path).map_err(io)?;
    demand_nothing_else(path)
}

fn demand_nothing_else(path: &Path) -> Result<(), JournalFault> {
    let found = foreign_in(path).map_err(|error| JournalFault::io(path, error))?;
    found.map_or(Ok(()), |entry| {
        let dir = path.to_owned();
        Err(JournalFault::Foreign { dir, entry })
    })
}

/// Something in the directory that p99 never puts into one, unless a manifest says whose it is.
fn foreign_in(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(is_own) {
            let is_marked = has_manifest(&path.join("MANIFEST"))?;
            return Ok((!is_marked).then(|| name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn is_own(name: &str) -> bool {
    let audit = || name.strip_prefix("audit.");
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    name == OF_THE_FILE_SYSTEM
        || NAMED_FILES.contains(&name)
        || Identity::from_name(name).is_some()
        || audit().is_some_and(|rest| {
            let number = rest.strip_suffix(".log");
            matches!(rest, "lock" | "log") || number.is_some_and(is_number)
        })
}

/// Other programs have files of that name too.
fn has_manifest(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => return Ok(false),
    }
    let mut head = Vec::new();
    files::read(path)?
        .take(MANIFEST_HEAD.len() as u64)
        .read_to_end(&mut head)?;
    Ok(head == MANIFEST_HEAD)
}

/// A stranger who can rename the directory away makes the next start forget every payment. Volumes
/// of containers are often open to all and nothing but p99 sees them, so it is said and no more.
fn warn_of_open_parent(path: &Path) {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mode = fs::metadata(parent).map_or(0, |found| found.mode());
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        log::warn!(
            "any user may rename what is in {} (mode {:04o}), {} too: chmod o-w or +t it, unless \
             no other user can reach it",
            parent.display(),
            mode & 0o7777,
            path.display()
        );
    }
}

/// The user that p99 runs as.
pub(crate) fn us() -> libc::uid_t {
    // SAFETY: the call takes no argument and cannot fail.
    unsafe { libc::geteuid() }
}

fn is_our_group(group: libc::gid_t) -> bool {
    let mut groups = [0; 64];
    // SAFETY: the call writes at most as many numbers as it is told that there is room for; the
    // other one takes no argument.
    let (count, own) = unsafe { (libc::getgroups(64, groups.as_mut_ptr()), libc::getegid()) };
    let count = usize::try_from(count).unwrap_or(0);
    own == group || groups.iter().take(count).any(|other| *other == group)
}

/// Takes from others what an earlier version let them read: the files with these names, and those
/// that have a name of their own. What is no plain file in place of one
/// is refused: a link may lead to another file, and opening a pipe would wait for ever.
pub(super) fn close_files(
    dir: &Path,
    names: impl Iterator<Item = String>,
) -> Result<(), JournalFault> {
    let mut closed = 0_u32;
    for name in names.chain(NAMED_FILES.map(str::to_owned)) {
        let path = dir.join(name);
        let io = |error| JournalFault::io(&path, error);
        let found: Metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found.map_err(io)?,
        };
        let not_safe = |why| JournalFault::Unsafe {
            path: path.clone(),
            owner: found.uid(),
            mode: found.mode() & 0o7777,
            why,
        };
        if found.is_dir() {
            // It cannot be opened as a file: what needs the name says so.
            continue;
        }
        if !found.is_file() {
            return Err(not_safe(
                "it is a link or a pipe where p99 keeps a file: look at who put it there",
            ));
        }
        if found.uid() != us() {
            return Err(not_safe(
                "it belongs to another user than p99 runs as: see who put it there, or chown it",
            ));
        }
        if found.mode() & OTHERS != 0 {
            let file = files::read(&path).map_err(io)?;
            file.set_permissions(Permissions::from_mode(files::FILE_MODE))
                .map_err(io)?;
            closed += 1;
        }
    }
    if closed > 0 {
        log::warn!(
            "{closed} files in {} were open to others; they are 0600 now",
            dir.display()
        );
    }
    Ok(())
}
