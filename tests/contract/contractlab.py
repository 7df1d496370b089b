# contractlab.py - what the tests of tests/contract share: guests that look at their own TAPs, the
# kernel's words about them, and looks from outside.
#
# A test of a row is named after it (test_t13_…) and says in its own words what the row promises.
import ctypes
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import faultlab

TUNSETOFFLOAD, TUNSETPERSIST, TUNSETOWNER = 0x400454d0, 0x400454cb, 0x400454cc
TUNGETIFF, TUNGETSNDBUF, TUNSETSNDBUF = 0x800454d2, 0x800454d3, 0x400454d4
TUNGETVNETHDRSZ, TUNSETVNETHDRSZ, TUNSETQUEUE = 0x800454d7, 0x400454d8, 0x400454d9
TUNSETVNETLE, TUNGETVNETLE, TUNSETCARRIER = 0x400454dc, 0x800454dd, 0x400454e2
SIOCGIFHWADDR, SIOCSIFHWADDR = 0x8927, 0x8924
TUNATTACHFILTER, TUNSETTXFILTER = 0x401054d5, 0x400454d1
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454ca, 0x0002, 0x1000, 0x4000
IFF_MULTI_QUEUE, IFF_PERSIST = 0x0100, 0x0800
ATTACH_QUEUE, DETACH_QUEUE = 0x0200, 0x0400
PYTHON = sys.executable

_return_0 = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
DROP_ALL = struct.pack("H6xP", 1, ctypes.addressof(_return_0))  # a struct sock_fprog


def number(fd, request, value=0):
    """An ioctl on an int, by its address."""
    return struct.unpack("i", fcntl.ioctl(fd, request, struct.pack("i", value)))[0]


def flags(fd):
    return struct.unpack("16sH22x", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))[1]


def attached(fd):
    return not flags(fd) & DETACH_QUEUE


def mac(fd):
    return fcntl.ioctl(fd, SIOCGIFHWADDR, bytes(40))[18:24].hex(":")


def open_tap(name, queues=1, more=IFF_VNET_HDR):
    """A TAP of our own in our own namespace: the fds of its queues."""
    fds = []
    for _ in range(queues):
        fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
        what = IFF_TAP | IFF_NO_PI | more | (IFF_MULTI_QUEUE if queues > 1 else 0)
        fcntl.ioctl(fds[-1], TUNSETIFF, struct.pack("16sH22x", name.encode(), what))
    return fds


def set_mac(fd, address):
    fcntl.ioctl(fd, SIOCSIFHWADDR, struct.pack("16sH6s16x", b"", 1, bytes.fromhex(address.replace(":", ""))))


def queue(fd, attach):
    fcntl.ioctl(fd, TUNSETQUEUE, struct.pack("16sH22x", b"", ATTACH_QUEUE if attach else DETACH_QUEUE))


def borrowed(pid, fd):
    """A copy of another process's fd: the same open file, so the same queue."""
    pidfd = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None).syscall(438, pidfd, fd, 0)  # pidfd_getfd
        assert copy >= 0, (pid, fd)
        return copy
    finally:
        os.close(pidfd)


def guest_script(made, name, text):
    """A python program beside the lab that knows this module; its path for `command:`."""
    head = f"import sys\nsys.path[:0] = {sys.path!r}\nimport contractlab as c\n"
    (made.file.parent / name).write_text(head + text)


def status(made):
    return json.loads(made.verb("status", "--format", "json").stdout)


def node(made, name):
    return next(n for n in status(made)["nodes"] if n["name"] == name)


def program(made, name):
    return next(p for n in status(made)["nodes"] for p in n["programs"] if p["name"] == name)


def tap(made, name, interface="eth0"):
    """What status tells of a guest's TAP."""
    return next(i for i in node(made, name)["interfaces"] if i["name"] == interface)["tap"]


def planned(made, whose):
    """The arguments of the TAP's step in the plan: "vm1:eth0"."""
    return next(s["args"] for s in faultlab.steps(made) if s["op"] == "tap" and s["of"] == whose)


def in_space(made, space, *argv):
    """A command in a namespace of the lab, found by the worker's fd for it. What it said."""
    fd = next(s["args"]["fd"] for s in faultlab.steps(made)
              if s["op"] == "netns" and s["where"] == space)
    done = subprocess.run(["nsenter", f"--net=/proc/{faultlab.worker_of(made)}/fd/{fd}", *argv],
                          capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


def kernel_link(made, space, name):
    """`ip -d -j -s link`, of one device in a namespace of the lab."""
    return json.loads(in_space(made, space, "ip", "-d", "-j", "-s", "link", "show", name))[0]


def fdinfo(pid):
    """{fd: name of its device} of a process, from /proc."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            name = re.search(r"^iff:\s+(\S+)$", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(), re.M)
        except OSError:
            continue
        if name:
            found[int(fd)] = name[1]
    return found


def wait(what, condition, seconds=10.0):
    faultlab.wait(what, condition, seconds, reap=False)
