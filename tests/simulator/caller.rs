//! The kit's client as a processor's callers use it: with a token, and a length on every request.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Simulator, SimulatorHandle, SimulatorOptions};

use crate::kit::client::{self, Answer};

pub(crate) fn start() -> SimulatorHandle {
    Simulator::start(SimulatorOptions::default()).expect("a free port")
}

pub(crate) fn id(number: u128) -> UpstreamId {
    client::id(usize::try_from(number).unwrap())
}

pub(crate) fn payment(number: u128) -> String {
    let id = id(number);
    format!(r#"{{"correlationId":"{id}","amount":19.90,"requestedAt":"2025-07-10T12:34:56.789Z"}}"#)
}

pub(crate) struct Client(client::Client);

impl Deref for Client {
    type Target = client::Client;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self(client::Client::connect(address))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        client::Client::try_connect(address).map(Self)
    }

    pub(crate) fn send(&mut self, line: &str, headers: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "{line} HTTP/1.1\r\nHost: sim\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
    }

    pub(crate) fn send_payment(&mut self, number: u128) {
        self.send("POST /payments", "", &payment(number));
    }

    pub(crate) fn call(&mut self, line: &str, body: &str) -> Answer {
        self.send(line, "X-Rinha-Token: 123\r\n", body);
        self.read().unwrap()
    }

    pub(crate) fn pay(&mut self, number: u128) -> u16 {
        self.send_payment(number);
        self.read().unwrap().status
    }

    pub(crate) fn look_up(&mut self, number: u128) -> u16 {
        self.call(&format!("GET /payments/{}", id(number)), "")
            .status
    }
}
