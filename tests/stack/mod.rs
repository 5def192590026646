//! Both processors and p99 before them, in this process, for tests.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use p99::config::{Config, ListenAddress};
use p99::cores::{Exit, Running};
use p99::credentials::Credentials;
use p99::pay::Setup;
use p99::sim::{Simulator, SimulatorHandle, SimulatorOptions};

/// Far beyond anything that is waited for: a test that meets it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stack {
    pub(crate) running: Running,
    pub(crate) processors: [SimulatorHandle; 2],
    /// The main thread's hold on the credentials.
    pub(crate) credentials: Option<Credentials>,
}

impl Stack {
    /// Starts with these settings in place of the usual ones.
    pub(crate) fn start(more: &[(&str, &str)]) -> Self {
        let processors = [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).unwrap());
        let urls = processors.each_ref().map(SimulatorHandle::url);
        let lookup = |name: &str| {
            let given = more
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value);
            let usual = match name {
                "LISTEN" => Some("127.0.0.1:0"),
                "CORES" => Some("2"),
                "UPSTREAM_A_URL" => Some(urls[0].as_str()),
                "UPSTREAM_B_URL" => Some(urls[1].as_str()),
                // A busy machine must not turn a 200 into a 202.
                "REQUEST_TIMEOUT_MS" => Some("5000"),
                "DRAIN_DELAY_MS" => Some("0"),
                _ => None,
            };
            given.or(usual).map(str::to_owned)
        };
        let config = Config::from_lookup(lookup).unwrap();
        let setup = Setup::new(config);
        let running = Running::start(&setup).unwrap();
        Self {
            running,
            processors,
            credentials: setup.credentials,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        tcp(&self.running.addresses())
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        tcp(&self.running.admin_addresses())
    }

    pub(crate) fn stop(self) -> Exit {
        self.running.stop()
    }
}

fn tcp(addresses: &[ListenAddress]) -> SocketAddr {
    match addresses.first() {
        Some(ListenAddress::Tcp(address)) => *address,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `request` and reads one answer: its status, its head and its body.
pub(crate) fn ask<S: Read + Write>(stream: &mut S, request: &str) -> (u16, String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            reader.read_line(&mut head).unwrap(),
            0,
            "closed after {head:?}"
        );
    }
    let field = |line: &str| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")
            .map(str::to_owned)
    };
    let length = head
        .lines()
        .find_map(field)
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (
        head[9..12].parse().unwrap(),
        head,
        String::from_utf8(body).unwrap(),
    )
}

pub(crate) fn get(path: &str) -> String {
    get_with(path, "")
}

pub(crate) fn get_with(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

pub(crate) fn post(path: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         {fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The statuses of all answers in `text`, interim ones too.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let status: u16 = head
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let field = |line: &str| line.strip_prefix("Content-Length: ").map(str::to_owned);
        let length = head
            .lines()
            .find_map(field)
            .and_then(|length| length.parse().ok());
        found.push(status);
        rest = after.get(length.unwrap_or(0)..).unwrap_or("");
    }
    found
}
