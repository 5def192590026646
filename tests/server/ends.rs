//! The ways in which p99 ends connections, each brought about until it is counted; every_series
//! plays them too. `unanswered` needs a silent core or a failed journal, `shutdown` a stop: other
//! tests make those.
//!
//! On a busy machine a client may come to speak only when its time is over, so a scene that came to
//! nothing is played again.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::kit::client::{Client, get, payment, request, wait_until};
use crate::kit::places::{Site, from};
use crate::kit::stack::metric;

/// With so few descriptors, and these settings.
pub(crate) const DESCRIPTORS: u64 = 128;
pub(crate) const SETTINGS: [(&str, &str); 4] = [
    ("HEADER_TIMEOUT_MS", "500"),
    ("IDLE_TIMEOUT_SECS", "1"),
    ("CONNECTIONS_PER_ADDRESS", "3"),
    ("TRUSTED_PROXIES", "127.0.0.9"),
];

/// Has a connection end for each reason, and shows each page that it reads.
pub(crate) fn see_each(site: &Site, mut show: impl FnMut(&str)) {
    let address = site.p99.address;
    // A connection on which something was answered.
    let spoken = |fields: &str| {
        let mut client = Client::try_connect(address).ok()?;
        let request = request("GET /healthz", fields, "");
        let answer = client.exchange(request.as_bytes()).ok()?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Some(client)
    };
    // A trusted proxy has no cap.
    let crowd = |text: &[u8]| -> Vec<TcpStream> {
        let from_proxy = |_| {
            let mut stream = from("127.0.0.9", address).ok()?;
            stream.write_all(text).ok()?;
            Some(stream)
        };
        (0..120).filter_map(from_proxy).collect()
    };
    let mut see = |reason: &str, scene: &dyn Fn() -> Option<Vec<Client>>| {
        wait_until(reason, || {
            let held = scene();
            held.is_some() && is_counted(site, reason, &mut show)
        });
    };
    see("client", &|| {
        drop(Client::try_connect(address).ok()?);
        Some(Vec::new())
    });
    see("answered", &|| Some(vec![spoken("Connection: close\r\n")?]));
    see("slow_request", &|| {
        let mut slow = Client::try_connect(address).ok()?;
        slow.write("GET /he");
        let answer = slow.read().ok()?;
        assert_eq!(answer.status, 408, "{}", answer.body);
        Some(vec![slow])
    });
    see("idle", &|| Some(vec![spoken("")?]));
    see("address", &|| {
        let three = [(); 3].map(|()| spoken(""));
        let mut fourth = Client::try_connect(address).ok()?;
        let pay = request("POST /payments", "", &payment("x", "1"));
        let answer = fourth.exchange(pay.as_bytes()).ok()?;
        let three: Option<Vec<Client>> = three.into_iter().collect();
        three.filter(|_| answer.status == 503)
    });
    let over = |streams: Vec<TcpStream>| -> Option<Vec<Client>> {
        streams
            .into_iter()
            .map(|it| Client::over(it).ok())
            .collect()
    };
    // Idle connections make room for one another; those whose requests are on their way do not.
    see("made_room", &|| over(crowd(b"")));
    see("full", &|| over(crowd(b"GET /he")));
    see("unread", &|| {
        let mut unread = TcpStream::connect(site.admin).ok()?;
        let socket = socket2::SockRef::from(&unread);
        socket.set_recv_buffer_size(4_096).ok()?;
        let _ = unread.write_all(request("GET /metrics", "", "").repeat(80).as_bytes());
        over(vec![unread])
    });
}

/// Whether the page tells, within a while, of a connection that ended for this reason.
fn is_counted(site: &Site, reason: &str, show: &mut impl FnMut(&str)) -> bool {
    let name = format!("p99_connections_closed_total{{reason=\"{reason}\"}}");
    (0..40).any(|_| {
        let Ok(page) = get(site.admin, "/metrics") else {
            return false;
        };
        if page.status == 200 {
            show(&page.body);
            if metric(&page.body, &name) > 0.0 {
                return true;
            }
        }
        thread::sleep(Duration::from_millis(50));
        false
    })
}
