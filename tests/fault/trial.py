# trial.py - one lab up and down while something fails, and what is wrong afterwards.
#
# Exit 0 of `up` is a lab as planned, of `down` nothing left of it; everything else has its words, and
# what it left is undone or told (exit 6) and undone by the next `down` or `gc`. Nothing takes longer
# than LATE seconds, and no sanitizer has anything to report.
import collections
import json
import os
import random
import subprocess
import threading
import time
import zlib
from functools import partial
from pathlib import Path

import faultlab
from conftest import SYSCTLS, Session, run_dir

LATE = 10.0
AGAIN = 2  # who was late is tried so often
ROUND = 8  # lives of a lab between two looks at the host
TOLD = 6
SECONDS = float(os.environ.get("TAPNET_SOAK_SECONDS") or 0)  # `./dev soak` has
CI_SECONDS = 600.0  # all has to fit in, in a test run: alone on two cores it takes 250
SEED = int(os.environ.get("TAPNET_SEED") or 1)
PLACES = ("/proc/self/mountinfo", "/proc/net/dev", "/proc/net/fib_trie", "/proc/net/if_inet6",
          "/proc/net/ipv6_route")


# Says only that it ran: no more processes than that takes.
HOOK = ("#!/bin/sh\n"
        'echo "$TAPNET_EVENT ${TAPNET_NODE:-lab}${TAPNET_INTERFACE:+:$TAPNET_INTERFACE}" >> hooks.log\n')


def apart(lab):
    """lab(), each in a folder of its own: several may live at once."""
    def make(*args):
        made = lab(*args)
        folder = made.file.parent / made.name
        folder.mkdir()
        made.file = made.file.rename(folder / made.file.name)
        return made
    return make


def full(lab, binary):
    """The lab with every kind, not yet up; what waits for a guest that says nothing ends in time."""
    made, steps = faultlab.full(apart(lab), binary)
    made.file.write_text(made.file.read_text().replace("timeout: 20s", "timeout: 8s")
                         .replace("persists", f"persists{made.count}"))
    faultlab.script(made.file.parent / "hook", HOOK)
    return made, steps


def in_time(faults, parts):
    """The faults of a part until its time is over: soak may have too little, a test run never."""
    demand = faultlab.LONG or {"TAPNET_CALLS", "TAPNET_INJECT"} & os.environ.keys()
    end = time.monotonic() + (SECONDS / parts or (float("inf") if demand else CI_SECONDS))
    for fault in faults:
        if time.monotonic() > end:
            assert SECONDS, f"there is more to do than {CI_SECONDS:.0f} s allow"
            return
        yield fault


def mine(plans, part, parts, keys=False):
    """This part's share of (key, plan), whatever the others see, in an order of the seed's, where each
    key has its place whatever the others are."""
    plans = [(key, plan) for key, plan in plans if zlib.crc32(key.encode()) % parts == part]
    plans.sort(key=lambda of: random.Random(f"{SEED} order {of[0]}").random())
    return plans if keys else [plan for _, plan in plans]


def below(pid):
    """{pid: its command line} of the living descendants, as processes() has them, without a look at
    all the others of the machine."""
    found = {}
    try:
        children = [int(child) for task in os.listdir(f"/proc/{pid}/task")
                    for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except OSError:
        return found
    for child in children:
        found |= below(child)
        try:
            state = Path(f"/proc/{child}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()[0]
            argv = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state not in "ZX" and argv:  # without one it is on its way out
            found[child] = argv
    return found


def host():
    """What a lab could leave, as cheaply as can be; the test's own leak check looks closer."""
    found = {f"process {what}" for what in below(os.getpid()).values()}
    for place in PLACES:  # counters are no leak
        found |= {f"{place} {line.split(':')[0] if place.endswith('dev') else line}"
                  for line in Path(place).read_text().splitlines()
                  if not place.endswith("ipv6_route")}
        if place.endswith("ipv6_route"):  # use and reference counts too
            found |= {" ".join(line.split()[:6] + line.split()[8:])
                      for line in Path(place).read_text().splitlines()}
    for folder in ("/sys/class/net/hostbr/brif", "/sys/class/net", "/run/netns", run_dir()):
        if os.path.isdir(folder):
            found |= {f"{folder}/{n}" for n in os.listdir(folder) if not n.endswith(".failed")}
    for name in SYSCTLS:
        path = Path("/proc/sys") / name
        if path.exists():
            found.add(f"sysctl {name} = {path.read_text().strip()}")
    return found


class Trial:
    """What is wrong is told by wrong(kind, words); kinds: leak, late, sanitizer, exit, drift."""

    def __init__(self, made, status_bin, extra=(), pass_fds=()):
        self.made, self.status_bin, self.statuses = made, status_bin, {1, 2, 3, 4, 5, TOLD, *extra}
        self.pass_fds = pass_fds
        self.output = made.file.parent / "output"
        self.before, self.problems, self.longest, self.said = host(), [], 0.0, ""

    def wrong(self, kind, words):
        self.problems.append((kind, words))

    def command(self, argv, env=None):
        """Its exit status, None when it was late; its words are self.said."""
        begin = time.monotonic()
        with open(self.output, "w+b") as file:
            with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=file,
                                  stderr=file, cwd=self.made.file.parent, pass_fds=self.pass_fds,
                                  env={**os.environ, **(env or {})}) as process:
                try:
                    status = process.wait(2 * LATE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    status = None
        took = time.monotonic() - begin
        self.longest = max(self.longest, took)
        self.said = self.output.read_text(errors="replace")
        what = argv[-2] if len(argv) > 1 else argv[0]
        if status is None or took > LATE:
            self.wrong("late", f"{what} took {took:.1f} s: {self.said}")
        elif status and status not in self.statuses:
            self.wrong("exit", f"{what}: exit {status}: {self.said}")
        elif status and not self.said.strip():
            self.wrong("exit", f"{what}: exit {status} without a word")
        return status

    def wait(self, condition):
        begin = time.monotonic()
        while not condition() and time.monotonic() < begin + LATE:
            faultlab.reap()
            time.sleep(0.005)
        self.longest = max(self.longest, time.monotonic() - begin)
        return condition()

    def run(self, env=None, prefix=(), fired=lambda: True, lasting=False, verbs=()):
        """A life; gives what is wrong."""
        return alone(self, lambda: self.life(env, prefix, fired, lasting, verbs))

    def life(self, env=None, prefix=(), fired=lambda: True, lasting=False, verbs=()):
        """Up, the verbs, status, down; fired() tells whether the fault has been. A fault that lasts may
        keep the worker from answering."""
        made, self.problems, told = self.made, [], False
        faultlab.forget_hooks(made)
        up = self.command([*prefix, made.bin, "up", made.file], env)
        told |= up == TOLD
        if up == 0:
            for verb in verbs:
                self.verb(verb, env)
            if not lasting:
                self.check_status(fired())
            down = self.command([*prefix, made.bin, "down", made.name], env)
            told |= down == TOLD
            if down and made.is_there():
                self.again()
        elif told or not self.wait(lambda: not made.is_there()):
            if not told:
                self.wrong("leak", f"up: exit {up}, and the lab is there: {self.said}")
            self.again()
        if not told:
            self.check_hooks()

    def verb(self, verb, env):
        """It says why it cannot, or does it."""
        self.command([self.made.bin, *verb], {**env, "TAPNET_LAB": self.made.name})

    def check_status(self, fired):
        """The release's: it is quick. Where faults hit the worker's answer, the third is right."""
        for _ in range(1 if fired else 3):
            status = self.command([self.status_bin, "status", self.made.name])
            if not status:
                break
        if status:
            self.wrong("drift", f"up: exit 0, but: {self.said}")

    def again(self):
        """What was told, or refused, is undone by the next, without a fault."""
        self.command([self.status_bin, "down", self.made.name])
        if self.made.is_there():
            self.command([self.status_bin, "gc"])
        if self.made.is_there():
            self.wrong("leak", f"there after down and gc: {self.said}")

    def check_hooks(self):
        hooks = faultlab.unpaired(faultlab.hook_lines(self.made))
        begun = [line for line in hooks if line.startswith("down")]  # killed before its first word
        self.problems += [("leak", line) for line in hooks if [line] != begun]

    def check_host(self):
        self.wait(lambda: host() == self.before)
        after = host()
        self.problems += [("leak", f"left: {line}") for line in sorted(after - self.before)]
        self.problems += [("leak", f"gone: {line}") for line in sorted(self.before - after)]
        for report in Session.reports.glob("report*"):
            self.wrong("sanitizer", report.read_text(errors="replace")[:3000])
            report.unlink()
        if after != self.before:  # the next trial is not to suffer from it
            for pid, what in below(os.getpid()).items():
                if f"process {what}" not in self.before:
                    os.kill(pid, 9)
            self.before = host()


def alone(trial, live):
    """What is wrong with one life. One that is late is lived again: else it was the machine, which has
    others to serve."""
    for _ in range(1 + AGAIN):
        longest = trial.longest
        live()
        trial.check_host()
        if {kind for kind, _ in trial.problems} != {"late"}:
            break
        trial.longest = longest
    return trial.problems


def in_turn(lane, faults, lived):
    """Takes the next fault when it has lived with one."""
    while faults:
        try:
            fault = faults.popleft()
        except IndexError:
            return
        lived.append((lane, fault, lane.live(fault), lane.problems))


def at_once(lanes, faults):
    """[(lane, fault, what live() gave, what is wrong)], and what only the host shows: of any of them."""
    lived, waiting = [], collections.deque(faults)
    threads = [threading.Thread(target=in_turn, args=(lane, waiting, lived)) for lane in lanes]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            faultlab.reap()  # the orphans: they came to this thread
            time.sleep(0.005)
    finally:
        for thread in threads:
            thread.join()
    assert len(lived) == len(faults), "a life ended with an exception"
    lanes[0].problems = []
    lanes[0].check_host()
    for lane in lanes:
        lane.before = lanes[0].before
    return lived, lanes[0].problems


def together(lanes, faults):
    """Lives of several labs side by side: they wait more than they work, and the kernel takes many
    away at once. lanes: Trials that have live(fault). Gives [(fault, what live() gave, what is
    wrong)]; what nobody can be blamed for lives again, alone."""
    longest = {lane: lane.longest for lane in lanes}
    lived, left = at_once(lanes, faults)
    found = []
    for lane, fault, told, problems in lived:
        if left or {kind for kind, _ in problems} == {"late"}:
            lane.longest = longest[lane]
            again = alone(lane, partial(lane.live, fault))
            problems = again or [of for of in problems if of[0] != "late"]
        found.append((fault, told, problems))
    if left and not any(problems for _, _, problems in found):
        found[0][2].extend((kind, f"of one of {len(found)}: {words}") for kind, words in left)
    return found


def figures(**of):
    """A line for `./dev soak`, like those of tests/soak."""
    path = os.environ.get("TAPNET_FIGURES")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(of) + "\n")


def tell(harness, trials, problems, longest, begin):
    """problems: [(place, kind, words)]; the figures, and what pytest says when there are any."""
    kinds = [kind for _, kind, _ in problems]
    figures(harness=harness, runs=trials, leaks=kinds.count("leak"), lies=kinds.count("drift"),
            wrong=kinds.count("exit") + kinds.count("late"), longest=round(longest, 3),
            reports=kinds.count("sanitizer"), seed=SEED, seconds=round(time.monotonic() - begin, 1))
    text = "\n".join(f"{place}: {kind}: {words}" for place, kind, words in problems)
    return f"{len(problems)} wrong of {trials} faults:\n{text}" if problems else ""
