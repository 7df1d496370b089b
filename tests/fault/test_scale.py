# test_scale.py - large labs: a thousand TAPs whose guardian and worker are killed, a thousand nodes,
# and what a lab is told that this user or a bridge cannot hold.
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import faultlab

# A guest is a process, so few of them with four TAPs each: 1000 TAPs on one bridge would be 1000
# of its 1023 ports.
TAPS = """\
bridges: {lan: {subnet: none}}
nodes:
  g${i}:
    for: {i: 1-250}
    kind: guest
    command: [sleep, "1000"]
    interfaces: {eth0: lan, eth1: lan, eth2: lan, eth3: lan}
"""
KILLED_WITHIN = 10.0  # less than one second when nothing else runs; `./dev bench` judges that
NODES = """\
bridges: {lan: {subnet: 10.0.0.0/20}}
nodes:
  n${i}:
    for: {i: 1-1000}
    interfaces: {eth0: lan}
"""


def canary(worker, switch_fd):
    """A veth pair with one end in the lab's switch: our end is deleted in the same batch as the
    devices of that namespace, when the kernel lets go of it."""
    subprocess.run(["ip", "link", "add", "canary", "type", "veth", "peer", "name", "canary1"],
                   check=True)
    with subprocess.Popen(["nsenter", f"--net=/proc/{worker}/fd/{switch_fd}", "sleep", "10"]) as it:
        try:
            theirs = Path(f"/proc/{it.pid}/ns/net")
            ours = os.readlink("/proc/self/ns/net")
            faultlab.wait("it is inside", lambda: os.readlink(theirs) != ours, reap=False)
            subprocess.run(["ip", "link", "set", "canary1", "netns", str(it.pid)], check=True)
        finally:
            it.kill()


def measure(made, seconds):
    """Kills both. How long until the kernel let go of the switch."""
    fd = next(s["args"]["fd"] for s in faultlab.steps(made) if s["of"] == "switch"
              and s["op"] == "netns")
    guardian, worker = faultlab.one("tapnet-guard"), faultlab.one("tapnet-work")
    canary(worker, fd)
    begin = time.monotonic()
    for pid in (guardian, worker):
        os.kill(pid, signal.SIGKILL)
    faultlab.wait("the kernel lets go", lambda: not Path("/sys/class/net/canary").exists(), seconds)
    return time.monotonic() - begin


def test_killed_with_a_thousand_taps(lab, snapshot):
    made = lab(TAPS)
    before = snapshot()
    begin = time.monotonic()
    made.up("-q", timeout=120)
    went_up = time.monotonic() - begin
    taken = measure(made, 30)
    print(f"1000 TAPs: up in {went_up:.2f} s, both killed, gone in {taken:.2f} s")
    made.verb("gc", timeout=30)
    assert not faultlab.settle(before, snapshot)
    assert taken < KILLED_WITHIN


def test_a_planted_leak_is_measured(lab, snapshot):
    """Whoever holds a TAP's namespace holds it up: the measurement sees that."""
    made = lab(TAPS.replace("1-250", "1-2"))
    made.up("-q")
    worker = faultlab.one("tapnet-work")
    held = os.open(f"/proc/{faultlab.one('tapnet-work')}/fd/64", os.O_RDONLY)
    try:
        with pytest.raises(AssertionError, match="the kernel lets go"):
            measure(made, 1)
    finally:
        os.close(held)
    faultlab.wait("now it does", lambda: not Path("/sys/class/net/canary").exists())
    assert faultlab.gone(worker)
    made.verb("gc")


def test_a_thousand_nodes(lab, snapshot):
    made = lab(NODES)
    before = snapshot()
    begin = time.monotonic()
    made.up("-q", timeout=120)
    went_up = time.monotonic() - begin
    worker = faultlab.one("tapnet-work")
    limit = [line.split()[3:5] for line in Path(f"/proc/{worker}/limits").read_text().splitlines()
             if line.startswith("Max open files")]
    assert int(limit[0][0]) > 1000
    assert made.exec("n1", "ping", "-c1", "-W5", "n1000").returncode == 0
    begin = time.monotonic()
    made.down(timeout=120)
    print(f"1000 nodes: up in {went_up:.2f} s, down in {time.monotonic() - begin:.2f} s")
    assert not faultlab.settle(before, snapshot)


@pytest.mark.parametrize("nodes, status", ((1023, 0), (1024, 2)))
def test_ports_of_a_bridge(lab, nodes, status):
    made = lab(NODES.replace("1-1000", f"1-{nodes}"))
    validate = made.verb("validate", made.file, status=status)
    if status:
        assert "1023" in validate.stderr and f"{made.file.name}:5:24: error: lan" in validate.stderr
