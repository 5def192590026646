//! The file of a unix socket: who may bind it, and when it is removed.
//!
//! A file may be replaced only when no one listens behind it any more, and removed only by the
//! process that made it, for its name may belong to another one by then. Looking and acting are
//! two steps, so every p99 takes the folder's lock around both (`flock`: it leaves nothing behind
//! and ends with its process). Whether a file is still ours is told by its inode; a descriptor
//! keeps the inode from being used again meanwhile.
//!
//! Called by `listen`. Files of another kind, links among them, are never removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::server::CLOSING_INTERVAL;
use crate::server::LISTEN_BACKLOG;

/// How often a stop tries to lock the folder of a socket file, 10 ms apart: other processes hold
/// the lock for microseconds. Beyond it the file stays, and the next start replaces it.
const SOCKET_FILE_LOCK_TRIES_MAX: u32 = 20;

/// The file of a listening unix socket; removed when this is dropped, if it still is that file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Not opened for anything but to keep the inode.
    pin: File,
}

/// Binds `path` and listens there.
///
/// # Errors
/// `AddrInUse` while another process listens there or is about to.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let _lock = lock_folder(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(fault) if fault.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    let file = SocketFile {
        path: path.to_owned(),
        pin: OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(path)?,
    };
    // No one can connect before `listen`, so no one meets other permissions.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok((UnixListener::from(socket), file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without the lock the file stays: the next start replaces it.
        let told = match self.remove() {
            Ok(true) => return,
            Ok(false) => "it is another one by now".to_owned(),
            Err(fault) => fault.to_string(),
        };
        log::debug!("{} was not removed: {told}", self.path.display());
    }
}

impl SocketFile {
    /// Whether the file was still ours, and is gone.
    fn remove(&self) -> io::Result<bool> {
        let mut tries = 0;
        let _lock = loop {
            match lock_folder(&self.path) {
                Err(fault)
                    if fault.kind() == io::ErrorKind::AddrInUse
                        && tries < SOCKET_FILE_LOCK_TRIES_MAX =>
                {
                    tries += 1;
                    thread::sleep(CLOSING_INTERVAL);
                }
                end => break end?,
            }
        };
        let (found, ours) = (fs::symlink_metadata(&self.path)?, self.pin.metadata()?);
        let is_ours = (found.dev(), found.ino()) == (ours.dev(), ours.ino());
        if is_ours {
            fs::remove_file(&self.path)?;
        }
        Ok(is_ours)
    }
}

/// Keeps every other p99 from changing socket files beside `path` as long as it lives.
fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = File::open(path.parent().unwrap_or_else(|| Path::new("/")))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(in_use("another process has locked the folder")),
        Err(TryLockError::Error(fault)) => Err(fault),
    }
}

/// Removes a socket file that no one listens on. Only a refused connect proves that; anything else
/// (a live server, a file of another kind, no permission) is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "what is there is no socket",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A live server whose queue is full would keep a blocking connect waiting.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(fault) if fault.kind() != io::ErrorKind::WouldBlock => Err(fault),
        Ok(()) | Err(_) => Err(in_use("another process listens there")),
    }
}

fn in_use(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of its own, since its lock is taken.
    fn scratch() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("p99-file-{}-{count}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        folder.join("p99.sock")
    }

    fn end(path: &Path) {
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    fn refused(path: &Path) -> io::ErrorKind {
        bind(path).unwrap_err().kind()
    }

    #[test]
    fn a_socket_file_has_mode_0660_and_goes_with_its_owner() {
        let path = scratch();
        let (listener, file) = bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
        drop(listener);
        end(&path);
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_is_not() {
        let path = scratch();
        drop(UnixListener::bind(&path).unwrap());
        let (listener, _file) = bind(&path).unwrap();
        assert_eq!(refused(&path), io::ErrorKind::AddrInUse);
        // A full queue is no proof of a dead server either.
        let small = path.with_file_name("small.sock");
        let full = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        full.bind(&SockAddr::unix(&small).unwrap()).unwrap();
        full.listen(0).unwrap();
        let _waits = UnixStream::connect(&small).unwrap();
        assert_eq!(refused(&small), io::ErrorKind::AddrInUse);
        assert!(path.exists() && small.exists());
        drop(listener);
        end(&path);
    }

    #[test]
    fn a_file_that_another_process_made_meanwhile_is_left_alone() {
        let path = scratch();
        let (listener, file) = bind(&path).unwrap();
        // Its listener closes, and the next process finds its file stale.
        drop(listener);
        let (next, next_file) = bind(&path).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
        drop(next_file);
        assert!(!path.exists());
        drop(next);
        end(&path);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let path = scratch();
        let target = path.with_file_name("target");
        drop(UnixListener::bind(&target).unwrap());
        symlink(&target, &path).unwrap();
        assert_eq!(refused(&path), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"mine").unwrap();
        assert_eq!(refused(&path), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert!(target.exists());
        end(&path);
    }

    #[test]
    fn only_one_process_at_a_time_changes_the_folder() {
        let path = scratch();
        let lock = lock_folder(&path).unwrap();
        assert_eq!(refused(&path), io::ErrorKind::AddrInUse);
        drop(lock);
        let (_listener, file) = bind(&path).unwrap();
        let lock = lock_folder(&path).unwrap();
        drop(file);
        assert!(path.exists(), "not at all is better than wrongly");
        drop(lock);
        end(&path);
    }
}
