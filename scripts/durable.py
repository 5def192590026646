"""What power-cut and sync-failure share: clients that remember every answer, disks inside files,
and the audit that joins answers with what the processors charged.

Needs root, loop devices and e2fsprogs. Everything that is mounted or started here is ended here, by
its own mount point or id. Standard library only.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid

import stack

SKIPPED = 77  # As in automake: neither passed nor failed.
SETTLE_SECONDS = 60


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def demand(*programs, filesystem=None):
    """Skips where the machine lacks what the test stands on."""
    if os.geteuid() != 0:
        skip("needs root, for loop devices and mounts")
    if not pathlib.Path("/dev/loop-control").exists():
        skip("needs loop devices")
    for program in programs:
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
            skip(f"needs {program}")
    if filesystem and filesystem not in pathlib.Path("/proc/filesystems").read_text().split():
        skip(f"needs a kernel with {filesystem}")


def run(*command):
    """Runs it; its output only when it fails."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def mounted(source, target, *options):
    """A file system that is mounted for a while; `source` may be an image."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        run("mount", *options, source, target)
    except RuntimeError as fault:
        skip(f"cannot mount: {fault}")
    try:
        yield target
    finally:
        unmount(target)


@contextlib.contextmanager
def serving(process):
    """A process that runs for a while, and is not left behind on a disk that goes away."""
    try:
        yield process.start()
    finally:
        if process.is_running():
            process.kill()


def unmount(target):
    """A loop device or a process that just ended may hold it a moment longer."""
    for left in range(50, 0, -1):
        try:
            return run("umount", target)
        except RuntimeError:
            if left == 1:
                raise
            time.sleep(0.1)


def image(path, mib, make):
    """A sparse file with a file system in it."""
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    run(*make, path)
    return path


class Load:
    """Clients that pay with fresh ids as fast as answers come, and remember what they heard."""

    CLIENTS = 24

    def __init__(self, port, body_cents=1990):
        self.port = port
        self.cents = body_cents
        self.heard = []  # (id, status or None, when); append is atomic
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True)
                         for _ in range(self.CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_fault):
        self.stop()

    def stop(self):
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def acknowledged(self, newest=None, older=0):
        """Ids with 200, ids with 202, up to now: all, or the `newest` and some `older` ones."""
        words = {200: [], 202: []}
        for identity, status, _ in list(self.heard):
            if status in words:
                words[status].append(identity)
        if newest is not None:
            for status, found in words.items():
                rest = found[:-newest]
                words[status] = random.sample(rest, min(older, len(rest))) + found[-newest:]
        return set(words[200]), set(words[202])

    def _work(self):
        while not self._is_over.is_set():
            try:
                with socket.create_connection((stack.HOST, self.port), timeout=30) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while not self._is_over.is_set():
                        self._pay(connection)
            except OSError:
                time.sleep(0.02)

    def _pay(self, connection):
        identity = str(uuid.UUID(int=random.getrandbits(128), version=4))
        body = f'{{"correlationId":"{identity}","amount":{self.cents / 100:.2f}}}'
        request = (f"POST /payments HTTP/1.1\r\nHost: p99\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n{body}")
        status = None
        try:
            connection.sendall(request.encode())
            status = read_status(connection)
        finally:
            self.heard.append((identity, status, time.monotonic()))
        if status not in (200, 202):
            time.sleep(0.01)


def read_status(connection):
    """The status of one answer that is read to its end; OSError when it breaks off."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = connection.recv(4096)
        if not part:
            raise OSError("closed")
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n")
                   if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        part = connection.recv(4096)
        if not part:
            raise OSError("closed")
        body += part
    return int(head[9:12])


def find(client, identity):
    """What an instance knows of a payment: its status, None when nothing."""
    status, _, text = client.call("GET", f"/payments/{identity}")
    return json.loads(text)["status"] if status == 200 else None


def settle(instance, processors):
    """Waits until nothing is pending; what stays so, or differs, is a fault."""
    client = stack.Client(instance.url)
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        _, _, page = client.call("GET", "/metrics")
        pending = next(line.split()[1] for line in page.decode().splitlines()
                       if line.startswith("p99_payments_pending "))
        if pending == "0" and not differences(instance, processors):
            return []
        time.sleep(0.3)
    return [f"{pending} payments stay pending", *differences(instance, processors)]


def differences(instance, processors):
    """Where p99's summary is not the processors' own."""
    ours = stack.Client(instance.url).json("GET", "/payments-summary")
    found = []
    for processor in processors:
        theirs = processor.admin.summary()
        mine = ours[processor.name]
        for field in ("totalRequests", "totalAmount"):
            if float(mine[field]) != float(theirs[field]):
                found.append(f"{processor.name} {field}: {mine[field]}, not {theirs[field]}")
    return found


def audit(processors, acknowledged):
    """Faults: ids charged twice, acknowledged ids charged nowhere."""
    charged = collections.Counter(
        row["correlationId"] for one in processors for row in one.admin.payments())
    twice = [identity for identity, count in charged.items() if count > 1]
    lost = [identity for identity in acknowledged if identity not in charged]
    return [f"charged twice: {one}" for one in twice] + [f"lost: {one}" for one in lost]
