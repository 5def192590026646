"""Processes that a script needs around it, on free ports of 127.0.0.1: processors (the simulator),
p99 instances and HAProxy.

Used by most scripts here. Every process is started from an explicit command and ended by its
own id; nothing here looks for processes by name. Standard library only.
"""

import csv
import decimal
import http.client
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
TOKEN = "123"
START_SECONDS = 15


def cents(amount):
    """A JSON number's text, or a Decimal, as integer cents."""
    value = decimal.Decimal(amount) * 100
    if value != value.to_integral_value():
        raise ValueError(f"{amount} is no whole number of cents")
    return int(value)


def totals(summary):
    """(count, cents) by processor of a p99 summary."""
    return {name: (summary[name]["totalRequests"], cents(summary[name]["totalAmount"]))
            for name in ("default", "fallback")}


def free_port():
    """A port that nothing listens on now, below those that the kernel gives to connections."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port := random.randrange(10_000, 32_000)))
                return port
            except OSError:
                pass


def p99_binary(given=None):
    """The binary to test: the given one, $P99_BIN, or what cargo built last."""
    names = [given] if given else [
        os.environ.get("P99_BIN"), ROOT / "target/release/p99", ROOT / "target/debug/p99"]
    for name in names:
        if name and pathlib.Path(name).is_file():
            return str(name)
    raise SystemExit("no p99 binary; build it with: cargo build --release")


def haproxy_binary():
    """$HAPROXY_BIN, or the installed one (Debian keeps it out of a user's PATH)."""
    found = os.environ.get("HAPROXY_BIN") or shutil.which(
        "haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    return found or sys.exit("no haproxy; install it with: apt-get install haproxy")


def haproxy_config(count):
    """haproxy.cfg for `count` shards."""
    return subprocess.run([ROOT / "scripts/haproxy-config", str(count)], check=True,
                          capture_output=True, text=True).stdout


def postgres_programs():
    """The folder with initdb and postgres: $P99_POSTGRES_BIN, the newest of Debian's, or None."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    given = os.environ.get("P99_POSTGRES_BIN")
    return pathlib.Path(given) if given else found[-1].parent if found else None


class Client:
    """One kept-alive connection to one server; connects again when it was closed."""

    def __init__(self, url, timeout=5.0):
        parts = urllib.parse.urlsplit(url)
        self.url = url
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=timeout)

    def call(self, method, path, body=None, headers=None):
        """Status, headers and body. An idempotent call on a stale connection is made once more."""
        tries = 2 if method in ("GET", "PUT") else 1
        for left in range(tries, 0, -1):
            try:
                self._connection.request(method, path, body, headers or {})
                answer = self._connection.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            except (OSError, http.client.HTTPException):
                self._connection.close()
                if left == 1:
                    raise

    def close(self):
        self._connection.close()

    def json(self, method, path, value=None, headers=None):
        """The JSON of a 2xx answer; anything else is an error."""
        body = None if value is None else json.dumps(value)
        headers = {"Content-Type": "application/json", **(headers or {})}
        status, _, text = self.call(method, path, body, headers)
        if status // 100 != 2:
            raise RuntimeError(f"{method} {self.url}{path}: {status} {text[:200]!r}")
        return json.loads(text, parse_float=str) if text else None


class Process:
    """One child process whose output goes to a file."""

    def __init__(self, name, command, folder, environment=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.environment = environment
        self.child = None
        # What the child does before it becomes the program: limits, another scheduler.
        self.before = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self.environment, preexec_fn=self.before)
        return self

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def kill(self):
        """kill -9, as a crash would."""
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=20):
        """SIGTERM, and the exit status; kill -9 when it does not end in time."""
        if not self.is_running():
            return self.child.returncode if self.child else None
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return "killed"

    def await_ready(self, url, path="/readyz", status=200):
        """Waits until the server at `url` answers with `status`."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.is_running():
                break
            try:
                if Client(url, timeout=1).call("GET", path)[0] == status:
                    return self
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        text = self.log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{self.name} did not get ready at {url}{path}:\n{text}")


def clean_environment(**values):
    """This process's environment without p99's own settings, plus `values`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {name: str(value) for name, value in values.items() if value is not None}


class Processor(Process):
    """One simulated payment processor and its admin calls."""

    def __init__(self, name, binary, fee, folder):
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        super().__init__(name, [binary, "processor", "--port", self.port, "--fee", fee], folder,
                         clean_environment(RUST_LOG="warn"))
        self.admin = ProcessorAdmin(name, self.url)

    def start(self):
        super().start()
        # Any answer will do; service-health has one permit in 5 s, which belongs to p99.
        return self.await_ready(self.url, "/", status=404)


class ProcessorAdmin:
    """The calls that belong to tests: switch, audit, purge."""

    def __init__(self, name, url, token=TOKEN):
        self.name = name
        self._client = Client(url, timeout=30)
        self._headers = {"X-Rinha-Token": token}

    def configure(self, delay_ms, failing):
        put = lambda what, value: self._client.json(
            "PUT", f"/admin/configurations/{what}", value, self._headers)
        put("delay", {"delay": delay_ms})
        put("failure", {"failure": failing})

    def summary(self, window=""):
        return self._client.json("GET", f"/admin/payments-summary{window}", None, self._headers)

    def payments(self):
        """Every charged payment with the number of attempts received for it."""
        return self._client.json("GET", "/admin/payments", None, self._headers)

    def purge(self):
        self._client.json("POST", "/admin/purge-payments", None, self._headers)


class Instance(Process):
    """One p99."""

    def __init__(self, name, binary, folder, port=None, **settings):
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}"
        super().__init__(name, [binary], folder, clean_environment(
            LISTEN=f"{HOST}:{self.port}", **settings))

    def start(self):
        super().start()
        return self.await_ready(self.url)


class Postgres(Process):
    """A PostgreSQL of its own with the database p99 and its schema. It refuses to be root, so it
    is user postgres then."""

    def __init__(self, folder, binary):
        self.port = free_port()
        self._programs, self._binary = postgres_programs(), binary
        self._folder = pathlib.Path(folder) / "postgres"
        self._folder.mkdir()
        data = self._folder / "data"
        super().__init__("postgres", [
            self._programs / "postgres", "-D", data, "-p", self.port, "-k", self._folder,
            "-c", f"listen_addresses={HOST}", "-c", "fsync=off", "-c", "shared_buffers=32MB",
            "-c", "unix_socket_permissions=0777"], folder, clean_environment(LC_ALL="C.UTF-8"))
        if os.geteuid() == 0:
            for place in [self._folder, *list(self._folder.parents)[:-2]]:
                place.chmod(0o755)
            shutil.chown(self._folder, "postgres")
            self.before = self._as_its_user
        self._call([self._programs / "initdb", "-U", "postgres", "-A", "trust", "--no-sync",
                    "--encoding=UTF8", "--locale=C", "-D", data])

    def _as_its_user(self):
        entry = pwd.getpwnam("postgres")
        os.chdir("/")
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)

    def _call(self, command, **more):
        subprocess.run(command, check=True, capture_output=True, text=True,
                       preexec_fn=self.before, env=self.environment | more)

    def store(self, user="p99", port=None):
        """STORE for `user`, by another port too."""
        return f"postgres://{user}@{HOST}:{port or self.port}/p99?sslmode=disable"

    def start(self):
        super().start()
        deadline = time.monotonic() + START_SECONDS
        ask = [self._programs / "pg_isready", "-q", "-h", self._folder, "-p", str(self.port)]
        while subprocess.run(ask, check=False).returncode:
            if time.monotonic() > deadline or not self.is_running():
                raise SystemExit(f"postgres did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def make(self):
        """Makes role, database and schema, and says that nothing is to be imported."""
        ask = [self._programs / "psql", "-X", "-q", "-U", "postgres", "-h", self._folder, "-p",
               str(self.port), "-c", "CREATE ROLE p99 LOGIN", "-c", "CREATE DATABASE p99"]
        self._call(ask)
        for task in (["migrate", "--role", "p99"], ["import", "--done"]):
            self._call([self._binary, "store", *task], STORE=self.store("postgres"))

    def kill(self):
        """As its power does: SIGQUIT has it take its children with it, and write nothing."""
        self.child.send_signal(signal.SIGQUIT)
        self.child.wait()


def shards(count, binary, folder, journals=None, **settings):
    """`count` shards that are each other's peers, not started; with `journals` one in it for each."""
    ports = [free_port() for _ in range(count)]
    for number, port in enumerate(ports, 1):
        name = f"p99-{number}"
        own = {}
        if count > 1:
            others = [f"http://{HOST}:{other}" for other in ports if other != port]
            own |= {"SHARD": f"{number}/{count}", "PEERS": ",".join(others)}
        if journals:
            own["JOURNAL_DIR"] = pathlib.Path(journals) / name
            own["JOURNAL_DIR"].mkdir(parents=True, exist_ok=True, mode=0o700)
        yield Instance(name, binary, folder, port, **own, **settings)


def shard_states(stats):
    """UP, DOWN or what else the HAProxy with its statistics at `stats` says, by shard."""
    page = Client(stats).call("GET", "/;csv")[2].decode()
    rows = csv.DictReader(page.lstrip("# ").splitlines())
    return {int(row["pxname"].removeprefix("shard_")): row["status"].split()[0]
            for row in rows if row["pxname"].startswith("shard_") and row["svname"] == "p99"}


class Balancer(Process):
    """HAProxy with haproxy.cfg, made for as many shards as there are addresses."""

    def __init__(self, folder, *addresses, config=None, **settings):
        self.port, self.stats_port, self.tls_port = free_port(), free_port(), free_port()
        self.url = f"http://{HOST}:{self.port}"
        if config is None:
            config = pathlib.Path(folder) / f"haproxy-{self.port}.cfg"
            config.write_text(haproxy_config(len(addresses)))
        shards = {f"P99_{number}": address for number, address in enumerate(addresses, 1)}
        # -W as in the official image: SIGUSR2 reloads.
        super().__init__("haproxy", [haproxy_binary(), "-W", "-db", "-f", config], folder,
                         clean_environment(
                             P99_BIND=f"{HOST}:{self.port}",
                             P99_STATS=f"{HOST}:{self.stats_port}",
                             P99_TLS_BIND=f"{HOST}:{self.tls_port}", P99_THREADS=1,
                             **shards, **settings))

    def start(self, path="/readyz"):
        super().start()
        return self.await_ready(self.url, path)
