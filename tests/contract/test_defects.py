# test_defects.py - defects of the TAP backend that this tool grew from, each of which it must not have.
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import contractlab as c
import faultlab
import helperlab
import test_t09_vhost
from conftest import run_dir
from helperlab import devices, fake, one, taps_of

br0 = pytest.fixture(helperlab.bridge)
no_vhost = pytest.fixture(test_t09_vhost.without_vhost)
hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def guest(bin, needs):
    needs("/dev/net/tun", str(bin.parent / "guest/tapnet-guest"))


# --- 1: a helper that exits with 0 and sends nothing: fd 0 was taken for the TAP ----------------------

def test_defect_1_helper_that_sends_nothing(lab, guest):
    """Though fd 0 is a TAP here, and every fd that a program of ours could mistake for one."""
    made = lab("nodes: {}\n")
    fake(made, "nothing")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    try:
        helperlab.name_tap(tap, "tbstdin")
        up = made.up(status=5, stdin=tap)
        assert "exited with 0, but sent no fd" in up.stderr
        assert devices() == ["tbstdin"]
        assert not made.is_there()
    finally:
        os.close(tap)


# --- 2: hooks inherited blocked signals and an ignored SIGPIPE ----------------------------------------

def hostile():
    """A caller whose signals are not those of a new program."""
    for which in (signal.SIGPIPE, signal.SIGHUP, signal.SIGTTOU):
        signal.signal(which, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE})


def test_defect_2_signals_of_the_caller_reach_no_program(lab):
    """Neither hooks, up and down, nor commands, services and guests."""
    made = lab("""\
hooks: {up: ./look, down: ./look}
nodes:
  r1:
    interfaces: {eth0: {hooks: {up: ./look, down: ./look}}}
    exec: ./look
    services: {s: ./look; exec sleep 1000}
  g1: {kind: guest, command: ./look; exec sleep 1000, interfaces: {eth0: }}
links: [[r1:eth0, g1:eth0]]
""")
    faultlab.script(made.file.parent / "look", '#!/bin/sh\nexec grep "^Sig[BI]" /proc/self/status >> signals\n')
    how = {"restore_signals": False, "preexec_fn": hostile}
    made.up("-q", **how)
    c.wait("all looked", lambda: (made.file.parent / "signals").read_text().count("SigIgn") == 5)
    made.down(**how)
    assert (made.file.parent / "signals").read_text() == \
        f"SigBlk:\t{0:016x}\nSigIgn:\t{0:016x}\n" * 7


# --- 3: an up script that hangs hung the emulator; one that is missing read like one that said 1 -------

def one_hook(hook):
    return f"""\
nodes:
  r1: {{interfaces: {{eth0: {{hooks: {{up: {hook}}}}}}}}}
  g1: {{kind: guest, command: exec sleep 1000, interfaces: {{eth0: }}}}
links: [[r1:eth0, g1:eth0]]
"""


def test_defect_3_an_up_hook_that_hangs(lab):
    made = lab(one_hook("{command: [./hook], timeout: 300ms}"))
    faultlab.script(made.file.parent / "hook", "#!/bin/sh\nwhile :; do sleep 1000; done\n")
    began = time.monotonic()
    said = made.up(status=5).stderr
    assert time.monotonic() - began < 8 and "not done within 0.3 s, killed" in said, said
    assert not made.is_there()


def test_defect_3_how_a_hook_failed_is_told_apart(lab):
    """Four failures that read the same there."""
    said = []
    for hook, text, mode in (("[./none]", None, 0), ("[./hook]", "#!/bin/sh\nexit 1\n", 0o755),
                             ("[./hook]", "#!/bin/sh\nexit 1\n", 0o644),
                             ("[./hook]", "#!/none/such\n", 0o755)):
        made = lab(one_hook(hook))
        (made.file.parent / "hook").unlink(missing_ok=True)
        if text:
            (made.file.parent / "hook").write_text(text)
            (made.file.parent / "hook").chmod(mode)
        said.append(made.up(status=5 if mode == 0o755 and "none" not in text else 2).stderr)
    for words, one_ in zip(("No such file or directory", "exited with 1", "Permission denied",
                            "No such file or directory"), said):
        assert words in one_.splitlines()[0], one_
    assert "could not start" in said[0] and "could not start" not in said[1]


# --- 4: the down script did not run on SIGKILL, nor for the sources fd, fds and helper ------------------

@pytest.mark.parametrize("who", ("worker", "both", "down"))
@pytest.mark.parametrize("source", ("create", "fds", "helper"))
def test_defect_4_the_down_hook_runs(lab, br0, guest, snapshot, source, who):
    """Of a device that we made, were handed, or got from a helper; whoever is killed."""
    made = lab("nodes: {}\n")
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    hooks = "hooks: {up: ./hook, down: ./hook}"
    taps = []
    if source == "helper":
        fake(made, "good")
        text = made.file.read_text().replace("interfaces: {eth0: {", f"interfaces: {{eth0: {{{hooks}, ")
    else:
        if source == "fds":
            taps = c.open_tap("tbcaller")
        tap = f", tap: {{adopt-hooks: true, fds: {taps}}}" if taps else ", bridge: lan"
        text = f"""\
bridges: {{lan: {{subnet: none}}}}
nodes: {{g: {{kind: guest, command: exec sleep 1000, interfaces: {{eth0: {{{hooks}{tap}}}}}}}}}
"""
    made.file.write_text(text)
    before = snapshot()
    try:
        made.up("-q", pass_fds=taps)
        if who == "down":
            made.down()
        else:
            faultlab.kill_who(who)
            if who == "both":
                faultlab.wait("both dead", lambda: not faultlab.pids("tapnet-work") and
                              not faultlab.pids("tapnet-guard"))
                made.verb("gc")
            faultlab.wait("it is down", lambda: not made.is_there())
        assert not faultlab.settle(before, snapshot)
        lines = faultlab.hook_lines(made)
        assert [(event, whose) for event, whose, _ in lines] == [("up", "g:eth0"), ("down", "g:eth0")]
        for _, _, had in lines[:1 if who == "both" else 2]:
            assert had["fd"] == "/dev/net/tun", lines
    finally:
        for fd in taps:
            os.close(fd)


# --- 5: vhost=on without the device ended the emulator, where it could have gone on without -------------

def test_defect_5_an_emulator_starts_where_vhost_net_is_not_there(lab, needs, no_vhost):
    """vhost: auto, which is what a file that says nothing of it means."""
    needs("qemu-system-x86_64", "/dev/net/tun")
    made = lab(test_t09_vhost.LAB.replace("vhost: HOW", "vnet-hdr: on"))
    made.up("-q")
    made.exec("r1", "sh", "-c", test_t09_vhost.PING, timeout=60)


# --- 6: what failed after the up script left it without its down; a failure at queue k left those before
# it; an fd was closed twice on such a way ---------------------------------------------------------------

def test_defect_6_a_failure_after_the_up_hook(lab):
    """Its down hook runs."""
    made = lab("""\
bridges: {lan: {subnet: none}}
nodes:
  g:
    kind: guest
    command: [./none]
    interfaces: {eth0: {bridge: lan, tap: {queues: 3}, hooks: {up: ./hook, down: ./hook}}}
""")
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    made.up(status=5)
    lines = faultlab.hook_lines(made)
    assert [(event, whose) for event, whose, _ in lines] == [("up", "g:eth0"), ("down", "g:eth0")]
    assert lines[1][2]["fd"] == "/dev/net/tun"


def closes(made, status, inject=()):
    """`up` under strace: its trace, in which no close found nothing to close."""
    trace = made.file.parent / "trace"
    argv = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=close,ioctl", *inject, made.bin, "up", "--ttl",
            "1ms", made.file]
    up = subprocess.run([str(a) for a in argv], cwd=made.file.parent, timeout=60, text=True,
                        capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert up.returncode == status, up.stderr
    faultlab.wait("it is down", lambda: not made.is_there(), reap=False)
    text = trace.read_text()
    assert "close(" in text and not re.findall(r"close\(\d+\) += -1 EBADF.*", text)
    return text


def test_defect_6_no_fd_is_closed_twice(lab, needs, snapshot):
    """When all goes well; when a queue or a setting is refused; when the guest cannot be started."""
    needs("strace")
    text = """\
bridges: {lan: {subnet: none}}
nodes: {g: {kind: guest, command: [COMMAND, "1000"], interfaces: {eth0: {bridge: lan, tap: {queues: 3, sndbuf: 100000}}}}}
"""
    made, before = lab(text.replace("COMMAND", "sleep")), snapshot()
    fine = closes(made, 0)
    worker = re.search(r"^(\d+) +ioctl\(.*TUNSETIFF", fine, re.M)[1]
    its = re.findall(rf"^{worker} +ioctl\(\d+, (\w+)", fine, re.M)
    queue = [n for n, what in enumerate(its, 1) if what == "TUNSETIFF"][1]
    for nth in (queue, its.index("TUNSETSNDBUF") + 1):
        assert "INJECTED" in closes(made, 5, ("-e", f"inject=ioctl:error=ENOSPC:when={nth}"))
    closes(lab(text.replace("COMMAND", "./none")), 5)
    assert not faultlab.settle(before, snapshot)


# --- 7: leaks: the helper had sent an fd and then exited with another status; the socketpair stayed open
# when a fork failed -----------------------------------------------------------------------------------

def sockets(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
                  if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"))


@pytest.mark.parametrize("what", ["fails-after", "hangs-after", "twice", "two"])
def test_defect_7_helper_that_sent_an_fd_and_failed(lab, guest, what):
    """A failed lab is left standing, and its worker and guardian hold no TAP: the device is gone."""
    made = lab("nodes: {}\n")
    fake(made, what, more=", timeout: 3s" if what == "hangs-after" else "")
    made.up("--keep", status=5)
    assert made.is_there() and not devices()
    for comm in ("tapnet-work", "tapnet-guard"):
        assert not taps_of(one(comm))
    made.down()


def test_defect_7_a_program_that_cannot_be_started(lab, guest, bin):
    """Neither end of its socket stays open: what a kept lab holds is what it holds without a helper."""
    held = []
    for command in ("[./none]", "[./fake, fails]"):
        made = lab(helperlab.lab_text(bin, command))
        (made.file.parent / "fake").write_text("#!/bin/sh\nexit 3\n")
        (made.file.parent / "fake").chmod(0o755)
        made.up("--keep", status=5)
        held.append(len(sockets(one("tapnet-work"))))
        made.down()
    plain = lab("nodes: {h: {exec: \"false\"}}\n")
    plain.up("--keep", status=5)
    assert held == [len(sockets(one("tapnet-work")))] * 2
    plain.down()


# --- 8: buffers of 1024 and 128 bytes cut the paths of scripts, and names, silently --------------------

def test_defect_8_long_paths(lab, guest, bin):
    """A helper and a hook whose paths have 3000 characters, and arguments of 50,000, are run as they are."""
    made = lab("nodes: {}\n")
    deep = "/".join(["d" * 200] * 15)
    os.makedirs(made.file.parent / deep)
    fake(made, "good")
    text, words = made.file.read_text(), "w" * 50000
    (made.file.parent / "fake").rename(made.file.parent / deep / "fake")
    (made.file.parent / deep / "hook").write_text('#!/bin/sh\necho "hook ${#0} ${#1}"\n')
    (made.file.parent / deep / "hook").chmod(0o755)
    text = text.replace('"./fake", "good"', f'./{deep}/fake, good, {words}')
    made.file.write_text(f"hooks: {{up: [./{deep}/hook, {words}]}}\n" + text)
    made.up()
    log = (run_dir() / made.name / "lab.log").read_text()
    assert f"hook {len(deep) + 7} 50000" in log
    assert f"fake good ['{words}', '--use-vnet', " in log
    made.down()


@pytest.mark.parametrize("name", ["b" * 16, "b" * 127, "b" * 2000])
def test_defect_8_long_names(bin, br0, name, tmp_path):
    """Our own helper refuses a name that it would have to cut, though what is left of it is a bridge."""
    ours, theirs = socket.socketpair()
    subprocess.run(["ip", "link", "add", name[:15], "type", "bridge"], check=True)
    try:
        with ours, theirs:
            done = subprocess.run([bin.parent / "helper/tapnet-bridge-helper", f"--fd={theirs.fileno()}",
                                   f"--br={name}"], pass_fds=[theirs.fileno()], capture_output=True, text=True,
                                  check=False)
        assert done.returncode == 2 and f"has {len(name)} characters; 15 at most" in done.stderr
        assert not devices()
    finally:
        subprocess.run(["ip", "link", "del", name[:15]], check=True)


@pytest.mark.parametrize("name", ("a234567890123456", "n" * 127, "n" * 900),
                         ids=("16", "127", "900"))
def test_defect_8_long_names_are_refused(lab, name):
    """A device's name has 15 characters at most: none is cut."""
    for text in (f"nodes:\n  r1:\n    interfaces:\n      {name}: {{ipv4: 10.0.0.1/24}}\n",
                 f"""\
bridges: {{lan: {{subnet: none}}}}
nodes:
  g1: {{kind: guest, command: prog, interfaces: {{eth0: {{bridge: lan, tap: {{name: {name}}}}}}}}}
"""):
        made = lab(text)
        said = made.verb("validate", made.file, status=2).stderr
        assert re.search(rf"{re.escape(str(made.file))}:\d+:\d+: error: .*15", said), said


def test_defect_8_long_names_that_are_no_device_s(lab):
    """A node's of 60 characters: whole in the names that are made of it."""
    node = "n" * 30 + "-" + "m" * 29
    made = lab(f"""\
bridges: {{lan: {{subnet: none}}}}
nodes: {{{node}: {{kind: guest, command: exec sleep 1000, interfaces: {{eth0: lan}}}}}}
""")
    made.up("-q")
    assert c.kernel_link(made, "switch", f"{node}:eth0")["altnames"] == [f"{node}:eth0"]
    assert [n["name"] for n in c.status(made)["nodes"]] == [node]


# --- 9: the kernel gives freed tap%d names to the next; a bridge took the lowest MAC of its ports --------

def test_defect_9_a_name_is_not_given_again(bin, br0, needs, tmp_path):
    needs("/dev/net/tun")
    rules, names = tmp_path / "bridge.conf", []
    rules.write_text("allow br0\n")
    rules.chmod(0o644)
    for _ in range(5):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run([bin.parent / "helper/tapnet-bridge-helper", f"--fd={theirs.fileno()}", "--br=br0",
                            f"--acl-file={rules}"], pass_fds=[theirs.fileno()], check=True)
            names += devices()
        helperlab.until("it went with the socket", lambda: not devices())
    assert len(set(names)) == 5 and all(re.fullmatch("tb[0-9a-f]{8}", n) for n in names)


def test_defect_9_names_are_chosen_by_us(lab, hostbr):
    """No device is named by the kernel, and a name that it would complete is refused."""
    made = lab("""\
bridges: {lan: {subnet: none}, office: {host: hostbr, subnet: none}}
nodes:
  g1: {kind: guest, command: exec sleep 1000, interfaces: {eth0: lan, eth1: office, eth2: }}
  r1: {interfaces: {eth0: }}
links: [[g1:eth2, r1:eth0]]
""")
    planned = {s["args"]["name"] for s in faultlab.steps(made) if s["op"] == "tap"}
    made.up("-q")
    there = {c.kernel_link(made, "switch", "g1:eth0")["ifname"], c.kernel_link(made, "r1", "eth0")["ifname"],
             *helperlab.devices()}
    assert there == planned and not any(re.match(r"(tap|tun|veth)\d", name) for name in there)
    made.down()
    percent = lab("""\
bridges: {lan: {subnet: none}}
nodes: {g1: {kind: guest, command: prog, interfaces: {eth0: {bridge: lan, tap: {name: "vm%d"}}}}}
""")
    assert "vm%d" in percent.verb("validate", percent.file, status=2).stderr


def test_defect_9_a_bridge_keeps_its_mac(lab):
    """Though a port with a lower one joins, and leaves; a bridge that nobody gave a MAC changes."""
    made = lab("""\
bridges: {lan: 10.7.0.0/24}
nodes: {r1: {interfaces: {eth0: lan}}}
""")
    made.up("-q")
    mac = c.kernel_link(made, "switch", "lan")["address"]
    c.in_space(made, "switch", "ip", "link", "add", "other", "type", "bridge")
    for bridge in ("lan", "other"):
        before = c.kernel_link(made, "switch", bridge)["address"]
        c.in_space(made, "switch", "ip", "link", "add", f"v-{bridge}", "address", "02:00:00:00:00:02",
                   "type", "veth", "peer", "name", f"w-{bridge}")
        c.in_space(made, "switch", "ip", "link", "set", f"v-{bridge}", "master", bridge)
        after = c.kernel_link(made, "switch", bridge)["address"]
        assert (after == before) == (bridge == "lan"), (bridge, before, after)
    c.in_space(made, "switch", "ip", "link", "set", "v-lan", "nomaster")
    assert c.kernel_link(made, "switch", "lan")["address"] == mac
    assert made.verb("status", "--check").stdout.endswith("no problems\n")
