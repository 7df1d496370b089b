# test_t17_send.py - T17: frames come from a TAP: the vnet header is taken off, short ones are padded
# to 60 bytes, at most 50 are read a wake-up and queue, only queues that are attached are polled, and
# what is shorter than its header is dropped and counted.
#
# Shown with tapnet-wire; a guest does the same by the same code (test_t16_receive.py, test_guest.py).
# Messages that no TAP gives when it is asked: tests/unit/test_guest_tap.c.
import re
import signal
import subprocess
import time

import pytest

from netlab import guest_program, header_set, queue_set
from wirelab import Pair, Sink, flood, nets_, statistics, wires_  # noqa: F401

KIND = b"\x88\xb5"  # an EtherType for experiments


def frame(length, fill=0xEE):
    return (b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + KIND + bytes([fill]) * length)[:length]


def next_of_ours(sniffer):
    while True:
        got = sniffer.recv(70000)
        if got[12:14] == KIND:
            return got


@pytest.mark.parametrize("vnet", [(False, False), (True, True), (True, False), (False, True)], ids=str)
def test_t17_short_frames_arrive_padded(nets, wires, vnet):
    """14 to 60 bytes, both ways: 60, of which those that were added are 0."""
    pair = Pair(nets, (1, 1), vnet)
    wire = wires(pair.a, pair.b)
    for here, there in ((pair.left, pair.right), (pair.right, pair.left)):
        with here.sniff() as sender, there.sniff() as sniffer:
            for length in range(14, 61):
                sender.send(frame(length))
                assert next_of_ours(sniffer) == frame(length) + bytes(60 - length)
    assert wire.end()[0] == 0
    for end in "ab":
        assert wire.counters(end)["padded"] >= 46


def test_t17_the_largest_frames(nets, wires):
    """An MTU of 65521, and a VLAN's tag beyond it."""
    pair = Pair(nets, (1, 1), (True, False))
    for net in (pair.left, pair.right):
        net.run("ip link set tap0 mtu 65521")
    wire = wires(pair.a, pair.b)
    tagged = frame(65539)[:12] + b"\x81\x00\x00\x07" + frame(65539)[16:]
    with pair.left.sniff() as sender, pair.right.sniff() as sniffer:
        sender.send(frame(65535))
        assert next_of_ours(sniffer) == frame(65535)
        before = statistics(pair.right)["rx"]
        sender.send(tagged)
        end = time.monotonic() + 5
        while statistics(pair.right)["rx"] == before:
            assert time.monotonic() < end
    wire.end()
    count = {**wire.counters("a"), **wire.ways()["a to b"]}
    assert count["dropped long"] == 0 and count["came"] == count["went"]


def test_t17_what_is_shorter_than_its_header_is_counted(nets, wires):
    """The header shrinks under the wire's feet: what comes is too short to have the old one."""
    pair = Pair(nets, (1, 1), (True, False))
    header_set(pair.a[0], 200)
    wire = wires(pair.a, pair.b)
    with pair.left.sniff() as sender, pair.right.sniff() as sniffer:
        header_set(pair.a[0], 10)
        for _ in range(5):
            sender.send(frame(60))
        end = time.monotonic() + 5
        while not wire.ask() or wire.counters("a")["dropped short"] < 5:
            assert time.monotonic() < end
        header_set(pair.a[0], 200)
        sender.send(frame(100, 0x11))
        assert next_of_ours(sniffer) == frame(100, 0x11)
    wire.end()
    assert wire.counters("a")["dropped short"] == 5


class Trace:
    """What a process asks the kernel for: [(call, its first argument, its result)]."""

    def __init__(self, pid, calls, path):
        self.path = path
        self.process = subprocess.Popen(
            ["strace", "-p", str(pid), "-o", path, "-e", f"trace=/^({calls})$"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert "attached" in self.process.stderr.readline()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=10)
        return [(call, int(first), int(result)) for call, first, result in
                re.findall(r"^(\w+)\((\d+),? .* = (-?\d+)", self.path.read_text(), re.M)]


def test_t17_at_most_50_frames_a_wakeup(nets, wires, needs, tmp_path):
    needs("strace")
    pair, number = Pair(nets, (2, 2)), 800
    wire = wires(pair.a, pair.b)
    pair.left.run("ping -c 1 -W 5 10.0.1.2")
    sink = Sink(pair.right)
    wire.process.send_signal(signal.SIGSTOP)
    flood(pair.left, number, 8)
    trace = Trace(wire.process.pid, "epoll_p?wait|read", tmp_path / "trace")
    wire.process.send_signal(signal.SIGCONT)
    sink.take(number)
    calls = trace.end()
    assert sink.n == number
    most, burst = 0, {}
    for call, fd, result in calls:
        if call != "read":
            burst = {}
        elif fd in pair.a and result > 0:
            burst[fd] = burst.get(fd, 0) + 1
            most = max(most, burst[fd])
    assert most == 50


def test_t17_only_attached_queues_are_polled(nets, wires, needs, tmp_path):
    """Another holder of the fds detaches two queues, and attaches them again."""
    needs("strace")
    pair = Pair(nets, (4, 1), (True, False))
    pair.left.run("ip link set tap0 txqueuelen 20000")
    wire = wires(pair.a, pair.b)
    pair.left.run("ping -c 1 -W 5 10.0.1.2")
    sink = Sink(pair.right)
    for fd in pair.a[2:]:
        queue_set(fd, False)
    wire.wait_for("^a: 2 of 4 queues, ")
    trace = Trace(wire.process.pid, "read", tmp_path / "trace")
    flood(pair.left, 1000, 16)
    sink.take(1000)
    fds = {fd for _, fd, _ in trace.end()}
    assert sink.n == 1000
    assert fds & set(pair.a) and not fds & set(pair.a[2:])
    for fd in pair.a[2:]:
        queue_set(fd, True)
    wire.wait_for("^a: 4 queues, ")
    flood(pair.left, 1000, 64)
    sink.take(2000)
    assert sink.n == 2000
    wire.end()
    assert all(int(n) > 0 for n in re.findall(r"^a queue \d: in (\d+)", wire.text, re.M)[-4:])


def test_t17_a_wire_started_again(nets, wires):
    """The queues are the kernel's: what came while there was no wire is sent by the next."""
    pair, number = Pair(nets, (2, 2), (True, True)), 1000
    pair.left.run("ip link set tap0 txqueuelen 20000")
    first = wires(pair.a, pair.b)
    pair.left.run("ping -c 1 -W 5 10.0.1.2")
    sink = Sink(pair.right)
    first.kill()
    header_set(pair.a[0], 20)
    header_set(pair.b[0], 12)
    queue_set(pair.b[1], False)
    flood(pair.left, number, 4)
    wires(pair.a, pair.b)
    flows = sink.take(number)
    assert sink.n == number
    assert all(numbers == list(range(number // 4)) for numbers in flows.values())


USAGE = {
    "nothing": ([], "--a is missing"),
    "one end": (["--a", "3"], "--b is missing"),
    "empty": (["--a", "", "--b", "4"], '--a: "" is not a number from 3'),
    "trailing colon": (["--a", "3:", "--b", "4"], '--a: "" is not a number from 3'),
    "gap": (["--a", "3::5", "--b", "4"], '--a: "" is not a number from 3'),
    "standard input": (["--a", "0", "--b", "4"], '--a: "0" is not a number from 3'),
    "twice": (["--a", "3:3", "--b", "4"], "--a: fd 3 is given twice"),
    "both ends": (["--a", "3:4", "--b", "5:4"], "fd 4 is given twice"),
    "end twice": (["--a", "3", "--a", "4"], "--a is given twice"),
    "option": (["--c", "3"], 'unknown option "--c"'),
    "argument": (["--a", "3", "--b", "4", "5"], 'unexpected argument "5"'),
    "no value": (["--a"], "--a needs a value"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wire_usage(case):
    argv, words = USAGE[case]
    done = subprocess.run([guest_program("tapnet-wire"), *argv], capture_output=True, text=True,
                          check=False, timeout=10)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tapnet-wire: error: {words}")


def test_wire_help_and_version():
    for option, words in (("--help", "Usage: tapnet-wire --a"), ("--version", "tapnet-wire ")):
        done = subprocess.run([guest_program("tapnet-wire"), option], capture_output=True, text=True,
                              check=True, timeout=10)
        assert done.stdout.startswith(words) and done.stderr == ""
