# test_restart.py - a guest restarted: only the process is new. Its TAPs, their MACs, ifindexes, places
# on bridges and counters stay, and so do its peers' links. While nobody reads, the cable is out and
# the queues of a TAP with several are detached; before the next start everything that the last
# guest set through its fds is put back.
import fcntl
import json
import os
import re
import signal
import subprocess
import time

import pytest

import contractlab as c
import faultlab
from netlab import guest_program

LAB = """\
bridges: {lan: 10.7.0.0/24}
nodes:
  pc: {interfaces: {eth0: lan}}
  r1: {interfaces: {eth0: {ipv4: 10.9.0.1/24}}}
  g:
    kind: guest
    restart: RESTART
    command: [PYTHON, ./guest.py, "${eth0.fds}", "${eth1.fds}", "${eth2.fds}"]
    ready: {console: READY, timeout: 20s}
    interfaces:
      eth0: {bridge: lan, tap: {queues: 4, vnet-hdr: on}}
      eth1: {bridge: lan, tap: {vnet-hdr: on}}
      eth2: {ipv4: 10.9.0.2/24}
links: [[r1:eth0, g:eth2]]
""".replace("PYTHON", c.PYTHON)

# Tells what it was given, then spoils all that its fds let it; ends by a signal.
SPOIL = """
import fcntl, json, os, signal
taps = [[int(fd) for fd in word.split(":")] for word in sys.argv[1:4]]
def read_all(fd):
    n = 0
    while True:
        try:
            n += len(os.read(fd, 65536)) > 0
        except BlockingIOError:
            return n
blocking = [not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for tap in taps for fd in tap]
with open("seen", "a") as out:
    json.dump([{"flags": [c.flags(fd) for fd in tap], "mac": c.mac(tap[0]),
                "header": c.number(tap[0], c.TUNGETVNETHDRSZ), "sndbuf": c.number(tap[0], c.TUNGETSNDBUF),
                "little": c.number(tap[0], c.TUNGETVNETLE),
                "waiting": -1 if any(blocking) else sum(read_all(fd) for fd in tap)}
               for tap in taps] + blocking, out)
    print(file=out)
for n, tap in enumerate(taps):
    c.set_mac(tap[0], "02:00:00:00:66:0%d" % n)
    fcntl.ioctl(tap[0], c.TUNSETPERSIST, 0)
    fcntl.ioctl(tap[0], c.TUNSETOFFLOAD, 7)
    c.number(tap[0], c.TUNSETVNETHDRSZ, 20)
    c.number(tap[0], c.TUNSETSNDBUF, 4711)
    c.number(tap[0], c.TUNSETVNETLE, 1)
    fcntl.ioctl(tap[0], c.TUNATTACHFILTER, c.DROP_ALL)
    for fd in tap:
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
for fd in taps[0][1:3]:
    c.queue(fd, attach=False)
c.number(taps[1][0], c.TUNSETCARRIER, 0)
print("READY", flush=True)
signal.pause()
"""


def make(lab, restart="on-failure", guest=SPOIL):
    made = lab(LAB.replace("RESTART", restart))
    c.guest_script(made, "guest.py", guest)
    made.up("-q")
    return made


def seen(made):
    return [json.loads(line) for line in (made.file.parent / "seen").read_text().splitlines()]


def devices(made):
    """What must not change: of the guest's TAPs and of those that they lead to."""
    found = []
    for space, name in (("switch", "g:eth0"), ("switch", "g:eth1"), ("switch", "pc:eth0"),
                        ("switch", "lan"), ("r1", "eth0"), ("pc", "eth0")):
        link = c.kernel_link(made, space, name)
        found.append((space, link["ifname"], link["ifindex"], link.get("master"),
                      link.get("linkinfo", {}).get("info_slave_data", {}).get("no")))
    return found


def counters(made):
    return [c.kernel_link(made, *which)["stats64"][way]["packets"]
            for which in (("switch", "g:eth0"), ("r1", "eth0"), ("pc", "eth0")) for way in ("rx", "tx")]


def end(made, how=signal.SIGKILL):
    os.kill(c.program(made, "g")["pid"], how)


def again(made, n):
    """It runs for the n-th time, and said so."""
    c.wait(f"its start number {n}", lambda: made.verb("logs", "g").stdout.count("READY") == n)


class Monitor:
    """`ip monitor link` in a namespace of the lab."""

    def __init__(self, made, space):
        fd = next(s["args"]["fd"] for s in faultlab.steps(made)
                  if s["op"] == "netns" and s["where"] == space)
        self.log = made.file.parent / f"monitor.{space}"
        with open(self.log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/proc/{faultlab.worker_of(made)}/fd/{fd}", "ip", "-o", "monitor",
                 "link"], stdout=out, stderr=out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def said(self):
        return self.log.read_text()


@pytest.mark.parametrize("by", ("restart", "on-failure"))
def test_restart_only_the_process_is_new(lab, by):
    """No device comes or goes; what the last guest set is as the plan has it; counters go on."""
    made = make(lab)
    before, pid = devices(made), c.program(made, "g")["pid"]
    counted = counters(made)
    with Monitor(made, "switch") as switch, Monitor(made, "r1") as r1:
        # It hears something: what it is there for.
        c.in_space(made, "switch", "ip", "link", "set", "lan", "txqueuelen", "999")
        c.in_space(made, "r1", "ip", "link", "set", "eth0", "txqueuelen", "999")
        c.wait("both listen", lambda: "lan" in switch.said() and "eth0" in r1.said())
        if by == "restart":
            made.verb("restart", "g")
        else:
            end(made)
        again(made, 2)
        known = {index for space, _, index, *_ in before if space == "switch"}
        assert not re.search("Deleted", switch.said() + r1.said())
        assert {int(i) for i in re.findall(r"^(\d+): ", switch.said(), re.M)} <= known
    first, second = seen(made)
    assert second == first
    assert first[3:] == [False] * 6 and all(tap["waiting"] == 0 for tap in first[:3])
    assert devices(made) == before
    assert all(now >= then for now, then in zip(counters(made), counted))
    assert c.program(made, "g")["pid"] != pid and faultlab.gone(pid)


def test_restart_while_nobody_reads(lab):
    """Queues detached where that is possible, the cable out everywhere, as the peers see."""
    made = make(lab, "no")
    assert "LOWER_UP" in c.kernel_link(made, "r1", "eth0")["flags"]
    end(made)
    c.wait("it has ended", lambda: c.program(made, "g")["state"] == "ended")
    for space, name, detached in (("switch", "g:eth0", 4), ("switch", "g:eth1", 0), ("r1", "eth0", 0)):
        link = c.kernel_link(made, space, name)
        assert "LOWER_UP" not in link["flags"], link
        assert link["linkinfo"]["info_data"].get("numdisabled", 0) == detached, link
    assert made.exec("r1", "ip", "-4", "-o", "addr", "show", "eth0").stdout.count("10.9.0.1/24") == 1
    made.exec("r1", "ping", "-c", "1", "-W", "1", "10.9.0.2", status=None)  # into nothing
    made.verb("restart", "g")
    again(made, 2)
    assert "LOWER_UP" in c.kernel_link(made, "r1", "eth0")["flags"]
    assert seen(made)[1] == seen(made)[0]


def test_restart_no_frames_of_before(lab):
    """What came for the last guest, which did not read it, is not given to the next."""
    made = make(lab, guest=SPOIL.replace("fcntl.ioctl(tap[0], c.TUNATTACHFILTER, c.DROP_ALL)", "pass"))
    for node, to in (("r1", "10.9.0.2"), ("pc", "10.7.0.99")):
        made.exec(node, "ping", "-c", "2", "-i", "0.2", "-W", "1", to, status=None)
        made.exec(node, "ip", "neigh", "flush", "all")
    made.exec("pc", "ip", "link", "set", "eth0", "down")  # nor does anything come later
    made.exec("r1", "ip", "link", "set", "eth0", "arp", "off")
    end(made)
    again(made, 2)
    assert [tap["waiting"] for tap in seen(made)[1][:3]] == [0, 0, 0]


def test_restart_frames_flow_again(lab):
    """Both ways, on every queue, to a guest that sets nothing itself: no filter, header or byte order of
    the last one is left."""
    made = lab("""\
bridges: {lan: 10.7.0.0/24}
nodes:
  pc: {interfaces: {eth0: {bridge: lan, ipv4: 10.7.0.1/24}}}
  g:
    kind: guest
    restart: on-failure
    command: [PYTHON, ./guest.py, "${eth0.fds}", PROGRAM, --nic, "fds=${eth0.fds},mac=${eth0.mac},ip=${eth0.ipv4-prefix}"]
    ready: {console: READY, timeout: 20s}
    interfaces: {eth0: {bridge: lan, ipv4: 10.7.0.2/24, tap: {queues: 4, vnet-hdr: on, steering: hash}}}
""".replace("PYTHON", c.PYTHON).replace("PROGRAM", str(guest_program())))
    first = """
import fcntl, os
if os.path.exists("been"):
    os.execv(sys.argv[2], sys.argv[2:])
open("been", "w").close()
""" + SPOIL.replace("sys.argv[1:4]", "sys.argv[1:2]").replace("c.number(taps[1][0], c.TUNSETCARRIER, 0)", """
fcntl.ioctl(taps[0][0], c.TUNSETTXFILTER, bytes([0, 0, 1, 0, 2, 0, 0, 0, 0, 1]))  # for 02:00:00:00:00:01 only
""")
    c.guest_script(made, "guest.py", first)
    made.up("-q")
    made.exec("pc", "ping", "-c", "1", "-W", "1", "10.7.0.2", status=1)
    end(made)
    c.wait("the next one is ready", lambda: re.search("^ready", made.verb("logs", "g").stdout, re.M))
    for size in (20, 1000):
        made.exec("pc", "ping", "-c", "5", "-i", "0.05", "-W", "2", "-s", str(size), "10.7.0.2")


def test_restart_back_off_grows(lab):
    """1 s, then 2 s; each start finds all as planned."""
    made = make(lab)
    for n in (2, 3):
        began = time.monotonic()
        end(made)
        c.wait("a back-off", lambda: c.program(made, "g")["state"] == "restarting")
        again(made, n)
        assert n - 1 - 0.1 <= time.monotonic() - began < n + 3
    first, *others = seen(made)
    assert others == [first, first]


def test_restart_leaves_nobody_on_the_queues(lab):
    """A child that outlives the guest's own process ends with it: nobody steals the next one's frames."""
    made = lab(LAB.replace("RESTART", "no"))
    c.guest_script(made, "guest.py", """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork():
    print("READY", flush=True)
    signal.pause()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    signal.pause()
""")
    made.up("-q")
    both = [h["pid"] for h in c.tap(made, "g")["holders"] if h["guest"]]
    assert len(both) == 2
    made.verb("restart", "g")
    again(made, 2)
    c.wait("the last ones gone", lambda: all(map(faultlab.gone, both)))


def test_restart_that_fails_is_tried_again(lab):
    """A TAP that is not there any more: told in the log and in status, again and again."""
    made = make(lab)
    c.in_space(made, "r1", "ip", "link", "del", "eth0")
    end(made)
    c.wait("the second try", lambda: c.program(made, "g")["restarts"] >= 2)
    told = c.program(made, "g")
    assert told["state"] == "restarting" and told["pid"] is None if "pid" in told else True
    assert re.search("the TAP device behind fd .* is gone", told["trouble"]), told
    assert made.verb("logs", "g").stdout.count("could not be started: ") >= 2
    out = made.verb("status", "--check", status=1).stdout
    assert re.search(r"plan: running   kernel: restarting, restarted \d times, not started: .* is gone",
                     out), out
    said = made.verb("restart", "g", status=5, timeout=20).stderr
    assert "is gone" in said, said


def test_restart_puts_queues_back(lab):
    """What `queue` did lasts until the next start: then they are as the file has them, and so is a cable
    that the file keeps out."""
    made = lab("""\
bridges: {lan: {subnet: none}}
nodes:
  g:
    kind: guest
    command: [sleep, "1000"]
    interfaces: {eth0: {bridge: lan, tap: {queues: 4, enabled-queues: 2, carrier: off}}}
""")
    made.up("-q")

    def states():
        assert "LOWER_UP" not in c.kernel_link(made, "switch", "g:eth0")["flags"]
        return [q["state"][0] for q in c.tap(made, "g")["queues"]]
    assert states() == list("aadd")
    made.verb("queue", "disable", "g:eth0", "1")
    made.verb("queue", "enable", "g:eth0", "3")
    assert states() == list("adda")
    made.verb("restart", "g")
    assert states() == list("aadd")
    assert made.verb("status", "--check").stdout.endswith("no problems\n")


ADOPTED = """\
nodes:
  g:
    kind: guest
    restart: on-failure
    command: [PYTHON, ./guest.py, "${eth0.fds}"]
    ready: {console: READY, timeout: 20s}
    interfaces: {eth0: {tap: {fds: [FDS]}}}
"""


def test_restart_on_the_callers_tap(lab):
    """MAC and persistence of a device that was handed to us are again what they were then."""
    taps = c.open_tap("mine", queues=2)
    try:
        fcntl.ioctl(taps[0], c.TUNSETPERSIST, 1)
        c.set_mac(taps[0], "02:00:00:00:00:0a")
        text = ADOPTED.replace("PYTHON", c.PYTHON).replace("FDS", ", ".join(map(str, taps)))
        made = lab(text)
        c.guest_script(made, "guest.py", SPOIL.replace("for fd in taps[0][1:3]", "for fd in taps[0]")
                       .replace("c.number(taps[1][0], c.TUNSETCARRIER, 0)", "pass")
                       .replace("sys.argv[1:4]", "sys.argv[1:2]"))
        made.up("-q", pass_fds=taps)
        assert c.mac(taps[0]) == "02:00:00:00:66:00" and not c.flags(taps[0]) & c.IFF_PERSIST
        assert not any(map(c.attached, taps))
        end(made)
        again(made, 2)
        first, second = seen(made)
        assert first == second and first[0]["mac"] == "02:00:00:00:00:0a"
        assert first[0]["flags"][0] & c.IFF_PERSIST
        made.verb("restart", "g")
        again(made, 3)
        assert seen(made)[2] == first
        made.down()
    finally:
        fcntl.ioctl(taps[0], c.TUNSETPERSIST, 0)
        for fd in taps:
            os.close(fd)


# Attaches itself, by the fd that it was given or by name; tells what it found, and spoils it.
ATTACH = """
import fcntl, json, os, signal, struct
name = sys.argv[1].encode()
fd = int(sys.argv[2]) if sys.argv[2:] else os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, c.TUNSETIFF, struct.pack("16sH22x", name, c.IFF_TAP | c.IFF_NO_PI | c.IFF_VNET_HDR))
with open("seen", "a") as out:
    print(json.dumps([c.flags(fd), c.mac(fd), c.number(fd, c.TUNGETVNETHDRSZ),
                      c.number(fd, c.TUNGETSNDBUF), c.number(fd, c.TUNGETVNETLE)]), file=out)
c.set_mac(fd, "02:00:00:00:66:00")
fcntl.ioctl(fd, c.TUNSETOFFLOAD, 7)
c.number(fd, c.TUNSETVNETHDRSZ, 20)
c.number(fd, c.TUNSETSNDBUF, 4711)
c.number(fd, c.TUNSETVNETLE, 1)
print("READY", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("handoff", ("name", "unattached"))
def test_restart_of_one_that_attaches_itself(lab, handoff):
    """Nobody holds the device meanwhile, and what the last guest set is put back all the same."""
    fd = ', "${eth0.fd}"' if handoff == "unattached" else ""
    made = lab(f"""\
bridges: {{lan: 10.7.0.0/24}}
nodes:
  g:
    kind: guest
    netns: switch
    command: [{c.PYTHON}, ./guest.py, "${{eth0.ifname}}"{fd}]
    ready: {{console: READY, timeout: 20s}}
    interfaces: {{eth0: {{bridge: lan, tap: {{handoff: {handoff}, vnet-hdr: on, vnet-hdr-len: 12}}}}}}
""")
    c.guest_script(made, "guest.py", ATTACH)
    made.up("-q")
    made.verb("restart", "g")
    again(made, 2)
    first, second = seen(made)
    assert first == second
    assert first[2:] == [12, 2**31 - 1, 0] and first[1] == c.planned(made, "g:eth0")["mac"]


HOLD = """
import fcntl, os, struct, time
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, c.TUNSETIFF, struct.pack("16sH22x", sys.argv[1].encode(),
                                         c.IFF_TAP | c.IFF_NO_PI | c.IFF_VNET_HDR))
print("held", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("handoff", ("name", "unattached"))
def test_restart_is_tried_until_it_can_be(lab, handoff):
    """Another has the guest's device by the time it is to start again: told; then it is let go."""
    fd = ', "${eth0.fd}"' if handoff == "unattached" else ""
    made = lab(f"""\
bridges: {{lan: {{subnet: none}}}}
nodes:
  g:
    kind: guest
    netns: switch
    restart: on-failure
    command: [{c.PYTHON}, ./guest.py, "${{eth0.ifname}}"{fd}]
    ready: {{console: READY, timeout: 20s}}
    interfaces: {{eth0: {{bridge: lan, tap: {{handoff: {handoff}, vnet-hdr: on}}}}}}
""")
    c.guest_script(made, "guest.py", ATTACH)
    c.guest_script(made, "hold.py", HOLD)
    made.up("-q")
    name = c.planned(made, "g:eth0")["name"]
    space = next(s["args"]["fd"] for s in faultlab.steps(made) if s["op"] == "netns" and s["where"] == "switch")
    argv = ["nsenter", f"--net=/proc/{faultlab.worker_of(made)}/fd/{space}", c.PYTHON,
            made.file.parent / "hold.py", name]
    for _ in range(4):  # on a busy machine it may come too late; then the next back-off is longer
        end(made)
        c.wait("it has ended", lambda: c.program(made, "g")["state"] == "restarting")
        holder = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)
        if holder.stdout.readline() == "held\n":
            break
        holder.wait()
        c.wait("it runs", lambda: c.program(made, "g")["state"] == "running", 20)
    with holder:
        try:
            c.wait("it was tried", lambda: "trouble" in c.program(made, "g"), 20)
            assert "Device or resource busy" in c.program(made, "g")["trouble"]
            assert c.program(made, "g")["state"] == "restarting"
        finally:
            holder.kill()
    c.wait("it runs", lambda: c.program(made, "g")["state"] == "running", 30)
    assert "trouble" not in c.program(made, "g")
    c.wait("it has looked", lambda: len(seen(made)) >= 2)
    assert seen(made)[-1] == seen(made)[0]


QEMU = """\
nodes:
  r1: {interfaces: {eth0: {ipv6: "fd09::1/64"}}}
  g:
    kind: qemu
    restart: on-failure
    cpus: 1
    memory: 64M
    extra: [-boot, n]
    interfaces: {eth0: {mac: "02:00:00:00:00:02", tap: {queues: 4}}}
links: [[r1:eth0, g:eth0]]
"""


def test_restart_of_qemu(lab, needs):
    """Its firmware, which asks the network for a system, answers; again after a restart, and after it was
    killed. QEMU detaches the queues that its guest does not use, which is no difference."""
    needs("qemu-system-x86_64")
    made = lab(QEMU)
    made.up("-q")
    before, pids = c.kernel_link(made, "r1", "eth0"), set()
    for kill in (None, lambda: made.verb("restart", "g"), lambda: end(made)):
        if kill:
            kill()
        c.wait("another process", lambda: c.program(made, "g").get("pid", 0) not in {0, *pids})
        pids.add(c.program(made, "g")["pid"])
        made.exec("r1", "sh", "-c", "until ping -6 -c 1 -W 1 fe80::ff:fe00:2%eth0; do sleep 0.1; done",
                  timeout=90)
        after = c.kernel_link(made, "r1", "eth0")
        assert [after[k] for k in ("ifindex", "address")] == [before[k] for k in ("ifindex", "address")]
        assert [q["state"] for q in c.tap(made, "g")["queues"]] == ["attached"] + ["detached"] * 3
        assert all(p["plan"] == "running" for p in c.status(made)["problems"])
    assert after["stats64"]["rx"]["packets"] > before["stats64"]["rx"]["packets"]
