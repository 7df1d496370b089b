# test_t09_vhost.py - row T9 without vhost-net: `vhost: auto` falls back, `require` fails at its line
# before anything is made, `off` does without, and `poll-us` and the caller's `vhostfds` reach the
# guest's command only with it. With vhost-net, which this kernel need not have: tests/vm/test_vhost.py.
# sndbuf, of the same row, is among the settings (test_t11_settings.py).
import os
import socket
import subprocess

import pytest

VHOST = "/dev/vhost-net"
LAB = """\
nodes:
  r1: {interfaces: {eth0: {ipv6: "fd09::1/64", hooks: {up: touch made}}}}
  g:
    kind: qemu
    memory: 64M
    extra: [-boot, n]
    interfaces:
      eth0:
        mac: "02:00:00:00:00:02"
        tap:
          queues: 1
          vhost: HOW
links: [[r1:eth0, g:eth0]]
"""
LINE, COLUMN = 12, 18
# The firmware of the machine has this address while it asks for another.
PING = "until ping -6 -c 1 -W 2 fe80::ff:fe00:2%eth0; do sleep 0.2; done"


def without_vhost(tmp_path):
    """On a host that has it: a socket in its place, which cannot be opened."""
    if not os.path.exists(VHOST):
        yield
        return
    with socket.socket(socket.AF_UNIX) as hole:
        hole.bind(str(tmp_path / "hole"))
        subprocess.run(["mount", "--bind", tmp_path / "hole", VHOST], check=True)
        yield
        subprocess.run(["umount", VHOST], check=True)


no_vhost = pytest.fixture(without_vhost)


@pytest.fixture
def qemu(needs):
    needs("qemu-system-x86_64", "/dev/net/tun")


@pytest.mark.parametrize("how", ["auto", "off"])
def test_t9_without_the_device_auto_is_off(lab, no_vhost, qemu, how):
    """The emulator is told so, gets no fd more, and answers."""
    made = lab(LAB.replace("HOW", how))
    assert "fd=3,vhost=off -device" in made.verb("plan", made.file).stdout
    made.up("-q")
    made.exec("r1", "sh", "-c", PING, timeout=60)
    made.down()


def test_t9_without_the_device_require_fails_at_its_line_before_anything_is_made(lab, no_vhost, qemu, snapshot):
    made = lab(LAB.replace("HOW", "require"))
    before = snapshot()
    said = made.up(status=4).stderr
    assert said.startswith(f"{made.file}:{LINE}:{COLUMN}: tapnet-lab: g:eth0 requires vhost: ")
    assert "modprobe vhost_net" in said
    assert snapshot() == before
    assert not made.is_there() and not (made.file.parent / "made").exists()


@pytest.mark.parametrize("machine, tail", [("yes", "vhost=on,vhostfd=4,poll-us=20"), ("no", "vhost=off")])
def test_t9_poll_us_is_handed_on_with_vhost(lab, machine, tail):
    made = lab(LAB.replace("HOW", "auto\n          poll-us: 20"))
    plan = made.verb("plan", "--assume", f"vhost={machine}", made.file).stdout
    assert f"-netdev tap,id=n0,fd=3,{tail} -device" in plan


def test_t9_one_vhost_fd_a_queue_after_the_queues_of_all_interfaces(lab):
    made = lab("""\
bridges: {lan: }
nodes:
  g:
    kind: qemu
    cpus: 2
    interfaces:
      eth0: {bridge: lan, tap: {queues: 2}}
      eth1: {bridge: lan, tap: {queues: 1, vhost: off}}
      eth2: {bridge: lan, tap: {queues: 2, vhost: require}}
""")
    plan = made.verb("plan", "--assume", "vhost=yes", made.file).stdout
    assert "id=n0,fds=3:4,vhost=on,vhostfds=8:9 " in plan
    assert "id=n1,fd=5,vhost=off " in plan
    assert "id=n2,fds=6:7,vhost=on,vhostfds=10:11 " in plan
