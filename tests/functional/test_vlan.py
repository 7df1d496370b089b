# test_vlan.py - VLANs on a kernel without them: `up` says what is missing, at the first key that needs
# it, before anything is made; `validate` and `plan` do not care. What a kernel with VLANs does with
# them is tested in tests/vm.
import subprocess

import pytest

FILTERING = "CONFIG_BRIDGE_VLAN_FILTERING"
MODULE = "modprobe 8021q, or a kernel with CONFIG_VLAN_8021Q"
LABS = {  # text, line and column of the first key, words
    "access": ("bridges: {sw: }\nnodes:\n  r: {interfaces: {eth0: sw, eth1: {bridge: sw, vlan: 10}}}\n",
               "3:55", FILTERING),
    "link": ("bridges: {a: , b: }\nlinks:\n  - {endpoints: [a, b], trunk: [10, 20]}\n", "3:32", FILTERING),
    "host": ("bridges: {b: {host: hostbr}}\nnodes: {r: {interfaces: {eth0: {bridge: b, trunk: 5}}}}\n",
             "2:51", FILTERING),
    "wire": ("nodes:\n  a: {interfaces: {eth0: , eth0.5: {parent: eth0, vlan: 5}}}\n  b:\n"
             "links:\n  - [a:eth0, b]\n", "2:57", MODULE),
    "both": ("bridges: {sw: }\nnodes:\n  r:\n    interfaces:\n      eth0.5: {parent: eth0, vlan: 5}\n"
             "      eth0: {bridge: sw, trunk: 5}\n", "5:36", MODULE),
}


@pytest.fixture
def hostbr():
    subprocess.run(["ip", "link", "add", "hostbr", "type", "bridge"], check=True)
    yield
    subprocess.run(["ip", "link", "del", "hostbr"], check=True)


def kernel_has_vlans():
    made = "ip link add b type bridge vlan_filtering 1 || ip link add p type bridge && ip link add link p type vlan id 5"
    return subprocess.run(["unshare", "-n", "sh", "-c", made], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", LABS)
def test_a_kernel_without_is_told_first(lab, hostbr, snapshot, name):
    if kernel_has_vlans():
        pytest.skip("needs a kernel without VLANs")
    text, place, words = LABS[name]
    made, before = lab(text), snapshot()
    made.verb("plan", made.file)
    said = made.up(status=4).stderr
    assert f"{made.file}:{place}: " in said and words in said
    assert not made.is_there() and snapshot() == before


def test_doctor_names_both(run, bin):
    if kernel_has_vlans():
        pytest.skip("needs a kernel without VLANs")
    said = run([bin, "doctor"]).stdout
    assert "vlan filtering no; 8021q no" in said and FILTERING in said and "8021Q" in said
    assert "everything but: VLANs on bridges, sub-interfaces" in said
