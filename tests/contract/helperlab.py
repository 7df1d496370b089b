# helperlab.py - what the tests of bridge helpers share: a bridge of the host's, a lab with a TAP from
# a helper, and fakes that do all that a helper should not.
import fcntl
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

from conftest import processes

REAL = next((p for p in map(Path, ("/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"))
             if p.exists()), Path("/usr/lib/qemu/qemu-bridge-helper"))

# The first argument says what it does. "after": it has sent a TAP of its own by then.
FAKE = f"""#!{sys.executable}
import array, fcntl, os, socket, struct, sys, time
what, words = sys.argv[1], sys.argv[2:]
print("fake", what, words, sorted(map(int, os.listdir("/proc/self/fd")))[:-1], file=sys.stderr, flush=True)
sock = socket.socket(fileno=int([w for w in words if w.startswith("--fd=")][0][5:]))
open("fake.pid", "w").write(f"{{os.getpid()}}\\n")

def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", name, 0x5002))
    return fd

def send(*fds, kind=socket.SCM_RIGHTS):
    beside = [(socket.SOL_SOCKET, kind, array.array("i", fds))] if fds else []
    sock.sendmsg([b"\\0"], beside)

def alone(own_session):
    if os.fork() == 0:
        if own_session:
            os.setsid()
        open("fake.pid", "w").write(f"{{os.getpid()}}\\n")
        open("alone", "w")
        time.sleep(1000)
    while not os.path.exists("alone"):
        time.sleep(0.01)

if what in ("good", "fails-after", "killed-after", "hangs-after"):
    send(tap(b"tbfake"))
elif what == "two":
    send(tap(b"tbfake"), tap(b"tbfake2"))
elif what == "twice":
    send(tap(b"tbfake"))
    send(tap(b"tbfake2"))
elif what == "byte":
    send()
elif what == "credentials":
    send(os.getpid(), os.getuid(), os.getgid(), kind=2)
elif what == "closes":
    sock.close()
elif what == "no-tap":
    send(os.open("/dev/null", os.O_RDWR))
elif what == "leaves":
    alone(False)
    send(tap(b"tbfake"))
elif what == "daemon":
    alone(True)
    send(tap(b"tbfake"))
if what.startswith("hangs"):
    time.sleep(1000)
if what.startswith("killed"):
    os.kill(os.getpid(), 15)
sys.exit(3 if what.startswith("fails") else 0)
"""


def bridge():
    """A generator: the host's br0, 10.9.0.1/24."""
    subprocess.run("ip link add br0 type bridge".split(), check=True)
    Path("/proc/sys/net/ipv6/conf/br0/disable_ipv6").write_text("1")
    subprocess.run("ip addr add 10.9.0.1/24 dev br0".split(), check=True)
    subprocess.run("ip link set br0 mtu 1300 up".split(), check=True)
    yield "br0"
    subprocess.run("ip link del br0".split(), check=True)


def lab_text(binary, command, more=""):
    """A lab of one guest, 10.9.0.2/24, whose eth0 comes from a helper; that is at 6:31."""
    return f"""\
nodes:
  g:
    kind: guest
    command: [{binary.parent}/guest/tapnet-guest, --nic, "fds=${{eth0.fds}},mac=02:00:00:00:00:07,ip=10.9.0.2/24"]
    ready: {{console: ready, timeout: 20s}}
    interfaces: {{eth0: {{tap: {{helper: {{command: {command}{more}}}}}}}}}
"""


def fake(made, what, *words, more=""):
    """The lab's helper becomes a fake."""
    path = made.file.parent / "fake"
    path.write_text(FAKE)
    path.chmod(0o755)
    list_ = ", ".join(f'"{w}"' for w in ("./fake", what, *words))
    made.file.write_text(lab_text(made.bin, f"[{list_}]", more))


def fake_pid(made, timeout=20):
    """The process of the fake that was written last."""
    path, until = made.file.parent / "fake.pid", time.monotonic() + timeout
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < until, "the helper never ran"
        time.sleep(0.01)
    return int(path.read_text())


def one(comm):
    found = [pid for pid, what in processes(os.getpid()).items() if what.startswith(f"{comm}:")]
    assert len(found) == 1, (comm, found)
    return found[0]


def until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.01)


def alive(pid):
    try:
        return re.search(r"\) (\S)", Path(f"/proc/{pid}/stat").read_text())[1] not in "ZX"
    except OSError:
        return False


def name_tap(fd, name):
    """TUNSETIFF: fd, an open /dev/net/tun, is the device's from here on."""
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x1002))


def taps_of(pid):
    """The devices of a process's TAP fds."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/net/tun":
                found += re.findall(r"^iff:\s*(\S+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(), re.M)
        except OSError:
            pass
    return found


def devices():
    """The host's devices that are TAPs."""
    return sorted(n for n in os.listdir("/sys/class/net") if Path(f"/sys/class/net/{n}/tun_flags").exists())
