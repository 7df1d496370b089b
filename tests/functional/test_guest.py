# test_guest.py - tapnet-guest on TAPs that the test makes, in a network namespace of its own.
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess

import pytest

from netlab import (IFF_NO_PI, IFF_TUN, TUNSETIFF, TUNSETOFFLOAD, Guest, Net, colons, guest_program,
                    header_set, queue_set, sndbuf_set)

MAC = "02:00:00:00:01:10"
NIC = f"mac={MAC},ip=10.0.1.10/24,gw=10.0.1.1,ip6=fd00:1::10/64"


def nic(fds, rest=NIC):
    return ["--nic", f"fds={colons(fds)},{rest}"]


@pytest.fixture(name="net")
def net_(leaks, needs):
    needs("/dev/net/tun", "unshare", "nsenter", "curl", "ping")
    if os.geteuid():
        pytest.skip("needs root, to make a network namespace")
    guest_program()
    network = Net()
    yield network
    network.close()


@pytest.fixture
def start(net):
    """start(fds, options…): a guest that is ready; it is killed if it still runs at the end."""
    guests = []

    def starter(fds, *options):
        guests.append(Guest(fds, *options))
        guests[-1].wait_for("^ready$")
        return guests[-1]
    yield starter
    for guest in guests:
        guest.kill()


@pytest.mark.parametrize("vnet", [False, True])
@pytest.mark.parametrize("queues", [1, 4])
def test_arp_nd_ping_tcp(net, start, queues, vnet):
    fds = net.tap(queues, vnet)
    guest = start(fds, *nic(fds), "--listen", "80")
    plural = "" if queues == 1 else "s"
    assert f"eth0: {queues} queue{plural}, {MAC}, 10.0.1.10/24, fd00:1::10/64\n" in guest.text
    net.run("ping -c 3 -i 0.05 -W 2 10.0.1.10")
    net.run("ping -c 3 -i 0.05 -W 2 fd00:1::10")
    net.run("ping -c 1 -W 2 fe80::ff:fe00:110%tap0")
    assert MAC in net.run("ip neighbour show 10.0.1.10")
    assert net.run("curl -sm 5 http://10.0.1.10/") == "web at 10.0.1.10\n"
    assert net.run("curl -sm 5 http://[fd00:1::10]/") == "web at fd00:1::10\n"
    assert "Content-Length: 17\n" in net.run("curl -sIm 5 http://10.0.1.10/")
    assert len(net.run("curl -sm 9 http://10.0.1.10/bytes/3000001")) == 3000001
    status, words, count = guest.end()
    assert (status, words) == (0, "")
    assert count["in"] > 20 and count["out"] > 2000
    assert count["dropped short"] == count["dropped full"] == 0


def test_echo_after_the_name(net, start):
    fds = net.tap()
    start(fds, *nic(fds), "--listen", "7")
    with net.connect(7) as connection:
        connection.sendall(b"hello\n")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read() == b"web: hello\n"


def test_echo_to_a_peer_that_does_not_read(net, start):
    """It slows the peer down instead of keeping all in memory, and loses nothing."""
    fds = net.tap()
    start(fds, *nic(fds), "--listen", "7")
    block, sent = bytes(range(251)) * 1000, 0
    with net.connect(7) as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += connection.send(block[sent % len(block):])
        net.run("ping -c 1 -W 2 10.0.1.10")
        connection.settimeout(10)
        connection.shutdown(socket.SHUT_WR)
        back = connection.makefile("rb").read()
    assert back == b"web: " + (block * (sent // len(block) + 1))[:sent]


def test_many_connections_at_once(net, start):
    fds = net.tap(2, True)
    start(fds, *nic(fds), "--listen", "80")
    clients = [net.popen("curl", "-sm", "20", "http://10.0.1.10/bytes/100000") for _ in range(20)]
    assert [len(c.communicate(timeout=30)[0]) for c in clients] == [100000] * 20


def test_it_pings(net, start):
    fds = net.tap(4, True)
    guest = start(fds, *nic(fds), "--ping", "10.0.1.1", "--ping", "fd00:1::1", "--ping",
                  "10.0.1.99", "--ping", "10.0.1.10", "--count", "2")
    for address in (r"10\.0\.1\.1", "fd00:1::1", r"10\.0\.1\.10"):  # the last is its own
        guest.wait_for(rf"^reply from {address}: seq=1 time=\d+\.\d\d ms$")
        guest.wait_for(rf"^reply from {address}: seq=2 ")
    guest.wait_for(r"^no reply from 10\.0\.1\.99: seq=3$")
    guest.end()
    assert len(re.findall(r"^reply from ", guest.text, re.M)) == 6


def test_gateways(net, start):
    """Other subnets are reached by the gateways, from the first packet on."""
    fds = net.tap()
    net.run("ip link set lo up")
    net.run("ip address add 10.9.9.9/32 dev lo")
    net.run("ip address add fd00:9::9/128 dev lo")
    guest = start(fds, *nic(fds, NIC + ",gw6=fd00:1::1"), "--ping", "10.9.9.9", "--ping", "fd00:9::9")
    guest.wait_for(r"^reply from 10\.9\.9\.9: seq=1 ")
    guest.wait_for(r"^reply from fd00:9::9: seq=1 ")
    net.run("ping -c 1 -W 2 -I fd00:9::9 fd00:1::10")


def test_two_cards(net, start):
    first, second = net.tap(2, True), net.tap(name="tap1", ips=["10.0.2.1/24"])
    other = "mac=02:00:00:00:02:10,ip=10.0.2.10/24,gw=,vnet-hdr=off"
    guest = start(first + second, *nic(first), *nic(second, other), "--ping", "10.0.1.1", "--ping",
                  "10.0.2.1")
    assert "eth0: 2 queues, " in guest.text
    assert "eth1: 1 queue, 02:00:00:00:02:10, 10.0.2.10/24\n" in guest.text
    guest.wait_for(r"^reply from 10\.0\.1\.1: seq=1 ")
    guest.wait_for(r"^reply from 10\.0\.2\.1: seq=1 ")
    net.run("ping -c 1 -W 2 10.0.2.10")


@pytest.mark.parametrize("vnet", [False, True])
def test_short_frames_are_padded(net, start, vnet):
    fds = net.tap(1, vnet)
    with net.sniff() as sniffer:
        guest = start(fds, *nic(fds))
        net.run("ping -c 1 -W 2 10.0.1.10")
        lengths = []
        while len(lengths) < 2:  # its announcement, and its answer to the question
            frame = sniffer.recv(2048)
            if frame[12:14] == b"\x08\x06" and frame[6:12] == bytes.fromhex(MAC.replace(":", "")):
                assert frame[42:] == bytes(len(frame) - 42)
                lengths.append(len(frame))
    assert lengths == [60, 60]
    assert guest.end()[2]["padded"] >= 2


def test_what_is_shorter_than_its_header_is_dropped(net, start):
    """The header shrinks under the guest's feet: what comes is too short to have the old one."""
    fds = net.tap(1, True)
    header_set(fds[0], 200)
    guest = start(fds, *nic(fds))
    net.run("ping -c 1 -W 2 10.0.1.10")
    header_set(fds[0], 10)
    net.run("ping -c 2 -i 0.05 -W 1 10.0.1.10", status=1)
    header_set(fds[0], 200)
    net.run("ping -c 1 -W 2 10.0.1.10")
    status, _, count = guest.end()
    assert status == 0 and count["dropped short"] >= 2


def test_a_stale_header_size(net, start):
    """A TAP left with headers of 12 bytes, and with offloads that nobody asked the guest about."""
    fds = net.tap(1, True)
    header_set(fds[0], 12)
    fcntl.ioctl(fds[0], TUNSETOFFLOAD, 7)  # CSUM, TSO4, TSO6
    start(fds, *nic(fds, NIC + ",vnet-hdr=on"), "--listen", "7")
    with net.connect(7) as connection:
        connection.sendall(b"x" * 100000)
        connection.shutdown(socket.SHUT_WR)
        assert len(connection.makefile("rb").read()) == 100005


def test_detached_queues(net, start):
    fds = net.tap(4)
    for fd in fds[2:]:
        queue_set(fd, False)
    guest = start(fds, *nic(fds))
    assert "eth0: 2 of 4 queues, " in guest.text
    net.run("ping -c 3 -i 0.05 -W 2 10.0.1.10")
    for fd in fds[2:]:
        queue_set(fd, True)
    guest.wait_for("^eth0: 4 queues, ")
    for fd in fds[:3]:
        queue_set(fd, False)
    guest.wait_for("^eth0: 1 of 4 queues, ")
    net.run("ping -c 3 -i 0.05 -W 2 10.0.1.10")
    guest.end()
    sent = re.findall(r"queue \d: in \d+, out (\d+)", guest.text)
    assert int(sent[3]) >= 3


def test_udp_lite_does_no_harm(net, start):
    """Packets that claim a checksum over more than they have: the stack would end the process."""
    lite = struct.pack("!4H", 9, 9, 0xFFFF, 0xBEEF) + b"data"
    dst, src = socket.inet_aton("10.0.1.10"), socket.inet_aton("10.0.1.1")
    ip4 = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(lite), 1, 0, 64, 136, 0) + src + dst
    total = sum(struct.unpack("!10H", ip4))
    ip4 = ip4[:10] + struct.pack("!H", ~(total % 0xFFFF) & 0xFFFF) + ip4[12:]

    def ip6(first, rest):
        ends = (socket.inet_pton(socket.AF_INET6, a) for a in ("fd00:1::1", "fd00:1::10"))
        return struct.pack("!IHBB", 6 << 28, len(rest), first, 64) + b"".join(ends) + rest
    options = bytes([136, 0, 1, 4, 0, 0, 0, 0])
    whole = bytes([60, 0, 0, 0, 0, 0, 0, 1])  # a fragment header: the first and last fragment
    packets = [(0x0800, ip4 + lite), (0x86DD, ip6(136, lite)), (0x86DD, ip6(60, options + lite)),
               (0x86DD, ip6(44, whole + options + lite))]
    fds = net.tap()
    guest = start(fds, *nic(fds))
    with net.sniff() as sender:
        for kind, packet in packets:
            for to in (bytes.fromhex(MAC.replace(":", "")), b"\xff" * 6):
                sender.send(to + bytes.fromhex("020000000077") + struct.pack("!H", kind) + packet)
                for tag in (0, 7):
                    sender.send(to + bytes.fromhex("020000000077") +
                                struct.pack("!HHH", 0x8100, tag, kind) + packet)
    net.run("ping -c 1 -W 2 10.0.1.10")
    net.run("ping -c 1 -s 3000 -W 2 fd00:1::10")
    assert guest.end()[0] == 0


@pytest.mark.parametrize("queues", [1, 4])
def test_the_device_goes(net, start, queues):
    fds = net.tap(queues, True)
    guest = start(fds, *nic(fds))
    net.run("ping -c 1 -W 2 10.0.1.10")
    net.run("ip link delete tap0")
    status, words, count = guest.end(number=None)
    assert (status, words) == (1, "tapnet-guest: error: eth0: the device is gone\n")
    assert count["in"] > 0


def test_a_device_that_is_down(net, start):
    fds = net.tap()
    guest = start(fds, *nic(fds), "--ping", "10.0.1.1", "--count", "0")
    guest.wait_for(r"^reply from 10\.0\.1\.1: ")
    net.run("ip link set tap0 down")
    guest.wait_for(r"^no reply from 10\.0\.1\.1: ")
    net.run("ip link set tap0 up")
    net.run("ping -c 1 -W 2 10.0.1.10")
    status, _, count = guest.end()
    assert status == 0 and count["refused"] > 0


def test_signals(net, start):
    fds = net.tap(2)
    guest = start(fds, *nic(fds))
    net.run("ping -c 5 -i 0.05 -W 2 10.0.1.10")
    guest.process.send_signal(signal.SIGUSR1)
    guest.wait_for(r"^eth0 queue 1: in \d+, out \d+, padded \d+, kept \d+, dropped short 0, "
                   r"dropped long 0, dropped uncut 0, dropped full 0, refused \d+$")
    before = guest.counters()
    net.run("ping -c 5 -i 0.05 -W 2 10.0.1.10")
    for number in (signal.SIGUSR1, signal.SIGTERM):
        guest.process.send_signal(number)
    status, words, after = guest.end(number=None)
    assert (status, words) == (0, "")
    assert before["out"] >= 6 and after["out"] >= before["out"] + 5


def test_flood(net, start):
    fds = net.tap(4, True)
    guest = start(fds, *nic(fds))
    assert "2000 received" in net.run("ping -f -c 2000 -W 2 10.0.1.10")
    status, _, count = guest.end()
    assert status == 0 and count["in"] >= 2000 and count["dropped full"] == 0


def test_a_guest_that_sleeps(net, start):
    """It does not read for a while: the kernel drops what does not fit, and it wakes up well."""
    fds = net.tap(2, True)
    guest = start(fds, *nic(fds))
    net.run("ping -c 1 -W 2 10.0.1.10")
    guest.process.send_signal(signal.SIGSTOP)
    net.run("ping -f -c 3000 -W 1 -w 2 10.0.1.10", status=1)
    guest.process.send_signal(signal.SIGCONT)
    net.run("ping -c 3 -i 0.1 -W 2 10.0.1.10")
    assert guest.end()[0] == 0


@pytest.fixture
def slow_wire(net, needs):
    """slow_wire(queues): the fds of a TAP that takes 8 KiB, which go on at 20 Mbit/s only."""
    def make(queues):
        fds = net.tap(queues, True)
        try:
            for command in ("ip link add ifb0 up type ifb", "tc qdisc add dev tap0 ingress",
                            "tc filter add dev tap0 parent ffff: protocol all u32 match u32 0 0 "
                            "action mirred egress redirect dev ifb0",
                            "tc qdisc add dev ifb0 root tbf rate 20mbit burst 3000 limit 1000000"):
                net.run(command)
        except AssertionError as refused:
            pytest.skip(f"needs a kernel with ifb, tbf, u32 and mirred: {refused}")
        sndbuf_set(fds, 8192)
        return fds
    needs("tc")
    return make


@pytest.mark.parametrize("queues", [1, 4])
def test_back_pressure(net, start, slow_wire, queues):
    """What the kernel does not take is kept and sent later, in order; nothing is lost."""
    fds = slow_wire(queues)
    guest = start(fds, *nic(fds), "--listen", "80")
    answer = net.run("curl -sm 20 http://10.0.1.10/bytes/2000000", timeout=25)
    assert len(answer) == 2000000
    status, _, count = guest.end()
    assert status == 0
    assert count["kept"] > 0 and count["dropped full"] == 0


def test_back_pressure_pauses_reading(net, start, slow_wire):
    """Every answer waits for its turn: not read is not answered, and no answer is dropped."""
    fds = slow_wire(1)
    guest = start(fds, *nic(fds))
    net.run("ping -c 1 -W 2 10.0.1.10")
    flood = net.run("ping -f -l 300 -s 1400 -c 2000 -W 1 -w 8 10.0.1.10", status=None)
    assert int(re.search(r"(\d+) received", flood)[1]) > 200
    net.run("ping -c 2 -i 0.1 -W 2 10.0.1.10")
    status, _, count = guest.end()
    assert status == 0
    assert count["kept"] > 0 and count["dropped full"] == 0


USAGE = {
    "no card": ([], "--nic is missing"),
    "no fds": (["--nic", f"mac={MAC}"], "--nic: fds= is missing"),
    "no mac": (["--nic", "fds=3"], "--nic: mac= is missing"),
    "empty fds": (["--nic", f"fds=,mac={MAC}"], '--nic: fds=: "" is not a number'),
    "trailing colon": (["--nic", f"fds=3:,mac={MAC}"], '--nic: fds=: "" is not a number'),
    "gap": (["--nic", f"fds=3::4,mac={MAC}"], '--nic: fds=: "" is not a number'),
    "standard input": (["--nic", f"fds=0,mac={MAC}"], '"0" is not a number from 3'),
    "twice": (["--nic", f"fds=3:4:3,mac={MAC}"], "--nic: fds=: fd 3 is given twice"),
    "two cards": (["--nic", f"fds=3,mac={MAC}", "--nic", f"fds=3,mac={MAC}"], "fd 3 is given twice"),
    "key twice": (["--nic", f"fds=3,mac={MAC},mac={MAC}"], "--nic: mac= is given twice"),
    "key": (["--nic", f"fds=3,mac={MAC},vnet_hdr=on"], '(did you mean "vnet-hdr"?)'),
    "no value": (["--nic", "fds"], '--nic: "fds" is not KEY=VALUE'),
    "multicast": (["--nic", "fds=3,mac=03:00:00:00:00:01"], "is a multicast address"),
    "prefix": (["--nic", f"fds=3,mac={MAC},ip=10.0.0.1"], "lacks its prefix length"),
    "gateway": (["--nic", f"fds=3,mac={MAC},gw=10.0.0.1/8"], "has a prefix length"),
    "family": (["--nic", f"fds=3,mac={MAC},ip=::1/128"], '"::1/128" is not an IPv4 address'),
    "vnet": (["--nic", f"fds=3,mac={MAC},vnet-hdr=yes"], '"yes" is not auto, on or off'),
    "mtu": (["--nic", f"fds=3,mac={MAC},mtu=68"], "from 576 to 65521"),
    "option": (["--bogus"], 'unknown option "--bogus"'),
    "argument": (["--nic", f"fds=3,mac={MAC}", "more"], 'unexpected argument "more"'),
    "port": (["--listen", "65536"], "from 1 to 65535"),
    "ping": (["--ping", "10.0.0.256"], "is not an IP address"),
    "name": (["--name", "a b"], "letters, digits"),
    "missing": (["--ping"], "--ping needs a value"),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage_errors(case):
    argv, words = USAGE[case]
    done = subprocess.run([guest_program(), *argv], capture_output=True, text=True, check=False,
                          timeout=10)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.startswith("tapnet-guest: error: ")


def test_help_and_version():
    for option, words in (("--help", "Usage: tapnet-guest --nic"), ("--version", "tapnet-guest ")):
        done = subprocess.run([guest_program(), option], capture_output=True, text=True, check=True,
                              timeout=10)
        assert done.stdout.startswith(words) and done.stderr == ""


def test_fds_that_will_not_do(net):
    """Each is refused in words, exit status 1."""
    def refused(fds, rest, words):
        guest = Guest(fds, *nic(fds, rest))
        status, said, _ = guest.end(number=None)
        assert status == 1 and words in said, said

    plain, headed = net.tap(), net.tap(1, True, name="tap1", ips=[])
    refused(plain, f"mac={MAC},vnet-hdr=on", "vnet-hdr=on, but the TAP has no vnet header")
    refused(headed, f"mac={MAC},vnet-hdr=off", "vnet-hdr=off, but the TAP has a vnet header")
    refused(plain + headed, f"mac={MAC}", "is of another device (tap1) than the first (tap0)")
    null = os.open("/dev/null", os.O_RDWR)
    loose, tun = (net.inside(lambda: os.open("/dev/net/tun", os.O_RDWR)) for _ in range(2))
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
    net.fds += [null, loose, tun]
    refused([null], f"mac={MAC}", f"fd {null} is not a TAP")
    refused([loose], f"mac={MAC}", f"fd {loose} is not attached to a TAP")
    refused([tun], f"mac={MAC}", f"fd {tun} is a TUN")
    guest = Guest([], *nic([199], f"mac={MAC}"))
    assert guest.end(number=None)[:2] == (1, "tapnet-guest: error: eth0: fd 199 is not open\n")
