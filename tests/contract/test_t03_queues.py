# test_t03_queues.py - T3: a TAP of N queues is N fds of one device, made one after the other; its hooks
# run once, not once a queue; a failure at queue k closes those before it and undoes all else.
import os
import re
import subprocess

import pytest

import contractlab as c
import faultlab

hostbr = pytest.fixture(faultlab.host_bridge)

LAB = """\
bridges: {lan: {subnet: none}, office: {host: hostbr, subnet: none}}
nodes:
  g0:
    kind: guest
    command: exec sleep 1000
    interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}
  g1:
    kind: guest
    command: exec sleep 1000
    interfaces: {eth0: {bridge: PLACE, tap: {queues: 3}, hooks: {up: ./hook, down: ./hook}}}
"""


def make(lab, place):
    made = lab(LAB.replace("PLACE", place))
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    return made


@pytest.mark.parametrize("place", ("lan", "office"))
def test_t03_hooks_run_once_for_all_queues(lab, hostbr, place):
    made = make(lab, place)
    made.up("-q")
    name = c.planned(made, "g1:eth0")["name"]
    fds = c.fdinfo(c.program(made, "g1")["pid"])
    assert list(fds) == [3, 4, 5] and set(fds.values()) == {name}
    lines = [(event, whose) for event, whose, _ in faultlab.hook_lines(made)]
    assert lines.count(("up", "g1:eth0")) == 1
    made.down()
    lines = [(event, whose) for event, whose, _ in faultlab.hook_lines(made)]
    assert lines.count(("up", "g1:eth0")) == lines.count(("down", "g1:eth0")) == 1


def refused(made, nth):
    """`up` whose nth ioctl on /dev/net/tun is answered with ENOSPC."""
    argv = ["strace", "-f", "-qq", "-o", made.file.parent / "trace", "-P", "/dev/net/tun", "-e",
            "trace=ioctl", "-e", f"inject=ioctl:error=ENOSPC:when={nth}", made.bin, "up",
            "--ttl", "1ms", made.file]
    return subprocess.run([str(a) for a in argv], cwd=made.file.parent, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False)


def test_t03_failure_at_a_queue(lab, hostbr, needs, snapshot):
    """Whichever the kernel refuses: told by its number; no device, no process is left, and up hooks
    that ran have their down hooks."""
    needs("strace")
    made = make(lab, "office")
    name = c.planned(made, "g1:eth0")["name"]
    before, at = snapshot(), []
    for nth in range(1, 60):
        faultlab.forget_hooks(made)
        up = refused(made, nth)
        if "INJECTED" not in (made.file.parent / "trace").read_text():
            break
        if up.returncode == 0:  # something that not every kernel has, which is fine
            faultlab.wait("it is down", lambda: not made.is_there(), reap=False)
        else:
            assert up.returncode in (4, 5) and "No space left on device" in up.stderr, up.stderr
        at += re.findall(rf'cannot make queue (\d) of "{name}"', up.stderr)
        assert not made.is_there()
        assert not faultlab.settle(before, snapshot), nth
        assert not faultlab.unpaired(faultlab.hook_lines(made))
    faultlab.wait("the last one is down", lambda: not made.is_there(), reap=False)
    assert at == ["0", "1", "2"], at


def test_t03_more_queues_than_fds(lab, needs, snapshot):
    """A limit on open files is told before anything is made."""
    needs("prlimit")
    made = lab(LAB.replace("PLACE", "lan").replace("queues: 3", "queues: 256").replace(
        ", office: {host: hostbr, subnet: none}", ""))
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    up = subprocess.run(["prlimit", "--nofile=300:300", made.bin, "up", made.file], capture_output=True,
                        text=True, cwd=made.file.parent, timeout=30, check=False, env={
                            **os.environ, "TAPNET_LAB": made.name})
    assert up.returncode in (4, 0), up.stderr
    if up.returncode:
        assert "open files" in up.stderr and not faultlab.hook_lines(made)
        assert not faultlab.settle(before, snapshot)
