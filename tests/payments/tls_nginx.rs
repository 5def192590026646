//! nginx over https as a processor: the server that most processors have before them. Its log says
//! what reached it, and whether a session went on instead of a whole handshake.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use p99::testing::sim::{Simulator, SimulatorHandle, SimulatorOptions};

use crate::certificates::{Authority, Issued};
use crate::kit::client::{Client, wait_until};
use crate::kit::payers::{pay_all, with_status};
use crate::kit::process::P99;
use crate::kit::report::say;
use crate::kit::stack::metric;
use crate::kit::start::{self, free_port};
use crate::on_both_drivers_together;
use crate::tls_peers::PEER_FIRST;

on_both_drivers_together! {
    what_nginx_shows_and_is_not_believed_is_not_sent_to,
    without_the_client_certificate_nginx_refuses_as_the_document_says,
    a_later_handshake_goes_on_with_an_earlier_session,
}

/// nginx speaks them one by one here.
const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// Whether this machine has nginx. Where it must (`CI=true`), its absence is a failure.
fn is_there(what: &str) -> bool {
    let is_there = Command::new("nginx").arg("-v").output().is_ok();
    let must = std::env::var("CI").as_deref() == Ok("true");
    assert!(is_there || !must, "nginx is not installed");
    if !is_there {
        say(&format!("skipped: {what}: nginx is not installed"));
    }
    is_there
}

/// nginx that answers every payment 200; ends with the test.
struct Nginx<'a> {
    child: Child,
    port: u16,
    folder: &'a Authority,
}

impl<'a> Nginx<'a> {
    /// Shows what was issued; `more` are lines of its server. Its files are in the authority's
    /// folder.
    fn start(folder: &'a Authority, issued: &Issued, version: &str, more: &str) -> Self {
        let port = free_port();
        let certificate = folder.write("nginx.pem", &issued.pem);
        let key = folder.write("nginx-key.pem", &issued.key.serialize_pem());
        let root = folder.path("").display().to_string();
        // An earlier one's.
        folder.write("requests.log", "");
        let settings = format!(
            r#"master_process off;
            daemon off;
            pid {root}/nginx.pid;
            error_log {root}/errors.log;
            events {{ }}
            http {{
                client_body_temp_path {root}/body;
                proxy_temp_path {root}/proxy;
                fastcgi_temp_path {root}/fastcgi;
                uwsgi_temp_path {root}/uwsgi;
                scgi_temp_path {root}/scgi;
                log_format told "$ssl_protocol $ssl_session_reused $request_method $status";
                access_log {root}/requests.log told;
                types {{ }}
                default_type application/json;
                server {{
                    listen 127.0.0.1:{port} ssl;
                    ssl_certificate {certificate};
                    ssl_certificate_key {key};
                    ssl_protocols {version};
                    ssl_session_cache shared:p99:1m;
                    {more}
                    location / {{ return 200 '{{"message":"paid"}}'; }}
                }}
            }}
            "#
        );
        let settings = folder.write("nginx.conf", &settings);
        let mut child = Command::new("nginx")
            .args(["-p", &root, "-e", "stderr", "-c", &settings])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("nginx listens", || {
            let end = child.try_wait().unwrap();
            assert!(end.is_none(), "nginx ended: {end:?}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            child,
            port,
            folder,
        }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A line for each payment that it looked at: version, `r` of a session that went on, status.
    fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path("requests.log")).unwrap();
        // p99 also asks, of a payment that is charged, whether it can be looked up.
        let payments = text.lines().filter(|line| line.contains(" POST "));
        payments.map(|line| line.replace(" POST", "")).collect()
    }
}

impl Drop for Nginx<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// p99 that asks nginx first.
fn p99(nginx: &Nginx<'_>, b: &SimulatorHandle, driver: &str, more: &[(&str, &str)]) -> P99 {
    let file = nginx.folder.file();
    let authority = [("UPSTREAM_A_TLS_CA", file.as_str())];
    let settings = [&PEER_FIRST[..], &authority, more].concat();
    start::start([&nginx.url(), &b.url()], driver, &settings)
}

fn other() -> SimulatorHandle {
    Simulator::start(SimulatorOptions::default()).unwrap()
}

/// Of `default`, on the page.
fn of_nginx(p99: &P99, name: &str, label: &str) -> f64 {
    let page = Client::connect(p99.address).get("/metrics").body;
    metric(&page, &format!(r#"{name}{{processor="default"{label}}}"#))
}

fn what_nginx_shows_and_is_not_believed_is_not_sent_to(driver: &str) {
    if !is_there("what_nginx_shows_and_is_not_believed_is_not_sent_to") {
        return;
    }
    let authority = Authority::new(&format!("nginx-{driver}"));
    let stranger = Authority::new(&format!("nginx-stranger-{driver}"));
    let b = other();
    let expired = authority.issue_as("127.0.0.1", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let rows = [
        (
            authority.issue("psp.example"),
            "its certificate is for another name",
        ),
        (
            stranger.issue("127.0.0.1"),
            "is by no authority that is believed",
        ),
        (expired, "its certificate has expired"),
    ];
    let mut first = 0;
    for version in VERSIONS {
        for (issued, reason) in &rows {
            let nginx = Nginx::start(&authority, issued, version, "");
            let mut p99 = p99(&nginx, &b, driver, &[]);
            let told = pay_all(p99.address, 4, first..first + 30);
            first += 30;
            p99.wait_for_line(reason);
            let log = p99.log();
            assert_eq!(with_status(&told, 200), 30, "{version} {reason}: {log}");
            assert!(told.iter().all(|(id, _)| b.find(*id).is_some()), "{reason}");
            assert!(nginx.told().is_empty(), "{reason}: {:?}", nginx.told());
            let unknown = of_nginx(&p99, "p99_attempts_total", r#",outcome="unknown""#);
            assert!(unknown < 1.0, "{version} {reason}: {log}");
            let state = of_nginx(&p99, "p99_breaker_state", "");
            assert!(state >= 1.0, "{version} {reason}: the breaker is open");
            // Two cores may fail in the same moment.
            let lines = log.matches(reason).count();
            assert!((1..=2).contains(&lines), "{version} {reason}: {log}");
            assert_eq!(p99.stop(), Some(0));
        }
    }
}

/// Its handshake goes well without one, and its answer is 400: the payment is refused, and no other
/// processor is tried. A 403 instead sends it there; with the certificate it is charged.
fn without_the_client_certificate_nginx_refuses_as_the_document_says(driver: &str) {
    if !is_there("without_the_client_certificate_nginx_refuses") {
        return;
    }
    let authority = Authority::new(&format!("nginx-client-{driver}"));
    let issued = authority.issue("127.0.0.1");
    let own = authority.issue("p99.example");
    let certificate = authority.write("own.pem", &own.pem);
    let key = authority.write("own-key.pem", &own.key.serialize_pem());
    let shown = [
        ("UPSTREAM_A_TLS_CERT", certificate.as_str()),
        ("UPSTREAM_A_TLS_KEY", &key),
    ];
    let by = format!("ssl_client_certificate {};", authority.file());
    let demanded = format!("{by} ssl_verify_client on;");
    let answers_403 = format!(
        "{by} ssl_verify_client optional; if ($ssl_client_verify != SUCCESS) {{ return 403; }}"
    );
    for version in VERSIONS {
        for (wants, settings, status, at_nginx, is_at_b) in [
            (&demanded, &[][..], 422, " 400", false),
            (&answers_403, &[], 200, " 403", true),
            (&demanded, &shown, 200, " 200", false),
        ] {
            let b = other();
            let nginx = Nginx::start(&authority, &issued, version, wants);
            let p99 = p99(&nginx, &b, driver, settings);
            let told = pay_all(p99.address, 2, 0..8);
            let what = format!("{version} {at_nginx}: {told:?} {}", p99.log());
            assert_eq!(with_status(&told, status), 8, "{what}");
            assert_eq!(b.rows().len(), if is_at_b { 8 } else { 0 }, "{what}");
            wait_until("nginx tells", || nginx.told().len() >= 8);
            let seen = nginx.told();
            assert!(seen.iter().all(|line| line.ends_with(at_nginx)), "{seen:?}");
            assert_eq!(seen.len(), 8, "each once: {seen:?}");
            let failed = of_nginx(
                &p99,
                "p99_upstream_connects_total",
                r#",result="handshake_failed""#,
            );
            assert!(failed < 1.0, "{what}");
            assert_eq!(p99.stop(), Some(0));
        }
    }
}

fn a_later_handshake_goes_on_with_an_earlier_session(driver: &str) {
    if !is_there("a_later_handshake_goes_on_with_an_earlier_session") {
        return;
    }
    let authority = Authority::new(&format!("nginx-resumed-{driver}"));
    let issued = authority.issue("127.0.0.1");
    for version in VERSIONS {
        let b = other();
        // Each connection ends with its first answer.
        let nginx = Nginx::start(&authority, &issued, version, "keepalive_timeout 0;");
        let p99 = p99(&nginx, &b, driver, &[("CORES", "1")]);
        let told = pay_all(p99.address, 1, 0..20);
        assert_eq!(with_status(&told, 200), 20, "{}", p99.log());
        wait_until("nginx tells", || nginx.told().len() >= 20);
        let seen = nginx.told();
        // The first ones cannot, and one may come while the only session is taken.
        let resumed = format!("{version} r 200");
        let count = seen.iter().filter(|line| **line == resumed).count();
        assert!(count >= 10, "{count} of {seen:?}");
        assert_eq!(p99.stop(), Some(0));
    }
}
