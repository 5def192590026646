//! The p99 that cargo built with the tests, started with an environment of the test's own.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::P99;

/// The built binary.
pub(crate) fn binary() -> PathBuf {
    // Only tests have it; the lab names its binary itself.
    option_env!("CARGO_BIN_EXE_p99").unwrap_or("p99").into()
}

/// p99 with these settings and no others, and processors that are not there.
pub(crate) fn command(driver: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("CORES", "2")
        .env("UPSTREAM_A_URL", "http://127.0.0.1:1")
        .env("UPSTREAM_B_URL", "http://127.0.0.1:2")
        .env("DRAIN_DELAY_MS", "0")
        .env("MONOIO_FORCE_LEGACY_DRIVER", driver)
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Starts p99 before these processors, on any port; it serves when this returns.
pub(crate) fn start(urls: [&str; 2], driver: &str, settings: &[(&str, &str)]) -> P99 {
    serve(serving(urls, driver, settings))
}

/// The same with so many file descriptors at most.
pub(crate) fn start_with_descriptors(
    descriptors: u64,
    urls: [&str; 2],
    driver: &str,
    settings: &[(&str, &str)],
) -> P99 {
    let mut command = serving(urls, driver, settings);
    limit(&mut command, libc::RLIMIT_NOFILE, descriptors);
    serve(command)
}

/// Starts it; it serves when this returns.
pub(crate) fn serve(command: Command) -> P99 {
    let mut p99 = P99::of(command);
    p99.wait_ready();
    p99
}

/// A patient one on any port.
pub(crate) fn serving(urls: [&str; 2], driver: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = command(driver, &[]);
    command
        .env("LISTEN", "127.0.0.1:0")
        .env("UPSTREAM_A_URL", urls[0])
        .env("UPSTREAM_B_URL", urls[1])
        .env("REQUEST_TIMEOUT_MS", "20000")
        .env("CONNECT_TIMEOUT_MS", "20000")
        // Its descriptors are counted, which another user than root may not do otherwise.
        .env("CORE_DUMPS", "on")
        .envs(settings.iter().copied());
    command
}

/// Starts it with this limit, soft and hard.
pub(crate) fn limit(command: &mut Command, what: libc::__rlimit_resource_t, most: u64) {
    // SAFETY: both calls are async-signal-safe, and the limit is a copy in the closure.
    unsafe {
        command.pre_exec(move || {
            // A file that may not grow shall be an error and not the end of the process.
            if what == libc::RLIMIT_FSIZE {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            }
            let limit = libc::rlimit {
                rlim_cur: most,
                rlim_max: most,
            };
            match libc::setrlimit(what, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// A port that no one else asks for: below those that the kernel deals out, each once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 64;
        let port = u16::try_from(10_000 + number % 20_000).expect("below 30,000");
        // Where there is no IPv6, no one holds a port there.
        let is_taken = |host| {
            let listener = TcpListener::bind((host, port));
            listener.is_err_and(|fault| fault.kind() == ErrorKind::AddrInUse)
        };
        if !is_taken("0.0.0.0") && !is_taken("::") {
            return port;
        }
    }
}
