//! PostgreSQL clusters of a test's own, in its folder: Debian's binaries, a free port, a superuser
//! by unix socket, everyone else by SCRAM. They end with the value. As root they run as user
//! postgres.

use std::ffi::CString;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::config::StoreUrl;
use p99::testing::reactor::Reactor;
use p99::testing::store::{StorePlace, operator};

use super::report::say;
use super::scratch::Scratch;

/// Where initdb and postgres are: `P99_POSTGRES_BIN`, or the newest of Debian's.
fn binaries() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("P99_POSTGRES_BIN") {
        return Some(path.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// Whether this machine has PostgreSQL. Where it must (`CI=true`), its absence is a failure.
pub(crate) fn is_there(what: &str) -> bool {
    let is_there = binaries().is_some();
    assert!(
        is_there || std::env::var("CI").as_deref() != Ok("true"),
        "PostgreSQL is not installed"
    );
    if !is_there {
        say(&format!("skipped: {what}: PostgreSQL is not installed"));
    }
    is_there
}

/// The user that servers run as: postgres where the test is root, which PostgreSQL refuses.
fn server_user() -> Option<(u32, u32)> {
    // SAFETY: no pointer is taken; the entry that getpwnam returns is read at once.
    unsafe {
        if libc::geteuid() != 0 {
            return None;
        }
        let name = CString::new("postgres").unwrap();
        let entry = libc::getpwnam(name.as_ptr());
        assert!(!entry.is_null(), "there is no user postgres");
        Some(((*entry).pw_uid, (*entry).pw_gid))
    }
}

fn command(name: &str) -> Command {
    let mut command = Command::new(binaries().expect("PostgreSQL").join(name));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}

fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = [stdout, stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .into();
    assert!(status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// Whether a login, which may take a second and no longer, was too slow: the machine is busy.
pub(crate) fn was_too_slow(told: &str) -> bool {
    told.contains("took too long")
}

/// Does it again while it was too slow.
pub(crate) async fn at_last<T>(
    mut act: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    for _ in 0..20 {
        match act().await {
            Err(why) if was_too_slow(&why) => {}
            done => return done,
        }
    }
    act().await
}

/// The password of the role p99.
pub(crate) const PASSWORD: &str = "s3cret";

pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    server: Option<Child>,
    settings: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Cluster {
    /// A new cluster with the role p99 and the database p99, running. `settings` as `name=value`.
    pub(crate) fn new(scratch: &Scratch, name: &str, settings: &[&str]) -> Self {
        let folder = Self::folder(scratch, name);
        let data = folder.join("data");
        let mut make = command("initdb");
        make.args([
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ])
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
        .arg(&data);
        run(&mut make);
        let mut cluster = Self::on(folder, settings);
        // Standbys, over TCP and the socket.
        let rules = "local all all trust\nlocal replication all trust\n\
                     hostssl all all 127.0.0.1/32 scram-sha-256\n\
                     hostnossl all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
        cluster.start();
        cluster.sql(
            "postgres",
            &format!("CREATE ROLE p99 LOGIN PASSWORD '{PASSWORD}'"),
        );
        cluster.sql("postgres", "CREATE DATABASE p99");
        cluster
    }

    /// A standby of `primary`, by the name of `name`, running.
    pub(crate) fn standby(
        scratch: &Scratch,
        name: &str,
        primary: &Self,
        settings: &[&str],
    ) -> Self {
        let folder = Self::folder(scratch, name);
        let from = format!(
            "host={} port={} user=postgres application_name={name}",
            primary.folder.display(),
            primary.port
        );
        let mut copy = command("pg_basebackup");
        copy.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"])
            .arg(folder.join("data"))
            .args(["-d", &from]);
        run(&mut copy);
        let mut cluster = Self::on(folder, settings);
        cluster.start();
        cluster
    }

    fn folder(scratch: &Scratch, name: &str) -> PathBuf {
        let folder = scratch.file(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        if let Some((user, group)) = server_user() {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        folder
    }

    fn on(folder: PathBuf, settings: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            folder,
            port: free.local_addr().unwrap().port(),
            server: None,
            settings: settings.iter().map(|one| (*one).to_owned()).collect(),
            environment: Vec::new(),
        }
    }

    /// Gives the server a certificate and its key. It speaks TLS from its next start on.
    pub(crate) fn certify(&mut self, chain: &str, key: &str) {
        for (name, text) in [("server.crt", chain), ("server.key", key)] {
            let path = self.folder.join("data").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = server_user() {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        self.settings.push("ssl=on".to_owned());
    }

    /// Makes the schema, and says that nothing is to be imported.
    pub(crate) fn make_schema(&self) {
        let url = StoreUrl::parse(&self.store_of_superuser(), &|_| None).unwrap();
        let place = StorePlace::new(url, false);
        let made = Reactor::best().unwrap().run(at_last(async || {
            operator::migrate(&place, "p99").await?;
            operator::finish_import(&place).await
        }));
        made.unwrap();
    }

    /// What the server finds in its environment from its next start on.
    pub(crate) fn set_environment(&mut self, all: &[(&'static str, String)]) {
        self.environment = all.to_vec();
    }

    pub(crate) fn start(&mut self) {
        let mut server = command("postgres");
        server.envs(self.environment.iter().map(|(name, value)| (name, value)));
        server.arg("-D").arg(self.folder.join("data"));
        let sockets = format!("unix_socket_directories={}", self.folder.display());
        let port = format!("port={}", self.port);
        for setting in [
            &*sockets,
            &port,
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=60",
            "hot_standby_feedback=on",
        ] {
            server.args(["-c", setting]);
        }
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.join("log")).or_else(|_| {
            std::fs::File::options()
                .append(true)
                .open(self.folder.join("log"))
        });
        server.stdout(Stdio::null()).stderr(log.unwrap());
        self.server = Some(server.spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        while !self.is_ready() {
            assert!(Instant::now() < end, "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let mut ask = command("pg_isready");
        ask.arg("-q")
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string()]);
        ask.status().unwrap().success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends the server: in order, or as its power does.
    pub(crate) fn stop(&mut self, signal: i32) {
        if let Some(mut server) = self.server.take() {
            // SAFETY: kill takes no pointer, and the process is this test's own and not reaped yet.
            unsafe { libc::kill(i32::try_from(server.id()).unwrap(), signal) };
            let _ = server.wait();
        }
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote(true, 30)");
    }

    /// What a superuser's statements return, one line a row, fields with `|`.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let mut ask = self.psql(database);
        ask.args(["-c", text]);
        run(&mut ask)
    }

    /// The same, without waiting for its end.
    pub(crate) fn begin_sql(&self, database: &str, text: &str) -> Child {
        let mut ask = self.psql(database);
        ask.args(["-c", text])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        ask.spawn().unwrap()
    }

    fn psql(&self, database: &str) -> Command {
        let mut ask = command("psql");
        ask.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-d", database, "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder);
        ask
    }

    /// The CPU time that the server and all its processes, ended ones too, have taken.
    pub(crate) fn cpu(&self) -> Duration {
        let server = self.server.as_ref().expect("a running server").id();
        let mut ticks = 0;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            // Behind the name: state, parent, ..., user, system, children's user and system.
            let Some((head, rest)) = stat.rsplit_once(')') else {
                continue;
            };
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let number = |at: usize| fields[at].parse::<u64>().unwrap_or(0);
            let is_server = head.split(' ').next() == Some(&*server.to_string());
            if is_server || fields[1] == server.to_string() {
                ticks += number(11) + number(12) + number(13) + number(14);
            }
        }
        // SAFETY: sysconf takes no pointer.
        let rate = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_millis(ticks * 1_000 / u64::try_from(rate).unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// STORE for the superuser, by the unix socket.
    pub(crate) fn store_of_superuser(&self) -> String {
        let folder = self.folder.display();
        {
            let folder = folder.to_string().replace('/', "%2F");
            format!("postgres://postgres@{folder}:{}/p99", self.port)
        }
    }

    /// STORE for p99, over TCP.
    pub(crate) fn store(&self, parameters: &str) -> String {
        format!(
            "postgres://p99:{PASSWORD}@127.0.0.1:{}/p99?{parameters}",
            self.port
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(libc::SIGQUIT);
    }
}
