//! p99 as a real process with few descriptors, before two simulated processors.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use p99::testing::sim::SimulatorHandle;

use super::client::{Client, wait_until};
use super::process::{P99, free_address};
use super::stack::{metric, processors};
use super::start;

/// p99 with few descriptors, its processors, and its administrator's door.
pub(crate) struct Site {
    pub(crate) p99: P99,
    pub(crate) admin: SocketAddr,
    pub(crate) processors: [SimulatorHandle; 2],
}

pub(crate) fn site(descriptors: u64, driver: &str, more: &[(&str, &str)]) -> Site {
    let processors = processors();
    let urls = processors.each_ref().map(SimulatorHandle::url);
    let admin = free_address().unwrap();
    let text = admin.to_string();
    let mut settings = vec![("ADMIN_LISTEN", text.as_str()), ("DRAIN_DELAY_MS", "0")];
    settings.extend_from_slice(more);
    let urls = [urls[0].as_str(), urls[1].as_str()];
    let p99 = start::start_with_descriptors(descriptors, urls, driver, &settings);
    Site {
        p99,
        admin,
        processors,
    }
}

impl Site {
    /// How many connections ended for this reason.
    pub(crate) fn closed(&self, reason: &str) -> f64 {
        let page = Client::connect(self.admin).get("/metrics").body;
        let name = format!("p99_connections_closed_total{{reason=\"{reason}\"}}");
        metric(&page, &name)
    }

    pub(crate) fn wait_for(&self, reason: &str, least: u32) {
        wait_until(reason, || self.closed(reason) >= f64::from(least));
    }

    /// One probe on a new connection; none when it is not answered within seconds.
    pub(crate) fn probe(&self, path: &str) -> Option<u16> {
        let mut client = Client::connect(self.p99.address);
        client.set_patience(Duration::from_secs(5));
        client.send(&format!("GET {path}"), "", "");
        client.read().ok().map(|answer| answer.status)
    }
}

/// A connection from another address of this machine.
pub(crate) fn from(source: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(10))?;
    Ok(socket.into())
}
