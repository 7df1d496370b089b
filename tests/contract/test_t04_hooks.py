# test_t04_hooks.py - T4: a hook is given 0, 1, 2 and the TAP's fds and nothing else, the device's name as
# its first argument, signals as they are for a new program, and a time; how it failed is told in words:
# "exited with 3", "killed by SIGTERM", "could not start: No such file or directory".
import json
import os
import re
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

import faultlab
from conftest import run_program

# Tells in seen.json what it was given. The shell looks at the signals: python changes them.
HOOK = "#!/bin/sh\n" + """\
SIGNALS=$(sed -n "/^Sig[BIC]/p" /proc/self/status | tr -s "\\n\\t" " ") exec PYTHON -I ./probe.py "$@"
""".replace("PYTHON", sys.executable)
PROBE = """\
import fcntl, json, os, socket, struct, sys
fds, devices = {}, []
for name in os.listdir("/proc/self/fd"):
    try:
        fds[int(name)] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        pass  # the listing's own
for fd in sorted(fds):
    if fds[fd] == "/dev/net/tun":  # TUNGETIFF
        devices.append(fcntl.ioctl(fd, 0x800454d2, bytes(40))[:16].rstrip(b"\\0").decode())
env = dict(e.split("=", 1) for e in open("/proc/self/environ").read().split("\\0") if e)
status = env.pop("SIGNALS").split()
with open("seen.json", "a") as out:
    json.dump({"argv": sys.argv[1:], "fds": fds, "devices": devices, "env": env,
               "net": os.readlink("/proc/self/ns/net"), "uts": socket.gethostname(),
               "links": [name for _, name in socket.if_nameindex()],
               "signals": dict(zip(status[::2], status[1::2]))}, out)
    print(file=out)
"""
LAB = """\
hooks: {up: ./hook, down: ./hook}
bridges: {lan: {subnet: none}}
nodes:
  r1:
    interfaces:
      eth0: {hooks: {up: ./hook, down: {command: [./hook, more], fds: all}}}
      eth1: {hooks: {up: {command: ./hook, fds: all, env: {MORE: less}}, down: ./hook}}
    hooks: {up: ./hook, down: ./hook}
  r2: {interfaces: {eth0: {ipv4: 10.2.0.2/24}}}
  g1:
    kind: guest
    command: exec sleep 1000
    interfaces:
      eth0:
        bridge: lan
        tap: {queues: 4}
        hooks: {up: {command: ./hook, fds: all}, down: './hook "$1" shell'}
      eth1:
        tap: {queues: 3}
        hooks: {up: {command: ./hook, fds: none}, down: {command: [./hook], fds: all}}
    hooks: {up: ./hook, down: ./hook}
links:
  - {endpoints: [r1:eth0, g1:eth1], subnet: 10.8.0.0/30}
  - {endpoints: [r1:eth1, r2:eth0], ipv4: [10.2.0.1/24, ~]}
"""
# In the order of the way up: whose, argv and TAPs up, argv and TAPs down. N: the port's name.
SEEN = [("lab", [], 0, [], 0),
        ("r1:eth0", ["eth0"], 1, ["eth0", "more"], 3),
        ("r1:eth1", ["eth1"], 0, ["eth1"], 0),
        ("g1:eth0", ["N"], 4, ["N", "shell"], 1),
        ("g1:eth1", ["eth0"], 0, ["eth0"], 3),
        ("r1", [], 0, [], 0),
        ("g1", [], 0, [], 0)]
KEPT = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TERM", "PWD", "TMPDIR"}


def prepare(made):
    faultlab.script(made.file.parent / "hook", HOOK)
    (made.file.parent / "probe.py").write_text(PROBE)
    return made


def seen(made):
    lines = (made.file.parent / "seen.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def whose(had):
    env = had["env"]
    name = env.get("TAPNET_NODE", "lab")
    return name + (":" + env["TAPNET_INTERFACE"] if "TAPNET_INTERFACE" in env else "")


def hostile():
    """A caller whose signals are not those of a new program."""
    for which in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTTOU):
        signal.signal(which, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD,
                                              signal.SIGALRM, signal.SIGPIPE})


@pytest.fixture(scope="module")
def told(module_lab):
    """(what each hook saw, in order; the nodes' namespaces; name of g1:eth0's port; the lab)."""
    made = prepare(module_lab(LAB))
    how = {"restore_signals": False, "preexec_fn": hostile}
    made.up(env={"FOO": "bar", "LD_PRELOAD_FOO": "x", "TAPNET_NODE": "wrong"}, **how)
    net = made.exec("r1", "readlink", "/proc/self/ns/net").stdout.strip()
    plan = faultlab.steps(made)
    port = next(s["args"]["name"] for s in plan if s["op"] == "tap" and s["of"] == "g1:eth0")
    made.down(**how)
    return seen(made), net, port, made


def events():
    up = [("up", who, argv, taps) for who, argv, taps, _, _ in SEEN]
    return up + [("down", who, argv, taps) for who, _, _, argv, taps in reversed(SEEN)]


def test_t04_pairs_in_order(told):
    assert [(had["env"]["TAPNET_EVENT"], whose(had)) for had in told[0]] == \
        [(event, who) for event, who, _, _ in events()]


def test_t04_fds(told):
    """0, 1, 2 and the TAP's; nothing else."""
    for had, (event, who, _, taps) in zip(told[0], events(), strict=True):
        fds = {int(fd): to for fd, to in had["fds"].items()}
        about = f"{event} hook of {who}: {fds}"
        assert sorted(fds) == list(range(3 + taps)), about
        assert all(fds[fd] == "/dev/net/tun" for fd in range(3, 3 + taps)), about
        assert fds[0] == "/dev/null" and fds[1] == fds[2] and fds[1].endswith(".log"), about
        if ":" in who:
            assert had["env"]["TAPNET_FDS"] == ":".join(map(str, range(3, 3 + taps))), about
            assert had["devices"] == [had["env"]["TAPNET_IFNAME"]] * taps, about
        else:
            assert "TAPNET_FDS" not in had["env"] and "TAPNET_IFNAME" not in had["env"], about


def test_t04_argv(told):
    for had, (event, who, argv, _) in zip(told[0], events(), strict=True):
        assert had["argv"] == [told[2] if word == "N" else word for word in argv], (event, who)
        if argv:
            assert had["env"]["TAPNET_IFNAME"] == had["argv"][0], (event, who)


def test_t04_signals(told):
    for had in told[0]:
        assert had["signals"] == {f"Sig{k}:": "0" * 16 for k in ("Blk", "Ign", "Cgt")}, whose(had)


def test_t04_environment(told):
    for had, (event, who, _, _) in zip(told[0], events(), strict=True):
        env = had["env"]
        assert env["TAPNET_LAB"] == told[3].name
        assert env["PATH"] == os.environ["PATH"]
        ours = {"TAPNET_LAB", "TAPNET_EVENT"}
        if who != "lab":
            ours |= {"TAPNET_NODE"}
        if ":" in who:
            ours |= {"TAPNET_INTERFACE", "TAPNET_IFNAME", "TAPNET_FDS"}
        if (event, who) == ("up", "r1:eth1"):
            ours |= {"MORE"}
            assert env["MORE"] == "less"
        assert ours <= set(env) <= ours | KEPT, (event, who, set(env) - ours - KEPT)


def test_t04_namespace(told):
    """That of the device; a node's; the host's."""
    had_all, r1, port, _ = told
    host = os.readlink("/proc/self/ns/net")
    switch = next(had["net"] for had in had_all if whose(had) == "g1:eth0")
    assert len({r1, host, switch}) == 3
    where = {"lab": host, "g1": host, "g1:eth0": switch}
    for had in had_all:
        assert had["net"] == where.get(whose(had), r1), whose(had)
        if "TAPNET_IFNAME" in had["env"]:
            assert had["env"]["TAPNET_IFNAME"] in had["links"], whose(had)
        if had["net"] == r1:
            assert set(had["links"]) == {"lo", "eth0", "eth1"} and had["uts"] == "r1", whose(had)
        else:
            assert had["uts"] == socket.gethostname() or had["net"] == switch
        if had["net"] == switch:
            assert port in had["links"] and "lan" in had["links"]


# --- failures -------------------------------------------------------------------------------------

ONE = """\
nodes:
  r1:
    interfaces:
      eth0: {ipv4: 10.0.0.1/24, hooks: {up: HOOK}}
  r2: {interfaces: {eth0: {ipv4: 10.0.0.2/24}}}
links: [[r1:eth0, r2:eth0]]
"""


def fails(made, hook, words):
    up = made.up(status=5)
    column = ONE.splitlines()[3].index("HOOK") + 1
    at = re.search(f"{made.name}: r1:eth0: " + f'up hook "{re.escape(hook)}": {words}'
                   + rf"\n +{re.escape(str(made.file))}:4:(\d+)\n", up.stderr)
    assert at, up.stderr
    assert column <= int(at[1]) <= column + len("{command: "), up.stderr
    assert not made.is_there()
    return up.stderr


def refused(made, hook, words):
    """Before anything is made, since it is known by then."""
    said = made.up(status=2).stderr
    column = ONE.splitlines()[3].index("HOOK") + 1
    at = re.search(rf'^{re.escape(str(made.file))}:4:(\d+): error: up hook "{re.escape(hook)}": could not start: {words}', said)
    assert at and column <= int(at[1]) <= column + 1, said
    assert not made.is_there()


@pytest.mark.parametrize("hook, words", (
    ("exit 3", "exited with 3"),
    ("kill -TERM $$", "killed by SIGTERM"),
    ("kill -KILL $$", "killed by SIGKILL"),
    ("echo too bad >&2; exit 1", "exited with 1"),
))
def test_t04_status_in_words(lab, hook, words):
    said = fails(lab(ONE.replace("HOOK", f"'{hook}'")), hook, words)
    assert ("\n    too bad\n" in said) == ("too bad" in hook), said


def test_t04_no_such_script(lab):
    refused(lab(ONE.replace("HOOK", "./nothing")), "./nothing", "No such file or directory")
    fails(lab(ONE.replace("HOOK", "'./nothing; true && ./nothing'")), "./nothing; true && ./nothing", "exited with 127")


def test_t04_not_executable(lab):
    made = lab(ONE.replace("HOOK", "./hook"))
    faultlab.script(made.file.parent / "hook", HOOK).chmod(0o644)
    refused(made, "./hook", "Permission denied")


def test_t04_no_interpreter(lab):
    made = lab(ONE.replace("HOOK", "[./hook]"))
    faultlab.script(made.file.parent / "hook", "#!/nothing/like/this\n")
    refused(made, "./hook", ".*No such file or directory")


def test_t04_timeout_kills_the_group(lab):
    """The grandchild, too, of a hook that ignores SIGTERM."""
    hook = "trap '' TERM; sleep 1000 & echo $! > pid; sleep 1000"
    made = lab(ONE.replace("HOOK", f'{{command: "{hook}", timeout: 400ms}}'))
    began = time.monotonic()
    fails(made, hook, r"not done within 0\.4 s, killed")
    assert time.monotonic() - began < 5
    pid = int((made.file.parent / "pid").read_text())
    faultlab.wait("the grandchild gone", lambda: faultlab.gone(pid), 2)


# --- a caller with fds to lose --------------------------------------------------------------------

LEAK = """\
hooks: {up: 'LOOK'}
nodes:
  r1:
    interfaces: {eth0: {hooks: {up: 'LOOK', down: 'LOOK'}}}
    exec: LOOK
    services:
      s: {command: 'LOOK; exec sleep 1000'}
  g1:
    kind: guest
    command: 'LOOK; exec sleep 1000'
    interfaces: {eth0: {ipv4: none}}
links: [[r1:eth0, g1:eth0]]
"""
NUMBERS = (30, 64, 65, 66, 67, 200, 1000)


def test_t04_fds_of_the_caller_reach_nobody(lab):
    """Nor does the lab itself keep any: the pipe ends when the caller closes it."""
    made = lab(LEAK.replace("LOOK", "(ls -l /proc/self/fd; echo =) > look.$$; cat look.$$ >> fds"))
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)

    def leak():
        for number in NUMBERS:
            os.dup2(writing, number)
    try:
        made.up(close_fds=False, preexec_fn=leak)
        pipe = f"pipe:[{os.fstat(writing).st_ino}]"
        os.close(writing)
        writing = -1
        os.set_blocking(reading, False)
        looks = made.file.parent / "fds"
        faultlab.wait("everybody looked", lambda: looks.read_text().count("=\n") == 5)
        assert os.read(reading, 1) == b""  # EOF; BlockingIOError: somebody holds it
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    made.down(close_fds=False)
    looks = looks.read_text().split("=\n")[:-1]
    assert len(looks) == 6
    for look in looks:
        assert pipe not in look, look
        targets = re.findall(r" (\d+) -> (\S+)", look)
        taps = [fd for fd, to in targets if to == "/dev/net/tun"]
        assert taps in ([], ["3"]), look
        # 0, 1, 2, the TAP's and the listing's own
        assert [int(fd) for fd, _ in targets] == list(range(4 + len(taps))), look


def test_t04_fds_are_closed_in_one_go(lab, needs):
    """However many files may be open: no loop over them, which takes minutes where that is a billion."""
    needs("strace", "prlimit")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    made = lab(ONE.replace("HOOK", '"true"'))
    trace = made.file.parent / "trace"
    run_program(["prlimit", f"--nofile={most}:{most}", "strace", "-f", "-qq", "-o", trace, "-e",
                 "trace=close,close_range,fcntl", made.bin, "up", "--ttl", "1ms", made.file],
                cwd=made.file.parent)
    faultlab.wait("it is down", lambda: not made.is_there(), reap=False)
    calls = trace.read_text().splitlines()
    assert any("close_range(" in call for call in calls)
    assert len(calls) < most / 8 and most > 4000, len(calls)
