# test_t15_status.py - T15: another process can see what a TAP is: its fds and queues in the lab and in
# the guest, ifindex, namespace, flags, and who holds it. `status` reads that from the kernel; here
# the kernel is asked in other ways: /proc/PID/fdinfo, ioctls, and ip in the device's namespace.
#
# What sysfs shows of a multi-queue device before a guest's driver is loaded says nothing, so these
# guests have none.
import os
import re
import signal

import pytest

import contractlab as c
import faultlab

LAB = """\
bridges: {lan: 10.7.0.0/24}
nodes:
  r1: {interfaces: {eth0: {ipv4: 10.9.0.1/24}}}
  vm1:
    kind: guest
    command: '(setsid sleep 1001 &); exec sleep 1000'
    interfaces: {eth0: {bridge: lan, tap: {queues: 4, vnet-hdr: on}}, eth1: {bridge: lan}}
  vm2:
    kind: guest
    command: [sleep, "1000"]
    interfaces: {eth0: {ipv4: 10.9.0.2/24, tap: {queues: 2, vnet-hdr: on}}}
links: [[r1:eth0, vm2:eth0]]
"""
# Guest's interface: namespace, its name there, number of queues, has a vnet header.
TAPS = {("vm1", "eth0"): ("switch", "vm1:eth0", 4, True),
        ("vm1", "eth1"): ("switch", "vm1:eth1", 1, False),
        ("vm2", "eth0"): ("r1", "eth0", 2, True)}


@pytest.fixture(scope="module")
def up(module_lab):
    made = module_lab(LAB)
    made.up("-q")
    settled(made)
    return made


@pytest.fixture(scope="module", autouse=True)
def twin(module_lab, up):
    """Another lab whose devices have the same names: not ours, so never told."""
    made = module_lab(LAB.replace("10.7.", "10.6."))
    made.up("-q")
    settled(made)
    return made


def settled(made):
    """vm1 and its child are what they become."""
    c.wait("both sleep", lambda: [h["command"] for h in c.tap(made, "vm1")["holders"]
                                  if h["guest"]] == ["sleep"] * 2)


@pytest.mark.parametrize("guest, interface", TAPS)
def test_t15_as_fdinfo_has_it(up, guest, interface):
    """Each fd in the worker and in the guest is of that device, and all of them are told."""
    tap = c.tap(up, guest, interface)
    device = next(i for i in c.node(up, guest)["interfaces"] if i["name"] == interface)["device"]
    pid, worker = c.program(up, guest)["pid"], faultlab.worker_of(up)
    assert tap["guest_pid"] == pid
    space, _, n, _ = TAPS[guest, interface]
    assert [q["queue"] for q in tap["queues"]] == list(range(n))
    assert all(q["state"] == "attached" for q in tap["queues"])
    inside, ours = c.fdinfo(pid), c.fdinfo(worker)
    assert {inside[q["guest_fd"]] for q in tap["queues"]} == {device}
    assert {ours[q["fd"]] for q in tap["queues"]} == {device}
    others = {q["guest_fd"] for i in c.node(up, guest)["interfaces"] if i["name"] != interface
              for q in i["tap"]["queues"]}
    assert set(inside) == {q["guest_fd"] for q in tap["queues"]} | others
    net = c.in_space(up, space, "readlink", "/proc/self/ns/net")
    assert net == f"net:[{tap['namespace']}]\n"


@pytest.mark.parametrize("guest, interface", TAPS)
def test_t15_holders(up, guest, interface):
    """Guardian and worker are ours; the guest and its child are not; nobody else, no twin's."""
    tap = c.tap(up, guest, interface)
    worker = faultlab.worker_of(up)
    at = {h["pid"]: h for h in tap["holders"]}
    assert sorted(h["command"] for h in tap["holders"] if h["ours"]) == ["tapnet-guard", "tapnet-work"]
    assert at[worker]["ours"] and at[worker]["fds"] == [q["fd"] for q in tap["queues"]]
    assert at[tap["guest_pid"]]["guest"] and at[tap["guest_pid"]]["command"] == "sleep"
    assert at[tap["guest_pid"]]["fds"] == [q["guest_fd"] for q in tap["queues"]]
    assert all(h["ours"] != h["guest"] for h in tap["holders"])
    sleepers = [h for h in tap["holders"] if h["command"] == "sleep"]
    assert len(sleepers) == (2 if guest == "vm1" else 1)
    assert len(at) == 2 + len(sleepers)
    for holder in tap["holders"]:
        assert set(holder["fds"]) <= set(c.fdinfo(holder["pid"]))


@pytest.mark.parametrize("guest, interface", TAPS)
def test_t15_as_the_device_has_it(up, guest, interface):
    """Against `ip -d link` in the namespace, and the ioctls of a copy of the guest's fd."""
    space, name, n, vnet = TAPS[guest, interface]
    tap, link = c.tap(up, guest, interface), c.kernel_link(up, space, name)
    data = link["linkinfo"]["info_data"]
    assert tap["ifindex"] == link["ifindex"]
    assert data["type"] == "tap"
    assert set(tap["flags"]) == {"tap", "no_pi"} | {f for f, on in (
        ("vnet_hdr", data["vnet_hdr"]), ("multi_queue", data["multi_queue"]),
        ("persist", data["persist"])) if on}
    assert data["vnet_hdr"] == vnet and data["multi_queue"] == (n > 1) and data["persist"]
    if n > 1:
        assert (tap["attached"], tap["detached"]) == (data["numqueues"], data["numdisabled"]) == (n, 0)
    copy = c.borrowed(tap["guest_pid"], tap["queues"][0]["guest_fd"])
    try:
        assert tap["vnet_hdr_len"] == c.number(copy, c.TUNGETVNETHDRSZ)
        assert tap["sndbuf"] == c.number(copy, c.TUNGETSNDBUF)
        assert (tap["endian"] == "little") == bool(c.number(copy, c.TUNGETVNETLE))
        c.number(copy, c.TUNSETVNETHDRSZ, 12)  # as a guest would
        c.number(copy, c.TUNSETSNDBUF, 54321)
        c.number(copy, c.TUNSETVNETLE, 1)
        tap = c.tap(up, guest, interface)
        assert (tap["vnet_hdr_len"], tap["sndbuf"], tap["endian"]) == (12, 54321, "little")
    finally:
        c.number(copy, c.TUNSETVNETLE, 0)
        os.close(copy)


def test_t15_queues_one_by_one(up):
    """Which queue is detached, though the guest did it, on its own fd."""
    tap = c.tap(up, "vm1")
    copy = c.borrowed(tap["guest_pid"], tap["queues"][2]["guest_fd"])
    try:
        c.queue(copy, attach=False)
        tap = c.tap(up, "vm1")
        assert [q["state"] for q in tap["queues"]] == ["attached", "attached", "detached", "attached"]
        assert (tap["attached"], tap["detached"]) == (3, 1)
        said = up.verb("status").stdout
        assert re.search(r"^      eth0  4 queues, 1 detached  fds 3-6 of sleep, pid \d+"
                         r"; also (sleep|python3), pid \d+, (sleep|python3), pid \d+$", said, re.M), said
        assert not c.status(up)["problems"]  # a guest's own business
    finally:
        c.queue(copy, attach=True)
        os.close(copy)
    assert up.verb("status", "--check").stdout.endswith("no problems\n")


def test_t15_another_process(up):
    """One that was given the fd from outside is named, and neither ours nor the guest's."""
    tap = c.tap(up, "vm1", "eth1")
    copy = c.borrowed(tap["guest_pid"], tap["queues"][0]["guest_fd"])
    try:
        holder, = [h for h in c.tap(up, "vm1", "eth1")["holders"] if h["pid"] == os.getpid()]
        assert holder["fds"] == [copy] and not holder["ours"] and not holder["guest"]
    finally:
        os.close(copy)


def drift(made):
    out = made.verb("status", "--check", status=1).stdout
    return out, c.status(made)["problems"]


def test_t15_drift(lab):
    """Another MAC, another persistence, a device gone, and one in its place with fewer queues."""
    made = lab(LAB)
    made.up("-q")
    tap = c.tap(made, "vm1")
    copy = c.borrowed(tap["guest_pid"], tap["queues"][0]["guest_fd"])
    try:
        c.set_mac(copy, "02:00:00:00:00:99")
        c.fcntl.ioctl(copy, c.TUNSETPERSIST, 0)
    finally:
        os.close(copy)
    out, (problem,) = drift(made)
    assert problem["plan"].endswith(", persistent") and "02:00:00:00:00:99, not persistent" in out
    assert problem["remedy"] == "tapnet-lab restart vm1"
    made.verb("restart", "vm1")
    assert made.verb("status", "--check").stdout.endswith("no problems\n")

    c.in_space(made, "r1", "ip", "link", "del", "eth0")
    _, problems = drift(made)
    gone, = [p for p in problems if p["where"] == "eth0"]
    assert (gone["plan"], gone["kernel"], gone["remedy"]) == (
        "there", "missing", "tapnet-lab up --replace")
    assert [q["state"] for q in c.tap(made, "vm2")["queues"]] == ["gone"] * 2
    ifindex = c.planned(made, "vm2:eth0")["ifindex"]
    c.in_space(made, "r1", "ip", "link", "add", "eth0", "index", str(ifindex), "type", "bridge")
    _, problems = drift(made)
    gone, = [p for p in problems if p["where"] == "eth0"]
    assert "2 queues" in gone["plan"] and "none" in gone["kernel"], gone
    assert gone["remedy"] == "tapnet-lab up --replace"


def test_t15_no_guest(lab):
    """An ended one holds nothing; what is left is told, and that it ended is the only problem."""
    made = lab(LAB)
    made.up("-q")
    os.kill(c.program(made, "vm2")["pid"], signal.SIGKILL)
    c.wait("it has ended", lambda: c.program(made, "vm2")["state"] == "ended")
    tap = c.tap(made, "vm2")
    assert tap["guest_pid"] is None and all(h["ours"] for h in tap["holders"])
    assert [(q["guest_fd"], q["state"]) for q in tap["queues"]] == [(None, "detached")] * 2
    out, (problem,) = drift(made)
    assert problem["kernel"].startswith("ended, killed by SIGKILL"), out
    assert re.search(r"^vm2 +guest +ended +eth0 +no carrier", made.verb("status").stdout, re.M)


OWN = """\
bridges: {lan: {subnet: none}}
nodes:
  u:
    kind: guest
    netns: switch
    command: [PYTHON, ./attach.py, "${eth0.fd}", "${eth0.ifname}"]
    ready: {console: READY}
    interfaces: {eth0: {bridge: lan, tap: {handoff: unattached, vnet-hdr: on}}}
  n:
    kind: guest
    netns: switch
    command: [PYTHON, ./attach.py, open, "${eth0.ifname}"]
    ready: {console: READY}
    interfaces: {eth0: {bridge: lan, tap: {handoff: name, vnet-hdr: on, owner: root}}}
""".replace("PYTHON", c.PYTHON)
ATTACH = """
import fcntl, os, struct, time
fd = os.open("/dev/net/tun", os.O_RDWR) if sys.argv[1] == "open" else int(sys.argv[1])
fcntl.ioctl(fd, c.TUNSETIFF, struct.pack("16sH22x", sys.argv[2].encode(),
                                         c.IFF_TAP | c.IFF_NO_PI | c.IFF_VNET_HDR))
c.number(fd, c.TUNSETVNETHDRSZ, 12)
print("READY", flush=True)
time.sleep(1000)
"""


def test_t15_queues_that_a_guest_opens(lab):
    """What only the guest has open is asked of a copy of its fd."""
    made = lab(OWN)
    c.guest_script(made, "attach.py", ATTACH)
    made.up("-q")
    for guest in "un":
        tap, pid = c.tap(made, guest), c.program(made, guest)["pid"]
        assert set(tap["flags"]) == {"tap", "no_pi", "vnet_hdr", "persist"}
        assert tap["vnet_hdr_len"] == 12 and tap["attached"] == 1
        assert [h["fds"] for h in tap["holders"] if h["pid"] == pid] == [[3]] == [list(c.fdinfo(pid))]
        assert (tap["queues"][0]["guest_fd"], "group" in tap) == (3, False)
    assert (tap["owner"], tap["queues"][0]["state"], tap["queues"][0]["fd"]) == (0, "own", None)
    said = made.verb("status", "--check").stdout
    assert said.endswith("no problems\n"), said
    for guest in "un":
        assert "opens the queues itself" in made.verb("queue", "disable", f"{guest}:eth0", "0", status=2).stderr
