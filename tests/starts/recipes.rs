//! docs/RETRY.md against `p99 demo`: both programs, as they are there, pay through a p99 that dies
//! without an answer, says that the payment is under way, forgets it and comes back, and each
//! payment is charged once. And the demo's own promise: the first payment goes to the cheap
//! processor.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use crate::kit::client::Client;
use crate::kit::scratch::Scratch;
use crate::kit::start::free_port;

/// The demo on ports of its own; killed when it is dropped.
struct Demo {
    child: Child,
    p99: SocketAddr,
}

impl Demo {
    fn start(port: u16) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_p99"))
            .args(["demo", "--default-port", "0", "--fallback-port", "0"])
            .env_clear()
            .env("LISTEN", format!("127.0.0.1:{port}"))
            // A busy machine must not turn a 200 into a 202.
            .env("REQUEST_TIMEOUT_MS", "20000")
            // Nor may a slow connect send a payment to the other processor.
            .env("HEDGE_DELAY_MS", "60000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let welcome = lines.find_map(|line| line.ok().filter(|line| line.contains("is ready")));
        welcome.expect("the demo says that it is ready");
        let p99 = SocketAddr::from(([127, 0, 0, 1], port));
        Self { child, p99 }
    }

    fn summary(&self) -> String {
        Client::connect(self.p99).get("/payments-summary").body
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The block of code of this language.
fn recipe(language: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RETRY.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, code) = text.split_once(&format!("```{language}\n")).unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

/// The program with p99 at this port.
fn start(scratch: &Scratch, port: u16, program: &str, code: &str) -> Child {
    Command::new(program)
        .args(["-c", code])
        .current_dir(scratch.path())
        .env("P99", format!("http://127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|fault| panic!("{program}: {fault}"))
}

/// What it said; it must have ended well.
fn end(child: Child) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let out = String::from_utf8(stdout).unwrap();
    let err = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{out}{err}");
    out
}

/// No promise: the earlier request may come to nothing.
const PENDING: &str = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n\
    Retry-After: 1\r\nConnection: close\r\nContent-Length: 56\r\n\r\n\
    {\"message\":\"duplicate correlationId\",\"status\":\"pending\"}";

/// Runs the program while p99 takes its request and ends without an answer, and then says that it
/// is under way, brings p99 back without it, and runs it again with the same id.
fn play(program: &str, code: &str) -> String {
    let scratch = Scratch::new("recipes").unwrap();
    let port = free_port();
    let dying = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut child = Some(start(&scratch, port, program, code));
    let (mut connection, _) = dying.accept().unwrap();
    assert!(connection.read(&mut [0; 64]).unwrap() > 0);
    drop(connection);
    let (mut connection, _) = dying.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"19.90}") {
        let mut part = [0; 1_024];
        let count = connection.read(&mut part).unwrap();
        assert!(count > 0, "{request:?}");
        request.extend_from_slice(&part[..count]);
    }
    connection.write_all(PENDING.as_bytes()).unwrap();
    drop((connection, dying));
    let demo = Demo::start(port);
    let once = r#"{"default":{"totalRequests":1,"totalAmount":19.90}"#;
    let mut said = String::new();
    for _ in 0..2 {
        said += &end(child
            .take()
            .unwrap_or_else(|| start(&scratch, port, program, code)));
        assert!(demo.summary().starts_with(once), "{}", demo.summary());
    }
    said
}

#[test]
fn the_first_payment_of_the_demo_goes_to_the_cheap_processor() {
    let demo = Demo::start(free_port());
    let mut client = Client::connect(demo.p99);
    // Half of these would go to the other one by their hash.
    for number in 0..8 {
        assert_eq!(client.pay(format!("test-{number}"), "20").status, 200);
    }
    let expected = r#"{"default":{"totalRequests":8,"totalAmount":160.00}"#;
    assert!(demo.summary().starts_with(expected), "{}", demo.summary());
}

#[test]
fn the_recipe_for_curl_charges_once_though_p99_dies() {
    let code = format!("{}\npay from-curl 19.90\n", recipe("sh"));
    let said = play("sh", &code);
    assert_eq!(said, "from-curl is charged, or will be\n".repeat(2));
}

/// curl leaves the answer of the payment before where there is none.
#[test]
fn the_recipe_for_curl_never_shows_the_answer_to_another_payment() {
    let scratch = Scratch::new("stale-answer").unwrap();
    std::fs::write(scratch.file("answer.json"), "charged before").unwrap();
    // No one listens there; the last word about retries holds.
    let code = format!(
        "{}\ncurl() {{ command curl \"$@\" --retry 0 2>/dev/null; }}\npay no-answer 1 || :\n",
        recipe("sh")
    );
    let said = end(start(&scratch, free_port(), "sh", &code));
    assert_eq!(said.trim(), "no-answer: 000");
}

#[test]
fn the_recipe_for_python_charges_once_though_p99_dies() {
    let code = format!(
        "{}\nimport os\nassert pay(os.environ['P99'], 'from-python', '19.90')\n\
         try:\n    pay(os.environ['P99'], 'from-python', '19.91')\n\
         except ValueError as fault:\n    assert 'amount-differs' in str(fault)\n\
         else:\n    raise AssertionError('another amount')\n",
        recipe("python")
    );
    play("python3", &code);
}
