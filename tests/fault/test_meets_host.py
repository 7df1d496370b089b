# test_meets_host.py - what the host itself does to a lab: no namespace left, few open files, its bridge
# removed, an interface that has the name of one of the lab's, clocks that jump, answers of the
# kernel's that are lost, and very many errors at once.
import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

import faultlab
from faultlab import kill_who

hostbr = pytest.fixture(faultlab.host_bridge)

NODES = "bridges: {lan: 10.1.0.0/24}\nnodes:\n  n${i}: {for: {i: 1-COUNT}, interfaces: {eth0: lan}}\n"


def nodes(n):
    return NODES.replace("COUNT", str(n))


# --- no namespace left ------------------------------------------------------------------------------

def in_userns(made, limit, *commands, timeout=40):
    """Commands in a user namespace whose limit of network namespaces is this one; the host's own
    is left alone."""
    text = f"echo {limit} > /proc/sys/user/max_net_namespaces && " + " && ".join(commands)
    return subprocess.run(["unshare", "-Urmn", "sh", "-c", text], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL, timeout=timeout, cwd=made.file.parent)


def test_no_namespace_is_left(lab, fault_bin, snapshot):
    made = lab(nodes(9), fault_bin)
    before = snapshot()
    began = time.monotonic()
    done = in_userns(made, 8, f"{made.bin} up {made.file}")
    assert done.returncode == 5, done
    assert "raise user.max_net_namespaces" in done.stderr, done.stderr
    assert 5 < time.monotonic() - began < 15  # waited for, but not for ever
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)


def test_namespaces_that_are_given_back_late(lab, fault_bin, snapshot):
    """Somebody else's, that ends a while later: they are waited for. The lab's own hook sees to it that
    they are there when the first is asked for, however slow the machine is."""
    made = lab("hooks: {up: '(sleep 1; touch go) > /dev/null 2>&1 &'}\n" + nodes(4), fault_bin)
    before = snapshot()
    hold = "unshare -n sh -c 'echo >> held; until [ -e go ]; do sleep 0.05; done'"
    done = in_userns(made, 8, f"(for i in 1 2 3 4 5; do {hold} & done; wait) & "
                     "until [ $(cat held 2> /dev/null | wc -l) = 5 ]; do sleep 0.05; done",
                     f"{made.bin} up -q {made.file}", f"{made.bin} down {made.name}", "wait")
    assert done.returncode == 0, done
    assert not faultlab.settle(before, snapshot)


def test_up_after_down_with_no_namespace_to_spare(lab, bin, snapshot):
    """`down` returns when the kernel has let go: the next `up` finds them all."""
    made = lab(nodes(6), bin)
    before = snapshot()
    done = in_userns(made, 8, *[f"{made.bin} up -q {made.file}", f"{made.bin} down {made.name}"] * 8)
    assert done.returncode == 0, done
    assert not faultlab.settle(before, snapshot)


def test_given_up_while_no_namespace_is_left(lab, fault_bin, snapshot):
    made = lab(nodes(9), fault_bin)
    before = snapshot()
    began = time.monotonic()
    done = in_userns(made, 8, f"timeout -s INT 1 {made.bin} up {made.file}")
    assert time.monotonic() - began < 6, done
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)


# --- few open files ---------------------------------------------------------------------------------

def limited(made, *verb, files=256, most=None):
    """A verb as root that may not raise its limits, with at most so many open files."""
    return subprocess.run(
        ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "prlimit",
         f"--nofile={files}:{most or files}", made.bin, *verb], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=60, cwd=made.file.parent)


def test_too_few_open_files(lab, needs, snapshot):
    needs("setpriv", "prlimit")
    made = lab(nodes(1000).replace("/24", "/16"))
    before = snapshot()
    up = limited(made, "up", made.file)
    assert up.returncode == 4, up.stderr
    assert "open files" in up.stderr and "ulimit -Hn" in up.stderr
    assert snapshot() == before
    made.file.write_text(nodes(3))
    assert limited(made, "up", "-q", made.file, files=512).returncode == 0
    made.down()


PROGRAMS = """\
hooks: {up: ./hook, down: ./hook}
nodes:
  n${i}: {for: {i: 1-60}, exec: "true", services: {s: sleep 1000}}
"""


@pytest.mark.parametrize("limit", ("soft", "hard"))
@pytest.mark.parametrize("files", (6, 10, 16, 32, 64))
@pytest.mark.parametrize("end", ("down", "gc"))
def test_few_open_files_on_the_way_down(lab, fault_bin, needs, snapshot, end, files, limit):
    """Of who calls it: the lab's own two have what they need; gc takes what it may have, and where
    that is too few says so, and the next one goes on."""
    needs("prlimit")
    made = lab(PROGRAMS, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up("-q")
    if end == "gc":
        victims = kill_who("both")
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)), reap=False)
        faultlab.wait("all of it", lambda: not faultlab.pids("tapnet-init"))
    done = limited(made, *(["down", made.name] if end == "down" else ["gc"]), files=files,
                   most=files if limit == "hard" else 4096)
    if done.returncode:
        assert limit == "hard" or files < 10, done
        assert re.search("Too many open files|Bad file descriptor|cannot be reached", done.stderr), done
        made.verb("gc")
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)
    assert not faultlab.unpaired(faultlab.hook_lines(made))


def test_programs_on_the_way_down_with_the_files_of_the_way_up(lab, bin, needs, snapshot):
    """What `up` asks for is enough for the end: each node with a cell, and no program left in it."""
    needs("prlimit")
    made = lab("nodes:\n  n${i}: {for: {i: 1-300}, exec: 'true'}\n", bin)
    before = snapshot()
    files = 1024
    while files > 64 and limited(made, "up", "-q", made.file, files=files).returncode == 0:
        began = time.monotonic()
        made.down()
        assert time.monotonic() - began < 10
        files -= 64
    assert files < 1000
    assert not faultlab.settle(before, snapshot)


def test_no_open_file_for_who_asks(lab, bin):
    """Without an fd for its client the worker waits, not spins; then it answers."""
    made = lab(nodes(1), bin)
    made.up()
    worker = faultlab.one("tapnet-work")
    soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, hard))
    with faultlab.start(made, "status", made.name) as asks:
        before, begin = cpu_ms(worker), time.monotonic()
        time.sleep(0.5)
        used, took = cpu_ms(worker) - before, time.monotonic() - begin
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
        assert asks.wait(10) == 0, asks.stdout.read()
    assert used < 100 * took, f"{used} ms of {took} s"


def cpu_ms(pid):
    """The processor time that it has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


# --- links and answers ------------------------------------------------------------------------------

def test_more_than_256_netlink_errors(lab, fault_bin, snapshot):
    """The first is told, with its place; nothing is left."""
    routes = ", ".join(f'"fd00:77::{i:x}/128 via fd00:1::1"' for i in range(400))
    made = lab(f"bridges: {{lan: 'fd00:1::/64'}}\nnodes:\n  r1:\n    interfaces: {{eth0: lan}}\n    routes: [{routes}]\n", fault_bin)
    before = snapshot()
    up = made.up(status=5)
    assert "fd00:77::/128" in up.stderr and "Gateway" in up.stderr and f"{made.file}:5:" in up.stderr, up.stderr
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)


PORTS = """\
hooks: {up: ./hook, down: ./hook}
bridges: {office: {host: hostbr, subnet: none}}
nodes:
  n${i}: {for: {i: 1-COUNT}, interfaces: {eth0: office}}
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: office}}
"""


def ours():
    """The host's links of ours."""
    return [p.name for p in Path("/sys/class/net").iterdir() if p.name not in ("lo", "hostbr")]


def test_300_ports_deleted_at_once(lab, fault_bin, hostbr, snapshot):
    """Behind the lab's back: an undo that finds nothing is fine, 300 times."""
    made = lab(PORTS.replace("COUNT", "300"), fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up("-q")
    batch = "\n".join(f"link del {name}" for name in ours())
    assert batch.count("\n") >= 300
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    made.down()
    assert not faultlab.settle(before, snapshot)


def spaces(pid):
    """Fds of ours for all network namespaces that a process holds."""
    links = [p for p in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(p).startswith("net:")]
    return [os.open(p, os.O_RDONLY) for p in links]


def test_killed_before_a_wires_end_is_a_port(lab, fault_bin, hostbr, snapshot):
    """The run directory is the last to go: nothing of the lab's is in the host by then, not even what
    the kernel would take away some time, with the namespaces. We hold these."""
    made = lab(PORTS[:PORTS.index("  g1")].replace("COUNT", "3"), fault_bin)
    go = made.file.parent / "go"
    faultlab.script(made.file.parent / "hook", f"#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.01; done\n")
    before = snapshot()
    port = next(s["step"] for s in faultlab.steps(made) if s["op"] == "hostport")
    with faultlab.start(made, "up", made.file, env={"TAPNET_FAULT": f"kill-worker@{port}"}) as up:
        faultlab.wait("its hook", lambda: faultlab.pids("hook", up.pid), reap=False)
        guardian, worker = (faultlab.pids(name, up.pid)[0] for name in ("tapnet-guard", "tapnet-work"))
        os.kill(guardian, signal.SIGSTOP)
        go.touch()
        try:
            faultlab.wait("its worker's end", lambda: faultlab.gone(worker), reap=False)
            held, there = spaces(guardian), ours()
        finally:
            os.kill(guardian, signal.SIGCONT)
        faultlab.wait("its end", lambda: not made.is_there(), reap=False)
        left = ours()
        for fd in held:
            os.close(fd)
        assert up.wait(20) == 5
    assert held and len(there) == 3 and not left
    faultlab.check_gone(made, before, snapshot)


@pytest.mark.parametrize("end", ("down", "worker", "both"))
def test_hosts_bridge_removed_meanwhile(lab, fault_bin, snapshot, end):
    maker = faultlab.host_bridge()
    next(maker)
    made = lab(PORTS.replace("COUNT", "3"), fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    made.up()
    subprocess.run(["ip", "link", "del", "hostbr"], check=True)
    try:
        said = made.verb("status", "--check", status=1).stdout
        assert "hostbr" in said, said
        if end == "down":
            made.down()
        else:
            victims = kill_who(end)
            faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)))
            if end == "both":
                assert not faultlab.gc(made)
            faultlab.wait("it is gone", lambda: not made.is_there())
        faultlab.reap()
        assert not ours() and not faultlab.unpaired(faultlab.hook_lines(made))
        said = made.up(status=4).stderr
        assert 'no bridge "hostbr"' in said and "ip link add hostbr type bridge" in said, said
    finally:
        subprocess.run(["ip", "link", "add", "hostbr", "type", "bridge"], check=True)
        maker.close()
        subprocess.run(["ip", "link", "del", "hostbr"], check=True)


@pytest.mark.parametrize("kind", ("veth", "tap", "bridge"))
def test_gc_leaves_an_interface_named_like_a_hooks(lab, fault_bin, hostbr, snapshot, kind):
    """Its own are gone with its processes; who has their names now is the host's."""
    made = lab(PORTS.replace("COUNT", "1").replace("eth0: office}}\n  g1", "eth0: {bridge: office, hooks: "
                                                   "{up: 'echo $TAPNET_IFNAME >> names', down: ./hook}}}}\n  g1"),
               fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up()
    names = set(ours()) | set((made.file.parent / "names").read_text().split())
    assert len(names) > 1
    victims = kill_who("both")
    faultlab.wait("killed, and all is gone", lambda: all(map(faultlab.gone, victims)) and not ours())
    for name in names:
        subprocess.run({"veth": ["ip", "link", "add", name, "type", "veth", "peer", f"x{name}"[:15]],
                        "tap": ["ip", "tuntap", "add", name, "mode", "tap"]}.get(
                            kind, ["ip", "link", "add", name, "type", kind]), check=True)
        subprocess.run(["ip", "link", "set", name, "master", "hostbr"], check=kind != "bridge",
                       stderr=subprocess.DEVNULL)
    there = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    made.verb("gc")
    assert subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout == there
    assert not made.is_there()
    for name in names:
        subprocess.run(["ip", "link", "del", name], check=True)
    assert not faultlab.settle(before, snapshot)


ANSWERS = """\
bridges: {lan: 10.1.0.0/24}
hooks: {up: ./hook, down: ./hook}
nodes:
  r${i}: {for: {i: 1-3}, interfaces: {eth0: lan}}
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: lan}}
"""


def test_netlink_enobufs(lab, bin, needs, snapshot):
    """Each answer of the kernel's in turn is lost: told, all undone; or not needed, and it is up.
    (What it means for a batch: tests/unit/test_sys_nl.c)"""
    needs("strace")
    made = lab(ANSWERS, bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    failed = 0
    for nth in range(1, 40):
        faultlab.forget_hooks(made)
        trace = made.file.parent / "trace"
        up = subprocess.run(["strace", "-f", "-qq", "-o", trace, "-e", "trace=recvmsg", "-e",
                             f"inject=recvmsg:error=ENOBUFS:when={nth}", made.bin, "up", "--ttl", "1ms",
                             "-q", made.file], cwd=made.file.parent, capture_output=True, text=True,
                            stdin=subprocess.DEVNULL, timeout=60, check=False)
        assert up.returncode in (0, 4, 5), f"{nth}: {up}"
        if up.returncode:
            failed += 1
            assert "lost" in up.stderr or "buffer space" in up.stderr, f"{nth}: {up}"
        faultlab.wait("it is gone", lambda: not made.is_there())
        assert not faultlab.settle(before, snapshot), nth
        assert not faultlab.unpaired(faultlab.hook_lines(made)), nth
        if "INJECTED" not in trace.read_text():
            break
    assert failed > 3


# --- clocks -----------------------------------------------------------------------------------------

CLOCK = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* Shifts clocks by what ./shift says at the time: seconds of CLOCK_REALTIME, of CLOCK_MONOTONIC. */
static void shifts(long *real, long *mono)
{
	FILE *f = fopen(SHIFT, "re");
	*real = *mono = 0;
	if (f && fscanf(f, "%ld %ld", real, mono) < 0) *real = *mono = 0;
	if (f) fclose(f);
}
int clock_gettime(clockid_t id, struct timespec *t)
{
	long real, mono, r = syscall(SYS_clock_gettime, id, t);
	shifts(&real, &mono);
	t->tv_sec += id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? real : mono;
	return (int)r;
}
time_t time(time_t *out)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (out) *out = t.tv_sec;
	return t.tv_sec;
}
"""


@pytest.fixture
def clock(tmp_path, needs):
    """(environment that shifts clocks, shift(real, mono))"""
    needs("cc")
    shift = tmp_path / "shift"
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", f'-DSHIFT="{shift}"', "-o", tmp_path / "clock.so",
                    tmp_path / "clock.c"], check=True)

    def to(real, mono=0):
        (tmp_path / "new").write_text(f"{real} {mono}\n")
        (tmp_path / "new").rename(shift)
    to(0)
    return {"LD_PRELOAD": str(tmp_path / "clock.so")}, to


TEN_YEARS = 315_000_000


@pytest.mark.parametrize("jump", (TEN_YEARS, -TEN_YEARS, -3600), ids=("on", "back", "an hour back"))
def test_clock_jumps(lab, bin, clock, snapshot, jump):
    """Nothing that waits looks at the time of day: at rest, within --ttl, on the way down."""
    env, shift = clock
    made = lab(ANSWERS, bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up(env=env)
    shift(jump)
    assert made.verb("status", "--check", env=env).stdout.endswith("no problems\n")
    for verb in (["status"], ["list"]):
        since = made.verb(*verb, env=env).stdout
        assert "-" not in since.split(made.name)[1].splitlines()[0].split("/")[0].replace(made.name, ""), since
    made.verb("restart", "g1", env=env)
    made.down(env=env)
    shift(0)
    made.up("--ttl", "1h", env=env)
    shift(jump)
    assert made.verb("status", "--check", env=env).stdout.endswith("no problems\n")
    made.down(env=env)
    shift(0)
    began = time.monotonic()
    made.up("--ttl", "2s", env=env)
    shift(jump)
    faultlab.wait("it comes down by itself", lambda: not made.is_there())
    assert 1.9 < time.monotonic() - began < 8
    assert not faultlab.settle(before, snapshot)


def test_suspend_to_ram(lab, bin, clock, snapshot):
    """All clocks jump on, in the middle of everything: what is late then is given up, all in order."""
    env, shift = clock
    made = lab(ANSWERS, bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up(env=env)
    shift(7200, 7200)
    assert made.verb("status", "--check", env=env).stdout.endswith("no problems\n")
    made.down(env=env)
    assert not faultlab.settle(before, snapshot)
    assert not faultlab.unpaired(faultlab.hook_lines(made))


def test_a_restart_is_no_problem_once_it_runs_stably(lab, bin, clock):
    """One on failure is told by `status --check` until then; one that was asked for is none."""
    env, shift = clock
    made = lab(ANSWERS.replace('"1000"], ', '"1000"], restart: on-failure, '), bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    made.up(env=env)
    made.verb("restart", "g1", env=env)
    assert made.verb("status", "--check", env=env).stdout.endswith("no problems\n")
    os.kill(faultlab.one("sleep"), 9)
    faultlab.wait("it runs again", lambda: faultlab.pids("sleep"), reap=False)
    faultlab.wait("and is told to", lambda: "running, restarted 1 time, killed by SIGKILL" in
                  made.verb("status", "--check", env=env, status=None).stdout, reap=False)
    made.verb("status", "--check", env=env, status=1)
    shift(0, 70)
    assert made.verb("status", "--check", env=env).stdout.endswith("no problems\n")


@pytest.mark.parametrize("end", ("down", "suspended", "gc"))
def test_from_another_time_namespace(lab, fault_bin, needs, snapshot, end):
    """There processes seem to have started at other times: they are known all the same."""
    probe = subprocess.run(["unshare", "-T", "--boottime", "100000", "true"], check=False)
    if probe.returncode:
        pytest.skip("needs time namespaces")
    made = lab(ANSWERS, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up()
    if end == "suspended":
        for comm in ("tapnet-work", "tapnet-guard"):
            os.kill(faultlab.one(comm), 19)
    if end == "gc":
        victims = kill_who("both")
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)))
    subprocess.run(["unshare", "-T", "--boottime", "100000", "--monotonic", "100000", made.bin,
                    *(["gc"] if end == "gc" else ["down", made.name])], check=True, timeout=30)
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)
    assert not faultlab.unpaired(faultlab.hook_lines(made))
