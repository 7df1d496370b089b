# test_gc.py - a lab killed between opening a TAP and naming it, and what gc must not touch.
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

import faultlab
from faultlab import LONG, check_hooks, kill_who

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, fault_bin, hostbr):
    """The lab with every kind, not yet up, and its plan's steps."""
    return faultlab.full(lab, fault_bin)


# --- between opening a TAP and naming it ----------------------------------------------------------

TAPS = """\
bridges: {lan: 10.1.0.0/24}
nodes:
  r1: {}
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: {bridge: lan, tap: {queues: 2}}}}
links: [[r1, g1]]
hooks: {up: ./hook, down: ./hook}
"""


def strace(made, nth, env):
    """`up` whose worker is killed as it enters its nth ioctl on /dev/net/tun: opened, not yet
    named; named, not yet given its queues or its MAC; and so on."""
    argv = ["strace", "-f", "-qq", "-o", made.file.parent / "trace", "-P", "/dev/net/tun", "-e",
            "trace=ioctl", "-e", f"inject=ioctl:signal=KILL:when={nth}", made.bin, "up", made.file]
    if not env:  # without a kill it comes down by itself, and strace ends; and so it does without
        argv += ["--ttl", "1ms"]  # a guardian, who must not die while the worker leaves it to him
    return subprocess.run([str(a) for a in argv], cwd=made.file.parent, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
                          env={**os.environ, **env})


@pytest.mark.parametrize("who", ("worker", "both"))
def test_killed_between_opening_a_tap_and_naming_it(lab, bin, fault_bin, needs, snapshot, who):
    needs("strace")
    made = lab(TAPS, bin if who == "worker" else fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    env = {}
    if who == "both":  # the guardian dies before the first TAP, the worker in the middle of one
        tap = next(s["step"] for s in faultlab.steps(made) if s["op"] == "tap")
        env = {"TAPNET_FAULT": f"kill-guardian@{tap}",
               "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=0"}
    for nth in range(1, 60, 1 if LONG or who == "worker" else 2):
        faultlab.forget_hooks(made)
        up = strace(made, nth, env)
        if up.returncode == 0:
            break
        assert up.returncode == 5, f"{nth}: {up.stderr}"
        faultlab.reap()
        assert not made.is_there(), f"{nth}: {up.stderr}"
        assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up", "down"], nth
        assert not faultlab.settle(before, snapshot), nth
    assert nth > 6, "no TAP was made"


# --- what gc must not touch -----------------------------------------------------------------------

def namespace_of(inodes, dead):
    """A process in a new network namespace with one of these inodes, which are free: the kernel gives
    the lowest one; or None, when others were quicker."""
    others, found = [], None
    for _ in range(10):
        faultlab.reap_below(dead)
        others += [subprocess.Popen(["unshare", "-n", "sleep", "1000"]) for _ in range(10)]
        for other in others[-10:]:
            comm = Path(f"/proc/{other.pid}/comm")
            faultlab.wait("it sleeps", lambda: comm.read_text() == "sleep\n", reap=False)
            if os.stat(f"/proc/{other.pid}/ns/net").st_ino in inodes:
                found = other
        if found:
            break
    for other in others:
        if other is not found:
            other.kill()
            other.wait()
    return found


def test_gc_knows_a_namespace_that_only_has_the_same_inode(full):
    """The kernel gives the inode of a dead namespace to the next one. What runs there is not ours."""
    made, _ = full
    for _ in range(20):
        made.up()
        inits = faultlab.pids("tapnet-init")
        inodes = set()
        for pid in inits:  # one of the last turn may be a zombie yet
            with contextlib.suppress(FileNotFoundError):
                inodes.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        inodes.discard(os.stat("/proc/self/ns/net").st_ino)
        victims = kill_who("both") + inits
        faultlab.wait("all dead", lambda: all(map(faultlab.gone, victims)))
        other = namespace_of(inodes, victims)
        made.verb("gc")
        if other:
            lives = other.poll() is None
            other.kill()
            other.wait()
            assert lives, "gc killed another's process"
            return
    pytest.fail("no namespace got the inode")


def test_planted_leak_of_gc(full, snapshot):
    """A down hook that gc leaves out is seen."""
    made, steps = full
    made.up()
    victims = kill_who("both")
    faultlab.wait("both dead", lambda: all(map(faultlab.gone, victims)))
    at = next(i for i, s in enumerate(steps) if s["op"] == "hook" and s["of"] == "r1:eth2")
    made.verb("gc", env={"TAPNET_FAULT": f"leak@{at + 1}"})
    assert check_hooks(made, True) == ["up hook of r1:eth2 without its down hook"]
    left = faultlab.pids("tapnet-lab")
    assert len(left) == 1
    faultlab.kill(*left)
    faultlab.reap()
