# wirelab.py - tapnet-wire between two namespaces, one of which may be slow.
#
# The slow peer: its TAP is a port of a bridge whose other port has a shaper. The kernel counts a
# frame that waits there against the send buffer of the TAP's queue, so that the wire is told EAGAIN.
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from netlab import Net, Program, colons, guest_program, sndbuf_set

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
TICKS = os.sysconf("SC_CLK_TCK")
FLOW = itertools.count()  # no two floods have a flow of one name
SIZE = 1000  # bytes of a datagram


class Wire(Program):
    """A running tapnet-wire whose console tells of both directions."""

    def __init__(self, a, b):
        super().__init__(a + b, guest_program("tapnet-wire"), "--a", colons(a), "--b", colons(b))

    def ask(self):
        """{"a to b": {"came": N, "went": N, "wait": N, "refused": N}, …} as of now."""
        self.text = ""
        self.process.send_signal(signal.SIGUSR1)
        self.wait_for("^b to a: .*\n")
        return self.ways()

    def ways(self):
        found = re.findall(r"^(. to .): (\d+) came, (\d+) went, (\d+) wait, (\d+) were refused$",
                           self.text, re.M)
        return {way: dict(zip(("came", "went", "wait", "refused"), map(int, numbers)))
                for way, *numbers in found}


def cpu(pid):
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    """KiB that a process had at most."""
    return int(re.search(r"^VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def quiet_net():
    """A namespace without the chatter of IPv6; a firewall in a bridge would let frames go early."""
    made = Net()
    made.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
    made.run("sysctl -qw net.bridge.bridge-nf-call-iptables=0", status=None)
    return made


def statistics(of, name="tap0"):
    """{"rx": packets, "tx": packets, "tx dropped": …} of a device, as `ip -s link` has it."""
    stats = json.loads(of.run(f"ip -j -s link show {name}"))[0]["stats64"]
    return {"rx": stats["rx"]["packets"], "tx": stats["tx"]["packets"],
            "tx dropped": stats["tx"]["dropped"], "rx dropped": stats["rx"]["dropped"]}


class Pair:
    """left (10.0.1.1) - TAP a - wire - TAP b - right (10.0.1.2)."""

    def __init__(self, nets, queues=(1, 1), vnet=(False, False)):
        self.left, self.right = nets(2)
        self.a = self.left.tap(queues[0], vnet[0], ips=["10.0.1.1/24"])
        self.b = self.right.tap(queues[1], vnet[1], ips=["10.0.1.2/24"])
        self.far = self.right


class Slow:
    """left (10.0.1.1) - TAP a - wire - TAP b - bridge - shaper - far (10.0.1.2)."""

    def __init__(self, nets, queues=(1, 1), vnet=(False, False)):
        self.left, self.right, self.far = nets(3)
        self.a = self.left.tap(queues[0], vnet[0], ips=["10.0.1.1/24"])
        self.b = self.right.tap(queues[1], vnet[1], ips=[])
        for command in ("ip link add br0 type bridge",
                        f"ip link add dev v0 type veth peer name v1 netns {self.far.holder.pid}",
                        "ip link set tap0 master br0", "ip link set v0 master br0 up",
                        "ip link set br0 up", f"tc qdisc add dev v0 {self.shaper('4gbit')}"):
            self.right.run(command)
        self.left.run("ip link set tap0 txqueuelen 20000")
        self.far.run("ip address add 10.0.1.2/24 dev v1")
        self.one_backlog("v1")
        self.far.run("ip link set v1 up")
        sndbuf_set(self.b, 20000)

    def one_backlog(self, name):
        """Frames that come in wait for one processor: the shaper sends from any, which is no order."""
        script = f"mount -t sysfs none /sys && echo 1 > /sys/class/net/{name}/queues/rx-0/rps_cpus"
        subprocess.run(["nsenter", f"--net={self.far.path}", "unshare", "-m", "sh", "-c", script],
                       check=True, timeout=10)

    @staticmethod
    def shaper(rate):
        return f"root tbf rate {rate} burst 3000 limit 100000000"

    def rate(self, rate):
        self.right.run(f"tc qdisc change dev v0 {self.shaper(rate)}")


def flood(sender, number, flows=1, size=SIZE):
    """Sends numbered datagrams as fast as it can, each flow from a port of its own."""
    def opener():
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 28)
        return sockets
    sockets = sender.inside(opener)
    names = [next(FLOW) for _ in sockets]
    rest = bytes(size - 8)
    for n in range(number):
        data = struct.pack("!II", names[n % flows], n // flows) + rest
        sockets[n % flows].sendto(data, ("10.0.1.2", 9))  # whether or not anybody is there
    for one in sockets:
        one.close()


class Sink:
    """Gets the numbered datagrams: the numbers of each flow, in the order in which they came."""

    def __init__(self, receiver):
        def opener():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
            made.bind(("10.0.1.2", 9))
            return made
        self.socket = receiver.inside(opener)
        self.flows = {}
        self.n = 0

    def take(self, number, timeout=20):
        """Until there are that many, or none comes any more."""
        end = time.monotonic() + timeout
        self.socket.settimeout(3)
        while self.n < number and time.monotonic() < end:
            try:
                flow, n = struct.unpack("!II", self.socket.recv(2048)[:8])
            except TimeoutError:
                break
            self.flows.setdefault(flow, []).append(n)
            self.n += 1
        return self.flows


@pytest.fixture(name="nets")
def nets_(leaks, needs):
    """nets(n): so many new network namespaces."""
    needs("/dev/net/tun", "unshare", "nsenter", "ping", "tc")
    guest_program("tapnet-wire")
    made = []

    def make(number):
        fresh = [quiet_net() for _ in range(number)]
        made.extend(fresh)
        return fresh
    yield make
    for one in made:
        one.close()


@pytest.fixture(name="wires")
def wires_(nets):
    """wires(a, b): a tapnet-wire that is ready; it is killed if it still runs at the end."""
    made = []

    def start(a, b):
        made.append(Wire(a, b))
        made[-1].wait_for("^ready$")
        return made[-1]
    yield start
    for wire in made:
        wire.kill()
