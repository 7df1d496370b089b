# test_section3_handoff.py - each guest program gets its TAPs as it takes them, by the command that it
# takes: QEMU, Cloud Hypervisor, crosvm, kvmtool, Firecracker, and any program that reads fds.
#
# What the programs themselves would do is done by a fake of each, found on PATH by its name: it
# writes down how it was started, attaches what it was not given attached, and sends a frame.
import json
import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from conftest import processes

TAP_FLAGS = {"IFF_TAP": 0x2, "IFF_NO_PI": 0x1000, "IFF_VNET_HDR": 0x4000}

FAKE = r'''#!/usr/bin/python3
import fcntl, json, os, re, signal, struct, sys, time

TUNSETIFF, TUNGETIFF, TUNGETVNETHDRSZ, TUNSETVNETHDRSZ = 0x400454ca, 0x800454d2, 0x800454d7, 0x400454d8
FLAGS = 0x2 | 0x1000 | 0x4000

def attach(fd, name):
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), FLAGS))

def attached(fd):
    with open(f"/proc/self/fdinfo/{fd}") as info:
        found = re.search(r"^iff:\s*(\S+)", info.read(), re.M)
    return found and found[1]

def send(fd):
    """A broadcast frame, after a header of zeros."""
    size = struct.unpack("i", fcntl.ioctl(fd, TUNGETVNETHDRSZ, b"\0" * 4))[0]
    os.write(fd, bytes(size) + b"\xff" * 6 + b"\x02\0\0\0\0\x07" + b"\x88\xb5" + bytes(46))

def iface(fd):
    name, flags = struct.unpack("16sH22x", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))
    return [name.rstrip(b"\0").decode(), flags]

program = os.path.basename(sys.argv[0])
fds = {}
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        fds[name] = os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        continue  # the listing's own
said = {"argv": sys.argv, "fds": fds, "netns": os.readlink("/proc/self/ns/net"), "pid": os.getpid(),
        "before": {}, "ifaces": {}}
text = " ".join(sys.argv)
queues = [int(fd) for fd, link in fds.items() if link == "/dev/net/tun"]
for fd in queues:
    said["before"][fd] = attached(fd)
if program == "lkvm":
    for fd, name in re.findall(r"fd=(\d+),tapif=([^,]+)", text):
        attach(int(fd), name)
        fcntl.ioctl(int(fd), TUNSETVNETHDRSZ, struct.pack("i", 12))
if program == "firecracker":
    with open(sys.argv[sys.argv.index("--config-file") + 1]) as file:
        said["config"] = json.load(file)
    for net in said["config"]["network-interfaces"]:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        attach(fd, net["host_dev_name"])
        queues.append(fd)
for fd in queues:
    said["ifaces"][fd] = iface(fd)
    send(fd)
disk = re.search(r"/proc/self/fd/\d+|images/d.img", text + json.dumps(said.get("config", "")))
if disk and "snapshot=on" not in text:
    said["disk"] = disk[0]
    with open(said["disk"], "r+b") as file:
        said["first"] = file.read(8).decode()
        said["link"] = os.readlink(f"/proc/self/fd/{file.fileno()}")
        said["size"], said["blocks"] = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_blocks
        file.seek(0)
        file.write(b"spoilt!!")
with open(os.environ["REPORT"], "a") as report:
    report.write(json.dumps(said) + "\n")
print("all is told", flush=True)
signal.pause()
'''

PROGRAMS = ("qemu-system-x86_64", "cloud-hypervisor", "crosvm", "lkvm", "firecracker")


class Fakes:
    """Fakes of all programs, in a folder for PATH, and what they told."""

    def __init__(self, folder):
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.report = folder / "report"
        for name in PROGRAMS:
            path = self.folder / name
            path.write_text(FAKE)
            path.chmod(0o755)
        (folder / "vmlinux").write_text("a kernel")
        (folder / "initrd.gz").write_text("an initrd")

    @property
    def env(self):
        return {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def told(self):
        """{node: what it told last}: nodes are told apart by the report's order of MACs, so: a list."""
        lines = self.report.read_text().splitlines() if self.report.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def fakes(tmp_path):
    return Fakes(tmp_path)


def text(fakes, kind, more="", tap="", links=True):
    """A lab of a router and one guest, wired to it: the TAP is the router's eth0."""
    wires = "links: [{endpoints: [r1:eth0, vm:eth0], subnet: 10.0.0.0/24}]\n" if links else ""
    return f"""\
nodes:
  r1: {{}}
  vm:
    kind: {kind}
    kernel: vmlinux
    env: {{REPORT: {fakes.report}}}
    ready: {{console: all is told, timeout: 20s}}
    interfaces: {{eth0: {{{tap}}}}}
{more}{wires}"""


def start(lab, fakes, *args, **how):
    made = lab(text(fakes, *args, **how))
    made.up(env=fakes.env)
    return made, fakes.told()[-1]


def netns(lab, node):
    return lab.exec(node, "readlink", "/proc/self/ns/net").stdout.strip()


def received(lab, device="eth0"):
    return int(lab.exec("r1", "cat", f"/sys/class/net/{device}/statistics/rx_packets").stdout)


def mac_of(lab, interface="eth0"):
    status = json.loads(lab.verb("status", "--format", "json").stdout)
    nodes = {node["name"]: node for node in status["nodes"]}
    return next(i["mac"] for i in nodes["vm"]["interfaces"] if i["name"] == interface)


def only_these(told, taps, more=0):
    """Beside 0, 1, 2 there are taps from 3 on, then so many others, and nothing else."""
    numbers = [int(fd) for fd in told["fds"]]
    assert numbers == list(range(3 + taps + more)), told["fds"]
    for fd in range(3, 3 + taps):
        assert told["fds"][str(fd)] == "/dev/net/tun"


# --- commands, from the plan ----------------------------------------------------------------------

def command(bin, run, folder, node, *assume, links=""):
    """The argv of vm."""
    path = folder / "plan.yaml"
    path.write_text(f"bridges: {{lan: }}\nnodes:\n  vm: {node}\n{links}")
    out = run([bin, "plan", "--format", "json", "--assume", "kvm=no",
               *[word for a in assume or ["vhost=no"] for word in ("--assume", a)], path]).stdout
    steps = json.loads(out)["steps"]
    return next(s["args"]["program"]["argv"] for s in steps if s["op"] == "proc")


def follows(argv, option):
    """What stands after an option, each time."""
    return [argv[i + 1] for i, word in enumerate(argv) if word == option]


@pytest.mark.parametrize("queues", [1, 2, 4])
def test_section3_qemu_command(bin, run, tmp_path, queues):
    """fd=3 for one queue, fds=3:4… for more, with 2N+2 vectors; without vhost it says so."""
    argv = command(bin, run, tmp_path,
                   f"{{kind: qemu, interfaces: {{eth0: {{bridge: lan, tap: {{queues: {queues}}}}}}}}}")
    numbers = ":".join(str(3 + q) for q in range(queues))
    assert follows(argv, "-netdev") == [f"tap,id=n0,{'fd' if queues == 1 else 'fds'}={numbers},vhost=off"]
    device = follows(argv, "-device")[0]
    assert device.startswith("virtio-net-pci,netdev=n0,mac=02:")
    assert ("mq=on" in device) == (queues > 1)
    assert queues == 1 or device.endswith(f",mq=on,vectors={2 * queues + 2}")


def test_section3_qemu_vhost_command(bin, run, tmp_path):
    """One vhost fd a queue, after all queues, in the same order; poll-us only where it is asked for."""
    two = "{eth0: {bridge: lan, tap: {queues: 2, vhost: require%s}}, eth1: {bridge: lan, tap: {vhost: off}}}"
    argv = command(bin, run, tmp_path, f"{{kind: qemu, interfaces: {two % ''}}}", "vhost=yes")
    assert follows(argv, "-netdev") == ["tap,id=n0,fds=3:4,vhost=on,vhostfds=6:7", "tap,id=n1,fd=5,vhost=off"]
    argv = command(bin, run, tmp_path, f"{{kind: qemu, interfaces: {two % ', poll-us: 50'}}}", "vhost=yes")
    assert follows(argv, "-netdev")[0] == "tap,id=n0,fds=3:4,vhost=on,vhostfds=6:7,poll-us=50"
    argv = command(bin, run, tmp_path, "{kind: qemu, interfaces: {eth0: {bridge: lan, tap: {vhost: require}}}}",
                   "vhost=yes")
    assert follows(argv, "-netdev") == ["tap,id=n0,fd=3,vhost=on,vhostfd=4"]


def test_section3_qemu_disk_command(bin, run, tmp_path):
    """A throwaway disk is QEMU's own snapshot; commas are doubled."""
    for disk, drive in [("'a,b.img'", "if=virtio,snapshot=on,file=a,,b.img"),
                        ("{file: a.img, keep: true}", "if=virtio,file=a.img"),
                        ("{file: a.img, format: raw, keep: on}", "if=virtio,format=raw,file=a.img")]:
        argv = command(bin, run, tmp_path, f"{{kind: qemu, disk: {disk}, interfaces: {{eth0: lan}}}}")
        assert follows(argv, "-drive") == [drive]


@pytest.mark.parametrize("queues", [1, 2])
def test_section3_cloud_hypervisor_command(bin, run, tmp_path, queues):
    """A list of fds, and twice as many virtqueues; one --net, with a value for each interface."""
    eth0 = f"{{bridge: lan, mac: 02:00:00:00:00:01, tap: {{queues: {queues}}}}}"
    argv = command(bin, run, tmp_path, f"{{kind: cloud-hypervisor, cpus: 2, memory: 1G, kernel: vmlinux, "
                   f"initrd: initrd.gz, append: a b, interfaces: {{eth0: {eth0}, eth1: lan}}}}")
    at = argv.index("--net")
    fds = ",".join(str(3 + q) for q in range(queues))
    assert argv[0] == "cloud-hypervisor" and argv.count("--net") == 1
    assert argv[at + 1] == f"fd=[{fds}],num_queues={2 * queues},mac=02:00:00:00:00:01"
    assert argv[at + 2].startswith(f"fd=[{3 + queues}],num_queues=2,mac=02:")
    for option, value in [("--cpus", "boot=2"), ("--memory", "size=1024M"), ("--kernel", "vmlinux"),
                          ("--initramfs", "initrd.gz"), ("--cmdline", "a b"), ("--serial", "tty"),
                          ("--console", "off")]:
        assert follows(argv, option) == [value]


def test_section3_crosvm_command(bin, run, tmp_path):
    """One fd an interface; the kernel is the last word."""
    argv = command(bin, run, tmp_path, "{kind: crosvm, cpus: 2, memory: 1G, kernel: vmlinux, initrd: initrd.gz, "
                   "append: a b, disk: {file: d.img, keep: true}, extra: --disable-sandbox, "
                   "interfaces: {eth0: {bridge: lan, mac: 02:00:00:00:00:01}, eth1: lan}}")
    assert argv[:2] == ["crosvm", "run"] and argv[-2:] == ["--disable-sandbox", "vmlinux"]
    first, second = follows(argv, "--net")
    assert first == "tap-fd=3,mac=02:00:00:00:00:01" and second.startswith("tap-fd=4,mac=02:")
    for option, value in [("--cpus", "2"), ("--mem", "1024"), ("--initrd", "initrd.gz"), ("--params", "a b"),
                          ("--block", "path=d.img")]:
        assert follows(argv, option) == [value]


def test_section3_kvmtool_command(bin, run, tmp_path):
    argv = command(bin, run, tmp_path, "{kind: kvmtool, cpus: 2, memory: 1G, kernel: vmlinux, initrd: initrd.gz, "
                   "append: a b, disk: {file: d.img, keep: true}, "
                   "interfaces: {eth0: {bridge: lan, mac: 02:00:00:00:00:01}, eth1: lan}}")
    assert argv[:2] == ["lkvm", "run"]
    first, second = follows(argv, "--network")
    assert first == "mode=tap,fd=3,tapif=p1,guest_mac=02:00:00:00:00:01"
    assert second.startswith("mode=tap,fd=4,tapif=p2,guest_mac=02:")
    for option, value in [("--cpus", "2"), ("--mem", "1024"), ("--kernel", "vmlinux"), ("--initrd", "initrd.gz"),
                          ("--params", "a b"), ("--disk", "d.img")]:
        assert follows(argv, option) == [value]


@pytest.mark.parametrize("kind", ["crosvm", "kvmtool", "firecracker"])
def test_section3_one_queue(bin, run, tmp_path, kind):
    """Programs that take one queue an interface are told so in the file, at its line."""
    path = tmp_path / "lab.yaml"
    path.write_text(f"bridges: {{lan: }}\nnodes:\n  vm:\n    kind: {kind}\n    kernel: k\n"
                    "    interfaces:\n      eth0: {bridge: lan, tap: {queues: 2}}\n")
    error = run([bin, "validate", path], status=2).stderr
    assert f"{path}:7:41: error: " in error and "one queue" in error.replace("1 queue", "one queue")


@pytest.mark.parametrize("kind, tap, error", [
    ("qemu", "handoff: name", "gets its devices attached, by fd, not by name"),
    ("crosvm", "handoff: unattached", "gets its devices attached, by fd, not unattached"),
    ("kvmtool", "handoff: fd", "gets its devices unattached, not attached, by fd"),
    ("firecracker", "fds: [5]", "gets its devices by name, not attached, by fd"),
    ("crosvm", "vhost: require", "takes no vhost fds"),
])
def test_section3_not_as_the_program_takes_it(bin, run, tmp_path, kind, tap, error):
    """An interface cannot ask for what the program of a preset does not do."""
    path = tmp_path / "lab.yaml"
    bridge = "" if "fds" in tap else "bridge: lan, "
    path.write_text(f"bridges: {{lan: }}\nnodes:\n  vm:\n    kind: {kind}\n    kernel: k\n"
                    f"    interfaces:\n      eth0: {{{bridge}tap: {{{tap}}}}}\n")
    said = run([bin, "plan", "--assume", "vhost=yes", path], status=2).stderr
    assert re.search(rf"^{re.escape(str(path))}:7:\d+: error: a guest of kind: {kind} {error}$", said, re.M), said


def test_section3_needs_a_kernel(bin, run, tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text("bridges: {lan: }\nnodes:\n  vm: {kind: firecracker, interfaces: {eth0: lan}}\n")
    error = run([bin, "validate", path], status=2).stderr
    assert f'{path}:3:3: error: vm is of kind: firecracker, which needs "kernel"' in error


def test_section3_taps_in_two_namespaces(bin, run, tmp_path):
    """A program that looks its TAPs up by name runs where all of them are, or is told why it cannot."""
    path = tmp_path / "lab.yaml"
    lab = ("bridges: {lan: }\nnodes:\n  r1: {}\n  vm: {kind: crosvm, kernel: k, interfaces: {eth0: lan}%s}\n"
           "links: [[r1:eth0, vm:eth1]]\n")
    path.write_text(lab % "")
    error = run([bin, "validate", path], status=2).stderr
    assert f"{path}:4:3: error: a guest of kind: crosvm runs where its TAPs are" in error
    path.write_text(lab % ", netns: r1")
    run([bin, "validate", path])


# --- fakes of the programs ------------------------------------------------------------------------

def test_section3_qemu(lab, fakes):
    """It runs in the host's namespace, with attached queues of a TAP elsewhere."""
    made, told = start(lab, fakes, "qemu", tap="tap: {queues: 4, vhost: off}")
    only_these(told, 4)
    assert told["netns"] == os.readlink("/proc/self/ns/net") != netns(made, "r1")
    assert set(told["before"].values()) == {"eth0"}
    assert all(flags & TAP_FLAGS["IFF_VNET_HDR"] for _, flags in told["ifaces"].values())
    assert received(made) >= 4


@pytest.mark.parametrize("kind, queues", [("cloud-hypervisor", 2), ("cloud-hypervisor", 1), ("crosvm", 1)])
def test_section3_where_its_taps_are(lab, fakes, kind, queues):
    """Attached queues, with a vnet header, in the TAP's own namespace."""
    made, told = start(lab, fakes, kind, tap=f"tap: {{queues: {queues}}}")
    only_these(told, queues)
    assert told["netns"] == netns(made, "r1")
    for name, flags in told["ifaces"].values():
        assert name == "eth0" and flags & TAP_FLAGS["IFF_VNET_HDR"]
    assert mac_of(made) in " ".join(told["argv"])
    assert received(made) >= queues


def test_section3_netns_is_a_choice(lab, fakes):
    """netns: wins over what the preset says."""
    _, told = start(lab, fakes, "crosvm", more="    netns: host\n")
    assert told["netns"] == os.readlink("/proc/self/ns/net")


def test_section3_switch(lab, fakes):
    """Wired to a bridge, its TAP is in the switch, and so is the program."""
    made = lab(text(fakes, "cloud-hypervisor", "bridges: {lan: }\n", links=False).replace("eth0: {}", "eth0: lan"))
    made.up(env=fakes.env)
    told, = fakes.told()
    assert told["netns"] not in (os.readlink("/proc/self/ns/net"), netns(made, "r1"))
    assert [name for name, _ in told["ifaces"].values()] == ["p1"]


def test_section3_kvmtool(lab, fakes):
    """handoff: unattached: /dev/net/tun, opened where the TAP is, which the guest attaches itself."""
    made, told = start(lab, fakes, "kvmtool")
    only_these(told, 1)
    assert told["before"] == {"3": None}
    assert told["netns"] == os.readlink("/proc/self/ns/net") != netns(made, "r1")
    (name, flags), = told["ifaces"].values()
    assert name == "eth0" and flags & TAP_FLAGS["IFF_VNET_HDR"]
    assert received(made) >= 1


def test_section3_firecracker(lab, fakes):
    """handoff: name: no fd, but a TAP of that name where the guest runs, told in a file."""
    made, told = start(lab, fakes, "firecracker", more="    append: 'console=ttyS0 name=\"x\"'\n    cpus: 2\n")
    only_these(told, 0)
    assert told["netns"] == netns(made, "r1")
    assert told["argv"][1:3] == ["--no-api", "--config-file"]
    assert told["config"] == {
        "boot-source": {"kernel_image_path": "vmlinux", "boot_args": 'console=ttyS0 name="x"'},
        "machine-config": {"vcpu_count": 2, "mem_size_mib": 256},
        "drives": [],
        "network-interfaces": [{"iface_id": "net0", "host_dev_name": "eth0", "guest_mac": mac_of(made)}]}
    config = Path(told["argv"][3])
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert received(made) >= 1
    made.down()
    assert not config.exists()


@pytest.mark.parametrize("kind", ["qemu", "cloud-hypervisor", "crosvm", "kvmtool", "firecracker"])
def test_section3_restarted(lab, fakes, kind):
    """A guest that is started again finds its TAP as the first one did."""
    made, first = start(lab, fakes, kind)
    before = received(made)
    made.verb("restart", "vm")
    until = time.monotonic() + 20
    while len(fakes.told()) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    second = fakes.told()[1]
    for of in ("argv", "fds", "netns", "before", "ifaces"):
        if of == "fds":  # ptys have numbers
            assert list(first[of]) == list(second[of])
        else:
            assert first[of] == second[of]
    assert received(made) > before


# --- disks ----------------------------------------------------------------------------------------

SIZE = 8 << 20


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "images/d.img"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(b"original")
        file.seek(SIZE // 2)
        file.write(b"x" * 65536)
        file.truncate(SIZE)
    return path


@pytest.mark.parametrize("kind", ["cloud-hypervisor", "crosvm", "kvmtool", "firecracker"])
def test_section3_throwaway_disk(lab, fakes, image, kind):
    """What a guest writes is in a copy that has no name, comes after its TAPs, and keeps holes."""
    made, told = start(lab, fakes, kind, more="    disk: images/d.img\n")
    taps = 0 if kind == "firecracker" else 1
    only_these(told, taps, 1)
    assert told["disk"] == f"/proc/self/fd/{3 + taps}"
    assert told["first"] == "original" and told["size"] == SIZE
    assert told["link"].startswith(f"{image.parent}/#") and told["link"].endswith("(deleted)")
    assert told["blocks"] * 512 < SIZE // 2
    assert image.read_bytes()[:8] == b"original" and os.listdir(image.parent) == ["d.img"]
    made.verb("restart", "vm")
    until = time.monotonic() + 20
    while len(fakes.told()) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert fakes.told()[1]["first"] == "spoilt!!"  # the copy is the lab's, not the process's
    made.down()
    made.up(env=fakes.env)
    assert fakes.told()[2]["first"] == "original"


def test_section3_copy_is_whole(lab, fakes, image):
    """Data, holes and size, byte for byte: read through the guest's own fd."""
    made, told = start(lab, fakes, "crosvm", more="    disk: images/d.img\n")
    with open(f"/proc/{made_pid(made)}/fd/4", "rb") as file:
        copy = file.read()
    assert copy == b"spoilt!!" + image.read_bytes()[8:] and told["first"] == "original"


def made_pid(lab):
    """The guest's process."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            env = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if len(argv) > 1 and argv[1].endswith(b"/crosvm") and f"TAPNET_LAB={lab.name}".encode() in env:
            return pid
    pytest.fail("the guest does not run")


@pytest.mark.parametrize("kind", ["qemu", "cloud-hypervisor", "crosvm", "kvmtool", "firecracker"])
def test_section3_kept_disk(lab, fakes, image, kind):
    """keep: true gives the guest the image itself, relative to the lab's folder, where it runs."""
    _, told = start(lab, fakes, kind, more="    disk: {file: images/d.img, keep: true}\n")
    only_these(told, 0 if kind == "firecracker" else 1)
    assert told["disk"] == "images/d.img" and told["link"] == str(image)
    assert image.read_bytes()[:8] == b"spoilt!!"


def test_section3_disk_in_a_read_only_folder(lab, fakes, image):
    """Where a copy cannot be beside the image, it is in the run directory, without a name as well."""
    subprocess.run(["mount", "--bind", image.parent, image.parent], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", image.parent], check=True)
        made, told = start(lab, fakes, "crosvm", more="    disk: images/d.img\n")
        assert told["first"] == "original" and f"/{made.name}/#" in told["link"]
        assert told["blocks"] * 512 < SIZE // 2
        made.down()
    finally:
        subprocess.run(["umount", image.parent], check=True)
    assert image.read_bytes()[:8] == b"original"


def test_section3_nothing_is_left_of_a_killed_lab(lab, fakes, image):
    """Guardian and worker killed: the copy is gone with its holders."""
    made, _ = start(lab, fakes, "crosvm", more="    disk: images/d.img\n")
    for pid, what in processes(os.getpid()).items():
        if what.startswith(("tapnet-guard", "tapnet-work")):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while any("tapnet-" in what for what in processes(os.getpid()).values()):
        assert time.monotonic() < until, "what a killed lab left does not end"
        for pid in Path("/proc/thread-self/children").read_text().split():
            os.waitpid(int(pid), os.WNOHANG)  # as a host's init would
        time.sleep(0.01)
    made.verb("gc")
    assert os.listdir(image.parent) == ["d.img"] and not made.is_there()


@pytest.mark.parametrize("key, place", [("kernel: none", "13"), ("initrd: none", "13"), ("disk: none", "11"),
                                        ("disk: {file: none}", "18")])
def test_section3_missing_files(lab, fakes, key, place):
    """Told at their lines before anything is made; `validate` and `plan` do not look."""
    made = lab(text(fakes, "qemu", more=f"    {key}\n").replace("    kernel: vmlinux\n", ""))
    error = made.up(env=fakes.env, status=2).stderr
    assert re.search(rf":8:{place}: error: none: No such file or directory", error), error
    assert not made.is_there() and not fakes.told()
    made.verb("validate", made.file)


def test_section3_disk_that_cannot_be_copied(lab, fakes):
    made = lab(text(fakes, "crosvm", more="    disk: /dev/null\n"))
    error = made.up(env=fakes.env, status=5).stderr
    assert "vm: /dev/null is no file that can be copied" in error and f"{made.file}:9:11" in error
    assert not fakes.told()


def boot_sector():
    """Writes itself to the second sector, and says on the serial line whether it could."""
    code = bytearray.fromhex("31c0 8ed8 8ec0 8ed0 bc007c"      # segments and stack
                             "b80103 bb007c b90200 b600 cd13"  # int 13h: one sector from 7c00 to 0/0/2
                             "be0000 7303 be0000"              # si: what is said; without carry it is fine
                             "ac 84c0 7406 baf803 ee ebf5"     # each byte to 3f8h
                             "f4 ebfd")                        # rest
    at = code.index(b"\xbe\0\0\x73")
    fine, failed = b"the disk is written\r\n\0", b"the disk is not written\r\n\0"
    code[at + 1:at + 3] = (0x7c00 + len(code)).to_bytes(2, "little")
    code[at + 6:at + 8] = (0x7c00 + len(code) + len(fine)).to_bytes(2, "little")
    return bytes(code + fine + failed).ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize("keep", ["on", "off"])
def test_section3_qemu_itself_with_a_disk(lab, needs, tmp_path, keep):
    """QEMU boots from the disk; what that writes is in the image if it is kept, and only then."""
    needs("qemu-system-x86_64", "/dev/net/tun")
    image = tmp_path / "a,b.img"
    before = boot_sector().ljust(1 << 20, b"\0")
    image.write_bytes(before)
    made = lab("nodes:\n  r1: {}\n  vm:\n    kind: qemu\n    memory: 64M\n"
               f"    disk: {{file: 'a,b.img', keep: {keep}, format: raw}}\n"
               "    ready: {console: the disk is written, timeout: 60s}\nlinks: [[r1:eth0, vm:eth0]]\n")
    made.up(timeout=90)
    made.down()
    after = boot_sector() * 2 + before[1024:]
    assert image.read_bytes() == (after if keep == "on" else before)
    assert os.listdir(tmp_path).count(image.name) == 1
