"""The two sides of a round: the proxies under test, and the load with its upstream."""

import http.client
import json
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import machine

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "target/release/examples"
P99 = ROOT / "target/release/p99"
CONNECTIONS = 64

# No client gives up and no attempt becomes Unknown because a quota put p99 to sleep.
P99_SETTINGS = {
    "REQUEST_TIMEOUT_MS": "5000",
    "ATTEMPT_TIMEOUT_MS": "5000",
    "IDLE_TIMEOUT_SECS": "3600",
    "DRAIN_DELAY_MS": "0",
    "RUST_LOG": "warn",
}

_seeds = iter(range(random.randrange(1, 2**31), 2**32))


def next_seed():
    """A number that no run of this process has used in its ids."""
    return next(_seeds)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def call(port, method, path, body=None):
    """One HTTP exchange. Returns (status, text)."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        client.request(method, path, body, headers)
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    finally:
        client.close()


def pay_once(port):
    """Sends one payment. Returns the status."""
    body = '{"correlationId":"%08x-ffff-4000-8000-000000000000","amount":19.90}' % next_seed()
    return call(port, "POST", "/payments", body)[0]


def wait_until(is_so, what, limit=20.0, pause=0.02):
    end = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} within {limit} s")
        time.sleep(pause)


def answers_200(port, process):
    """Whether a payment through `port` is charged."""
    if not process.is_alive():
        raise RuntimeError(f"{' '.join(process.command)} ended at once")
    try:
        return pay_once(port) == 200
    except (OSError, http.client.HTTPException):
        return False


class OwnUpstream:
    """examples/upstream.rs: exact, answers lookups truly, a little cheaper than nginx."""

    name = "examples/upstream.rs"
    ways = {}

    def __init__(self, cores):
        self.process = machine.Process([EXAMPLES / "upstream"], cores, read_line=True)
        self.ports = [int(word) for word in self.process.line.split()[1:]]

    def reset(self):
        call(self.ports[0], "POST", "/reset")

    def seen(self):
        return json.loads(call(self.ports[0], "GET", "/stats")[1])

    def move(self, cores):
        self.process.move(cores)

    def stop(self):
        self.process.stop()


class NginxUpstream:
    """nginx that answers every payment 200 and logs the bodies; the log is counted here."""

    name = "nginx"

    def __init__(self, cores):
        # In memory, so that the log does not share a disk with p99's journal.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=memory_folder()))
        self.log = self.folder / "bodies.log"
        self.ports = [free_port(), free_port()]
        tls = [free_port(), free_port()]
        words = dict(zip(("LISTEN", "LISTEN_B", "TLS", "TLS_B"), self.ports + tls))
        authority = make_certificate(self.folder)
        self.ways = {
            "tcp": settings_of([f"http://127.0.0.1:{port}" for port in self.ports]),
            "tls": settings_of([f"https://127.0.0.1:{port}" for port in tls], TLS_CA=authority),
            "unix": settings_of([f"unix:{self.folder}/{name}.sock" for name in "ab"]),
        }
        self.process = start_nginx("nginx-upstream.conf", self.folder, words, cores)
        wait_until(lambda: answers_200(self.ports[0], self.process), "nginx answers")

    def _rotate(self):
        """Makes nginx write out what it holds and begin a new log. Returns the old one."""
        old = self.folder / "bodies.old"
        self.log.rename(old)
        self.process.child.send_signal(signal.SIGUSR1)
        wait_until(self.log.exists, "nginx opens a new log")
        return old

    def reset(self):
        self._rotate()

    def seen(self):
        posts = lookups = 0
        ids = set()
        with open(self._rotate(), encoding="utf-8") as log:
            for line in log:
                path, _, body = line.partition(" ")
                if path == "/payments":
                    posts += 1
                    ids.add(body[18:54])
                else:
                    lookups += 1
        return {"posts": posts, "distinct": len(ids), "lookups": lookups, "unreadable": 0}

    def move(self, cores):
        self.process.move(cores)

    def stop(self):
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


UPSTREAMS = {"nginx": NginxUpstream, "own": OwnUpstream}


def memory_folder():
    return "/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None


def make_certificate(folder):
    """Makes a certificate for 127.0.0.1 that vouches for itself, and its key. Returns its file."""
    certificate = folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=bench",
               "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
               "-addext", "subjectAltName=IP:127.0.0.1",
               "-addext", "basicConstraints=critical,CA:FALSE",
               "-keyout", folder / "key.pem", "-out", certificate]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return certificate


def settings_of(urls, **more):
    """p99's settings for processors at these two URLs; `more` are the same for both."""
    return {f"UPSTREAM_{which}_{name}": str(value)
            for which, url in zip("AB", urls) for name, value in {"URL": url, **more}.items()}


def start_nginx(template, folder, words, cores, quota=None):
    text = (HERE / template).read_text().replace("@DIR@", str(folder))
    for word, port in words.items():
        text = text.replace(f"@{word}@", f"127.0.0.1:{port}")
    path = folder / template
    path.write_text(text)
    return machine.Process(["nginx", "-p", folder, "-e", "stderr", "-c", path], cores, quota)


class Chain:
    """Processes that are measured as one."""

    def __init__(self, *processes):
        self.processes = processes
        self.command = processes[0].command

    def is_alive(self):
        return all(process.is_alive() for process in self.processes)

    def cpu_seconds(self):
        return sum(process.cpu_seconds() for process in self.processes)

    def rss_bytes(self):
        return sum(process.rss_bytes() for process in self.processes)

    def stop(self):
        for process in self.processes:
            process.stop()


class Proxy:
    """One proxy between the load and the upstream, fresh for each round."""

    def __init__(self, row, upstream, cores, quota=None, settings=None):
        self.row = row
        self.upstream = upstream
        self.cores = cores
        self.quota = quota
        self.settings = settings or {}
        self.folder = None
        self.process = None
        self.port = free_port()

    def __enter__(self):
        kind, _, word = self.row.partition(" ")
        try:
            getattr(self, f"_start_{kind}")(word)
            wait_until(lambda: self.process is None or answers_200(self.port, self.process),
                       f"{self.row} answers 200", pause=0.002)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.stop()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, command, env=None, read_line=False):
        self.process = machine.Process(command, self.cores, self.quota, env, read_line)

    def _start_direct(self, _):
        self.port = self.upstream.ports[0]

    def _start_relay(self, ring):
        words = [EXAMPLES / "relay", self.upstream.ports[0], ring, self.port]
        self._start(words, read_line=True)

    def _start_ring(self, level):
        words = [EXAMPLES / "ring_relay", self.upstream.ports[0], level, self.port]
        self._start(words, read_line=True)

    def _start_haproxy(self, _):
        env = {
            "BENCH_LISTEN": f"127.0.0.1:{self.port}",
            "BENCH_UPSTREAM": f"127.0.0.1:{self.upstream.ports[0]}",
        }
        self._start(["haproxy", "-q", "-db", "-f", HERE / "haproxy.cfg"], env)

    def _start_nginx(self, _):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=memory_folder()))
        words = {"LISTEN": self.port, "UPSTREAM": self.upstream.ports[0]}
        self.process = start_nginx("nginx.conf", self.folder, words, self.cores, self.quota)

    def _start_p99(self, journal):
        env = {
            **P99_SETTINGS,
            "LISTEN": f"127.0.0.1:{self.port}",
            "CORES": str(len(self.cores)),
            "UPSTREAM_A_URL": f"http://127.0.0.1:{self.upstream.ports[0]}",
            "UPSTREAM_B_URL": f"http://127.0.0.1:{self.upstream.ports[1]}",
            **self.settings,
        }
        if journal != "off":
            # On the disk of the build: a journal in memory would cost nothing to sync.
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / "target"))
            env |= {"JOURNAL_DIR": str(self.folder), "JOURNAL_SYNC": journal}
        self._start([P99], env)

    def _start_reach(self, way):
        """p99 whose processors are reached over TCP, TLS or a unix socket."""
        self.settings = self.settings | self.upstream.ways[way]
        self._start_p99("off")

    def _start_front(self, way):
        """HAProxy as in /haproxy.cfg, and p99 behind it on TCP or a unix socket."""
        behind = f"127.0.0.1:{free_port()}"
        listen = behind
        if way == "unix":
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=memory_folder()))
            behind, listen = f"unix@{self.folder}/p99.sock", f"unix:{self.folder}/p99.sock"
        self.settings = self.settings | {"LISTEN": listen}
        self._start_p99("off")
        env = {
            "P99_BIND": f"127.0.0.1:{self.port}",
            "P99_1": behind,
            "P99_2": behind,
            "P99_STATS": f"127.0.0.1:{free_port()}",
            "P99_THREADS": "1",
        }
        balancer = machine.Process(
            ["haproxy", "-q", "-db", "-f", ROOT / "haproxy.cfg"], self.cores, self.quota, env)
        self.process = Chain(balancer, self.process)

    @property
    def is_p99(self):
        return self.row.startswith(("p99", "reach"))

    def metrics(self):
        """p99's counters as {name with labels: number}; empty for the others."""
        if not self.is_p99:
            return {}
        lines = call(self.port, "GET", "/metrics")[1].split("\n")
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


def wrk(port, seconds, cores, connections=CONNECTIONS):
    """The load as fast as answers come. Returns what payments.lua prints, and its CPU seconds."""
    threads = max(1, len(cores) // 2)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
               "-s", HERE / "payments.lua", f"http://127.0.0.1:{port}/payments", "--", next_seed()]
    line, cpu = machine.run(command, cores)
    return json.loads(line) | {"load_cpu": cpu}


def open_loop(port, rate, seconds, cores, count=None):
    """The load at a fixed rate, latency counted from when each payment was due."""
    command = [EXAMPLES / "load", port, rate, seconds, CONNECTIONS, next_seed()]
    line, cpu = machine.run(command + ([count] if count else []), cores)
    return json.loads(line) | {"load_cpu": cpu}


def fill(port, count, cores):
    """Has `count` payments charged, and leaves their claims behind."""
    result = open_loop(port, 0, 600, cores, count)
    if result["statuses"] != {"200": count}:
        raise RuntimeError(f"filling went wrong: {result}")


def open_idle(port, count):
    """Connections that have had one answer each and wait; the caller closes them."""
    request = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(request)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("an idle connection got no 200")
        connections.append(connection)
    return connections
