# soaklab.py - what the harnesses of tests/soak share: how often they run, what they watch, and the
# figures they give.
#
# In a test run each harness has the small count that it names, and CI_SECONDS at most. `./dev soak`
# gives it a longer time (TAPNET_SOAK_SECONDS), the other count that it names, a seed
# (TAPNET_SEED) and a file for its figures (TAPNET_FIGURES), one line of JSON each.
import json
import os
import random
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

import faultlab
from conftest import Session, mounts, run_dir

SECONDS = float(os.environ.get("TAPNET_SOAK_SECONDS", 0))
SEED = int(os.environ.get("TAPNET_SEED", 1))
CI_SECONDS = 40.0  # of a harness in a test run, whatever its count
LONGEST = 10.0  # no wait is longer, in seconds
SETTLE = 0.1  # seconds after a kill, at the 99th percentile
IDLE = 0.05  # the kernel lets go of an empty namespace within this, unless others keep it busy

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
HOOK = """\
#!/bin/sh
echo "$TAPNET_EVENT ${TAPNET_NODE:-lab}${TAPNET_INTERFACE:+:$TAPNET_INTERFACE}" >> "$TAPNET_LAB.hooks"
"""


def tiny(lab, binary, text=TINY):
    made = lab(text, binary)
    faultlab.script(made.file.parent / "hook", HOOK)
    return made


def runs(in_test, on_demand, share=1):
    """Counts from 0: so often, or until the time is over, of which it has a share."""
    until = time.monotonic() + (SECONDS or CI_SECONDS) / share
    for i in range(on_demand if SECONDS else in_test):
        if time.monotonic() > until:
            return
        yield i


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


def of_lab(made, name):
    """The pid of the lab's process of this name, or None: it was forked by `up FILE`."""
    for pid, its in below().items():
        try:
            if its == name and str(made.file) in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        except OSError:
            pass
    return None


def reap(keep=()):
    """Zombies that came to us, as to a host's init; not those that somebody waits for."""
    for pid in children(os.getpid()):
        if pid not in keep:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


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
    with open(log or said_file(made, verb[0]), "wb") as out:
        return subprocess.Popen([str(made.bin), *map(str, verb)], stdout=out, stderr=out,
                                stdin=subprocess.DEVNULL, cwd=made.file.parent,
                                env={**os.environ, **(env or {})})


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

    def settled(self, files=True):
        """Only what was there: leaving out the run directory, if told so."""
        left = look() - self.short
        return not [x for x in left if not x.startswith("sanitizer") and
                    (files or not x.startswith("file"))]

    def left(self, seconds=4.0, full=False):
        """What is left for good. Each thing is told once."""
        until = time.monotonic() + seconds
        while True:
            reap()
            left = look() ^ self.short
            if not left or time.monotonic() > until:
                break
            time.sleep(0.002)
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


class Figures:
    """Of one harness."""

    def __init__(self, harness):
        self.harness, self.runs, self.longest = harness, 0, 0.0
        self.leaks, self.reports, self.lies, self.wrong, self.settle = [], [], [], [], []
        self.kernel = []  # how long the kernel took for an empty namespace
        self.more = {}
        self.begin = time.monotonic()

    def took(self, seconds):
        self.longest = max(self.longest, seconds)

    def leak(self, run, lines):
        for line in lines:
            (self.reports if line.startswith("sanitizer") else self.leaks).append(f"{run}: {line}")

    def limit(self):
        """Of settling. Where others keep the kernel busy its time is not ours, for which a teardown
        waits three times, one after the other (links of the lab, those in the host, namespaces);
        nor is the time of other tests, in a test run."""
        kernel = percentile(self.kernel, 0.99) or 0
        limit = SETTLE if kernel <= IDLE else SETTLE + 3 * kernel
        return limit if SECONDS else limit * max(3.0, 2 * os.getloadavg()[0] / os.cpu_count())

    def write(self):
        if self.harness == "planted":
            return
        ms = {name: round(of * 1000, 1) for name, of in (
            ("settle_median_ms", percentile(self.settle, 0.5)),
            ("settle_p99_ms", percentile(self.settle, 0.99)),
            ("settle_limit_ms", self.limit() if self.settle else None),
            ("kernel_p99_ms", percentile(self.kernel, 0.99)))
            if of is not None}
        line = {"harness": self.harness, "runs": self.runs, "leaks": len(self.leaks),
                "lies": len(self.lies), "wrong": len(self.wrong), "longest": round(self.longest, 3),
                **ms, "reports": len(self.reports), "seed": SEED,
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
            bad.append(f"a wait of {self.longest:.1f} s")
        p99 = percentile(self.settle, 0.99)
        if p99 and len(self.settle) >= 50 and p99 > self.limit():
            bad.append(f"settled after {p99 * 1000:.0f} ms, at the 99th percentile; "
                       f"{self.limit() * 1000:.0f} ms are allowed")
        if bad:
            more = f"\n… and {len(bad) - 20} more" if len(bad) > 20 else ""
            pytest.fail(f"{self.harness}, seed {SEED}:\n" + "\n".join(bad[:20]) + more,
                        pytrace=False)


def end(made, figures, run, verb="down", expected=(0, 3)):
    """Ends the lab by a verb, in time."""
    begin_ = time.monotonic()
    down = begin(made, verb, made.name)
    status = wait_end(down, 30)
    figures.took(time.monotonic() - begin_)
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
