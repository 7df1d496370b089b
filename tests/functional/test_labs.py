# test_labs.py - the labs of labs/: each does what its first line says, and leaves nothing.
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from conftest import TOP, Lab, processes, run_dir

LABS = sorted(TOP.glob("labs/*.yaml"))


class Shipped(Lab):
    """A lab of labs/ under a name of this test's own. Its hooks write below home."""

    def __init__(self, binary, path, home):
        super().__init__(binary, home, "", path.stem)
        self.file = path
        self.env = {"HOME": str(home),
                    "PATH": f"{binary.parent / 'guest'}:{binary.parent}:{os.environ['PATH']}"}

    def verb(self, verb, *args, **how):
        return super().verb(verb, *args, **{**how, "env": {**self.env, **how.get("env", {})}})

    def up(self, *args, **how):
        return super().up("--name", self.name, *args, **how)

    def log(self, name):
        return (run_dir() / self.name / f"{name}.log").read_text(errors="replace").replace("\r", "")

    def ping(self, node, *targets):
        for target in targets:
            self.exec(node, "ping", "-c", "1", "-W", "2", target)

    def kept(self, name):
        return (Path(self.env["HOME"]) / ".local/state/tapnet-lab" / self.name / name).read_text()


@pytest.fixture
def shipped(leaks, bin, tmp_path):
    """shipped("quickstart"): that lab, not yet up; it comes down whatever happens."""
    made = []

    def make(name, binary=bin, folder=TOP / "labs"):
        made.append(Shipped(binary, folder / f"{name}.yaml", tmp_path))
        return made[-1]
    yield make
    for lab in made:
        lab.end()


def tap_fds(pid):
    """{number: device} of the fds of a process that are a TAP's."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/net/tun":
            info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
            found[int(fd)] = re.search(r"^iff:\s*(\S+)", info, re.M)[1]
    return found


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_begins_with_what_it_shows(path, bin, run):
    first = path.read_text().splitlines()[0]
    assert re.fullmatch(r"# [A-Z].*\.", first) and len(first) <= 100
    assert "fine" in run([bin, "validate", path]).stdout


def test_all_are_tested():
    assert {path.stem for path in LABS} == {"quickstart", "two-vms", "triangle", "guest-lan", "class", "wire",
                                         "vlan-trunk"}


def test_quickstart(shipped, needs, snapshot):
    needs("/dev/net/tun", "ping")
    lab, before, took = shipped("quickstart"), snapshot(), []
    for _ in range(2):  # the better of two: the machine may be busy
        begin = time.monotonic()
        up = lab.up()
        took.append(time.monotonic() - begin)
        assert "2 packets transmitted, 2 received" in up.stdout
        assert "bytes from web (10.0.2.2)" in up.stdout
        assert "eth0: 4 queues" in lab.log("web") and "reply from 10.0.1.2" in lab.log("web")
        guest, = [pid for pid, name in processes(os.getpid()).items() if "tapnet-guest:" in name]
        assert tap_fds(guest) == {3: "eth1", 4: "eth1", 5: "eth1", 6: "eth1"}
        lab.ping("r1", "pc1", "web")
        lab.ping("pc1", "r1", "web")
        lab.down()
        assert snapshot() == before
    assert min(took) < 2
    assert re.search(r"web:eth0 up: eth1, 4 queues, mac 02:.*\n.*web:eth0 down: eth1, [1-9]\d* frames",
                     lab.kept("taps.log"))


def test_two_vms(shipped, guest_image, needs, snapshot):
    needs("/dev/net/tun", "ping")
    lab, before = shipped("two-vms"), snapshot()
    how = ["--name", lab.name, "--set", f"guest={guest_image}"]
    lab.verb("up", *how, lab.file, timeout=240)
    plan = json.loads(lab.verb("plan", *how, "--format", "json", lab.file).stdout)
    pids = {pid: name for pid, name in processes(os.getpid()).items() if "qemu-system" in name}
    guests = [step["args"] for step in plan["steps"] if step["op"] == "proc"]
    assert len(pids) == len(guests) == 2
    for guest, device in zip(guests, ["eth0", "eth1"]):
        pid, = [p for p, name in pids.items() if f"-name {guest['node']} " in name]
        planned = [fd["to"] for fd in guest["fds"]]
        assert planned == [3, 4, 5, 6]
        assert tap_fds(pid) == dict.fromkeys(planned, device)
        log = lab.log(guest["node"])
        assert re.search("^eth0: 4 queues", log, re.M)
        for address in ("10.0.1.1" if device == "eth0" else "10.0.2.1", "10.0.1.2", "10.0.2.2"):
            assert f"ping ok {address}" in log
    lab.ping("r1", "vm1", "vm2")
    lab.down()
    assert snapshot() == before


def test_triangle(shipped, needs, snapshot):
    needs("ping")
    lab, before = shipped("triangle"), snapshot()
    lab.up()
    pcs = ["pc1", "pc2", "pc3"]
    for pc in pcs:
        lab.ping(pc, *[other for other in pcs if other != pc])
    lab.down()
    assert snapshot() == before
    for router, network in (("r1", "10.0.2.0/24 via 10.9.12.2"), ("r3", "10.0.1.0/24 via 10.9.13.1")):
        assert network in lab.kept(f"{router}.state")


def test_guest_lan(shipped, needs, snapshot):
    needs("/dev/net/tun", "ping", "python3")
    lab, before = shipped("guest-lan"), snapshot()
    up = lab.up()
    assert up.stdout.count(" 1 received") == 6
    for guest in ("vm1", "vm2", "vm3"):
        assert re.search("^eth0: 4 queues", lab.log(guest), re.M)
        page = lab.exec("pc", "python3", "-c", "import sys, urllib.request as r;"
                        "print(r.urlopen(sys.argv[1], timeout=5).read().decode())", f"http://{guest}/")
        assert guest in page.stdout
    lab.down()
    assert snapshot() == before
    assert lab.kept("taps.log").count("txqueuelen 500") == 3


def test_wire(shipped, needs, snapshot):
    needs("/dev/net/tun", "ping")
    lab, before = shipped("wire"), snapshot()
    assert lab.up().stdout.count(" 2 received") == 2
    assert lab.log("wire").startswith("a: 4 queues, vnet header of 10 bytes, whole segments\n")
    lab.ping("pc2", "pc1")
    lab.verb("restart", "wire")  # another process on the same queues
    lab.ping("pc2", "pc1")
    assert lab.log("wire").count("a: 4 queues, ") == lab.log("wire").count("ready\n") == 2
    lab.exec("pc1", "ip", "link", "delete", "eth0")  # a link that is gone ends the wire at once
    end = time.monotonic() + 1
    while "a: the device is gone" not in lab.log("wire") and time.monotonic() < end:
        time.sleep(0.02)
    assert "tapnet-wire: error: a: the device is gone\n" in lab.log("wire")
    lab.down()
    assert snapshot() == before


def test_class(shipped, needs, snapshot):
    needs("ping")
    lab, before = shipped("class"), snapshot()
    lab.up()
    lab.ping("pc01", "pc30", "gw")
    lab.exec("gw", "sh", "-c", "for i in $(seq -w 30); do ping -c 1 -W 2 pc$i > /dev/null || exit; done")
    lab.down()
    assert snapshot() == before


def test_installed(shipped, bin, needs, tmp_path, snapshot):
    """What `meson install` puts there works as it does in the checkout."""
    needs("/dev/net/tun", "ping", "meson")
    build = bin.parents[1]
    if not (build / "build.ninja").exists():
        pytest.skip("needs a folder of meson's")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path / "root"],
                   check=True, capture_output=True, timeout=60)
    prefix = next((tmp_path / "root").rglob("bin/tapnet-lab")).parents[1]
    lab = shipped("quickstart", prefix / "bin/tapnet-lab", prefix / "share/tapnet-lab/labs")
    before = snapshot()
    assert "2 received" in lab.up().stdout
    lab.down()
    assert snapshot() == before
    assert (prefix / "share/tapnet-lab/labs/guest/build-guest").stat().st_mode & 0o100


def test_vlan_trunk(shipped, run, snapshot):
    """On a kernel that filters no VLANs: told before anything is made, at the first key that needs
    it. (On one that does, tests/vm brings the lab up.)"""
    if run(["sh", "-c", "unshare -n ip link add b type bridge vlan_filtering 1"], status=None).returncode == 0:
        pytest.skip("needs a kernel that filters no VLANs")
    lab, before = shipped("vlan-trunk"), snapshot()
    said = lab.up(status=4).stderr
    line = next(n for n, text in enumerate(lab.file.read_text().splitlines(), 1) if "{bridge: sw1, trunk:" in text)
    assert f"{lab.file}:{line}:" in said and "CONFIG_BRIDGE_VLAN_FILTERING" in said
    assert not lab.is_there() and snapshot() == before
