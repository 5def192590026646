//! Whose the journal's directory is: amounts and ids of payments are for the user alone that p99
//! runs as, and a stranger who can write there could hold the lock, or put a link in the place of a
//! file. `directory` calls it before it takes the lock.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::fault::JournalFault;
use super::files;

const OTHERS: u32 = 0o077;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// What the directory holds besides segments and snapshots.
const NAMED_FILES: [&str; 7] = [
    "LOCK",
    "MANIFEST",
    "MANIFEST.new",
    "PROCESSORS",
    "PROCESSORS.new",
    "PAUSED",
    "PAUSED.new",
];
/// Others may write to the directory, but only rename what is theirs.
const STICKY: u32 = 0o1000;

/// Creates the directory, for its owner alone, when it is not there. Demands that it is ours and
/// that no stranger can write to it. One that others could read is closed to them.
pub(crate) fn make(path: &Path) -> Result<(), JournalFault> {
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
    if mode & OTHERS != 0 {
        dir.set_permissions(Permissions::from_mode(files::DIRECTORY_MODE))
            .map_err(io)?;
        log::warn!(
            "directory {} was open to others (mode {mode:04o}); it is 0700 now",
            path.display()
        );
    }
    Ok(())
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
