"""A recording server that stands in for p99 behind HAProxy, and random JSON bodies for it.

The recorder reads a payment's id as strictly as p99 does (one top-level field, escapes decoded,
duplicates refused), remembers every request, and answers with its own number. Used by test-haproxy.
Standard library only.
"""

import http.server
import json
import re
import socket
import socketserver
import threading

import stack

ID = re.compile(r"[A-Za-z0-9._:~-]{1,64}")


def strict_id(body):
    """The correlationId as p99 reads it, in lower case; None where p99 answers 4xx."""
    class Fields(list):
        pass

    def number(_text):
        raise ValueError("NaN and Infinity are no JSON")

    try:
        fields = json.loads(body.decode("utf-8"), object_pairs_hook=Fields, parse_constant=number)
    except (ValueError, RecursionError):
        return None
    if type(fields) is not Fields:
        return None
    ids = [value for key, value in fields if key == "correlationId"]
    if len(ids) != 1 or not isinstance(ids[0], str) or not ID.fullmatch(ids[0]):
        return None
    return ids[0].lower()


class Recorder(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Stands in for one shard, at a port or at the path of a unix socket."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4_096

    def __init__(self, name, port=0):
        self.name = name
        self.seen = []
        self.is_ready = True
        self.pauses = threading.Event()  # cleared: payments wait
        self.pauses.set()
        self.breaks_off = False
        self.open = set()
        self.port = port
        if isinstance(port, int):
            super().__init__((stack.HOST, port), RecorderHandler)
            self.port = self.server_address[1]
            self.place = f"{stack.HOST}:{self.port}"
        else:
            self.address_family = socket.AF_UNIX
            port.unlink(missing_ok=True)
            super().__init__(str(port), RecorderHandler)
            self.place = f"unix@{port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def server_bind(self):
        # The HTTP server would look for the name of a host.
        socketserver.TCPServer.server_bind(self)

    def get_request(self):
        accepted, address = super().get_request()
        self.open.add(accepted)
        return accepted, address

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def crash(self):
        """No listener and no connection is left, as after kill -9."""
        self.shutdown()
        self.server_close()
        for accepted in list(self.open):
            try:
                accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass


class RecorderHandler(http.server.BaseHTTPRequestHandler):
    """One connection of a recorder."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        self.disable_nagle_algorithm = self.request.family != socket.AF_UNIX
        super().setup()

    def log_message(self, *_arguments):
        pass

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        body = self.body()
        if self.path == "/readyz" and "X-Forwarded-For" not in self.headers:
            return self.answer(200 if self.server.is_ready else 503, "")
        identity = None
        if self.command == "POST" and self.path.split("?")[0] == "/payments":
            identity = strict_id(body)
            if identity is None:
                return self.answer(400, str(self.server.name))
        elif self.path.startswith("/payments/"):
            identity = self.path.removeprefix("/payments/").lower()
        self.server.seen.append((identity, self.command, dict(self.headers)))
        self.server.pauses.wait()
        if self.server.breaks_off:
            self.close_connection = True
            return None
        return self.answer(200, str(self.server.name))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any


KEYS = ["correlationId", "correlationId", "correlationId", "amount", "c", "", "co", "correlationI",
        "correlationIdX", "CorrelationId", ".correlationId", "$.correlationId", "orrelationId",
        'a"b', "\\", 'correlationId"', "[0]", "é"]


def random_text(luck, text):
    """`text` as JSON, some of it escaped for no reason."""
    plain = luck.random() < 0.6
    parts = (f"\\u{ord(letter):04x}" if not plain and luck.random() < 0.2
             else json.dumps(letter, ensure_ascii=False)[1:-1] for letter in text)
    return '"' + "".join(parts) + '"'


def random_value(luck, depth):
    kind = luck.randrange(6)
    if kind == 0 and depth < 5:
        return random_object(luck, depth + 1)
    if kind == 1:
        nested = luck.randint(1, 30)
        return "[" * nested + "]" * nested
    if kind == 2:
        return luck.choice(["1", "-0", "19.90", "1E-3", "true", "null", '"\\ud83d\\ude00"'])
    if kind == 3:
        return random_text(luck, luck.choice(['"correlationId":"no"', "\\", '\\"', "}", "é"]))
    return random_text(luck, f"no-{luck.randrange(40)}")


def random_object(luck, depth):
    space = lambda: luck.choice(["", "", " ", "\n", "\t"])
    fields = []
    for _ in range(luck.randint(0, 5)):
        key = luck.choice(KEYS)
        # Few ids, so that each comes many times and in many bodies.
        value = (random_text(luck, f"id-{luck.randrange(40)}") if key == "correlationId"
                 and luck.random() < 0.9 else random_value(luck, depth))
        fields.append(
            f"{space()}{random_text(luck, key)}{space()}:{space()}{value}{space()}")
    return "{" + ",".join(fields) + "}"
