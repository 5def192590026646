"""What the kernel knows and decides: quotas, affinity, CPU time, memory. Nothing about proxies."""

import atexit
import fcntl
import os
import pathlib
import resource
import socket
import struct
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
CGROUP = pathlib.Path("/sys/fs/cgroup")


class NoQuota(Exception):
    """This machine does not let us limit CPU time; the text says why."""


class Quota:
    """A cgroup (v1 or v2) that holds its processes at `cores` of CPU time."""

    def __init__(self, cores, period_us):
        self.period_us = period_us
        self.v2, parent = _cpu_controller()
        self.path = parent / f"bench-proxies-{os.getpid()}"
        try:
            self.path.mkdir(exist_ok=True)
            self.set(cores)
        except OSError as fault:
            raise NoQuota(f"{self.path}: {fault}; be root, or use --no-quota") from fault
        atexit.register(self.remove)

    def set(self, cores):
        """Changes the limit; None takes it off."""
        if self.v2:
            limit = "max" if cores is None else int(cores * self.period_us)
            (self.path / "cpu.max").write_text(f"{limit} {self.period_us}")
            return
        limit = -1 if cores is None else int(cores * self.period_us)
        (self.path / "cpu.cfs_period_us").write_text(str(self.period_us))
        (self.path / "cpu.cfs_quota_us").write_text(str(limit))

    def enter(self):
        """Called in a new process before it becomes the program."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def periods(self):
        """(periods so far, periods in which the limit was reached)"""
        lines = (self.path / "cpu.stat").read_text().split("\n")
        stat = dict(line.split() for line in lines if line)
        return int(stat["nr_periods"]), int(stat["nr_throttled"])

    def remove(self):
        """Removes the group; its processes have ended."""
        for _ in range(50):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)
            else:
                return


def _cpu_controller():
    """(is it v2, the folder in which our group can be made)"""
    v1 = None
    for line in pathlib.Path("/proc/self/mountinfo").read_text().split("\n"):
        front, _, back = line.partition(" - ")
        if back.startswith("cgroup ") and "cpu" in back.split()[-1].split(","):
            v1 = pathlib.Path(front.split()[4])
        if back.startswith("cgroup2 "):
            root = pathlib.Path(front.split()[4])
            if "cpu" in (root / "cgroup.controllers").read_text().split():
                return True, _v2_parent(root)
    if v1 is None:
        raise NoQuota("no cgroup has the cpu controller; use --no-quota")
    return False, v1


def _v2_parent(root):
    """A v2 group whose children may have the cpu controller."""
    try:
        (root / "cgroup.subtree_control").write_text("+cpu")
    except OSError as fault:
        raise NoQuota(f"{root}/cgroup.subtree_control: {fault}; use --no-quota") from fault
    return root


def raise_descriptors():
    """Lets this process open as many files as it may; 10,000 connections need that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


class Process:
    """A program of ours: pinned, limited, and stopped at the end whatever happens."""

    def __init__(self, command, cores, quota=None, env=None, read_line=False):
        def prepare():
            os.sched_setaffinity(0, cores)
            raise_descriptors()
            if quota is not None:
                quota.enter()

        self.command = [str(word) for word in command]
        self.child = subprocess.Popen(
            self.command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if read_line else subprocess.DEVNULL,
            text=True,
            preexec_fn=prepare,
        )
        self.pid = self.child.pid
        atexit.register(self.stop)
        self.line = self.child.stdout.readline() if read_line else ""

    def stop(self, patience=3):
        """Ends it: asked first, then made to."""
        atexit.unregister(self.stop)
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        if self.child.stdout:
            self.child.stdout.close()

    def move(self, cores):
        """Pins it elsewhere, with all its threads."""
        for thread in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def is_alive(self):
        return self.child.poll() is None

    def cpu_seconds(self):
        """utime + stime of all its threads, io_uring's workers included."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().split("\n"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(self.pid)


def run(command, cores):
    """Runs a program to its end. Returns (its last line, CPU seconds it took)."""
    child = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out, _ = child.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(child.args)} ended with {child.returncode}: {out}")
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return out.strip().split("\n")[-1], took


def enter_own_network():
    """Goes on in a network namespace of its own, where no firewall and no connection tracking of
    the machine has its hooks in every packet. Returns whether that is so."""
    if os.environ.get("BENCH_OWN_NETWORK") != "1":
        if subprocess.run(["unshare", "--net", "true"], stderr=subprocess.DEVNULL).returncode:
            return False
        os.environ["BENCH_OWN_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        flags = struct.pack("16sh14x", b"lo", 0x1)  # IFF_UP
        fcntl.ioctl(anything, 0x8914, flags)  # SIOCSIFFLAGS
    return True


def core_ticks(cores):
    """(busy, stolen, all) of these cores since the machine started"""
    busy = stolen = total = 0
    for line in pathlib.Path("/proc/stat").read_text().split("\n"):
        name, *words = line.split() or [""]
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, idle, iowait, irq, softirq, steal, *_ = map(int, words)
            busy += user + nice + system + irq + softirq
            stolen += steal
            total += user + nice + system + idle + iowait + irq + softirq + steal
    return busy, stolen, total


def describe():
    """One line about this machine, for the head of a report."""
    info = pathlib.Path("/proc/cpuinfo").read_text().split("\n")
    model = next((line.split(": ")[1] for line in info if line.startswith("model name")), "?")
    versions = [version(["haproxy", "-v"]), version(["nginx", "-v"])]
    return f"{os.cpu_count()} x {model}, Linux {os.uname().release}; {', '.join(versions)}"


def version(command):
    """The first line that a program says about its version, less what packagers add to it."""
    said = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, text=True)
    return " ".join(said.stdout.split("\n")[0].removeprefix("nginx version: ").split()[:3])
