//! Two processors and p99 before them, in this process; and the audit: both processors' rows joined
//! and held against what clients were told. Every test of a p99 within its own process uses it.

use std::collections::HashMap;
use std::net::SocketAddr;

use p99::testing::config::{Config, ListenAddress};
use p99::testing::cores::{Exit, Running};
use p99::testing::credentials::Credentials;
use p99::testing::pay::Setup;
use p99::testing::payment::{PerProcessor, Totals, UpstreamId};
use p99::testing::sim::{Row, Simulator, SimulatorHandle, SimulatorOptions, Window};
use p99::testing::wire;

use super::client::{Broken, Client, patiently, wait_until};

/// What a client was told about one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// An answer with this status.
    Status(u16),
    /// None.
    Nothing(Broken),
}

pub(crate) struct Stack {
    pub(crate) running: Running,
    pub(crate) a: SimulatorHandle,
    pub(crate) b: SimulatorHandle,
    /// The main thread's hold on the credentials.
    pub(crate) credentials: Option<Credentials>,
}

/// The driver of a run that does not choose one.
pub(crate) const BEST: &str = "0";

/// `full` when SOAK is set, else `usual`.
pub(crate) fn count(usual: usize, full: usize) -> usize {
    match std::env::var("SOAK") {
        Ok(value) if value != "0" => full,
        Ok(_) | Err(_) => usual,
    }
}

/// A configuration of the tests: patient, on any port, quick to stop. Later settings win.
pub(crate) fn config(urls: [&str; 2], settings: &[(&str, &str)]) -> Config {
    let lookup = |name: &str| {
        let given = settings
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value);
        let usual = match name {
            "LISTEN" => Some("127.0.0.1:0"),
            "CORES" => Some("2"),
            "UPSTREAM_A_URL" => Some(urls[0]),
            "UPSTREAM_B_URL" => Some(urls[1]),
            // A busy machine must not turn a 200 into a 202.
            "REQUEST_TIMEOUT_MS" => Some("20000"),
            "CONNECT_TIMEOUT_MS" => Some("20000"),
            "DRAIN_DELAY_MS" => Some("0"),
            "SHUTDOWN_GRACE_SECS" => Some("5"),
            _ => None,
        };
        given.or(usual).map(str::to_owned)
    };
    Config::from_lookup(lookup).unwrap_or_else(|faults| panic!("{faults:?}"))
}

impl Stack {
    pub(crate) fn start(driver: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with(SimulatorOptions::default(), driver, settings)
    }

    pub(crate) fn start_with(
        options: SimulatorOptions,
        driver: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let sims = [options.clone(), options].map(|options| Simulator::start(options).unwrap());
        Self::before(sims, driver, settings)
    }

    /// p99 before these processors; `settings` may send it elsewhere.
    pub(crate) fn before(
        [a, b]: [SimulatorHandle; 2],
        driver: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let urls = [a.url(), b.url()];
        let setup = setup([&urls[0], &urls[1]], driver, settings);
        Self {
            running: Running::start(&setup).unwrap(),
            a,
            b,
            credentials: setup.credentials,
        }
    }

    /// One that is started already.
    pub(crate) fn of(running: Running, [a, b]: [SimulatorHandle; 2]) -> Self {
        Self {
            running,
            a,
            b,
            credentials: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        tcp(&self.running.addresses())
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        tcp(&self.running.admin_addresses())
    }

    /// Where its processors are.
    pub(crate) fn urls(&self) -> [String; 2] {
        [self.a.url(), self.b.url()]
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn stop(self) {
        assert_eq!(self.end(), Exit::Clean);
    }

    /// Stops it, clean or not.
    pub(crate) fn end(self) -> Exit {
        self.running.stop()
    }

    /// Sums as p99 states them; `query` with its question mark.
    pub(crate) fn summary(&self, query: &str) -> PerProcessor<Totals> {
        let path = format!("/payments-summary{query}");
        let answer = patiently("all cores say their sums", || self.client().get(&path));
        assert_eq!(answer.status, 200, "{}", answer.body);
        wire::read_summary(answer.body.as_bytes()).unwrap()
    }

    /// Sums as the processors state them.
    pub(crate) fn charged(&self, window: Window) -> PerProcessor<Totals> {
        PerProcessor::of_first([self.a.totals(window), self.b.totals(window)])
    }

    /// The status of `id` by `GET /payments/{id}`, empty when it is not known.
    pub(crate) fn state_of(client: &mut Client, id: UpstreamId) -> String {
        let answer = patiently("the owner core answers", || {
            client.get(&format!("/payments/{id}"))
        });
        if answer.status == 404 {
            return String::new();
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (_, rest) = answer.body.split_once(r#""status":""#).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Waits until none of these is pending any more.
    pub(crate) fn settle(&self, told: &[(UpstreamId, Told)]) {
        let mut client = self.client();
        for (id, word) in told {
            let is_open = matches!(word, Told::Status(202) | Told::Nothing(_));
            if is_open {
                wait_until(&format!("{id} settles after {word:?}"), || {
                    Self::state_of(&mut client, *id) != "pending"
                });
            }
        }
        let is_idle = |sim: &SimulatorHandle| sim.in_flight() == (0, 0);
        wait_until("the processors have nothing to do", || {
            is_idle(&self.a) && is_idle(&self.b)
        });
    }

    /// Waits for the end of everything, then holds what was charged against what was told:
    /// never twice, everything acknowledged, nothing that was refused, and one sum on both sides.
    pub(crate) fn audit(&self, what: &str, told: &[(UpstreamId, Told)]) {
        self.settle(told);
        let charges = self.charges();
        hold_against(what, told, |id| charges.get(&id).copied().unwrap_or(0));
        let totals = self.charged(Window::default());
        assert_eq!(
            self.summary(""),
            totals,
            "{what}: p99's sums and the processors'"
        );
    }

    /// How often each id was charged, over both processors.
    pub(crate) fn charges(&self) -> HashMap<UpstreamId, u32> {
        let mut charges = HashMap::new();
        for Row { id, .. } in self.a.rows().into_iter().chain(self.b.rows()) {
            *charges.entry(id).or_default() += 1;
        }
        charges
    }

    /// Lets no one reach these processors any more: p99's ready connections end too, and it knows.
    pub(crate) fn cut_off(&self, sims: &[(&SimulatorHandle, &str)]) {
        let open = |name| {
            self.metric(&format!(
                r#"p99_upstream_connections_open{{processor="{name}"}}"#
            ))
        };
        for (sim, name) in sims {
            wait_until("p99 has its connections ready", || open(name) >= 1.0);
            sim.set_refusing(true).unwrap();
            // What had begun before is let in by now, and ends here.
            wait_until("no connection is left", || {
                sim.reset_connections();
                open(name) < 1.0
            });
        }
    }

    /// Requests for `id` that were read in full, over both processors.
    pub(crate) fn attempts(&self, id: UpstreamId) -> u32 {
        self.a.attempts(id) + self.b.attempts(id)
    }

    /// One sample of the metrics page.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        metric(&self.client().get("/metrics").body, name)
    }
}

/// Holds how often each id was charged against what its client was told: never twice, all that was
/// acknowledged, nothing that was refused.
pub(crate) fn hold_against(
    what: &str,
    told: &[(UpstreamId, Told)],
    charges: impl Fn(UpstreamId) -> u32,
) {
    for (id, word) in told {
        let count = charges(*id);
        assert!(count <= 1, "{what}: {id} was charged twice, told {word:?}");
        match word {
            Told::Status(200 | 202) => assert_eq!(count, 1, "{what}: {id}, told {word:?}"),
            // A duplicate says nothing new about the first.
            Told::Status(409) | Told::Nothing(_) => {}
            Told::Status(_) => assert_eq!(count, 0, "{what}: {id}, told {word:?}"),
        }
    }
}

/// p99 before processors at these places.
pub(crate) fn start_p99(urls: [&str; 2], driver: &str, settings: &[(&str, &str)]) -> Running {
    Running::start(&setup(urls, driver, settings)).unwrap()
}

fn setup(urls: [&str; 2], driver: &str, settings: &[(&str, &str)]) -> Setup {
    let settings = [&[("MONOIO_FORCE_LEGACY_DRIVER", driver)], settings].concat();
    Setup::new(config(urls, &settings))
}

/// Two processors without any fault, in this process.
pub(crate) fn processors() -> [SimulatorHandle; 2] {
    [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).unwrap())
}

/// The first TCP address of these.
pub(crate) fn tcp(addresses: &[ListenAddress]) -> SocketAddr {
    addresses
        .iter()
        .find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        })
        .unwrap()
}

/// One sample of a metrics page.
pub(crate) fn metric(page: &str, name: &str) -> f64 {
    let sample = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .unwrap()
}
