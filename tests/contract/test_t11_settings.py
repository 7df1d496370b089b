# test_t11_settings.py - row T11: header length, byte order, offloads, send buffer and the rest are
# set, read back and compared; what cannot be is an error at its line, or at the step.
import json
import os

import pytest

import taplab
from taplab import errors, said, tap_lab


@pytest.mark.parametrize("length", [10, 12, 20])
def test_t11_header_length(lab, length):
    made = lab(tap_lab(f"{{vnet-hdr: on, vnet-hdr-len: {length}, queues: 2}}"))
    made.up()
    assert [s["hdr"] for s in said(made, "g", "STATE")] == [length, length]


def test_t11_byte_order(lab):
    made = lab(tap_lab("{vnet-hdr: on, endian: little, queues: 2}"))
    made.up()
    assert [s["little"] for s in said(made, "g", "STATE")] == [1, 1]


def test_t11_big_endian_where_the_kernel_has_none(lab):
    """It is named as the kernel's lack (exit 4), and nothing is left; where it has it, it is set."""
    made = lab(tap_lab("{vnet-hdr: on, endian: big}"))
    done = made.up(status=None)
    if done.returncode == 0:
        return
    assert done.returncode == 4
    assert "cross-endian" in done.stderr and f"{made.file}:8:" in done.stderr
    assert not made.is_there()


@pytest.mark.parametrize("offload, features", [
    ("[csum]", {"tx-checksum-ip-generic"}),
    ("[csum, tso4]", {"tx-checksum-ip-generic", "tx-tcp-segmentation"}),
    ("[csum, tso4, tso6]", {"tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"}),
    ("[csum, tso4, ecn]", {"tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp-ecn-segmentation"}),
    ("[csum, ufo]", {"tx-checksum-ip-generic"}),
    ("[csum, uso4, uso6]", {"tx-checksum-ip-generic", "tx-udp-segmentation"}),
    ("[]", set()),
])
def test_t11_offloads(lab, offload, features):
    """As ethtool shows them: what the kernel may leave to the guest."""
    made = lab(tap_lab(f"{{vnet-hdr: on, offload: {offload}}}"))
    made.up()
    shown = json.loads(made.exec("h", "ethtool", "--json", "-k", "eth0").stdout)[0]
    watched = ("tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation",
               "tx-tcp-ecn-segmentation", "tx-udp-segmentation")
    assert {name for name in watched if shown[name]["active"]} == features


@pytest.mark.parametrize("tap, message", [
    ("{vnet-hdr: on, offload: tso4}", "every offload needs csum as well"),
    ("{vnet-hdr: on, offload: [csum, ecn]}", "ecn needs tso4 or tso6"),
    ("{vnet-hdr: on, offload: [csum, uso4]}", "uso4 and uso6 go together only"),
    ("{vnet-hdr: on, offload: [csum, uso6]}", "uso4 and uso6 go together only"),
    ("{vnet-hdr: on, vnet-hdr-len: 9}", '"vnet-hdr-len" is a number from 10 to 20, not "9"'),
    ("{vnet-hdr: on, vnet-hdr-len: 16}", '"vnet-hdr-len" is 10, 12 or 20, not 16'),
    ("{sndbuf: 0}", '"sndbuf" is a size such as 512M, not "0"'),
    ("{sndbuf: -1}", '"sndbuf" is a size such as 512M, not "-1"'),
    ("{vnet-hdr: off, offload: csum}", '"offload" does not go with vnet-hdr: off: there is no header'),
])
def test_t11_impossible(lab, tap, message):
    (line, _, told), = errors(lab(tap_lab(tap)))
    assert (line, told) == (8, message)


def test_t11_sndbuf(lab):
    made = lab(tap_lab("{sndbuf: 1048576}"))
    made.up()
    assert said(made, "g", "STATE")[0]["sndbuf"] == 1048576


def test_t11_without_words_it_is_as_the_kernel_makes_it(lab):
    made = lab(tap_lab("{vnet-hdr: on}"))
    made.up()
    state, = said(made, "g", "STATE")
    assert (state["hdr"], state["sndbuf"], state["little"]) == (10, 2**31 - 1, 0)


def test_t11_owner_group_txqueuelen_qdisc(lab):
    made = lab(tap_lab("{owner: nobody, group: 12, txqueuelen: 77, queues: 4}"))
    made.up()
    link, = json.loads(made.exec("h", "ip", "-d", "-j", "link", "show", "eth0").stdout)
    data = link["linkinfo"]["info_data"]
    assert str(data["user"]) in ("nobody", "65534") and str(data["group"]) in ("man", "12")
    assert link["txqlen"] == 77
    assert link["qdisc"] == "noqueue"  # set before the first up: not one discipline a queue


def test_t11_unknown_owner(lab):
    made = lab(tap_lab("{owner: nobody-of-that-name}"))
    done = made.up(status=5)
    assert 'this host has no user "nobody-of-that-name"' in done.stderr
    assert f"{made.file}:8:" in done.stderr


def test_t11_carrier(lab):
    """The cable is out at first: the peer sees no carrier, and status calls that no fault."""
    made = lab(tap_lab("{carrier: off}"))
    made.up()
    assert made.exec("h", "cat", "/sys/class/net/eth0/carrier").stdout == "0\n"
    assert json.loads(made.verb("status", "--format", "json").stdout)["problems"] == []


@pytest.fixture
def hostbr(run):
    run(["ip", "link", "add", "hostbr", "type", "bridge"])
    run(["ip", "link", "set", "hostbr", "up"])
    yield
    run(["ip", "link", "del", "hostbr"])


def on_host(tap):
    return ("bridges: {office: {host: hostbr, subnet: none}}\n"
            + tap_lab(tap, node=False).replace("eth0: {tap", "eth0: {bridge: office, tap"))


def host_taps(run):
    return [link["ifname"] for link in json.loads(run(["ip", "-j", "link"]).stdout)
            if link.get("master") == "hostbr"]


def test_t11_persist_is_the_users_wish_in_the_host(lab, run, hostbr):
    """It stays when all that hold it are killed, until gc: of one without it nothing stays."""
    made = lab(on_host("{persist: true, name: mine0}"))
    made.up()
    assert "persist" in said(made, "g", "STATE")[0]["flags"]
    assert host_taps(run) == ["mine0"]
    made.down()
    assert host_taps(run) == []
    made = lab(on_host("{name: mine1}"))
    made.up()
    assert "persist" not in said(made, "g", "STATE")[0]["flags"]
    assert host_taps(run) == ["mine1"]


def test_t11_another_device_of_that_name(lab, run, hostbr):
    """It is refused, and the other one is left alone."""
    fds = taplab.open_tap("mine0")
    try:
        done = lab(on_host("{persist: true, name: mine0}")).up(status=5)
        assert 'a device "mine0" exists already' in done.stderr
        assert taplab.state(fds[0])["name"] == "mine0"
    finally:
        os.close(fds[0])


ASK = """
import fcntl, struct
fd = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"ask0", 0x5002))
known = []
for name, bits in (("csum", 1), ("tso4", 3), ("tso6", 5), ("ecn", 11), ("ufo", 17), ("uso4", 97), ("uso6", 97)):
    try:
        fcntl.ioctl(fd, 0x400454d0, bits)
        known.append(name)
    except OSError:
        pass
try:
    fcntl.ioctl(fd, 0x800454df, b"0000")
    orders = "little big"
except OSError:
    orders = "little"
print(f"TAPs           offload {' '.join(known)}; endian {orders}; ", end="")
"""


def test_t11_doctor_tells_what_this_kernel_can(run, bin):
    """What TAPs can be told, as the kernel answers when it is asked one by one."""
    expected = run(["unshare", "-n", "python3", "-c", ASK]).stdout
    assert expected + "steering yes; " in run([bin, "doctor"], status=None).stdout


def test_t11_doctor_where_programs_cannot_be_loaded(run, bin):
    """Root of a user namespace has TAPs, and no eBPF."""
    said_there = run(["unshare", "-Ur", bin, "doctor"], status=None).stdout
    assert "; steering no; " in said_there
    assert "eBPF " in said_there and "more rights: CAP_BPF" in said_there
