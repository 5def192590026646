//! Passing descriptors to a process, as a supervisor does.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// `command` as a supervisor would run it: `sockets` are descriptors from 3 on, under these names.
pub(crate) fn pass(command: &Command, sockets: &[OwnedFd], names: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        // The shell becomes p99, so its pid is p99's.
        .args(["-c", "LISTEN_PID=$$ exec \"$0\""])
        .arg(command.get_program())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // Far from where they go, so that none of them is overwritten before it was put in its place.
    let far: Vec<OwnedFd> = sockets.iter().map(far_copy).collect();
    // SAFETY: dup2 may be called between fork and exec, and allocates nothing.
    unsafe {
        shell.pre_exec(move || {
            for (place, socket) in (3..).zip(&far) {
                if libc::dup2(socket.as_raw_fd(), place) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    shell
}

fn far_copy(socket: &OwnedFd) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the call takes plain values, and what it returns is ours alone.
    unsafe {
        let copy = libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 200);
        assert!(copy >= 200);
        OwnedFd::from_raw_fd(copy)
    }
}

pub(crate) fn copy(socket: &impl AsFd) -> OwnedFd {
    socket.as_fd().try_clone_to_owned().unwrap()
}
