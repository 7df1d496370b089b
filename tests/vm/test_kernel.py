# test_kernel.py - the machine of tests/vm has the kernel that these tests are about, and labs work
# on it as they do on the host's.
#
# How a test here is written: as any other of tests/. The fixtures of tests/conftest.py are there
# (bin, run, lab, snapshot, the leak check), pytest runs as root, and each process of it has network
# and mount namespaces of its own. What differs:
#   - It runs in an emulated machine of one CPU, about ten times slower than outside: no limit
#     below some seconds, and as few processes as will do (`ip -j` once and not in a loop).
#     All of tests/vm together may take three minutes.
#   - The kernel is the distribution's: modules are loaded when they are wanted; netem, vrf, VLANs,
#     vhost-net are there, so a test never asks whether they are.
#   - There is no network, and no build with faults: fault_bin is for other folders.
#   - What is written is gone with the machine, but for build/vm.
# `./dev test tests/vm/test_kernel.py -k doctor` runs one; `./dev vm` is a shell in such a machine.
import json
import re

import pytest

from conftest import TOP, Lab


def ip(run, *argv):
    return run(["ip", *argv]).stdout


@pytest.fixture
def shipped(leaks, bin, tmp_path, monkeypatch):
    """shipped("quickstart"): a lab of labs/ under a name of this test's own."""
    made = []
    monkeypatch.setenv("PATH", f"{bin.parent / 'guest'}", prepend=":")
    monkeypatch.setenv("HOME", str(tmp_path))

    def make(name):
        lab = Lab(bin, tmp_path, "", name)
        lab.file = TOP / f"labs/{name}.yaml"
        made.append(lab)
        return lab
    yield make
    for lab in made:
        lab.end()


def test_the_kernel_is_another_than_the_hosts_and_doctor_says_what_it_has(run, bin):
    said = run([bin, "doctor"]).stdout
    for thing in ("/dev/net/tun", "/dev/vhost-net", "veth", "bridge", "vlan filtering", "netem"):
        assert re.search(rf"\b{thing.lstrip('/')} yes", said), thing
    assert "labs as root   everything" in said
    missing = re.search(r"^missing(.*)", said, re.M | re.S)
    assert not missing or "vhost" not in missing[1] and "vlan" not in missing[1]


def test_netem_delays_what_a_lab_sends(lab):
    net = lab("nodes:\n  a: {interfaces: {eth0: {}}}\n  b: {interfaces: {eth0: {}}}\n"
              "links:\n  - {endpoints: [a:eth0, b:eth0], subnet: 10.0.0.0/24}\n")
    net.up()
    net.exec("a", "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "300ms")
    said = net.exec("a", "ping", "-c", "2", "-i", "0.2", "b").stdout
    assert float(re.search(r"= ([\d.]+)/", said)[1]) > 300


def test_a_bridge_keeps_vlans_apart(run):
    ip(run, "link", "add", "name", "lan", "type", "bridge", "vlan_filtering", "1")
    try:
        run(["bridge", "vlan", "add", "dev", "lan", "vid", "10", "self"])
        vlans = json.loads(run(["bridge", "-j", "vlan", "show", "dev", "lan"]).stdout)
        assert [v["vlan"] for v in vlans[0]["vlans"]] == [1, 10]
    finally:
        ip(run, "link", "del", "lan")


def test_links_of_each_kind_can_be_made(run):
    kinds = {"bond": [], "vrf": ["table", "9"], "ifb": [], "vlan": ["id", "5"], "macvlan": []}
    ip(run, "link", "add", "below", "type", "dummy")
    try:
        for kind, options in kinds.items():
            on = ["link", "below"] if "vlan" in kind else []
            ip(run, "link", "add", *on, "name", f"a-{kind}", "type", kind, *options)
        made = {link["ifname"] for link in json.loads(ip(run, "-j", "link"))}
        assert made >= {f"a-{kind}" for kind in kinds}
    finally:
        for name in ("below", *(f"a-{kind}" for kind in kinds)):
            run(["ip", "link", "del", name], status=None)


def test_quickstart_comes_up_and_leaves_nothing(shipped, snapshot):
    quickstart = shipped("quickstart")
    before = snapshot()
    said = quickstart.up("--name", quickstart.name, timeout=60).stdout
    assert "2 received" in said
    quickstart.down()
    assert snapshot() == before


def test_guests_of_many_queues_answer_each_other_on_a_bridge(shipped):
    lan = shipped("guest-lan")
    said = lan.up("--name", lan.name, timeout=60).stdout
    assert said.count("1 received") == 6
    lan.down()
