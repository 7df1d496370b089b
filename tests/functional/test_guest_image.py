# test_guest_image.py - the QEMU guest of the labs: its image is made, boots, and does what its
# kernel parameters say. Nothing is fetched here: build-guest has what it needs, or this is skipped.
import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from test_guest import Net

TOP = Path(__file__).resolve().parents[2]
QEMU = ("qemu-system-x86_64 -machine pc -accel tcg -cpu max -smp 4 -m 256 -nodefaults "
        "-no-user-config -display none -serial stdio -no-reboot").split()
BOOT = 90  # seconds; it takes 5 on two idle cores


def build(folder, **env):
    return subprocess.run([TOP / "labs/guest/build-guest", folder], env={**os.environ, **env},
                          capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def image(needs, tmp_path_factory):
    """The folder with vmlinuz and initrd.gz."""
    needs("qemu-system-x86_64", "busybox", "cpio", "modprobe")
    folder = tmp_path_factory.mktemp("image")
    done = build(folder)
    if "no kernel" in done.stderr:
        pytest.skip("needs the guest's kernel: ./dev guest")
    if "is not static" in done.stderr:
        pytest.skip("needs busybox-static")
    assert done.returncode == 0, done.stderr
    return folder


class Machine:
    def __init__(self, image, append, fds, devices):
        argv = [*QEMU, "-kernel", image / "vmlinuz", "-initrd", image / "initrd.gz", "-append",
                f"console=ttyS0 quiet panic=-1 {append}", *devices]
        self.process = subprocess.Popen(argv, pass_fds=fds, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.raw = self.text = ""

    def wait_for(self, pattern, timeout=BOOT):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text, re.M):
            left = max(0, end - time.monotonic())
            ready = select.select([self.process.stdout], [], [], left)[0]
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert more, f"no {pattern!r} in {self.text}"
            self.raw += more.decode(errors="replace")
            # What a shell tells its terminal (where is the cursor?) is no text.
            self.text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw)

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def boot(image):
    machines = []

    def booter(append, fds=(), devices=()):
        machines.append(Machine(image, append, fds, devices))
        return machines[-1]
    yield booter
    for machine in machines:
        machine.end()


@pytest.fixture(name="net")
def net_(leaks, needs):
    needs("/dev/net/tun", "unshare", "nsenter", "curl", "ping")
    if os.geteuid():
        pytest.skip("needs root, to make a network namespace")
    network = Net()
    yield network
    network.close()


def card(n, fds, mac):
    """QEMU's options for a network card on the queues of a TAP."""
    if len(fds) == 1:
        return ["-netdev", f"tap,id=n{n},fd={fds[0]},vhost=off",
                "-device", f"virtio-net-pci,netdev=n{n},mac={mac}"]
    return ["-netdev", f"tap,id=n{n},fds={':'.join(map(str, fds))},vhost=off", "-device",
            f"virtio-net-pci,netdev=n{n},mac={mac},mq=on,vectors={2 * len(fds) + 2}"]


def test_the_same_bytes(image, tmp_path):
    """Made again it is the same; without a kernel it says what to do, and leaves no half image."""
    assert build(tmp_path / "again").returncode == 0
    for name in ("vmlinuz", "initrd.gz"):
        assert (tmp_path / "again" / name).read_bytes() == (image / name).read_bytes()
    done = build(tmp_path / "none", KERNEL="/nowhere/vmlinuz", MODULES="/nowhere/modules")
    assert done.returncode == 1
    assert "KERNEL=/nowhere/vmlinuz needs MODULES=/lib/modules/VERSION" in done.stderr
    assert not list((tmp_path / "none").iterdir())


def test_four_queues(net, boot):
    fds = net.tap(4, True)
    guest = boot("hostname=vm1 ip=10.0.1.10::10.0.1.1:255.255.255.0::eth0:off "
                 "ip6=fd00:1::10/64,fd00:1::1 ping=10.0.1.1,fd00:1::1 http=80", fds,
                 card(0, fds, "02:00:00:00:01:10"))
    guest.wait_for(r"^eth0: 4 queues, 02:00:00:00:01:10, 10\.0\.1\.10/24, fd00:1::10/64$")
    guest.wait_for(r"^vm1 login: ")
    guest.wait_for(r"64 bytes from 10\.0\.1\.1: seq=0 ")  # after a prompt, perhaps
    guest.wait_for(r"ping ok 10\.0\.1\.1$")  # perhaps behind the prompt
    guest.wait_for(r"ping ok fd00:1::1$")
    net.run("ping -c 3 -i 0.1 -W 5 10.0.1.10")
    assert net.run("curl -sm 10 http://10.0.1.10/") == "vm1\n"
    guest.type("sleep 100 &")
    guest.type("ip route; jobs; ls /sys/class/net/eth0/queues | wc -w; echo do''ne")
    guest.wait_for(r"^done$", timeout=20)
    assert "default via 10.0.1.1 dev eth0" in guest.text
    assert "[1]+  Running" in guest.text
    assert re.search(r"^8$", guest.text, re.M)
    guest.type("poweroff")
    assert guest.process.wait(timeout=20) == 0


def test_two_cards_dhcp_and_a_vlan(net, boot, tmp_path):
    """eth0 asks by DHCP, eth1 has an address, eth1.10 another."""
    first, second = net.tap(2, True), net.tap(1, False, name="tap1", ips=["10.0.2.1/24"])
    conf = tmp_path / "udhcpd.conf"
    conf.write_text(f"start 10.0.1.77\nend 10.0.1.77\ninterface tap0\nopt subnet 255.255.255.0\n"
                    f"opt router 10.0.1.1\nlease_file {tmp_path}/leases\npidfile {tmp_path}/pid\n")
    server = net.popen("busybox", "udhcpd", "-f", str(conf))
    try:
        guest = boot("ip=:::::eth0:dhcp ip=10.0.2.10:::255.255.255.0:vm2:eth1:off "
                     "vlan=eth1.10:eth1 ip=10.0.3.10:::24::eth1.10:off", first + second,
                     card(0, first, "02:00:00:00:01:10") + card(1, second, "02:00:00:00:02:10"))
        guest.wait_for(r"^eth0: 2 queues, 02:00:00:00:01:10, 10\.0\.1\.77/24$")
        guest.wait_for(r"^eth1: 1 queue, 02:00:00:00:02:10, 10\.0\.2\.10/24$")
        guest.wait_for(r"^vm2 login: ")
        net.run("ping -c 1 -W 5 10.0.1.77")
        net.run("ping -c 1 -W 5 10.0.2.10")
        guest.type("ip addr show eth1.10; ip route; echo do''ne")
        guest.wait_for(r"^done$", timeout=20)
        assert "inet 10.0.3.10/24" in guest.text and "default via 10.0.1.1" in guest.text
    finally:
        server.kill()
        server.communicate()


def test_lacp(boot, tmp_path):
    """Two guests, two wires, one bond: each learns who its partner is."""
    def machine(me, other):
        cards = []
        for n in (0, 1):
            cards += ["-netdev", f"dgram,id=n{n},local.type=unix,local.path={tmp_path}/{me}{n},"
                      f"remote.type=unix,remote.path={tmp_path}/{other}{n}", "-device",
                      f"virtio-net-pci,netdev=n{n},mac=02:00:00:00:0{me}:0{n},"
                      "speed=10000,duplex=full"]
        return boot(f"bond=bond0:eth0,eth1:mode=802.3ad,miimon=100,lacp_rate=fast "
                    f"ip=10.0.5.{me}:::24::bond0:off ping=10.0.5.{other}", devices=cards)

    first, second = machine(1, 2), machine(2, 1)
    first.wait_for(r"bond0: partner 02:00:00:00:02:00$", timeout=2 * BOOT)
    first.wait_for(r"bond0 up$")
    first.wait_for(r"ping ok 10\.0\.5\.2$")
    second.wait_for(r"ping ok 10\.0\.5\.1$")
