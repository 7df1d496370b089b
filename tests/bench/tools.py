# tools.py - what is measured: this tool, the raw baseline, `ip -batch`, Mininet. Each has up(kind, n)
# and down(), which give seconds; down() ends when the kernel has let go of everything.
#
# How that is known: the tool's own `down` waits for it, and so does limit.c. Each is followed by
# `limit drain`, which waits for whatever was dropped before; what that takes beyond its longest on
# a machine at rest is added to the time. Others do not wait, so all of their drain is theirs.
import atexit
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import labs

TOP = Path(__file__).resolve().parents[2]
LIMIT = TOP / "build/tests/bench/limit"
TOOL = Path(os.environ.get("TAPNET_LAB_BIN", TOP / "build/orchestrator/tapnet-lab"))
NAMES = "/run/netns"
LONGEST = 300  # seconds that one up or down may take
PR_SET_CHILD_SUBREAPER, CLONE_NEWNS, CLONE_NEWNET = 36, 0x00020000, 0x40000000


class Failed(Exception):
    pass


# --- a host of our own, and what runs in it ---

def own_host():
    """A network namespace, an empty /run/netns, and all orphans are ours."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ.pop("XDG_RUNTIME_DIR", None)
    if not os.path.exists(NAMES):
        os.mkdir(NAMES)
        atexit.register(os.rmdir, NAMES)
    atexit.register(subprocess.run, ["umount", NAMES], check=False)
    for mount in ("--make-rprivate /", f"-t tmpfs tmpfs {NAMES}", "-t sysfs sysfs /sys"):
        subprocess.run(["mount", *mount.split()], check=True)
    subprocess.run("ip link set lo up".split(), check=True)


def children(pid):
    try:
        return [int(p) for tid in os.listdir(f"/proc/{pid}/task")
                for p in Path(f"/proc/{pid}/task/{tid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid):
    """All below pid, itself left out."""
    found, todo = [], children(pid)
    while todo:
        found.append(todo.pop())
        todo += children(found[-1])
    return found


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def named(name):
    """Those of our descendants that are called so."""
    return [pid for pid in descendants(os.getpid()) if comm(pid) == name]


def reap(seconds=10):
    """Waits for all orphans that came to us, and kills them when they stay."""
    until = time.monotonic() + seconds
    while True:
        try:
            pid = os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > until:
                for late in descendants(os.getpid()):
                    try:
                        os.kill(late, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                until = time.monotonic() + seconds
            time.sleep(0.001)


def cpu():
    """Seconds of the processor that our children have taken, those that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(argv, **how):
    """Runs it; how long it took. Its words are told when it fails."""
    begin = time.monotonic()
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=how.pop("out", subprocess.DEVNULL),
                          stderr=subprocess.PIPE, **how) as it:
        try:
            _, words = it.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired as late:
            it.kill()
            raise Failed(f"{argv}: not done in {LONGEST} s") from late
    took = time.monotonic() - begin
    if it.returncode:
        raise Failed(f"{argv}: exit status {it.returncode}: {words.decode(errors='replace')}")
    return took


class Talk:
    """A program that makes something, says "up MS", reads a line, drops it, says "down MS"."""

    def __init__(self, argv):
        self.it = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.argv = argv

    def heard(self, word):
        ready, _, _ = select.select([self.it.stdout], [], [], LONGEST)
        line = self.it.stdout.readline().split() if ready else []
        if len(line) != 2 or line[0] != word:
            self.end()
            raise Failed(f"{self.argv}: said {line}")
        return float(line[1]) / 1e3

    def go_on(self):
        self.it.stdin.write("\n")
        self.it.stdin.flush()

    def end(self):
        self.it.kill()
        self.it.wait()
        self.it.stdin.close()
        self.it.stdout.close()


class Drain:
    """limit drain; `idle` is the longest that it takes when nothing is to be waited for."""
    idle = 0.0

    @classmethod
    def took(cls):
        talk = Talk([LIMIT, "drain"])
        seconds = talk.heard("down")
        talk.it.wait()
        talk.end()
        return seconds

    @classmethod
    def at_rest(cls, times=9):
        cls.took()
        cls.idle = max(cls.took() for _ in range(times))

    @classmethod
    def excess(cls):
        return max(0.0, cls.took() - cls.idle)


# --- the tools ---

class Ours:
    name = "tapnet-lab"

    def __init__(self, folder):
        self.folder = folder
        self.lab = f"bench-{os.getpid()}"

    def file(self, kind, n, **how):
        path = self.folder / f"{kind}-{n}.yaml"
        path.write_text(getattr(labs, kind)(n, **how))
        return path

    def up(self, kind, n):
        """From its start until it has ended and the lab is there: YAML and all."""
        return run([TOOL, "up", "-q", "-n", self.lab, self.file(kind, n)])

    def down(self):
        took = run([TOOL, "down", self.lab])
        return took + Drain.excess()

    def end(self):
        if Path(f"/run/tapnet-lab/{self.lab}").exists():
            subprocess.run([TOOL, "down", self.lab], check=False, timeout=LONGEST)
        reap()


class Limit:
    name = "limit"
    talk = None

    def __init__(self, folder):
        pass

    def up(self, kind, n):
        self.talk = Talk([LIMIT, kind, n])
        return self.talk.heard("up")

    def down(self):
        self.talk.go_on()
        took = self.talk.heard("down")
        self.talk.it.wait()
        return took + Drain.excess()

    def end(self):
        if self.talk:
            self.talk.end()
        self.talk = None
        reap()


class Mininet(Limit):
    """Its star, with Linux bridges: Open vSwitch and a controller would be slower."""
    name = "mininet"

    def up(self, kind, n):
        self.talk = Talk([sys.executable, TOP / "tests/bench/mininet_star.py", n])
        return self.talk.heard("up")

    def down(self):
        self.talk.go_on()
        took = self.talk.heard("down") + Drain.took()
        self.talk.it.wait()
        return took


class Ip:
    """ip -batch as well as it does: a batch for the namespaces, one for the links, one a namespace
    for what is inside; one queue, no IPv6 of its own, final names and places at once. (It has no
    word for a qdisc, so each of a TAP's 256 queues gets one: that is where its time goes.)"""
    name = "ip -batch"
    ONE = "numtxqueues 1 numrxqueues 1"
    BRIDGE = "link add lan{} up type bridge mcast_snooping 0"

    def __init__(self, folder):
        self.folder = folder
        self.n = 0

    def write(self, name, lines):
        path = self.folder / name
        path.write_text("".join(line + "\n" for line in lines))
        return path

    def star(self, n):
        count = -(-n // labs.PORTS)
        self.links = [self.BRIDGE.format(i) for i in range(count)]
        self.links += [f"link add w{2 * i} up master lan{i} type veth peer name w{2 * i + 1}" for i in range(count - 1)]
        self.links += [f"link set w{2 * i + 1} up master lan{i + 1}" for i in range(count - 1)]
        self.links += [f"link add p{i} up master lan{i // labs.PORTS} {self.ONE} type veth peer name eth0 {self.ONE} "
                       f"netns b{i}" for i in range(n)]
        self.inside = [["link set eth0 addrgenmode none up", f"addr add 10.0.{(i + 1) >> 8}.{(i + 1) & 255}/16 dev eth0",
                        "route add default via 10.0.255.254"] for i in range(n)]

    def chain(self, n):
        def net(i, host):
            return f"10.{4 * i >> 16}.{4 * i >> 8 & 255}.{(4 * i & 255) + host}"
        self.links = [f"link add right {self.ONE} netns b{i} type veth peer name left {self.ONE} netns b{i + 1}"
                      for i in range(n - 1)]
        self.inside = [[] for _ in range(n)]
        for i, lines in enumerate(self.inside):
            if i + 1 < n:
                lines += ["link set right addrgenmode none up", f"addr add {net(i, 1)}/30 dev right"]
            if i:
                lines += ["link set left addrgenmode none up", f"addr add {net(i - 1, 2)}/30 dev left"]
            lines += [f"route add default via {net(i, 2) if i + 1 < n else net(i - 1, 1)} onlink dev "
                      f"{'right' if i + 1 < n else 'left'}"]
            if 1 < i < n - 1:
                lines += [f"route add 10.0.0.0/30 via {net(i - 1, 1)}"]

    def fat(self, n):
        side = round(n ** 0.5)
        self.links = [self.BRIDGE.format(k) for k in range(side)]
        self.links += [f"link add p{i}-{k} up master lan{k} {self.ONE} type veth peer name eth{k} {self.ONE} netns b{i}"
                       for i in range(side) for k in range(side)]
        self.inside = [[line for k in range(side) for line in (f"link set eth{k} addrgenmode none up",
                                                              f"addr add 10.{k}.0.{i + 1}/16 dev eth{k}")]
                       for i in range(side)]

    def taps(self, n):
        self.links = []
        self.inside = [[self.BRIDGE.format(0)]]
        for i in range(n):
            self.inside[0] += [f"tuntap add dev p{i} mode tap multi_queue", f"link set p{i} up master lan0"]

    def up(self, kind, n):
        getattr(self, kind)(n)
        self.n = len(self.inside)
        lo = [] if kind == "taps" else ["link set lo up"]
        script = [f"ip -batch {self.write('namespaces', [f'netns add b{i}' for i in range(self.n)])}",
                  f"ip -batch {self.write('links', self.links)}"]
        for i, lines in enumerate(self.inside):
            path = self.write(f"inside{i}", lo + lines)
            if kind == "chain":  # forwarding is only in the namespace's own /proc
                script += [f"nsenter --net=/run/netns/b{i} sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; "
                           f"exec ip -batch {path}'"]
            else:
                script += [f"ip -n b{i} -batch {path}"]
        return run(["sh", "-e", self.write("script", script)])

    def down(self):
        took = 0.0
        if self.n:
            took = run(["ip", "-batch", self.write("gone", [f"netns del b{i}" for i in range(self.n)])])
        bridges = [line.split()[2] for line in self.links if "type bridge" in line]
        if bridges:
            took += run(["ip", "-batch", self.write("bridges", [f"link del {name}" for name in bridges])])
        self.n, self.links = 0, []
        return took + Drain.took()

    def end(self):
        if self.n:
            subprocess.run(["ip", "-all", "netns", "del"], check=False, timeout=LONGEST)  # in our own /run/netns
            for line in self.links:
                if "type bridge" in line:
                    subprocess.run(["ip", "link", "del", line.split()[2]], check=False, timeout=LONGEST)
        self.n = 0
        reap()


# What a tool is not asked to do: Mininet has stars; a thousand TAPs of 256 qdiscs are 6.5 GiB.
def does(tool, kind, n):
    if tool is Mininet:
        return kind == "star" and n <= 1000
    return tool is not Ip or n <= (100 if kind == "taps" else 1000)
