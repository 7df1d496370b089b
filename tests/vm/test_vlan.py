# test_vlan.py - VLANs as the kernel does them: who reaches whom, what is tagged and where, what the
# host's own bridge is left with, what `status` tells, and a failure at the steps that make them.
import json
import re
import subprocess

import pytest

import faultlab
from conftest import TOP, Lab

ACCESS = ["PVID", "Egress Untagged"]


def reaches(lab, node, target):
    return lab.exec(node, "ping", "-c", "1", "-W", "1", target, status=None).returncode == 0


def vlans_of(said):
    """{port: {VLAN: flags}} from `bridge -j vlan show`."""
    return {told["ifname"]: {id: vlan.get("flags", []) for vlan in told["vlans"]
                             for id in range(vlan["vlan"], vlan.get("vlanEnd", vlan["vlan"]) + 1)}
            for told in json.loads(said)}


def ports(lab):
    """The same of a lab's switch, with ports called by their interface ("pc1:eth0")."""
    names = {s["args"]["name"]: s["args"]["altname"] for s in faultlab.steps(lab) if s["op"] == "altname"}
    said = vlans_of(faultlab.switch(lab, "bridge", "-j", "vlan", "show"))
    return {names.get(name, name): vlans for name, vlans in said.items()}


def host_vlans():
    return vlans_of(subprocess.run(["bridge", "-j", "vlan", "show"], capture_output=True, text=True,
                                   check=True).stdout)


@pytest.fixture(scope="module", name="trunk")
def trunk_(module_leaks, bin, tmp_path_factory):
    """labs/vlan-trunk.yaml, up."""
    lab = Lab(bin, tmp_path_factory.mktemp("trunk"), "", "trunk")
    lab.file.write_text((TOP / "labs/vlan-trunk.yaml").read_text())
    lab.up()
    yield lab
    lab.end()


# --- the lab of labs/ -----------------------------------------------------------------------------

def test_who_reaches_whom(trunk):
    """One VLAN over the trunk; two VLANs by the router's sub-interfaces, and only by them; the
    native one."""
    for node, target in (("pc1", "pc2"), ("pc3", "pc4"), ("pc1", "pc4"), ("admin", "10.0.99.254"),
                         ("admin", "pc1")):
        assert reaches(trunk, node, target), f"{node} {target}"
    trunk.exec("r1", "ip", "link", "set", "eth0.20", "down")
    assert not reaches(trunk, "pc1", "pc4")
    trunk.exec("r1", "ip", "link", "set", "eth0.20", "up")


def test_another_vlan_is_cut_off(trunk):
    """Even with an address of its network: no frame comes through."""
    trunk.exec("pc1", "ip", "address", "add", "10.0.20.77/24", "dev", "eth0")
    try:
        assert not reaches(trunk, "pc1", "10.0.20.3") and not reaches(trunk, "pc1", "10.0.20.4")
    finally:
        trunk.exec("pc1", "ip", "address", "del", "10.0.20.77/24", "dev", "eth0")
    assert "10.0.20.77" not in trunk.exec("pc3", "ip", "neigh").stdout


def test_ports_carry_what_they_say_and_nothing_else(trunk):
    many = {10: [], 20: [], 99: ACCESS}
    assert ports(trunk) == {"pc1:eth0": {10: ACCESS}, "pc2:eth0": {10: ACCESS}, "pc3:eth0": {20: ACCESS},
                            "pc4:eth0": {20: ACCESS}, "admin:eth0": {99: ACCESS},
                            "w1": many, "w2": many, "r1:eth0": many}
    links = {link["ifname"]: link for link in
             json.loads(trunk.exec("r1", "ip", "-j", "-d", "link").stdout)}
    for name, tag in (("eth0.10", 10), ("eth0.20", 20)):
        assert links[name]["linkinfo"]["info_data"]["id"] == tag
        assert links[name]["link"] == "eth0" and links[name]["address"] == links["eth0"]["address"]


def sniff(worker, fd, device):
    """tcpdump in the namespace of that fd, listening when this returns."""
    it = subprocess.Popen(["nsenter", f"--net=/proc/{worker}/fd/{fd}", "tcpdump", "-e", "-n", "-l",
                           "--immediate-mode", "-i", device, "icmp or (vlan and icmp)"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "listening on" not in it.stderr.readline():
        assert it.poll() is None
    return it


def test_tags_are_on_the_trunk_only(trunk):
    fds = {s["where"]: s["args"]["fd"] for s in faultlab.steps(trunk) if s["op"] == "netns"}
    worker, heard, on = faultlab.worker_of(trunk), {}, {}
    try:
        for place, device in (("switch", "w1"), ("pc1", "eth0"), ("pc2", "eth0")):
            on[place] = sniff(worker, fds[place], device)
        assert reaches(trunk, "pc1", "pc2")
        for place, dump in on.items():
            heard[place] = dump.stdout.readline() + dump.stdout.readline()
    finally:
        for dump in on.values():
            dump.terminate()
            dump.communicate(timeout=10)
    for place, said in heard.items():
        assert "echo request" in said and "echo reply" in said
        assert said.count("vlan 10,") == (2 if place == "switch" else 0), said


def test_status_tells_vlans_and_where_they_are_others(trunk):
    said = trunk.verb("status").stdout
    assert re.search(r"^NODE .* VLAN$", said, re.M)
    assert re.search(r"^pc1 .* vlan 10$", said, re.M)
    assert re.search(r"^r1 .* trunk 10,20 native 99$", said, re.M)
    assert re.search(r"eth0\.20 .* tag 20$", said, re.M)
    told = json.loads(trunk.verb("status", "--format", "json").stdout)
    nodes = {n["name"]: {i["name"]: i for i in n["interfaces"]} for n in told["nodes"]}
    assert nodes["pc1"]["eth0"]["vlans"] == {"untagged": 10, "tagged": []}
    assert nodes["r1"]["eth0"]["vlans"] == {"untagged": 99, "tagged": ["10", "20"]}
    assert nodes["r1"]["eth0.10"]["vlan"] == 10 and "vlans" not in nodes["r1"]["eth0.10"]
    assert not told["problems"]
    faultlab.switch(trunk, "bridge", "vlan", "add", "dev", "pc1:eth0", "vid", "20-29")
    faultlab.switch(trunk, "ip", "link", "set", "sw2", "type", "bridge", "vlan_filtering", "0")
    try:
        said = trunk.verb("status", "--check", status=1).stdout
        assert "plan: vlan 10   kernel: trunk 20-29 native 10" in said
        assert "plan: vlan filtering   kernel: none" in said and "2 problems" in said
    finally:
        faultlab.switch(trunk, "bridge", "vlan", "del", "dev", "pc1:eth0", "vid", "20-29")
        faultlab.switch(trunk, "ip", "link", "set", "sw2", "type", "bridge", "vlan_filtering", "1")
    assert "no problems" in trunk.verb("status", "--check").stdout


# --- other labs -----------------------------------------------------------------------------------

MANY = list(range(1000, 1200, 2))  # more ranges than one message holds
OTHER = f"""
bridges: {{sw1: {{subnet: 10.0.1.0/24}}, sw2: {{subnet: none}}, plain: {{subnet: none}}}}
nodes:
  a: {{interfaces: {{eth0: sw1, eth1: {{bridge: sw1, vlan: 30, ipv4: 10.0.30.1/24}}}}}}
  b: {{interfaces: {{eth0: sw2, eth1: {{bridge: sw2, vlan: 30, ipv4: 10.0.30.2/24}}}}}}
  vm: {{kind: guest, command: [sleep, "1000"], interfaces: {{eth0: {{bridge: sw1, vlan: 30}}}}}}
  x:
    sysctls: {{net.ipv4.conf.eth0.7.proxy_arp: 1}}
    interfaces:
      eth0.7: {{parent: eth0, vlan: 7, ipv4: 10.0.7.1/24}}
      eth0: plain
      eth1.8: {{parent: eth1, vlan: 8, ipv4: 10.0.8.1/24, mac: 02:00:00:00:00:08, mtu: 1400}}
      eth2.9: {{parent: eth2, vlan: 9, ipv4: 10.0.9.1/24}}
  y:
    interfaces:
      eth0.7: {{parent: eth0, vlan: 7, ipv4: 10.0.7.2/24}}
      eth0: plain
      eth1.8: {{parent: eth1, vlan: 8, ipv4: 10.0.8.2/24}}
      eth2: {{bridge: sw1, trunk: {MANY}}}
links:
  - [sw1, sw2]
  - [x:eth1, y:eth1]
  - [x:eth2, vm:eth1]
"""


def test_ports_that_say_nothing_and_bridges_that_filter_not(lab, snapshot):
    """The default VLAN, also of a wire between bridges; a TAP's port, and a sub-interface of a
    TAP; tags on a plain bridge and on a plain wire; a long trunk."""
    before = snapshot()
    net = lab(OTHER)
    net.up()
    assert reaches(net, "a", "10.0.1.2") and not reaches(net, "a", "10.0.30.2")
    assert reaches(net, "x", "10.0.7.2") and reaches(net, "x", "10.0.8.2")
    link, = json.loads(net.exec("x", "ip", "-j", "link", "show", "eth1.8").stdout)
    assert (link["address"], link["mtu"]) == ("02:00:00:00:00:08", 1400)
    assert net.exec("x", "cat", "/proc/sys/net/ipv4/conf/eth0.7/proxy_arp").stdout == "1\n"
    told = ports(net)
    assert told["a:eth0"] == told["b:eth0"] == told["w1"] == told["w2"] == {1: ACCESS}
    assert told["vm:eth0"] == told["b:eth1"] == {30: ACCESS}
    assert told["y:eth2"] == {id: [] for id in MANY}
    assert "no problems" in net.verb("status", "--check").stdout
    net.down()
    assert snapshot() == before


@pytest.fixture
def hostbr():
    yield from faultlab.host_bridge()


def filters(bridge):
    subprocess.run(["ip", "link", "set", bridge, "type", "bridge", "vlan_filtering", "1"], check=True)


ON_HOST = """
bridges: {office: {host: hostbr, subnet: none}, sw: {subnet: none}}
nodes:
  a: {interfaces: {eth0: {bridge: sw, vlan: 10, ipv4: 10.0.10.1/24}}}
  b: {interfaces: {eth0: {bridge: office, trunk: 10-12, native: 5}, eth0.10: {parent: eth0, vlan: 10, ipv4: 10.0.10.2/24}}}
  c: {interfaces: {eth0: office}}
  vm: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: {bridge: office, vlan: 11}}}
links:
  - {endpoints: [sw, office], trunk: 10-11}
"""


def test_the_hosts_bridge_is_left_as_it_is(lab, hostbr, snapshot):
    """One that does not filter refuses, and is not made to; on one that does only our ports are
    what they say, a wire's among them, and one that says nothing is what that bridge makes it."""
    net, before = lab(ON_HOST), snapshot()
    said = net.up(status=5).stderr
    assert "does not filter VLANs" in said and "ip link set hostbr type bridge vlan_filtering 1" in said
    assert f"{net.file}:9:" in said  # wires between bridges are first
    assert not faultlab.settle(before, snapshot)
    filters(hostbr)
    before, vlans = snapshot(), host_vlans()
    net.up()
    now = host_vlans()
    assert now.pop(hostbr) == vlans[hostbr] == {1: ACCESS}
    assert sorted(now.values(), key=str) == sorted(
        [{1: ACCESS}, {10: [], 11: []}, {11: ACCESS}, {5: ACCESS, 10: [], 11: [], 12: []}], key=str)
    assert reaches(net, "a", "10.0.10.2")
    assert "no problems" in net.verb("status", "--check").stdout
    net.down()
    assert snapshot() == before and host_vlans() == vlans


FAULTS = """
bridges: {sw: {subnet: none}, office: {host: hostbr, subnet: none}}
nodes:
  r:
    interfaces:
      eth0: {bridge: sw, trunk: [10, 20], native: 5}
      eth0.10: {parent: eth0, vlan: 10, ipv4: 10.0.10.1/24}
      eth1: {bridge: office, vlan: 9}
"""


def test_fails_at_every_step_of_vlans(lab, fault_bin, hostbr, snapshot):
    """Each failure is told at its place, with status 5, and leaves nothing."""
    filters(hostbr)
    net = lab(FAULTS, fault_bin)
    steps = [s for s in faultlab.steps(net) if s["op"] in ("bridge", "vlans", "subif", "hostport")]
    assert [s["op"] for s in steps] == ["bridge", "subif", "vlans", "hostport"]
    before, vlans, wrong = snapshot(), host_vlans(), []
    for step in steps:
        up = net.up(status=None, env={"TAPNET_FAULT": f"fail@{step['step']}"})
        said = up.stdout + up.stderr
        if up.returncode != 5 or f"{net.file}:{step['line']}:{step['column']}" not in said:
            wrong.append(f"{step['what']}: exit {up.returncode}: {said}")
        wrong += [f"{step['what']}: left or gone: {line}" for line in faultlab.settle(before, snapshot)]
    assert not wrong, "\n".join(wrong)
    assert host_vlans() == vlans


def test_messages_and_what_is_read_back(run):
    """The unit tests of sys/nlw and sys/nlr that skip where the kernel has no VLANs."""
    program = TOP / "build/test/tests/unit/test_sys_vlan"
    if not program.exists():
        pytest.skip("needs build/test")
    said = run([program]).stdout
    assert "3 test(s)" in said and "SKIP" not in said
