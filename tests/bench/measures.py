# measures.py - what is measured beside up and down: memory, calls, parsing, exec, guests, hooks, a kill.
# Each gives {name: [value, …]} of `runs` runs, which were taken in turn.
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from tools import LIMIT, LONGEST, TOOL, Drain, Failed, Limit, Ours, Talk, comm, descendants, named, reap, run

SCRIPT = "#!/bin/sh\nexit 0\n"
HOOKS = 50
EXECS = 15  # of each kind, in one lab
PAGES = ("Slab", "KernelStack", "PageTables", "VmallocUsed", "Percpu")


def kernel_memory():
    """KiB that the kernel has for itself."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(fields[1]) for fields in lines if fields[0][:-1] in PAGES)


def fields(pid, file, *wanted):
    try:
        lines = (line.split() for line in Path(f"/proc/{pid}/{file}").read_text().splitlines())
        return [int(f[1]) for f in lines if f[0][:-1] in wanted]
    except OSError:
        return []


class Watch(threading.Thread):
    """The most that our processes have at one time: each page counts once, however many share it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.done = 0, threading.Event()

    def look(self):
        now = sum(sum(fields(pid, "smaps_rollup", "Pss")) for pid in descendants(os.getpid())
                  if comm(pid).startswith("tapnet-"))
        self.most = max(self.most, now)

    def run(self):
        while not self.done.wait(0.01):
            self.look()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()
        self.look()  # what is small is quicker than a turn


def memory(folder, runs, n):
    """Of up, guardian and worker of a star: the most together, and each one's own mark."""
    ours, found = Ours(folder), {"together": [], "marks": []}
    try:
        for _ in range(runs):
            with Watch() as watch:
                ours.up("star", n)
                marks = [fields(pid, "status", "VmHWM") for pid in named("tapnet-guard") + named("tapnet-work")]
            found["together"].append(watch.most / 1024)
            found["marks"].append(sum(map(sum, marks)) / 1024)
            ours.down()
            ours.end()
    finally:
        ours.end()
    return found


def count_calls(path):
    """Of strace -c; but not how often it was asked whether the kernel has let go."""
    total = 0
    for line in path.read_text().splitlines():
        row = line.split()
        if len(row) < 5 or not row[3].isdigit() or row[-1] in ("total", "nanosleep", "clock_nanosleep"):
            continue
        total += int(row[3]) - (int(row[4]) if row[-1] == "unshare" and len(row) == 6 else 0)
    if not total:
        raise Failed(f"{path}: strace counted nothing")
    return total


def up_traced(argv):
    """strace of an up, which goes on with what it left running; back when the up has ended."""
    it = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL)
    until, seen = time.monotonic() + LONGEST, False
    while it.poll() is None and time.monotonic() < until:
        there = bool(named("tapnet-lab"))
        if seen and not there:
            return it
        seen = seen or there
        time.sleep(0.02)
    it.kill()
    it.wait()
    raise Failed(f"{argv}: it did not come up")


def calls(folder, _runs, n):
    """System calls of up and down together, of all processes. One run: the next has as many."""
    ours, limit, found = Ours(folder), Limit(folder), {}
    count = ["strace", "-f", "-c", "-q", "-o", folder / "calls"]
    try:
        for kind in ("star", "taps"):
            traced = up_traced([*count, TOOL, "up", "-q", "-n", ours.lab, ours.file(kind, n)])
            ours.down()
            traced.wait(LONGEST)
            found[f"tapnet-lab {kind}"] = [count_calls(folder / "calls")]
            limit.talk = Talk([*count, LIMIT, kind, n])
            limit.talk.heard("up")
            limit.down()
            found[f"limit {kind}"] = [count_calls(folder / "calls")]
    finally:
        ours.end()
        limit.end()
    return found


def plan(folder, runs, n):
    """validate and plan of stars of n and of ten times n."""
    ours, found = Ours(folder), {}
    for _ in range(runs):
        for size in (n, 10 * n):
            file = ours.file("star", size)
            found.setdefault(f"{size}", []).append(run([TOOL, "validate", file]) + run([TOOL, "plan", file]))
    return found


def switch_of(worker):
    """A number of the worker's, and behind it a network namespace of the lab."""
    ours = os.readlink("/proc/self/ns/net")
    for fd in sorted(os.listdir(f"/proc/{worker}/fd"), key=int):
        to = os.readlink(f"/proc/{worker}/fd/{fd}")
        if to.startswith("net:") and to != ours:
            return fd
    raise Failed("the worker has no namespace open")


def execs(folder, runs, n):
    """true in a node, by exec and by nsenter."""
    ours, found = Ours(folder), {"exec": [], "nsenter": []}
    try:
        ours.up("star", n)
        worker = named("tapnet-work")[0]
        net = f"--net=/proc/{worker}/fd/{switch_of(worker)}"
        node = "n0-1"
        for _ in range(runs * EXECS):
            found["exec"].append(run([TOOL, "exec", "-l", ours.lab, node, "--", "/bin/true"]))
            found["nsenter"].append(run(["nsenter", net, "/bin/true"]))
        ours.down()
    finally:
        ours.end()
    return found


def pairs(folder, runs, kind, n):
    """up of one kind, by the tool and by limit."""
    ours, limit = Ours(folder), Limit(folder)
    found = {"tapnet-lab": [], "limit": []}
    for _ in range(runs):
        for tool, name in ((ours, "tapnet-lab"), (limit, "limit")):
            try:
                found[name].append(tool.up(kind, n))
                tool.down()
            finally:
                tool.end()
    return found


def guests(folder, runs, n):
    return pairs(folder, runs, "guests", n)


def hooks(folder, runs, _n):
    """A hook: what HOOKS of them add to an up, each; and the same script by posix_spawn and waitpid."""
    ours, found = Ours(folder), {"hook": [], "spawn": []}
    script = folder / "hook"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    for _ in range(runs):
        took = []
        for hook in (script, None):
            file = ours.file("hooks", HOOKS, hook=hook)
            try:
                took.append(run([TOOL, "up", "-q", "-n", ours.lab, file]))
                run([TOOL, "down", ours.lab])
            finally:
                ours.end()
        found["hook"].append((took[0] - took[1]) / HOOKS)
        talk = Talk([LIMIT, "spawn", HOOKS, script])
        found["spawn"].append(talk.heard("up") / HOOKS)
        talk.it.wait()
        talk.end()
    return found


def killed(folder, runs, n):
    """The worker of n TAPs is killed: until run directory and namespaces are gone."""
    ours, found = Ours(folder), {"gone": []}
    home = Path(f"/run/tapnet-lab/{ours.lab}")
    for _ in range(runs):
        try:
            ours.up("taps", n)
            begin = time.monotonic()
            os.kill(named("tapnet-work")[0], signal.SIGKILL)
            while home.exists() and time.monotonic() < begin + 60:
                time.sleep(0.001)
            found["gone"].append(time.monotonic() - begin + Drain.excess())
            reap()
        finally:
            ours.end()
    return found


ALL = {"memory": memory, "calls": calls, "plan": plan, "exec": execs, "guests": guests, "hooks": hooks,
       "killed": killed}
