//! p99 in this process between two processors, and its page.

use std::net::SocketAddr;
use std::time::Duration;

use p99::testing::config::Config;
use p99::testing::cores::Running;
use p99::testing::pay::Setup;
use p99::testing::sim::SimulatorHandle;

use crate::book::Book;
use crate::kit::client::{Client, payment, wait_until};
use crate::kit::stack::{self, metric as value, processors, tcp};

/// An address where nothing listens.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";
/// Another one: two processors are never at one address.
pub(crate) const NO_PLACE: &str = "http://127.0.0.1:2";

pub(crate) struct Site<'a> {
    book: &'a Book,
    /// There until it is dropped.
    running: Option<Running>,
    pub(crate) a: SimulatorHandle,
    pub(crate) b: SimulatorHandle,
    /// Sent with each scrape.
    headers: &'static str,
}

/// A configuration of these scenes. Later settings win.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let usual = [("SHUTDOWN_GRACE_SECS", "0")];
    stack::config([NOWHERE, NO_PLACE], &[&usual[..], settings].concat())
}

impl<'a> Site<'a> {
    pub(crate) fn start(book: &'a Book, settings: &[(&str, &str)]) -> Self {
        Self::start_with(book, settings, |_| ())
    }

    /// The same, with something that no setting can say.
    pub(crate) fn start_with(
        book: &'a Book,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let [a, b] = processors();
        let (a_url, b_url) = (a.url(), b.url());
        let urls = [("UPSTREAM_A_URL", &*a_url), ("UPSTREAM_B_URL", &*b_url)];
        let mut config = config(&[&urls[..], settings].concat());
        change(&mut config);
        let headers = match config.auth.is_some() {
            true => "Authorization: secret\r\n",
            false => "",
        };
        let running = Running::start(&Setup::new(config)).unwrap();
        let site = Self {
            book,
            running: Some(running),
            a,
            b,
            headers,
        };
        site.look();
        site
    }

    pub(crate) fn address(&self) -> SocketAddr {
        tcp(&self.running.as_ref().unwrap().addresses())
    }

    /// Where its page is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        match self.running.as_ref().unwrap().admin_addresses() {
            none if none.is_empty() => self.address(),
            admin => tcp(&admin),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Reads the page, for the book too.
    pub(crate) fn look(&self) -> String {
        let page = scrape(self.admin_address(), self.headers);
        self.book.read(&page);
        page
    }

    /// Looks until each of these is above zero here.
    pub(crate) fn await_all(&self, names: &[&str]) {
        for name in names {
            wait_until(name, || value(&self.look(), name) > 0.0);
        }
    }

    /// Looks until this is zero here.
    pub(crate) fn await_zero(&self, name: &str) {
        wait_until(name, || value(&self.look(), name) == 0.0);
    }

    /// One request on a connection of its own, and the page after it.
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &str) -> u16 {
        let status = ask(self.address(), line, headers, body);
        self.look();
        status
    }

    /// Pays on a connection of its own.
    pub(crate) fn pay(&self, id: &str) -> u16 {
        self.ask("POST /payments", "", &payment(id, "1.00"))
    }

    /// Pays without waiting for the answer.
    pub(crate) fn begin(&self, id: &str) -> Client {
        let mut client = self.client();
        client.send("POST /payments", "", &payment(id, "1.00"));
        client
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        // Some scenes leave payments behind that can never settle: how it ends is not looked at.
        let _ = self.running.take().map(Running::stop);
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, line: &str, headers: &str, body: &str) -> u16 {
    let mut client = Client::connect(address);
    client.send(line, headers, body);
    client
        .read()
        .unwrap_or_else(|broken| panic!("{line}: {broken:?}"))
        .status
}

/// The page of p99 at `address`.
pub(crate) fn scrape(address: SocketAddr, headers: &str) -> String {
    let answer = Client::connect(address).call("GET /metrics", headers, "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// A page of a p99 that has done nothing.
pub(crate) fn fresh_page() -> String {
    let running = Running::start(&Setup::new(config(&[]))).unwrap();
    scrape(tcp(&running.addresses()), "")
}

/// Milliseconds.
pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
