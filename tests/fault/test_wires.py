# test_wires.py - each kind of wire carries what it must, and has the names, sizes and addresses that
# the plan says.
#
# Guests are a few lines of python at the fd of their TAP: they add each frame that they read to
# NAME.in, in hex, a line each, and send those that appear in NAME.out.
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import faultlab
from faultlab import switch

GUEST = """\
import os, select, sys
name, sent = sys.argv[1], 0
fds = [int(fd) for fd in sys.argv[2].split(":")]
for fd in fds:
    os.set_blocking(fd, False)
log = open(name + ".in", "a", buffering=1)
print("READY", flush=True)
while True:
    for fd in select.select(fds, [], [], 0.02)[0]:
        try:
            print(os.read(fd, 70000).hex(), file=log)
        except BlockingIOError:
            pass
    if os.path.exists(name + ".out"):
        lines = open(name + ".out").read().split("\\n")[:-1]
        for line in lines[sent:]:
            os.write(fds[0], bytes.fromhex(line))
        sent = len(lines)
"""
LONG_NAME = "a-node-whose-name-has-exactly-forty-char"
assert len(LONG_NAME) == 40

ORDINARY, ODD = 0x88B5, 0x88B6  # EtherTypes for experiments
LACP, LLDP, STP = "0180c2000002", "0180c200000e", "0180c2000000"
LINK_LOCAL = {"LACP": LACP, "LLDP": LLDP, "STP": STP}


def guest(name, interfaces="eth0: {ipv4: none}"):
    return f"""\
  {name}:
    kind: guest
    command: [{sys.executable}, -I, ./guest.py, {name}, "${{eth0.fds}}"]
    ready: {{console: READY, timeout: 20s}}
    interfaces: {{{interfaces}}}
"""


def raw(text):
    """The lab's TAPs have no vnet header, and its guests their program."""
    return "defaults: {interface: {tap: {vnet-hdr: off}}}\n" + text


def up(lab, text):
    made = lab(raw(text))
    (made.file.parent / "guest.py").write_text(GUEST)
    made.up()
    return made


def frame(to, text, ethertype=ORDINARY, sender="020000000077"):
    return to + sender + f"{ethertype:04x}" + text.encode().hex().ljust(2 * 60, "0")


def send(made, name, *frames):
    with open(made.file.parent / f"{name}.out", "a", encoding="ascii") as out:
        out.write("".join(f + "\n" for f in frames))


def heard(made, name):
    log = made.file.parent / f"{name}.in"
    return log.read_text().splitlines() if log.exists() else []


def passes(made, sender, receivers, *frames):
    """Each receiver gets each frame once, as it is."""
    send(made, sender, *frames)
    for receiver in receivers:
        faultlab.wait(f"all frames of {sender} at {receiver}", lambda: all(
            f in heard(made, receiver) for f in frames), 5, reap=False)  # noqa: B023
        for f in frames:
            assert heard(made, receiver).count(f) == 1
    assert not set(frames) & set(heard(made, sender)), "came back"


def link(made, where, name):
    argv = ("ip", "-j", "-d", "link", "show", name)
    out = switch(made, *argv) if where == "switch" else made.exec(where, *argv).stdout
    return json.loads(out)[0]


def ping(made, node, *to):
    made.exec(node, "ping", "-c", "1", "-W", "2", "-n", *to)


# --- guests ---------------------------------------------------------------------------------------

def test_guest_to_guest(lab):
    """As a wire: LACP, LLDP and STP frames pass, which a bridge takes for itself."""
    made = up(lab, "nodes:\n" + guest("a") + guest("b") + "links: [[a:eth0, b:eth0]]\n")
    for sender, receiver in ("ab", "ba"):
        own = f"0200000000{ord(sender):02x}"
        passes(made, sender, [receiver],
               *(frame(to, f"{name} of {sender}", 0x8809 if name == "LACP" else ODD, own)
                 for name, to in LINK_LOCAL.items()),
               frame("ff" * 6, f"broadcast of {sender}", sender=own),
               frame("333300000001", f"multicast of {sender}", sender=own),
               frame("020000000099", f"to nobody known, of {sender}", sender=own),
               frame("02000000000a", "x" * 1400, sender=own))


def test_guests_on_a_lan(lab):
    """Ordinary frames pass, and only to whom they are for; what a bridge keeps does not."""
    made = up(lab, "bridges: {lan: {subnet: none}}\nnodes:\n"
              + "".join(guest(n, "eth0: lan") for n in "abc"))
    passes(made, "a", "bc", frame("ff" * 6, "broadcast", sender="02000000000a"))
    passes(made, "b", "a", frame("02000000000a", "to a", sender="02000000000b"))
    kept = [frame(LLDP, "LLDP", ODD), frame(LACP, "LACP", ODD)]
    passes(made, "a", "b", frame("02000000000b", "to b", sender="02000000000a"))
    send(made, "a", *kept)
    passes(made, "a", "bc", frame("ff" * 6, "the last", sender="02000000000a"))
    said = heard(made, "c")
    assert not [f for f in said if f.startswith(("02000000000a", "02000000000b"))]
    assert not set(kept) & set(said + heard(made, "b"))


def test_three_ends_are_a_lan(lab):
    made = up(lab, "nodes:\n  n: {}\n" + guest("a") + guest("b")
              + "links: [{endpoints: [a:eth0, b:eth0, n:eth0], ipv4: [~, ~, 10.3.0.3/24]}]\n")
    passes(made, "a", "b", frame("ff" * 6, "broadcast", sender="02000000000a"))
    made.exec("n", "ping", "-c", "1", "-W", "0.1", "10.3.0.99", status=1)
    faultlab.wait("the node's ARP at both", lambda: all(
        any(f.startswith("ff" * 6) and f[24:28] == "0806" for f in heard(made, n)) for n in "ab"),
        5, reap=False)
    masters = {link(made, "switch", f"{n}:eth0")["master"] for n in "abn"}
    assert len(masters) == 1


def test_node_to_guest(lab):
    """One TAP, the device in the node: no bridge, no veth."""
    made = up(lab, "nodes:\n  n: {interfaces: {eth0: {ipv4: 10.4.0.1/24, hooks: {}}}}\n" + guest("a")
              + "links: [[n:eth0, a:eth0]]\n")
    assert link(made, "n", "eth0")["linkinfo"]["info_kind"] == "tun"
    made.exec("n", "ping", "-c", "1", "-W", "0.1", "10.4.0.2", status=1)
    faultlab.wait("an ARP request", lambda: any(f[24:28] == "0806" for f in heard(made, "a")), 5,
                  reap=False)
    mac = link(made, "n", "eth0")["address"].replace(":", "")
    send(made, "a", f"{mac}02000000000a0806000108000604000202000000000a0a040002{mac}0a040001")
    request = "4500001c000100004001" + "66dd" + "0a0400020a040001"  # its checksum is right
    send(made, "a", f"{mac}02000000000a0800{request}0800f7fe00000001")
    reply = "0a0400010a040002"
    faultlab.wait("an echo reply", lambda: any(
        f[24:28] == "0800" and f[46:48] == "01" and reply in f for f in heard(made, "a")), 5,
        reap=False)


# --- nodes ----------------------------------------------------------------------------------------

NODES = f"""\
bridges:
  lan: {{subnet: [10.1.0.0/24, "fd00:1::/64"], mtu: 1400}}
  dmz: {{subnet: [10.2.0.0/24, "fd00:2::/64"]}}
  far: {{subnet: none}}
nodes:
  r1:
    forward: true
    sysctls: {{net.ipv4.conf.all.rp_filter: 2, net.ipv4.conf.eth1.proxy_arp: 1, net.ipv6.conf.eth1.proxy_ndp: 1}}
    interfaces: {{eth0: lan, eth1: dmz}}
  pc:
    interfaces: {{eth0: lan, eth1: {{ipv4: none, mtu: 1300}}}}
    routes: default via r1
  web:
    interfaces: {{eth0: dmz}}
    routes: default via r1
  {LONG_NAME}:
    interfaces: {{eth0: {{bridge: far, ipv4: 10.2.0.77/24, ipv6: "fd00:2::77/64"}}}}
links:
  - {{endpoints: [pc:eth2, web:eth1], subnet: [10.9.0.0/30, "fd00:9::/64"], mtu: 9000}}
  - {{endpoints: [pc:eth1, web:eth2], subnet: none}}
  - [dmz, far]
"""


@pytest.fixture(scope="module")
def nodes(module_lab):
    """Up; and the first thing in it is an IPv6 ping, which no address may keep waiting."""
    made = module_lab(NODES)
    made.up()
    first = made.exec("pc", "ping", "-6", "-c", "1", "-W", "1", "-n", "fd00:9::2", status=None)
    return made, first


def test_ipv6_at_once(nodes):
    made, first = nodes
    assert first.returncode == 0, first.stdout + first.stderr
    for node in ("r1", "pc", "web"):
        for device in json.loads(made.exec(node, "ip", "-j", "-6", "addr").stdout):
            for address in device["addr_info"]:
                assert not address.get("tentative") and not address.get("dadfailed"), address
    own = next(a["local"] for d in json.loads(made.exec("web", "ip", "-j", "-6", "addr").stdout)
               if d["ifname"] == "eth1" for a in d["addr_info"] if a["scope"] == "link")
    assert own.startswith("fe80::")
    ping(made, "pc", "-6", f"{own}%eth2")


def test_routed(nodes):
    """Through the router, both families, by name too; and the TTL tells of it."""
    made, _ = nodes
    for address in ("10.2.0.2", "fd00:2::2"):
        out = made.exec("pc", "ping", "-c", "1", "-W", "2", "-n", address).stdout
        assert "ttl=63" in out, out
    ping(made, "pc", "web")


def test_bridges_joined(nodes):
    """The long-named node on `far` reaches those on `dmz`."""
    made, _ = nodes
    for address in ("10.2.0.1", "10.2.0.2", "fd00:2::1", "fd00:2::2"):
        out = made.exec(LONG_NAME, "ping", "-c", "1", "-W", "2", "-n", address).stdout
        assert "ttl=64" in out, out


def test_names(nodes):
    """Each port has its node and interface for a name, however long; a node's devices their own."""
    made, _ = nodes
    plan = {s["of"]: s["args"] for s in faultlab.steps(made) if s["op"] == "altname"}
    assert set(plan) >= {"r1:eth0", "r1:eth1", "pc:eth0", "web:eth0", f"{LONG_NAME}:eth0"}
    for name, args in plan.items():
        port = link(made, "switch", name)
        assert (port["ifname"], port["ifindex"]) == (args["name"], args["ifindex"])
        assert name in port["altnames"]
    assert link(made, "switch", f"{LONG_NAME}:eth0")["master"] == "far"
    assert link(made, "switch", "r1:eth0")["master"] == "lan"
    had = {d["ifname"] for d in json.loads(made.exec("pc", "ip", "-j", "link").stdout)}
    assert had == {"lo", "eth0", "eth1", "eth2"}


def test_mtu(nodes):
    """Of a link, a bridge and an interface: on both ends."""
    made, _ = nodes
    for node, device, mtu in (("pc", "eth2", 9000), ("web", "eth1", 9000), ("pc", "eth1", 1300),
                              ("pc", "eth0", 1400), ("r1", "eth0", 1400), ("r1", "eth1", 1500)):
        assert link(made, node, device)["mtu"] == mtu, (node, device)
    for port, mtu in (("pc:eth0", 1400), ("r1:eth0", 1400), ("lan", 1400), ("r1:eth1", 1500),
                      ("dmz", 1500)):
        assert link(made, "switch", port)["mtu"] == mtu, port
    made.exec("pc", "ping", "-c", "1", "-W", "2", "-M", "do", "-s", "8972", "10.9.0.2")
    made.exec("pc", "ping", "-c", "1", "-W", "2", "-M", "do", "-s", "8973", "10.9.0.2", status=1)


def test_mtu_of_the_other_end(nodes):
    """`mtu` of one interface of a wire between nodes is that of both."""
    assert link(nodes[0], "web", "eth2")["mtu"] == 1300


def test_sysctls(nodes):
    made, _ = nodes
    for key, value in (("ipv4/conf/all/rp_filter", "2"), ("ipv4/conf/eth1/proxy_arp", "1"),
                       ("ipv6/conf/eth1/proxy_ndp", "1"), ("ipv6/conf/all/forwarding", "1"),
                       ("ipv4/conf/eth0/forwarding", "1")):
        assert made.exec("r1", "cat", f"/proc/sys/net/{key}").stdout.strip() == value, key
    assert made.exec("pc", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").stdout.strip() == "0"
    assert Path("/proc/sys/net/ipv4/conf/all/rp_filter").read_text().strip() != "2"


def test_planned_macs(nodes):
    """What the plan says is what the kernel has, of both ends of each wire."""
    made, _ = nodes
    steps = faultlab.steps(made)
    spaces = ["host", *(s["where"] for s in steps if s["op"] == "netns")]
    wires = [s["args"] for s in steps if s["op"] == "veth"]
    assert len(wires) == 8
    for wire in wires:
        for end in ("", "peer_"):
            had = link(made, spaces[wire[end + "space"]], wire[end + "name"])
            assert (had["address"], had["ifindex"]) == (wire[end + "mac"], wire[end + "ifindex"])


def test_stp(lab):
    """Up means that it forwards; of two wires between two bridges, one is blocked."""
    made = lab("""\
bridges: {one: {subnet: 10.6.0.0/24, stp: true}, two: {subnet: none, stp: true}}
nodes:
  a: {interfaces: {eth0: one}}
  b: {interfaces: {eth0: {bridge: two, ipv4: 10.6.0.200/24}}}
links: [[one, two], [one, two]]
""")
    made.up(timeout=90)
    ping(made, "a", "10.6.0.200")
    ports_ = json.loads(switch(made, "bridge", "-j", "link"))
    assert sorted(p["state"] for p in ports_) == ["blocking"] + ["forwarding"] * 5


# --- the host's bridge ----------------------------------------------------------------------------

hostbr = pytest.fixture(faultlab.host_bridge)


def bridge_state(name):
    """All of the bridge's own that a port could change."""
    shown, = json.loads(subprocess.run(["ip", "-j", "-d", "link", "show", name], check=True,
                                       capture_output=True, text=True).stdout)
    data = shown["linkinfo"]["info_data"]
    settings = {k: v for k, v in data.items() if not k.endswith("_timer")}
    return shown["address"], shown["mtu"], shown["ifindex"], settings


def ports(name):
    return sorted(os.listdir(f"/sys/class/net/{name}/brif"))


def test_bridge_of_the_host(lab, hostbr):
    """Only our ports are added and removed; the bridge stays as it was."""
    subprocess.run(["ip", "link", "set", hostbr, "address", "02:00:00:00:be:ef"], check=True)
    subprocess.run(["ip", "addr", "add", "10.5.0.254/24", "dev", hostbr, "noprefixroute"],
                   check=True)
    subprocess.run(["ip", "tuntap", "add", "theirs", "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "set", "theirs", "master", hostbr, "up"], check=True)
    try:
        before, had = bridge_state(hostbr), ports(hostbr)
        made = up(lab, f"bridges: {{office: {{host: {hostbr}, subnet: none}}}}\n"
                  "nodes:\n  n: {interfaces: {eth0: {bridge: office, ipv4: 10.5.0.1/24}}}\n"
                  + guest("a", "eth0: office"))
        assert len(ports(hostbr)) == len(had) + 2 and bridge_state(hostbr) == before
        made.exec("n", "ping", "-c", "1", "-W", "0.1", "10.5.0.9", status=1)
        faultlab.wait("the node's ARP at the guest", lambda: any(
            f[24:28] == "0806" for f in heard(made, "a")), 5, reap=False)
        made.down()
        assert ports(hostbr) == had and bridge_state(hostbr) == before
    finally:
        subprocess.run(["ip", "link", "del", "theirs"], check=True)
        subprocess.run(["ip", "addr", "flush", "dev", hostbr], check=True)


def test_a_wire_to_the_hosts_bridge(lab, hostbr):
    """Two bridges of the lab on one wire with the host's: their nodes are on one LAN with it."""
    subprocess.run(["ip", "link", "set", hostbr, "address", "02:00:00:00:be:ef"], check=True)
    before, had = bridge_state(hostbr), ports(hostbr)
    made = lab(f"bridges: {{one: {{subnet: none}}, other: {{subnet: none}}, office: {{host: {hostbr}}}}}\n"
               "nodes:\n  a: {interfaces: {eth0: {bridge: one, ipv4: 10.6.0.1/24}}}\n"
               "  b: {interfaces: {eth0: {bridge: office, ipv4: 10.6.0.2/24}}}\n"
               "  c: {interfaces: {eth0: {bridge: other, ipv4: 10.6.0.3/24}}}\n"
               "links:\n  - [one, office, other]\n")
    made.up()
    assert len(ports(hostbr)) == len(had) + 2
    ping(made, "a", "10.6.0.2")
    ping(made, "a", "10.6.0.3")
    assert "no problems" in made.verb("status", "--check").stdout
    made.down()
    assert ports(hostbr) == had and bridge_state(hostbr) == before
