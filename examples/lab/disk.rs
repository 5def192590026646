//! Disks inside files, for what a real disk does too seldom. Everything is mounted in a mount
//! namespace of this process alone: however it ends, the kernel takes mounts and loop devices back,
//! and no other program sees them.
//!
//! Needs root, loop devices and the programs that `demand` is told; says why not otherwise.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Where mkfs and its like are; a user's own PATH may lack it.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Enters the namespace; why this machine does not lend what is needed, where it does not. To be
/// called before there is another thread.
pub(crate) fn demand(programs: &[&str], filesystem: &str) -> Result<(), String> {
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Err("needs root, for loop devices and mounts".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("needs loop devices".to_owned());
    }
    for program in programs {
        if !PATH
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists())
        {
            return Err(format!("needs {program}"));
        }
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.split_whitespace().any(|name| name == filesystem) {
        return Err(format!("needs a kernel with {filesystem}"));
    }
    // SAFETY: unshare takes no pointer.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        let fault = io::Error::last_os_error();
        return Err(format!("needs a mount namespace: {fault}"));
    }
    run("mount", &[&"--make-rprivate", &"/"])
}

/// Runs it; what it said when it failed.
pub(crate) fn run(program: &str, words: &[&dyn AsRef<Path>]) -> Result<(), String> {
    let output = Command::new(program)
        .args(words.iter().map(|word| word.as_ref()))
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|fault| format!("{program}: {fault}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Err(format!("{program}: {}: {said}", output.status))
}

/// A sparse file with a file system in it.
pub(crate) fn image(path: &Path, mib: u64, mkfs: &str, words: &[&str]) -> Result<(), String> {
    let made = File::create(path).and_then(|file| file.set_len(mib << 20));
    made.map_err(|fault| fault.to_string())?;
    let mut all: Vec<&dyn AsRef<Path>> =
        words.iter().map(|word| word as &dyn AsRef<Path>).collect();
    all.push(&path);
    run(mkfs, &all)
}

/// Makes ext4 in a file, all of it at once: no thread of the kernel goes on with that later.
pub(crate) fn ext4(path: &Path, mib: u64) -> Result<(), String> {
    let words = ["-q", "-F", "-E", "lazy_itable_init=0"];
    image(path, mib, "mkfs.ext4", &words)
}

/// A file system that is mounted until this is dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// The file system in a file.
    pub(crate) fn image(image: &Path, at: &Path) -> Result<Self, String> {
        Self::new(at, &[&"-o", &"loop", &image, &at])
    }

    /// Memory.
    pub(crate) fn tmpfs(mib: u64, at: &Path) -> Result<Self, String> {
        let size = format!("size={mib}m");
        Self::new(at, &[&"-t", &"tmpfs", &"-o", &size, &"tmpfs", &at])
    }

    fn new(at: &Path, words: &[&dyn AsRef<Path>]) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|fault| fault.to_string())?;
        run("mount", words)?;
        Ok(Self(at.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A loop device or a process that just ended may hold it a moment longer.
        for _ in 0..50 {
            if run("umount", &[&self.0]).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
