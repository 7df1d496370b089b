# test_t16_receive.py - T16: frames go to a TAP as they are, with a vnet header of zeros; what the
# kernel does not take just then is kept, in order, while nothing more is read: nothing is dropped.
#
# Shown with tapnet-wire and tapnet-guest under load, with a peer that is slow. The same on sockets,
# with interruptions and frames of any length: tests/unit/test_guest_tap.c.
import fcntl
import re
import signal
import socket
import struct
import threading
import time

import pytest

from netlab import TUNSETOFFLOAD, Guest, colons, header_set, queue_set, sndbuf_set
from wirelab import (Pair, Sink, Slow, cpu, flood, memory, nets_, statistics,  # noqa: F401
                     wires_)

MAC = "02:00:00:00:01:10"
QUICK, FLOWS = 2.0, 4


def wait_until(true, timeout=10.0):
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.01)


def in_order(flows, number):
    return flows == {flow: list(range(number // len(flows))) for flow in flows}


@pytest.mark.parametrize("queues", [(1, 1), (4, 4), (2, 3)], ids=str)
@pytest.mark.parametrize("vnet", [(False, False), (True, True), (True, False)], ids=str)
def test_t16_a_slow_peer_loses_nothing(nets, wires, queues, vnet):
    """Ten times faster than the other side takes it: all of it comes, each flow in order."""
    slow, number = Slow(nets, queues, vnet), 3000
    wire = wires(slow.a, slow.b)
    slow.left.run("ping -c 1 -W 5 10.0.1.2")
    sink = Sink(slow.far)
    before, began, used = memory(wire.process.pid), time.monotonic(), cpu(wire.process.pid)
    slow.rate("20mbit")
    flood(slow.left, number, FLOWS)
    flows = sink.take(number)
    assert sink.n == number, (wire.ask(), statistics(slow.left), statistics(slow.right))
    assert in_order(flows, number)
    assert cpu(wire.process.pid) - used < (time.monotonic() - began) / 2
    assert memory(wire.process.pid) - before < 4096
    assert wire.end()[0] == 0
    ways, a, b = wire.ways(), wire.counters("a"), wire.counters("b")
    assert ways["a to b"] == {"came": a["in"], "went": b["out"], "wait": 0, "refused": 0}
    assert a["in"] == b["out"] >= number and b["in"] == a["out"]
    assert b["kept"] > 10 and a["kept"] == 0
    assert not any(count for end in (a, b) for what, count in end.items() if what.startswith("drop"))
    left, right = statistics(slow.left), statistics(slow.right)
    assert (left["tx"], left["rx"]) == (a["in"], a["out"])  # as the kernel counts
    assert (right["rx"], right["tx"]) == (b["out"], b["in"])
    assert left["tx dropped"] == 0


def test_t16_a_peer_that_takes_nothing(nets, wires):
    """The wire waits without a spin and in bounded memory, the kernel's queue fills; then it goes on."""
    slow = Slow(nets, (2, 2), (True, False))
    wire = wires(slow.a, slow.b)
    slow.left.run("ping -c 1 -W 5 10.0.1.2")
    slow.left.run("ip link set tap0 txqueuelen 300")
    sink, pid = Sink(slow.far), wire.process.pid
    slow.rate("8kbit")
    flood(slow.left, 20)  # the shaper's burst, and what fits into the send buffer
    wait_until(lambda: wire.ask()["a to b"]["wait"] == 1)
    before, used, had = wire.ask()["a to b"], cpu(pid), memory(pid)
    flood(slow.left, 5000, FLOWS)
    time.sleep(1)  # measured: this long it has nothing to do
    after = wire.ask()["a to b"]
    assert cpu(pid) - used < 0.2
    assert memory(pid) - had < 1024
    wait_until(lambda: after.update(wire.ask()["a to b"]) or after["wait"] == 1)  # it may hand one on
    assert after["refused"] == 0
    assert after["came"] - before["came"] < 50  # what fits into the queues' send buffers, of 5000
    assert after["came"] == after["went"] + 1
    full = statistics(slow.left)
    assert full["tx dropped"] > 1000  # by the kernel, of which the sender can know
    slow.rate("4gbit")
    sink.take(5020)
    for flow, numbers in sink.flows.items():
        assert numbers == sorted(numbers), flow
    after = wire.ask()["a to b"]
    assert after["wait"] == 0 and after["came"] == after["went"] == statistics(slow.left)["tx"]


def test_t16_a_blocked_direction_leaves_the_other_alone(nets, wires):
    slow = Slow(nets)
    wire = wires(slow.a, slow.b)
    slow.left.run("ping -c 1 -W 5 10.0.1.2")
    slow.rate("8kbit")
    flood(slow.left, 100)
    wait_until(lambda: wire.ask()["a to b"]["wait"] == 1)
    before = wire.ask()["b to a"]["went"]

    def opener():
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with slow.far.inside(opener) as sender, slow.left.inside(opener) as receiver:
        receiver.bind(("10.0.1.1", 9))
        receiver.settimeout(5)
        for n in range(500):
            sender.sendto(struct.pack("!I", n), ("10.0.1.1", 9))
            assert receiver.recv(100) == struct.pack("!I", n)
    assert wire.ask()["b to a"]["went"] - before >= 500
    assert wire.ways()["a to b"]["wait"] == 1


def test_t16_two_streams_at_once(nets, wires):
    """TCP both ways through a slow wire: every byte, in order."""
    slow, size = Slow(nets, (2, 2), (True, True)), 2_000_000
    wires(slow.a, slow.b)
    slow.left.run("ping -c 1 -W 5 10.0.1.2")
    slow.rate("40mbit")
    block = bytes(range(251)) * (size // 251)
    with slow.far.inside(lambda: socket.create_server(("10.0.1.2", 80))) as server:
        client = slow.left.inside(lambda: socket.create_connection(("10.0.1.2", 80), timeout=10))
        served, _ = server.accept()
        senders = [threading.Thread(target=lambda one=one: (one.sendall(block),
                                                            one.shutdown(socket.SHUT_WR)))
                   for one in (client, served)]
        for one in (client, served):
            one.settimeout(20)
        for sender in senders:
            sender.start()
        got = [client.makefile("rb").read(), None]
        got[1] = served.makefile("rb").read()
        for sender in senders:
            sender.join(20)
        client.close()
        served.close()
    assert got == [block, block]


@pytest.mark.parametrize("sizes", [(10, 12), (12, 20), (20, 10), (4096, None), (None, 65536)], ids=str)
def test_t16_headers_of_any_length(nets, wires, sizes):
    """What comes with one length of header goes with another, or with none."""
    pair = Pair(nets, (2, 2), [size is not None for size in sizes])
    for fds, size in zip((pair.a, pair.b), sizes):
        if size:
            header_set(fds[0], size)
    wire = wires(pair.a, pair.b)
    for end, size in zip("ab", sizes):
        words = f"vnet header of {size} bytes" if size else "no vnet header"
        words += ", whole segments" if None not in sizes else ""
        assert f"{end}: 2 queues, {words}\n" in wire.text
    pair.left.run("ping -c 2 -i 0.05 -W 2 -s 1400 10.0.1.2")
    pair.right.run("ping -c 2 -i 0.05 -W 2 10.0.1.1")
    ways = wire.ask()
    assert ways["a to b"]["came"] == ways["a to b"]["went"] >= 5


@pytest.mark.parametrize("vnet", [(True, True), (True, False), (False, True)], ids=str)
def test_t16_segments_are_whole_between_two_headers(nets, wires, vnet):
    """TCP's segments go through whole if both ends can say so, else the kernel cuts them before."""
    pair, size = Pair(nets, (1, 1), vnet), 5_000_000
    wire = wires(pair.a, pair.b)
    with pair.right.inside(lambda: socket.create_server(("10.0.1.2", 80))) as server:
        client = pair.left.inside(lambda: socket.create_connection(("10.0.1.2", 80), timeout=10))
        served, _ = server.accept()
        served.settimeout(20)
        block = bytes(range(256)) * (size // 256)
        sender = threading.Thread(target=lambda: (client.sendall(block), client.close()))
        sender.start()
        got = served.makefile("rb").read()
        sender.join(20)
        served.close()
    assert got == block
    wire.end()
    count = wire.counters("a")
    assert (count["in"] < size // 2000) == (vnet == (True, True))
    assert count["dropped uncut"] == 0


def test_t16_signals_interrupt_nothing(nets, wires):
    """Asked a thousand times, stopped and continued: every frame comes."""
    pair, number = Pair(nets, (2, 2)), 4000
    pair.left.run("ip link set tap0 txqueuelen 20000")
    wire = wires(pair.a, pair.b)
    pair.left.run("ping -c 1 -W 5 10.0.1.2")
    sink, stop = Sink(pair.right), threading.Event()

    def disturb():
        for n in range(1000):
            wire.process.send_signal(signal.SIGUSR1)
            if n % 50 == 0:
                wire.process.send_signal(signal.SIGSTOP)
                time.sleep(0.002)
                wire.process.send_signal(signal.SIGCONT)
            if stop.wait(0.0002):
                break
    reader = threading.Thread(target=wire.process.stdout.read)
    disturber = threading.Thread(target=disturb)
    reader.start()
    disturber.start()
    flood(pair.left, number, FLOWS)
    flows = sink.take(number)
    disturber.join(20)
    stop.set()
    assert sink.n == number and in_order(flows, number)
    wire.process.terminate()
    assert wire.process.wait(10) == 0
    reader.join(10)


@pytest.mark.parametrize("end", ["a", "b"])
@pytest.mark.parametrize("state", ["idle", "flood", "blocked", "detached"])
def test_t16_a_device_that_is_deleted_ends_it(nets, wires, end, state):
    """In any state: at once, with status 1 and a word, and without a spin."""
    slow = Slow(nets, (2, 2), (True, False))
    wire = wires(slow.a, slow.b)
    pid = wire.process.pid
    slow.left.run("ping -c 1 -W 5 10.0.1.2")
    if state == "blocked":
        slow.rate("8kbit")
        flood(slow.left, 100)
        wait_until(lambda: wire.ask()["a to b"]["wait"] == 1)
    if state == "flood":
        flood(slow.left, 3000)
    if state == "detached":
        for fd in (slow.a if end == "a" else slow.b):
            queue_set(fd, False)
        wire.wait_for(f"^{end}: 0 of 2 queues, ")
    used, began = cpu(pid), time.monotonic()
    (slow.left if end == "a" else slow.right).run("ip link delete tap0")
    wait_until(lambda: Zombie(pid).there, QUICK)
    assert time.monotonic() - began < 1
    assert cpu(pid) - used < 0.3
    status, words, _ = wire.end(None)
    assert (status, words) == (1, f"tapnet-wire: error: {end}: the device is gone\n")
    ways = wire.ways()["a to b"]
    assert ways["came"] == ways["went"] + ways["wait"] + ways["refused"]


class Zombie:
    """A process that has ended, and of which the processor time is still there."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            self.there = stat.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_t16_a_peer_that_is_down_is_a_cable_without_an_end(nets, wires):
    """Frames to a device that is down are counted as refused, those that waited, too."""
    slow = Slow(nets)
    wire = wires(slow.a, slow.b)
    slow.left.run("ping -c 1 -W 5 10.0.1.2")
    slow.rate("8kbit")
    flood(slow.left, 100)
    wait_until(lambda: wire.ask()["a to b"]["wait"] == 1)
    slow.right.run("ip link set tap0 down")
    wait_until(lambda: wire.ask()["a to b"]["refused"] > 50)
    ways = wire.ways()["a to b"]
    assert ways["wait"] == 0 and ways["came"] == ways["went"] + ways["refused"]
    slow.rate("4gbit")
    slow.right.run("ip link set tap0 up")
    slow.left.run("ping -c 1 -w 10 10.0.1.2")


def test_t16_a_device_that_is_moved_and_renamed(nets, wires):
    """The fds do not care; nor does a wire that is started after it."""
    pair, (other,) = Pair(nets), nets(1)
    for first in (True, False):
        if first:
            wire = wires(pair.a, pair.b)
            pair.left.run("ip link set tap0 down")
            pair.left.run(f"ip link set tap0 netns {other.holder.pid} name elsewhere")
            other.run("ip address add 10.0.1.1/24 dev elsewhere")
            other.run("ip link set elsewhere up")
        else:
            wire.end()
            wire = wires(pair.a, pair.b)
        other.run("ip neighbour flush dev elsewhere")
        other.run("ping -c 2 -i 0.05 -W 5 10.0.1.2")


def test_t16_256_queues(nets, wires):
    pair, number = Pair(nets, (256, 2), (True, True)), 2000
    pair.left.run("ip link set tap0 txqueuelen 20000")
    wire = wires(pair.a, pair.b)
    pair.left.run("ping -c 1 -W 5 10.0.1.2")
    sink = Sink(pair.right)
    flood(pair.left, number, 200)
    assert in_order(sink.take(number), number)
    pair.left.run("ip link delete tap0")
    wait_until(lambda: Zombie(wire.process.pid).there, 20)  # the kernel takes its time for each queue
    assert wire.end(None)[:2] == (1, "tapnet-wire: error: a: the device is gone\n")


def test_t16_ends_that_will_not_do(nets):
    """The same device twice is no wire, nor are queues of two devices one end."""
    from wirelab import Wire
    one, two = nets(2)
    tap, other = one.tap(2, ips=[]), two.tap(2, ips=[])  # tap0, both of them

    def refused(a, b, words):
        wire = Wire(a, b)
        assert wire.end(None)[:2] == (1, f"tapnet-wire: error: {words}\n")
    refused(tap[:1], tap[1:], "a and b are one device (tap0)")
    refused([tap[0], other[0]], other[1:],
            f"a: fd {other[0]} is of another device (tap0) than the first (tap0)")


def guest_on(fds, *options):
    return Guest(fds, "--nic", f"fds={colons(fds)},mac={MAC},ip=10.0.1.2/24", *options)


def test_t16_a_guest_with_a_slow_peer(nets, leaks):
    """tapnet-guest, whose every frame waits for its turn: nothing is dropped, all adds up."""
    net, = nets(1)
    fds = net.tap(2, True, ips=[])
    for command in ("ip link add br0 type bridge", "ip link add dev v0 type veth peer name v1",
                    "ip link set tap0 master br0", "ip link set v0 master br0 up",
                    "ip link set br0 up", "ip address add 10.0.1.1/24 dev v1", "ip link set v1 up",
                    f"tc qdisc add dev v0 {Slow.shaper('20mbit')}"):
        net.run(command)
    sndbuf_set(fds, 8192)
    guest = guest_on(fds, "--listen", "80")
    try:
        guest.wait_for("^ready$")
        used, began = cpu(guest.process.pid), time.monotonic()
        net.run("ping -c 1 -W 5 10.0.1.2")
        page = net.run("curl -sm 20 http://10.0.1.2/bytes/2000000", timeout=25)
        assert len(page) == 2000000
        assert cpu(guest.process.pid) - used < (time.monotonic() - began) / 2
        status, _, count = guest.end()
    finally:
        guest.kill()
    assert status == 0 and count["kept"] > 10
    assert count["dropped full"] == count["refused"] == 0
    kernel = statistics(net)
    assert (kernel["rx"], kernel["tx"]) == (count["out"], count["in"])


def test_t16_a_paused_guest_whose_device_is_deleted(nets, leaks):
    """It reads nothing just then, so nothing that comes can wake it up."""
    net, = nets(1)
    fds = net.tap(1, ips=[])
    for command in ("ip link add br0 type bridge", "ip link add dev v0 type veth peer name v1",
                    "ip link set tap0 master br0", "ip link set v0 master br0 up",
                    "ip link set br0 up", f"tc qdisc add dev v0 {Slow.shaper('8kbit')}"):
        net.run(command)
    net.run("ip address add 10.0.1.1/24 dev v1")
    net.run("ip link set v1 up")
    sndbuf_set(fds, 8192)
    guest = guest_on(fds)
    try:
        guest.wait_for("^ready$")
        net.run("ping -c 1 -W 5 10.0.1.2")
        net.run("ping -f -l 100 -s 1000 -c 100 -w 1 10.0.1.2", status=None)

        def kept():
            guest.process.send_signal(signal.SIGUSR1)
            guest.wait_for(r"^eth0 queue 0: .*\n")
            found, guest.text = guest.counters(), ""
            return found["kept"]
        wait_until(kept)
        began = time.monotonic()
        net.run("ip link delete tap0")
        wait_until(lambda: Zombie(guest.process.pid).there, QUICK)
        assert time.monotonic() - began < 1
        assert guest.end(None)[:2] == (1, "tapnet-guest: error: eth0: the device is gone\n")
    finally:
        guest.kill()


def test_t16_a_guest_started_again_on_what_was_left(nets, leaks):
    """The last one was killed, and left the queues in a strange state."""
    net, = nets(1)
    fds = net.tap(4, True, ips=["10.0.1.1/24"])
    for left in (None, "killed", "killed"):
        if left:
            header_set(fds[0], 4096)
            fcntl.ioctl(fds[0], TUNSETOFFLOAD, 7)  # CSUM, TSO4, TSO6
            sndbuf_set(fds, 1)
            for fd in fds[2:]:
                queue_set(fd, False)
            flags = fcntl.fcntl(fds[0], fcntl.F_GETFL)
            fcntl.fcntl(fds[0], fcntl.F_SETFL, flags & ~0o4000)  # not O_NONBLOCK
            net.run("ping -f -c 200 -w 1 10.0.1.2", status=None)  # frames that nobody took
        guest = guest_on(fds, "--listen", "80")
        try:
            guest.wait_for("^ready$")
            assert ("eth0: 2 of 4 queues, " if left else "eth0: 4 queues, ") in guest.text
            net.run("ping -c 3 -i 0.1 -W 5 10.0.1.2")
            page = net.run("curl -sm 20 http://10.0.1.2/bytes/300000", timeout=25)
            assert len(page) == 300000
            if left:
                for fd in fds[2:]:
                    queue_set(fd, True)
                guest.wait_for("^eth0: 4 queues, ")
        finally:
            guest.kill()
    assert re.search("^ready$", guest.text, re.M)
