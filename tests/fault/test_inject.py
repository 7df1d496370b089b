# test_inject.py - the kernel refuses a system call of the program that users run: strace lets it.
#
# Any process of a lab, any system call of a list, any errno that is legal there, at any time: the seed
# chooses. strace counts for each process alone, so several may fail in one life. TAPNET_INJECT=N: how
# many lives in which one does (200; on demand 10,000); TAPNET_SEED.
import collections
import itertools
import os
import re
import time
from random import Random

import pytest

import faultlab
import trial
from trial import Trial, tell

COUNT = int(os.environ.get("TAPNET_INJECT") or (10000 if faultlab.LONG or trial.SECONDS else 200))
PARTS = 2  # for as many processes of pytest
LANES = 6  # labs at once

# brk() answers with the old end where it cannot: an errno glibc takes for a success.
ERRNOS = {
    "brk": "retval=0",
    "openat": "EMFILE ENOMEM EINTR", "read": "ENOMEM EINTR", "write": "ENOSPC EINTR ENOMEM",
    "pread64": "ENOMEM", "ioctl": "ENOMEM EBUSY EINTR", "socket": "EMFILE ENOBUFS",
    "socketpair": "EMFILE ENOMEM", "bind": "ENOMEM", "listen": "ENOMEM", "connect": "ENOMEM EAGAIN",
    "accept4": "EMFILE ENOMEM", "sendmsg": "ENOBUFS EINTR", "sendto": "ENOBUFS EINTR",
    "recvmsg": "ENOBUFS EINTR", "recvfrom": "ENOBUFS EINTR", "setsockopt": "ENOBUFS ENOMEM",
    "mmap": "ENOMEM", "fallocate": "ENOSPC EINTR", "ftruncate": "ENOSPC",
    "dup2": "EBUSY", "dup3": "EBUSY", "pipe2": "EMFILE ENOMEM", "clone3": "ENOMEM EAGAIN",
    "setns": "ENOMEM", "unshare": "ENOMEM ENOSPC", "mount": "ENOMEM EBUSY", "poll": "ENOMEM EINTR",
    "epoll_wait": "EINTR", "epoll_ctl": "ENOMEM ENOSPC", "epoll_create1": "EMFILE ENOMEM",
    "signalfd4": "EMFILE ENOMEM", "inotify_init1": "EMFILE", "inotify_add_watch": "ENOSPC ENOMEM",
    "pidfd_open": "EMFILE ENOMEM", "mkdirat": "ENOSPC ENOMEM", "unlinkat": "EBUSY ENOMEM",
    "renameat": "ENOSPC", "newfstatat": "ENOMEM", "fstat": "ENOMEM", "readlink": "ENOMEM",
    "getdents64": "ENOMEM", "chdir": "ENOMEM", "setgroups": "ENOMEM",
}

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, bin, hostbr, needs):
    """The lab with every kind, not yet up."""
    needs("strace")
    return trial.full(lab, bin)[0]


@pytest.fixture
def labs(lab, bin, full):
    """Some of them, to live side by side."""
    return [full, *(trial.full(lab, bin)[0] for _ in range(LANES - 1))]


def strace(made, *options):
    """Its programs are not traced: what fails there is their affair. -D: the exit status is up's."""
    return ["strace", "-D", "-f", "-b", "execve", "-qq", "-A", "-o", made.file.parent / "trace",
            *options]


def trace(made):
    return (made.file.parent / "trace").read_text(errors="replace")


def recorded(made, bin):
    """{system call: the most that one process made of it}, of a whole life."""
    trial_ = Trial(made, bin)
    assert trial_.run(prefix=strace(made, "-e", "trace=" + ",".join(ERRNOS))) == []
    calls = collections.Counter(re.findall(r"^(\d+ +\w+)\(", trace(made), re.M))
    most = collections.Counter()
    for key, n in calls.items():
        name = key.split()[1]
        most[name] = max(most[name], n)
    return {name: n for name, n in most.items() if name in ERRNOS}


def faults(most, part):
    names = sorted(most)
    for i in itertools.count(part, PARTS):
        random = Random(f"{trial.SEED} {i}")
        name = random.choice(names)
        yield name, random.choice(ERRNOS[name].split()), random.randint(1, most[name])


class Lane(Trial):
    """A lab that a call is refused to."""

    def live(self, fault):
        """Whether it was met."""
        name, error, when = fault
        how = error if "=" in error else f"error={error}"
        (self.made.file.parent / "trace").unlink(missing_ok=True)
        self.life(prefix=strace(self.made, "-e", f"trace={name}", "-e", f"inject={name}:{how}:when={when}"),
                  fired=lambda: False)  # in the worker it may be yet to come
        return "(INJECTED)" in trace(self.made)


def inject_each(labs, bin, part):
    begin = time.monotonic()
    lanes = [Lane(made, bin, {127}) for made in labs]  # the dynamic loader's
    problems, met, tried = [], 0, 0
    plans = trial.in_time(faults(recorded(labs[0], bin), part), PARTS)
    count = trial.ROUND * len(lanes)
    while met < COUNT / PARTS and (batch := list(itertools.islice(plans, count))):
        for fault, fired, found in trial.together(lanes, batch):
            tried, met = tried + 1, met + fired
            problems += [(" ".join(map(str, fault)), *problem) for problem in found]
            if found:
                print(f"{fault}: {found}", flush=True)  # `-s` shows it at once
    wrong = tell("inject", met, problems, max(of.longest for of in lanes), begin)
    assert not wrong, wrong
    assert met > 0.2 * tried, "most of the faults were never met"


class TestOneHalf:
    def test_injected(self, labs, bin):
        inject_each(labs, bin, 0)


class TestOtherHalf:
    def test_injected(self, labs, bin):
        inject_each(labs, bin, 1)


def test_planted_leak(full, bin, fault_bin):
    """A step that is not undone is seen, behind strace as well."""
    steps = faultlab.steps(full)
    full.bin = fault_bin
    tap = next(s["step"] for s in steps if s["op"] == "tap")
    # LeakSanitizer cannot work where another traces
    found = Trial(full, bin).run({"TAPNET_FAULT": f"leak@{tap}",
                                  "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=0"},
                                 strace(full, "-e", "trace=mkdirat"))
    assert any(kind == "leak" and words.startswith("left: process") for kind, words in found), found
