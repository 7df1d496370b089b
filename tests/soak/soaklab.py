# soaklab.py - what the harnesses of tests/soak share: how often they run, what they watch, and the
# figures they give.
#
# In a test run each harness has the small count that it names, and fails when it does not get there
# in CI_SECONDS. `./dev soak` gives it a time (TAPNET_SOAK_SECONDS), the other count that it names, a seed
# (TAPNET_SEED) and a file for its figures (TAPNET_FIGURES), one line of JSON each.
#
# Settled after a kill is when a look finds nothing of the lab that its user can see: no link, mount,
# process or run directory. The kernel frees the namespaces themselves later, on a queue of its own;
# who is asked for an answer (`up`, `down`, `gc`) waits for that too, and those processes alone are
# not counted then. On demand 99 % of the kills in quiet moments must be settled within SETTLE: moments
# before and after which nobody waited for a processor (Quiet). Kills in other moments, and all in a
# test run, tell of the machine: there the fastest twentieth must be, less the time that the process that
# takes the lab down waited for a processor: a sleep of ours would be in each of them.
import json
import os
import random
import re
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import faultlab
from conftest import Session, mounts, run_dir

SECONDS = float(os.environ.get("TAPNET_SOAK_SECONDS", 0))
SEED = int(os.environ.get("TAPNET_SEED", 1))
CI_SECONDS = 200.0  # a harness needs 10 to 50 in a test run
LONGEST = 10.0 if SECONDS else 30.0  # no wait is longer, in seconds; the kernel frees all labs in one queue
SETTLE = 0.1  # seconds after a kill
JUDGED = 50  # so many kills in quiet moments are enough to judge by
WINDOW, WAITED = 0.01, 0.1  # seconds before and after a quiet moment, the part of them that others waited

# Small, and of nearly every kind: up in 10 ms or so.
TINY = """\
bridges: {lan: 10.1.0.0/24, office: {host: hostbr, subnet: none}}
hooks: {up: ./hook, down: ./hook}
nodes:
  r1:
    interfaces: {eth0: lan, eth1: office}
    exec: "true"
    services: {s: {command: [sleep, "1000"]}}
  g1:
    kind: guest
    command: [sleep, "1000"]
    interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}
"""
HOOK = """#!/bin/sh
echo "$TAPNET_EVENT ${TAPNET_NODE:-lab}${TAPNET_INTERFACE:+:$TAPNET_INTERFACE}" >> "$TAPNET_LAB.hooks"
"""


def tiny(lab, binary, text=TINY):
    made = lab(text, binary)
    faultlab.script(made.file.parent / "hook", HOOK)
    return made


def runs(figures, in_test, on_demand, share=1, each=1):
    """Turns, each of so many runs: in a test run all; on demand until the time is over, of which it
    has a share."""
    figures.wanted = 0 if SECONDS else in_test
    until = time.monotonic() + (SECONDS / share if SECONDS else CI_SECONDS)
    for _ in range(-(-(on_demand if SECONDS else in_test) // each)):
        if time.monotonic() > until:
            return
        yield
        figures.runs += each


def dice(harness):
    return random.Random(f"{SEED} {harness}")


# --- processes ------------------------------------------------------------------------------------

def children(pid):
    """Of all its threads."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except OSError:  # it has ended
        pass
    return found


def below(root=None):
    """{pid: its name} of all descendants that live."""
    found, todo = {}, children(root or os.getpid())
    while todo:
        pid = todo.pop()
        todo += children(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            continue
        name, rest = stat.split("(", 1)[1].rsplit(")", 1)
        if rest.split()[0] not in "ZX":
            found[pid] = name
    return found


def alive(pids):
    """Is one of them, and no zombie?"""
    living = below()
    return any(pid in living for pid in pids)


def of_lab(made, name):
    """The pid of the lab's process of this name, or None: it was forked by `up FILE`."""
    for pid, its in below().items():
        try:
            if its == name and str(made.file) in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        except OSError:
            pass
    return None


class Ours:
    """The verbs under way: who began them waits for them."""
    lock, verbs = threading.Lock(), {}


def reap(but=None):
    """Zombies that came to us, as to a host's init; not those that somebody waits for."""
    with Ours.lock:
        Ours.verbs = {pid: verb for pid, verb in Ours.verbs.items() if verb.returncode is None}
        for pid in children(os.getpid()):
            if pid not in Ours.verbs and pid != but:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass


def together(runs_, figures):
    """[(name, function)], all at once, and we reap meanwhile."""
    def run(name, function):
        try:
            function()
        except Exception as error:  # a thread's own would be lost
            figures.wrong.append(f"{name}: {error!r}")
    threads = [threading.Thread(target=run, args=one) for one in runs_]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            reap()
            thread.join(0.02)


def wait_end(process, seconds):
    """Its exit status as soon as it has one; None when it is late."""
    if process.poll() is not None:
        return process.returncode
    fd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return process.wait() if poll.poll(seconds * 1000) else None
    finally:
        os.close(fd)


def begin(made, *verb, env=None, log=None):
    """A verb under way; what it says goes to a file, said() reads it."""
    with open(log or said_file(made, verb[0]), "wb") as out, Ours.lock:
        verb = subprocess.Popen([str(made.bin), *map(str, verb)], stdout=out, stderr=out,
                                stdin=subprocess.DEVNULL, cwd=made.file.parent,
                                env={**os.environ, **(env or {})})
        Ours.verbs[verb.pid] = verb
        return verb


def said_file(made, verb):
    return made.file.parent / f"{made.name}.{verb}"


def said(made, verb):
    return said_file(made, verb).read_text(errors="replace")


def send(pid, number):
    if pid:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


# --- what is left ---------------------------------------------------------------------------------

def look():
    """The cheap part of the leak check: links, mounts, processes, the run directory, sanitizers."""
    found = {f"process {pid} {name}" for pid, name in below().items()}
    found |= {f"link {name}" for name in os.listdir("/sys/class/net")}
    found |= set(mounts())
    if run_dir().is_dir():
        found |= {f"file {name}" for name in os.listdir(run_dir()) if not name.endswith(".failed")}
    found |= {f"sanitizer {r.name}: {r.read_text(errors='replace')[:4000]}"
              for r in Session.reports.glob("report*")}
    return found


class Watch:
    """What was there, in short and in full."""

    def __init__(self, snapshot):
        self.snapshot = snapshot
        self.short, self.full = look(), snapshot()

    def settled(self, but=()):
        """Only what was there, but processes of these names."""
        return not [x for x in look() - self.short if not x.startswith("sanitizer") and
                    not (x.startswith("process") and x.endswith(but))]

    def left(self, seconds=4.0, full=False):
        """What is left for good. Each thing is told once."""
        until = time.monotonic() + seconds
        while True:
            reap()
            left = look() ^ self.short
            if not left or time.monotonic() > until:
                break
            time.sleep(0.01)
        self.short |= left
        if full and not left:
            left = set(faultlab.settle(self.full, self.snapshot, seconds))
            self.full |= left
        return sorted(left)


# --- figures --------------------------------------------------------------------------------------

def percentile(values, of):
    """None without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * of))] if ordered else None


def kernel_alone():
    """How long the kernel takes to let go of a namespace that has one link, whose other end we
    have: both go at once."""
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 100"],
                          stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        subprocess.run(["ip", "link", "add", "alone0", "type", "veth", "peer", "name", "alone1",
                        "netns", str(holder.pid)], check=True)
        begin_ = time.monotonic()
        holder.kill()
        while os.path.exists("/sys/class/net/alone0") and time.monotonic() < begin_ + LONGEST:
            time.sleep(0.0005)
        return time.monotonic() - begin_


def pressure():
    """Seconds since boot in which somebody waited for a processor; None where the kernel has no PSI."""
    try:
        return int(re.search(r"some .*total=(\d+)", Path("/proc/pressure/cpu").read_text())[1]) / 1e6
    except OSError:
        return None


class Quiet:
    """A moment before and after which hardly anybody waits for a processor."""

    def __init__(self):
        self.is_quiet = True
        self.look()

    def look(self):
        """Before, and after."""
        begin_ = pressure()
        time.sleep(WINDOW)
        if begin_ is None:
            self.is_quiet &= os.getloadavg()[0] < 1
        else:
            self.is_quiet &= pressure() - begin_ <= WAITED * WINDOW


def waited(pid):
    """Seconds that a process, which may be a zombie, was ready to run and had no processor."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9 if pid else 0.0
    except OSError:
        return 0.0


class Figures:
    """Of one harness."""

    def __init__(self, harness):
        self.harness, self.runs, self.wanted, self.longest = harness, 0, 0, 0.0
        self.slowest = ""  # which run was the longest
        self.leaks, self.reports, self.lies, self.wrong = [], [], [], []
        self.settle, self.own, self.quiet = [], [], []  # all; less waiting for a processor; quiet ones
        self.kernel = []  # how long the kernel took for an empty namespace
        self.more = {}
        self.begin = time.monotonic()

    def took(self, seconds, run=""):
        if seconds > self.longest:
            self.longest, self.slowest = seconds, run

    def leak(self, run, lines):
        for line in lines:
            (self.reports if line.startswith("sanitizer") else self.leaks).append(f"{run}: {line}")

    def settled(self, took, waited_, quiet):
        self.took(took)
        self.settle.append(took)
        self.own.append(max(took - waited_, 0.0))
        if quiet:
            self.quiet.append(took)

    def late(self):
        """What settled too late, see above."""
        if SECONDS and len(self.quiet) >= JUDGED and percentile(self.quiet, 0.99) > SETTLE:
            yield f"settled after {percentile(self.quiet, 0.99) * 1000:.0f} ms, at the 99th percentile"
        if self.own and percentile(self.own, 0.05) > SETTLE:
            yield f"the fastest twentieth settled after {percentile(self.own, 0.05) * 1000:.0f} ms"

    def write(self):
        if self.harness == "planted":
            return
        ms = {f"{name}_{how}_ms": round(percentile(of, q) * 1000, 1) for name, of in (
            ("settle", self.settle), ("settle_own", self.own), ("settle_quiet", self.quiet),
            ("kernel", self.kernel))
            for how, q in (("p05", 0.05), ("median", 0.5), ("p99", 0.99)) if of}
        line = {"harness": self.harness, "runs": self.runs, "leaks": len(self.leaks),
                "lies": len(self.lies), "wrong": len(self.wrong), "longest": round(self.longest, 3),
                **ms, **({"quiet": len(self.quiet)} if self.settle else {}),
                "reports": len(self.reports), "seed": SEED,
                "seconds": round(time.monotonic() - self.begin, 1), **self.more}
        if os.environ.get("TAPNET_FIGURES"):
            with open(os.environ["TAPNET_FIGURES"], "a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
        print(line)

    def judge(self):
        """Writes them; fails when a criterion does."""
        self.write()
        bad = self.leaks + self.reports + self.lies + self.wrong
        if self.longest > LONGEST:
            bad.append(f"a wait of {self.longest:.1f} s: {self.slowest}")
        if self.runs < self.wanted:
            bad.append(f"only {self.runs} of {self.wanted} runs in {CI_SECONDS:.0f} s")
        bad += self.late()
        if bad:
            more = f"\n… and {len(bad) - 20} more" if len(bad) > 20 else ""
            pytest.fail(f"{self.harness}, seed {SEED}:\n" + "\n".join(bad[:20]) + more,
                        pytrace=False)


def end(made, figures, run, verb="down", expected=(0, 3)):
    """Ends the lab by a verb, in time."""
    begin_ = time.monotonic()
    down = begin(made, verb, made.name)
    status = wait_end(down, 30)
    figures.took(time.monotonic() - begin_, f"{run}: {verb}")
    if status not in expected:
        down.kill()
        down.wait()
        figures.wrong.append(f"{run}: {verb}: exit {status}: {said(made, verb)}")


def hook_log(made):
    """Of TINY: labs of one folder have a log each."""
    return made.file.with_suffix(".hooks")


def unpaired(made):
    """The log's mistakes, and the log is forgotten. A hook that a kill met before its first word has
    its down hook all the same."""
    log = hook_log(made)
    lines = [(*line.split(), None) for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return [line for line in faultlab.unpaired(lines) if "without its up hook" not in line]


SIGNALS = {name: getattr(signal, name)
           for name in ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGHUP")}
