# netlab.py - TAPs in network namespaces of a test's own, and the programs of orchestrator/guest on them.
#
# A namespace has no name: it lives as long as a process in it, which ends when this one does,
# whatever the reason. The programs with sanitizers are taken where they are built.
import ctypes
import fcntl
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
TUNSETIFF, TUNSETQUEUE, TUNSETOFFLOAD = 0x400454CA, 0x400454D9, 0x400454D0
TUNSETSNDBUF, TUNSETVNETHDRSZ = 0x400454D4, 0x400454D8
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE, IFF_VNET_HDR = 0x1, 0x2, 0x1000, 0x100, 0x4000
IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE = 0x200, 0x400
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def guest_program(name="tapnet-guest"):
    for variable, default in (("TAPNET_LAB_FAULT_BIN", "build/test/orchestrator/tapnet-lab"),
                              ("TAPNET_LAB_BIN", "build/orchestrator/tapnet-lab")):
        program = Path(os.environ.get(variable, TOP / default)).parent / "guest" / name
        if program.is_file():
            return program
    return pytest.skip(f"{name} is not built (liblwip-dev)")


class Net:
    """A network namespace; on its TAPs are 10.0.1.1/24 and fd00:1::1/64 unless told otherwise."""

    def __init__(self):
        # cat ends at the end of its input: when this process lets go of it, however it ends.
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.path = f"/proc/{self.holder.pid}/ns/net"
        self.fds = []

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.holder.communicate(timeout=10)

    def inside(self, function):
        """Calls a function in the namespace; what it opens belongs there."""
        back, there = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", self.path))
        try:
            assert LIBC.setns(there, CLONE_NEWNET) == 0
            return function()
        finally:
            assert LIBC.setns(back, CLONE_NEWNET) == 0
            os.close(back)
            os.close(there)

    def popen(self, *argv):
        return subprocess.Popen(["nsenter", f"--net={self.path}", *argv], stdout=subprocess.PIPE)

    def run(self, command, status=0, timeout=30):
        done = subprocess.run(["nsenter", f"--net={self.path}", *command.split()], timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert status in (None, done.returncode), (command, done.stdout, done.stderr)
        return done.stdout

    def tap(self, queues=1, vnet=False, name="tap0", ips=("10.0.1.1/24", "fd00:1::1/64")):
        """The fds of a new TAP's queues."""
        flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if vnet else 0)
        flags |= IFF_MULTI_QUEUE if queues > 1 else 0
        fds = []
        for _ in range(queues):
            fd = self.inside(lambda: os.open("/dev/net/tun", os.O_RDWR))
            fds.append(fd)
            self.fds.append(fd)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        for ip in ips:
            nodad = " nodad" if ":" in ip else ""
            self.run(f"ip address add {ip} dev {name}{nodad}")
        self.run(f"ip link set {name} up")
        return fds

    def sniff(self, name="tap0"):
        """A socket that gets every frame of a device as it is."""
        def opener():
            sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sniffer.bind((name, 3))
            return sniffer
        sniffer = self.inside(opener)
        sniffer.settimeout(5)
        return sniffer

    def connect(self, port):
        return self.inside(lambda: socket.create_connection(("10.0.1.10", port), timeout=5))


def colons(fds):
    return ":".join(str(fd) for fd in fds)


def queue_set(fd, attached):
    flag = IFF_ATTACH_QUEUE if attached else IFF_DETACH_QUEUE
    fcntl.ioctl(fd, TUNSETQUEUE, struct.pack("16xH22x", flag))


def header_set(fd, size):
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", size))


def sndbuf_set(fds, size):
    for fd in fds:
        fcntl.ioctl(fd, TUNSETSNDBUF, struct.pack("i", size))


class Program:
    """A running program with fds, whose console is read when a test waits for its words."""

    def __init__(self, fds, *argv):
        self.process = subprocess.Popen(argv, pass_fds=fds, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.text = ""

    def wait_for(self, pattern, timeout=10.0):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text, re.M):
            left = max(0, end - time.monotonic())
            ready = select.select([self.process.stdout], [], [], left)[0]
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert more, f"no {pattern!r} in {self.text!r}"
            self.text += more.decode()

    def end(self, number=signal.SIGTERM):
        """Its exit status, what it complained of, and the counters, summed up over the queues."""
        if number:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10)
        self.text += out.decode()
        return self.process.returncode, err.decode(), self.counters()

    def counters(self, name=r"eth\d+"):
        """Of the last time that they were printed."""
        queues = dict(re.findall(rf"^({name} queue \d+): (.*)$", self.text, re.M))
        sums = {}
        for what, value in re.findall(r"([a-z ]+?) (\d+)(?:, |\n|$)", "\n".join(queues.values())):
            sums[what] = sums.get(what, 0) + int(value)
        return sums

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        if not self.process.stdout.closed:
            self.process.communicate()


class Guest(Program):
    """tapnet-guest; ready when it was started by the fixture."""

    def __init__(self, fds, *options):
        super().__init__(fds, guest_program(), "--name", "web", *options)
