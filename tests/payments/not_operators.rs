//! Every call that changes something over ADMIN_LISTEN, as the description of the API lists them:
//! none is heard on the public listener, and none that no operator sent. The real binary, so that
//! its log is seen too.

use std::collections::BTreeMap;
use std::thread;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment};

use crate::kit::children::Processors;
use crate::kit::client::{Answer, Client, Stream, held, id, wait_until};
use crate::kit::operator::{KEY, secret_file};
use crate::kit::process::{P99, Plan, free_address};
use crate::kit::scratch::Scratch;
use crate::kit::stack::Stack;
use crate::kit::start::binary;
use crate::on_both_drivers;

on_both_drivers! {
    each_call_of_the_description_is_refused_unless_an_operator_sends_it,
}

/// What each call needs, and none of them minds: one of these bodies would do something.
const BODY: &str = r#"{"operator":"ann","reason":"by plan","verdict":"refused",
    "setting":"CB_OPEN_SECS","value":"77","filter":"warn"}"#;
const OTHER_ORIGIN: &str = "Origin: http://evil.example\r\n";
const NO_JSON: &str = "Content-Type: text/plain\r\n";
/// Calls that one instance is asked: it tells 20 refused ones a minute one by one, and counts the
/// others.
const CALLS: usize = 3;
const REFUSALS: usize = 6;
const _: () = assert!(CALLS * REFUSALS <= 20);

/// The paths that take a POST below /admin.
fn calls() -> Vec<String> {
    let text = include_str!("../../src/server/openapi.json");
    let api: serde_json::Value = serde_json::from_str(text).unwrap();
    let paths = api["paths"].as_object().unwrap().iter();
    let posts =
        paths.filter(|(path, what)| path.starts_with("/admin/") && what["post"].is_object());
    posts.map(|(path, _)| path.clone()).collect()
}

fn each_call_of_the_description_is_refused_unless_an_operator_sends_it(driver: &str) {
    let calls = calls();
    assert!(calls.len() >= 6, "{calls:?}");
    thread::scope(|scope| {
        for some in calls.chunks(CALLS) {
            scope.spawn(move || Scene::start(driver).ask_all(some));
        }
    });
}

/// Settled by hand at the beginning, and in doubt to the end.
const SETTLED: usize = 1;
const IN_DOUBT: usize = 2;

/// An instance of which `default` is paused with a payment in doubt, and whose log has errors only:
/// each call would change something.
struct Scene {
    p99: P99,
    /// By TCP, and by the unix socket.
    admin: Client,
    local: Client<std::os::unix::net::UnixStream>,
    scratch: Scratch,
    processors: Processors,
    /// Calls that were heard so far, whatever came of them.
    heard: usize,
}

impl Scene {
    fn start(driver: &str) -> Self {
        let scratch = Scratch::new("not-operators").unwrap();
        let processors = Processors::start();
        let mut plan = Plan::new(binary(), &scratch);
        let (admin, socket) = (free_address().unwrap(), scratch.text("admin.sock"));
        plan.set("ADMIN_LISTEN", format!("{admin},unix:{socket}"));
        plan.set("ADMIN_SECRET_FILE", secret_file(&scratch));
        plan.set("JOURNAL_DIR", scratch.text("journal"));
        plan.set("JOURNAL_SYNC", "os");
        plan.set("RUST_LOG", "error");
        plan.set("CORES", 2);
        plan.set("UPSTREAM_A_URL", processors.a.url());
        plan.set("UPSTREAM_B_URL", processors.b.url());
        plan.set("MONOIO_FORCE_LEGACY_DRIVER", driver);
        plan.set("ROUTING", "cheapest");
        plan.set("HEDGE_DELAY_MS", 60_000);
        plan.set("REQUEST_TIMEOUT_MS", 1_000);
        // A late answer is awaited no longer than this.
        plan.set("SETTLE_TIMEOUT_MS", 3_000);
        plan.set("CB_FAIL_RATE", 1);
        plan.set("CB_MIN_SAMPLES", 100_000);
        let mut p99 = P99::spawn(&plan).unwrap();
        p99.await_ready().unwrap_or_else(|why| panic!("{why}"));
        let mut scene = Self {
            admin: Client::connect(admin),
            local: Client::connect_unix(&socket),
            p99,
            scratch,
            processors,
            heard: 0,
        };
        scene.leave_in_doubt();
        scene
    }

    fn leave_in_doubt(&mut self) {
        let silent = Fault::new(Moment::Body, Act::Stall);
        self.processors.a.inject(silent).unwrap();
        let address = self.p99.address;
        thread::scope(|scope| {
            for number in [SETTLED, IN_DOUBT] {
                scope.spawn(move || held(|| Client::connect(address).pay(id(number), "1")));
            }
        });
        self.is_done("/admin/processors/default/pause");
        self.is_done(&resolve(SETTLED));
    }

    /// Sends what an operator sends, until it is done.
    fn is_done(&mut self, path: &str) {
        wait_until(path, || {
            let answer = post(&mut self.admin, path, KEY);
            self.heard += 1;
            // A late answer is awaited, or the disk takes too long to remember a pause.
            assert!([200, 409, 503].contains(&answer.status), "{}", answer.body);
            answer.status == 200
        });
    }

    fn ask_all(mut self, calls: &[String]) {
        let paths: Vec<String> = calls.iter().map(|path| filled_in(path)).collect();
        let before = self.state();
        let mut public = Client::connect(self.p99.address);
        let mut refused = BTreeMap::new();
        for path in &paths {
            let answer = post(&mut public, path, KEY);
            assert_eq!(answer.status, 404, "{path} on the public listener");
            for (what, headers, status) in [
                ("no secret", "", 403),
                ("another one", "X-P99-Admin-Secret: hunter3\r\n", 403),
                ("another origin", &format!("{KEY}{OTHER_ORIGIN}"), 403),
                ("no JSON", &format!("{KEY}{NO_JSON}"), 415),
            ] {
                let answer = post(&mut self.admin, path, headers);
                assert_eq!(answer.status, status, "{path}: {what}: {}", answer.body);
            }
            // Who can open the socket needs no secret.
            for (headers, status) in [(OTHER_ORIGIN, 403), (NO_JSON, 415)] {
                let answer = post(&mut self.local, path, headers);
                assert_eq!(answer.status, status, "{path}: {headers}: {}", answer.body);
            }
            refused.insert((path.clone(), 403_u64), 4);
            refused.insert((path.clone(), 415), 2);
        }
        assert_eq!(self.state(), before, "a refused call changed something");
        let count = self.heard + paths.len() * REFUSALS;
        wait_until("the audit file has a line of each", || {
            self.told().len() >= count
        });
        let told = self.told().split_off(self.heard);
        let mut counts = BTreeMap::new();
        for line in &told {
            assert_eq!(line["result"], "refused before it was read", "{line}");
            assert_eq!(line["operator"], "", "{line}");
            let path = line["path"].as_str().unwrap().to_owned();
            let status = line["status"].as_u64().unwrap();
            *counts.entry((path, status)).or_insert(0) += 1;
        }
        assert_eq!(counts, refused, "no other, and none of the public listener");
        let log = self.p99.log();
        assert!(
            !log.contains("was refused"),
            "a refused call changed the filter: {log}"
        );
        for path in &paths {
            self.does_what_it_is_for(path);
        }
    }

    /// The same call of an operator is heard, and changes what the others did not.
    fn does_what_it_is_for(&mut self, path: &str) {
        let before = self.state();
        self.is_done(path);
        if path == "/admin/log" {
            self.p99.wait_for_line("an operator's call");
        } else if path.ends_with("/confirm") {
            // It is where it was.
            let line = |one: &serde_json::Value| one["path"] == path && one["status"] == 200;
            wait_until("it is told", || self.told().iter().any(line));
        } else {
            assert_ne!(self.state(), before, "{path} changed nothing");
        }
    }

    /// What calls change: pauses, settings, and the payment in doubt.
    fn state(&mut self) -> Vec<String> {
        let page = self.admin.get("/metrics").body;
        let names = ["p99_processor_paused", "p99_setting_"];
        let is_one = |line: &&str| names.iter().any(|name| line.starts_with(name));
        let mut all: Vec<String> = page.lines().filter(is_one).map(str::to_owned).collect();
        assert!(all.len() > 4, "{page}");
        let mut client = Client::connect(self.p99.address);
        all.push(Stack::state_of(&mut client, id(IN_DOUBT)));
        all
    }

    /// Calls of operators in the audit file, refused or not.
    fn told(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.scratch.file("journal/audit.log")).unwrap();
        // Its last line may be half written.
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let is_one = |line: &serde_json::Value| line["step"] == "operator";
        lines.filter(is_one).collect()
    }
}

fn resolve(number: usize) -> String {
    let id: UpstreamId = id(number);
    format!("/admin/payments/{id}/resolve")
}

/// A path of the description about what is there: `default` is paused, and `fallback` is not.
fn filled_in(path: &str) -> String {
    let name = match path.ends_with("/pause") {
        true => "fallback",
        false => "default",
    };
    let filled = path.replace("{id}", &id(IN_DOUBT).to_string());
    let filled = filled.replace("{name}", name);
    assert!(!filled.contains('{'), "{path} needs something of its own");
    filled
}

fn post<S: Stream>(client: &mut Client<S>, path: &str, headers: &str) -> Answer {
    client.call(&format!("POST {path}"), headers, BODY)
}
