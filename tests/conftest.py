# conftest.py - what the tests share: programs, labs that always come down, and the leak check.
#
# As root, each pytest process (each worker of -n N too) makes itself a host of its own: a network
# namespace with nothing but lo, and a mount namespace with an empty /run. Tests cannot touch the
# real host, run side by side, and may do to "the host" what they like, if they put it back:
# after each test the leak check compares everything that a lab could leave there with what was
# there before. The process is a subreaper, so whatever a test starts stays its descendant, even
# when it daemonizes. At the end of the session the real host is compared, too.
#
# Fixtures: bin, fault_bin, run, needs, guest_image, lab, module_lab, snapshot; they are explained below.
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
sys.path += [str(TOP / "tests" / of) for of in ("contract", "fault", "soak")]  # contractlab, …
TAG = f"t{os.getpid()}"  # begins the name of every lab of this process
KEPT = ("TAPNET_LAB_BIN", "TAPNET_LAB_FAULT_BIN", "TAPNET_LONG", "TAPNET_FIGURES", "TAPNET_FUZZ",
        "TAPNET_CALLS", "TAPNET_LABS", "TAPNET_INJECT", "TAPNET_SOAK_SECONDS",
        "TAPNET_SEED")  # the environment of ours that tests see
GRACE = 2.0  # seconds in which the last process of a lab may still be on its way out

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER, CLONE_NEWNS, CLONE_NEWNET = 36, 0x00020000, 0x40000000


# --- a host of our own ----------------------------------------------------------------------------

class Session:
    """The real host, of which only the end of the session knows."""
    namespaces = []  # fds: net, mnt
    before = None
    reports = None  # the folder that sanitizers write to


def real_host():
    """What the real host has: links, names of namespaces, and what is ours by its name."""
    look = """ip -o link | cut -d: -f2; ls /run/netns; grep /run/tapnet-lab /proc/self/mountinfo
              ls /run/tapnet-lab | grep '^t[0-9]*-'"""  # others may have labs of their own there
    net, mnt = Session.namespaces
    out = subprocess.run(["nsenter", f"--net=/proc/self/fd/{net}", f"--mount=/proc/self/fd/{mnt}",
                          "sh", "-c", look], pass_fds=(net, mnt), capture_output=True, text=True,
                         check=False).stdout
    ours = processes(os.getpid()).values()  # those of workers that ended came to us
    return set(out.splitlines()) | {p for p in ours if p.startswith("tapnet-")}


def own_host():
    def mount(*args, **kw):
        subprocess.run(["mount", *args], check=True, **kw)

    if _libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    cgroups = os.open("/sys/fs/cgroup", os.O_PATH)
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    mount("-t", "sysfs", "sysfs", "/sys")  # shows the links of the namespace that mounts it
    mount("--rbind", f"/proc/self/fd/{cgroups}", "/sys/fs/cgroup", pass_fds=(cgroups,))
    os.close(cgroups)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def pytest_configure(config):
    worker = hasattr(config, "workerinput")
    leads_workers = not worker and bool(getattr(config.option, "numprocesses", None))

    for name in [n for n in os.environ if n.startswith(("TAPNET_", "XDG_RUNTIME"))]:
        if name not in KEPT:
            del os.environ[name]
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Session.reports = Path(tempfile.mkdtemp(prefix="tapnet-reports-"))
    Session.reports.chmod(0o1777)  # a lab of another user reports, too
    for options in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        os.environ[options] = f"log_path={Session.reports}/report:print_stacktrace=1"
    if os.geteuid() != 0:
        os.environ["XDG_RUNTIME_DIR"] = str(Session.reports)
        return
    if not worker:
        Session.namespaces = [os.open(f"/proc/self/ns/{n}", os.O_RDONLY) for n in ("net", "mnt")]
        Session.before = real_host()
    if not leads_workers:
        own_host()


def pytest_ignore_collect(collection_path, config):
    """tests/vm has a machine of its own: it is collected only when it is named."""
    named = any((TOP / arg).is_relative_to(TOP / "tests/vm") for arg in config.args)
    return True if collection_path == TOP / "tests/vm" and not named else None


def kernel_lacks():
    """What the tests of tests/vm need and this kernel has not."""
    probes = {
        "VLAN filtering": "ip link add probe type bridge vlan_filtering 1",
        "VLAN interfaces": "ip link add probe type dummy && ip link add link probe type vlan id 2",
        "vrf": "ip link add probe type vrf table 9",
        "netem": "ip link add probe type ifb && tc qdisc add dev probe root netem delay 1ms",
        "vhost-net": "true <> /dev/vhost-net",
    }
    for name, probe in probes.items():
        if subprocess.run(["sh", "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode:
            yield name
        subprocess.run(["ip", "link", "del", "probe"], stderr=subprocess.DEVNULL, check=False)


def pytest_collection_finish(session):
    if any((TOP / "tests/vm") in item.path.parents for item in session.items):
        lacks = list(kernel_lacks())
        if lacks:
            pytest.exit(f"the tests of tests/vm need another kernel, and root: no {', '.join(lacks)} "
                        "here; `./dev test tests/vm` boots one", returncode=1)


def pytest_unconfigure():
    shutil.rmtree(Session.reports, ignore_errors=True)


def pytest_sessionfinish(session):
    if Session.before is None:
        return
    left = real_host() ^ Session.before
    if left:
        print("\nthe real host is not as it was: " + ", ".join(sorted(left)))
        session.exitstatus = 1


# --- what a test could leave behind ---------------------------------------------------------------

SYSCTLS = """
    net/ipv4/ip_forward net/ipv4/conf/all/forwarding net/ipv4/conf/default/forwarding
    net/ipv4/conf/all/rp_filter net/ipv4/conf/default/rp_filter net/ipv6/conf/all/forwarding
    net/ipv6/conf/all/disable_ipv6 net/ipv6/conf/default/disable_ipv6
    net/ipv6/conf/default/accept_ra net/ipv6/conf/default/addr_gen_mode
    net/bridge/bridge-nf-call-iptables fs/nr_open kernel/core_pattern
""".split()


def run_dir():
    return Path(os.environ.get("XDG_RUNTIME_DIR", "/run")) / "tapnet-lab"


def processes(root):
    """{pid: "name: command line"} of the living descendants of root."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
            argv = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        name, rest = stat.split("(", 1)[1].rsplit(")", 1)
        state, parent = rest.split()[:2]
        parents[int(entry)] = int(parent)
        names[int(entry)] = None if state in "ZX" else f"{name}: {argv.decode(errors='replace')}"
    found, todo = {}, [root]
    while todo:
        of = todo.pop()
        for pid in [p for p, parent in parents.items() if parent == of]:
            todo.append(pid)
            if names[pid]:
                found[pid] = names[pid]
    return found


def lines(*argv):
    if not shutil.which(argv[0]):
        return set()
    out = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    return set(filter(None, map(str.strip, out.splitlines())))


def links():
    for link in json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True,
                                          check=True).stdout):
        yield "link {} (index {}, mtu {}, master {}, {})".format(
            link["ifname"], link["ifindex"], link["mtu"], link.get("master"),
            "up" if "UP" in link["flags"] else "down")
        for name in link.get("altnames", []):
            yield f"altname {name} of {link['ifname']}"
        for address in link["addr_info"]:
            yield f"address {address['local']}/{address['prefixlen']} of {link['ifname']}"


def namespaces(pids):
    """The network namespaces, other than ours, that those processes hold."""
    ours = os.readlink("/proc/self/ns/net")
    for pid in pids:
        try:
            its = os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            continue
        if its != ours:
            yield f"namespace {its}"


def mounts():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        yield f"mount {fields[4]} of {fields[3]} ({fields[fields.index('-') + 1]})"


def cgroups():
    """Control groups of our labs; those of the whole machine are everybody's."""
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        yield from (f"cgroup {folder}/{n}" for n in names if TAG + "-" in n)


def take_snapshot():
    pids = processes(os.getpid())
    found = {f"process {pid} {name}" for pid, name in pids.items()}
    found.update(links(), namespaces(pids), mounts(), cgroups())
    for family in ("-4", "-6"):
        found |= {f"route {r}" for r in lines("ip", family, "route", "show", "table", "all")}
    found |= {f"qdisc {q}" for q in lines("tc", "qdisc")}
    found |= {f"nftables {n}" for n in lines("nft", "list", "tables")}
    for folder in ("/run/netns", run_dir()):
        if os.path.isdir(folder):  # NAME.failed: the logs of a lab that did not come up are kept
            found |= {f"file {folder}/{n}" for n in os.listdir(folder) if not n.endswith(".failed")}
    for name in SYSCTLS:
        path = Path("/proc/sys") / name
        if path.exists():
            found.add(f"sysctl {name} = {path.read_text().strip()}")
    for report in Session.reports.glob("report*"):
        found.add(f"sanitizer {report.name}: {report.read_text(errors='replace')[:4000]}")
    return found


def watch():
    """A generator: what is there at its start must be what is there at its end."""
    before = take_snapshot()
    yield
    until = time.monotonic() + GRACE
    while (after := take_snapshot()) != before and time.monotonic() < until:
        time.sleep(0.02)
    if after == before:
        return
    for line in after - before:
        if line.startswith("process "):  # the next test must not suffer from it
            os.kill(int(line.split()[1]), signal.SIGKILL)
    pytest.fail("\n".join(["the test did not leave the host as it was:"]
                          + [f"  left: {line}" for line in sorted(after - before)]
                          + [f"  gone: {line}" for line in sorted(before - after)]), pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def module_leaks():
    yield from watch()


@pytest.fixture(autouse=True)
def leaks():
    yield from watch()


@pytest.fixture
def snapshot():
    """snapshot(): the set of all that the leak check looks at."""
    return take_snapshot


# --- programs -------------------------------------------------------------------------------------

def program(variable, default):
    path = Path(os.environ.get(variable, TOP / default))
    if not path.is_file():
        pytest.fail(f"{path} is not built: ./dev build", pytrace=False)
    return path


@pytest.fixture(scope="session", name="bin")
def bin_():
    """The program that users run."""
    return program("TAPNET_LAB_BIN", "build/orchestrator/tapnet-lab")


@pytest.fixture(scope="session")
def fault_bin():
    """The one with sanitizers and TAPNET_FAULT."""
    return program("TAPNET_LAB_FAULT_BIN", "build/test/orchestrator/tapnet-lab")


def run_program(argv, status=0, timeout=60, input=None, **popen):
    argv = [str(a) for a in argv]
    popen.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
    with subprocess.Popen(argv, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **popen) as process:
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired as late:
            process.kill()
            said = [(s or b"").decode(errors="replace") for s in (late.stdout, late.stderr)]
            pytest.fail(f"{' '.join(argv)}: did not end, or left its output open, in {timeout} s\n"
                        f"{said[0]}{said[1]}", pytrace=False)
    if status is not None and process.returncode != status:
        pytest.fail(f"{' '.join(argv)}: exit {process.returncode}, not {status}\n{out}{err}")
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


@pytest.fixture(scope="session")
def run():
    """run(argv, status=0, timeout=60, input=None, …): a CompletedProcess with text; fails unless
    the exit status is the expected one (None: any) and comes in time."""
    return run_program


@pytest.fixture(scope="session")
def needs():
    """needs("qemu-system-x86_64", "/dev/kvm"): skips the test unless these are there."""
    def check(*things):
        missing = [t for t in things
                   if not (os.path.exists(t) if t.startswith("/") else shutil.which(t))]
        if missing:
            pytest.skip("needs " + ", ".join(missing))
    return check


@pytest.fixture(scope="session")
def guest_image(needs, tmp_path_factory):
    """The folder with the QEMU guest's kernel and initramfs."""
    needs("qemu-system-x86_64", "busybox", "cpio", "modprobe")
    folder = TOP / "build/guest"
    if not (folder / "vmlinuz").exists():
        folder = tmp_path_factory.mktemp("guest")
        made = run_program([TOP / "labs/guest/build-guest", folder], status=None, timeout=120)
        if "no kernel" in made.stderr or "is not static" in made.stderr:
            pytest.skip("needs the guest's kernel: ./dev guest")
        assert made.returncode == 0, made.stderr
    return folder


# --- labs -----------------------------------------------------------------------------------------

class Lab:
    """A lab file with a name of its own (the file's), and the verbs on it."""
    count = 0

    def __init__(self, binary, folder, text, hint):
        assert not re.search(r"^name:", text, re.M), "the lab is named after its file"
        Lab.count += 1
        hint = re.sub(r"[^a-z0-9]+", "-", hint.lower().removeprefix("test_"))
        self.name = f"{TAG}-{Lab.count}-{hint}"[:32].rstrip("-")
        self.bin = binary
        self.file = Path(folder) / f"{self.name}.yaml"
        self.file.write_text(text, encoding="utf-8")

    def verb(self, verb, *args, **how):
        """tapnet-lab VERB ARGS, in the file's folder, with this as its LAB; `how` is run()'s."""
        env = {**os.environ, "TAPNET_LAB": self.name, **how.pop("env", {})}
        return run_program([self.bin, verb, *args], env=env, cwd=self.file.parent, **how)

    def up(self, *args, **how):
        return self.verb("up", *args, self.file, **how)

    def down(self, *args, **how):
        return self.verb("down", *args, self.name, **how)

    def exec(self, node, *command, **how):
        return self.verb("exec", node, "--", *command, **how)

    def is_there(self):
        return (run_dir() / self.name).exists()

    def end(self):
        """Down, whatever the test did; else gc. A lab that needed gc fails its test."""
        shutil.rmtree(run_dir() / f"{self.name}.failed", ignore_errors=True)
        if not self.is_there():
            return
        try:
            down = self.down(status=None)
            said = f"exit {down.returncode}\n{down.stdout}{down.stderr}"
        except pytest.fail.Exception as late:
            down, said = None, str(late)
        if self.is_there():
            self.verb("gc", status=None)
        if self.is_there():
            pytest.fail(f"{self.name} is there after down and gc; down: {said}", pytrace=False)
        if not down or down.returncode:
            pytest.fail(f"{self.name} did not come down, gc ended it; down: {said}", pytrace=False)


def labs(binary, folder, hint):
    """A generator that gives a maker of labs and ends all that it made, the last one first."""
    made = []

    def make(text, binary=binary):
        made.append(Lab(binary, folder, text, hint))
        return made[-1]
    yield make
    wrong = []
    for lab_ in reversed(made):
        try:
            lab_.end()
        except (pytest.fail.Exception, OSError) as error:
            wrong.append(str(error))
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def lab(leaks, bin, tmp_path, request):
    """lab(text): a Lab of the test's own, not yet up; lab(text, fault_bin): by another program."""
    yield from labs(bin, tmp_path, request.node.name)


@pytest.fixture(scope="module")
def module_lab(module_leaks, bin, tmp_path_factory, request):
    """The same for all tests of a module together."""
    name = Path(request.node.name).stem
    yield from labs(bin, tmp_path_factory.mktemp(name), name)
