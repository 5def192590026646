//! `p99 demo`: two simulated processors beside p99 in one process, and what to type next. `p99
//! processor`: one of them alone.
//!
//! Part of the command, not of the library: only `main` may know the simulator. It decides nothing
//! about payments.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;

use p99::command::config::{AuthHeader, Config, ListenAddress};
use p99::command::logging::{self, Format};
use p99::command::sim::{Fee, Simulator, SimulatorHandle, SimulatorOptions};

use crate::{environment, fail, say};

/// The fees of the official test, in millionths: 5 % and 15 %.
const FEES: [Fee; 2] = [Fee(50_000), Fee(150_000)];

/// The running processors; they stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Demo {
    default: SimulatorHandle,
    fallback: SimulatorHandle,
}

impl Demo {
    /// Starts both on the loopback address.
    pub(crate) fn start(ports: [u16; 2]) -> io::Result<Self> {
        let start = |port, fee| {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            Simulator::start(SimulatorOptions {
                listen,
                fee,
                ..SimulatorOptions::default()
            })
            .map_err(|fault| io::Error::new(fault.kind(), format!("port {port}: {fault}")))
        };
        let ([default_port, fallback_port], [cheap, expensive]) = (ports, FEES);
        Ok(Self {
            default: start(default_port, cheap)?,
            fallback: start(fallback_port, expensive)?,
        })
    }

    /// The settings that the demo makes by itself.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        match name {
            "UPSTREAM_A_URL" => Some(self.default.url()),
            "UPSTREAM_B_URL" => Some(self.fallback.url()),
            _ => None,
        }
    }

    /// What holds unless the environment says otherwise: the cheap processor is asked first, as
    /// most would set it; no one balances over a demo, so Ctrl-C waits for no balancer, and what a
    /// broken processor keeps pending is given up soon.
    pub(crate) fn fallback(name: &str) -> Option<String> {
        match name {
            "ROUTING" => Some("cheapest".to_owned()),
            "DRAIN_DELAY_MS" => Some("0".to_owned()),
            "SHUTDOWN_GRACE_SECS" => Some("1".to_owned()),
            "ADMIN_LISTEN" => Some("127.0.0.1:9998".to_owned()),
            _ => None,
        }
    }

    /// What to type: to pay, to look, and to break a processor.
    pub(crate) fn welcome(&self, config: &Config) -> String {
        let (a, b) = (self.default.url(), self.fallback.url());
        // The password is known to who set it; it is not shown.
        let auth = config.auth.as_ref().map_or_else(String::new, |auth| {
            format!(" -H \"{}: $AUTH_HEADER_VALUE\"", auth.name)
        });
        let is_open = |auth: &AuthHeader| !auth.guards_reads;
        let reads = if config.auth.as_ref().is_some_and(is_open) {
            ""
        } else {
            auth.as_str()
        };
        let p99 = curl(config.listen.first());
        let admin_listen = config.admin_listen.first();
        let metrics = admin_listen.map_or_else(|| p99.clone(), |place| curl(Some(place)));
        let live = match admin_listen {
            Some(ListenAddress::Tcp(_)) => {
                let place = metrics.trim_start_matches("curl ");
                format!("Look at {place}/ in a browser; as text: {metrics}/status.txt{reads}\n")
            }
            Some(ListenAddress::Unix(_)) => format!("See how it is: {metrics}/status.txt{reads}\n"),
            None => String::new(),
        };
        let json = "-H 'Content-Type: application/json'";
        let body = r#"{"correlationId":"test-123","amount":20}"#;
        let admin = format!("-H 'X-Rinha-Token: 123' {json}");
        format!(
            "\np99 is ready; default charges at {a}, fallback at {b}. Ctrl-C stops all.\n\n\
             Pay, see what was charged, see the metrics:\n\
             {p99}/payments -X POST {json}{auth} -d '{body}'\n\
             {p99}/payments-summary{reads}\n\
             {metrics}/metrics{reads}\n\
             {live}\n\
             Break default (fallback's calls are the same at {b}): let it fail, let it be slow:\n\
             curl -X PUT {a}/admin/configurations/failure {admin} -d '{{\"failure\":true}}'\n\
             curl -X PUT {a}/admin/configurations/delay {admin} -d '{{\"delay\":2000}}'\n\
             Mend it with {{\"failure\":false}} and {{\"delay\":0}}.\n\n"
        )
    }
}

/// `curl` with an address of p99's, up to the path.
fn curl(place: Option<&ListenAddress>) -> String {
    match place {
        Some(ListenAddress::Tcp(address)) if address.ip().is_unspecified() => {
            format!("curl http://localhost:{}", address.port())
        }
        Some(ListenAddress::Tcp(address)) => format!("curl http://{address}"),
        Some(ListenAddress::Unix(path)) => {
            format!("curl --unix-socket {} http://localhost", path.display())
        }
        None => "curl http://localhost".to_owned(),
    }
}

/// `p99 processor`
pub(crate) fn processor(options: SimulatorOptions) -> u8 {
    let filter = environment("RUST_LOG").unwrap_or_else(|| "info".to_owned());
    if let Err(fault) = logging::start(&filter, Format::Text) {
        return fail(&format!("cannot log: {fault}"));
    }
    let wanted = options.listen;
    let running = match Simulator::start(options) {
        Ok(running) => running,
        Err(fault) => return fail(&format!("cannot listen on {wanted}: {fault}")),
    };
    say(&format!("processor listens on {}\n", running.address()));
    let heard = wait_for_signal();
    running.stop();
    match heard {
        Ok(()) => 0,
        Err(fault) => fail(&format!("cannot hear signals: {fault}")),
    }
}

/// Blocks until SIGINT or SIGTERM.
fn wait_for_signal() -> io::Result<()> {
    let (mut heard, told) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, told.try_clone()?)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, told)?;
    heard.read_exact(&mut [0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_names_every_call() {
        let demo = Demo::start([0, 0]).unwrap();
        let config = Config::from_lookup(|name| match name {
            "AUTH_HEADER_VALUE" => Some("hunter2".to_owned()),
            name => demo.lookup(name).or_else(|| Demo::fallback(name)),
        })
        .unwrap();
        let text = demo.welcome(&config);
        let admin = format!("curl -X PUT {}/admin/configurations/", demo.default.url());
        for part in [
            "curl http://localhost:9999/payments -X POST -H 'Content-Type: application/json'",
            "-d '{\"correlationId\":\"test-123\",\"amount\":20}'",
            "curl http://localhost:9999/payments-summary -H \"authorization: $AUTH",
            "curl http://127.0.0.1:9998/metrics -H \"authorization: $AUTH",
            "Look at http://127.0.0.1:9998/ in a browser",
            "curl http://127.0.0.1:9998/status.txt -H \"authorization: $AUTH",
            "-H \"authorization: $AUTH_HEADER_VALUE\"",
            &format!("{admin}failure"),
            &format!("{admin}delay"),
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("hunter2"));
    }
}
