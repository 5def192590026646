//! Is every metric and label value that monitoring/ names really exported?
//!
//! Starts p99, HAProxy and the audit, reads their pages, and looks up each selector of the rules
//! and the dashboards: the metric must be there, and its conditions must meet at least one series
//! (p99 exports all its label values from the start). Needs haproxy and python3.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::Balancer;
use crate::kit::client;
use crate::kit::process::{P99, Plan, free_address};
use crate::kit::report::Report;
use crate::kit::scratch::Scratch;
use crate::selectors::{of_dashboard, of_rules, selectors, series};

const START_MAX: Duration = Duration::from_secs(20);

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

pub(crate) fn run(binary: &Path) -> bool {
    let scratch = Scratch::new("metrics").expect("a folder");
    let mut report = Report::default();
    let pages = pages(binary, &scratch, &mut report);
    let mut exported = series(&pages);
    exported.insert("up".to_owned(), vec![Default::default()]);
    let mut used = BTreeSet::new();
    for (place, expression) in expressions() {
        let found = selectors(&expression);
        if found.is_empty() && !expression.contains("p99:") {
            report.broke("every expression names a metric", || {
                format!("{place}: {expression}")
            });
        }
        for selector in found {
            let all = exported.get(&selector.metric);
            if !all.is_some_and(|all| all.iter().any(|labels| selector.meets(labels))) {
                report.broke("every series that is named is exported", || {
                    format!("{place}: {selector:?}")
                });
            }
            used.insert(selector.metric);
        }
    }
    let family = |name: &String| {
        let ends = ["_bucket", "_sum", "_count"];
        let end = ends.iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<String> = used.iter().map(family).collect();
    let ours = exported.keys().filter(|name| name.starts_with("p99_"));
    let unused: BTreeSet<String> = ours
        .map(family)
        .filter(|name| !shown.contains(name))
        .collect();
    let unused: Vec<String> = unused.into_iter().collect();
    report.row("metrics named", used.len());
    report.row("exported and shown nowhere", unused.join(", "));
    scratch.close(&report, "metrics")
}

/// Every expression of monitoring/, and the file it is in.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let rules = std::fs::read_to_string(monitoring().join("p99.rules.yml")).expect("the rules");
    all.extend(
        of_rules(&rules)
            .into_iter()
            .map(|text| ("p99.rules.yml".to_owned(), text)),
    );
    let folder = std::fs::read_dir(monitoring().join("grafana/dashboards")).expect("dashboards");
    for entry in folder.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("a dashboard");
        let mut found = Vec::new();
        of_dashboard(&serde_json::from_str(&text).expect("JSON"), &mut found);
        all.extend(found.into_iter().map(|text| (name.clone(), text)));
    }
    all
}

/// The pages of p99, HAProxy and the audit.
fn pages(binary: &Path, scratch: &Scratch, report: &mut Report) -> Vec<String> {
    // Nothing listens at these; all series are there from the start.
    let [first, second] = ["127.0.0.1:1", "127.0.0.1:2"];
    let mut plan = Plan::new(binary.to_owned(), scratch);
    plan.set("UPSTREAM_A_URL", format!("http://{first}"));
    plan.set("UPSTREAM_B_URL", format!("http://{second}"));
    let Some(p99) = P99::start(&plan, report) else {
        return Vec::new();
    };
    let shards = [first, second].map(|address| address.parse().expect("an address"));
    let haproxy = Balancer::start(shards, &scratch.file("haproxy.log")).expect("haproxy");
    let port = free_address().expect("a port");
    let nowhere = format!("http://{first}");
    let mut audit = Command::new("python3");
    audit
        .arg(monitoring().join("audit"))
        .args([
            "--p99",
            &nowhere,
            "--default",
            &nowhere,
            "--fallback",
            &nowhere,
        ])
        .args(["--port", &port.port().to_string()]);
    let _audit = Helper::start(&mut audit, &scratch.file("audit.log"));
    let pages = [plan.address, haproxy.stats, port].map(page).to_vec();
    p99.end(report);
    pages
}

/// The page at this address, once there is one.
fn page(address: SocketAddr) -> String {
    let began = Instant::now();
    loop {
        match client::get(address, "/metrics") {
            Ok(answer) if answer.status == 200 => {
                return answer.body;
            }
            other => assert!(began.elapsed() < START_MAX, "{address}: {other:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program of others, killed when this is dropped.
struct Helper(Child);

impl Helper {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).expect("a log");
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Self(command.spawn().expect("haproxy and python3 are installed"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
