//! A real HAProxy before several equal instances.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::report::say;
use super::scratch::Scratch;

/// HAProxy, round robin over all instances.
pub(crate) struct Balancer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Balancer {
    pub(crate) fn start(scratch: &Scratch, instances: &[SocketAddr]) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let unknown = "content-type application/problem+json string \
                       '{\"charged\":\"unknown\",\"status\":503}'";
        let mut text = String::from(
            "global\n maxconn 4096\ndefaults\n mode http\n timeout connect 1s\n \
             timeout client 60s\n timeout server 15s\n timeout queue 1s\n retries 1\n \
             retry-on conn-failure\n option redispatch\n",
        );
        for status in [502, 503, 504] {
            let _ = writeln!(text, " http-error status {status} {unknown}");
        }
        let _ = write!(
            text,
            "frontend clients\n bind {address}\n default_backend p99\nbackend p99\n \
             balance roundrobin\n option httpchk GET /readyz\n"
        );
        for (number, instance) in instances.iter().enumerate() {
            let _ = writeln!(
                text,
                " server p99-{number} {instance} check inter 200ms fall 2 rise 1"
            );
        }
        let path = scratch.file("haproxy.cfg");
        fs::write(&path, text).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-q", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            say("skipped: HAProxy is not installed");
            return None;
        };
        Some(Self { child, address })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
