# test_kill.py - SIGKILL of the worker, of the guardian, and of both: at the steps of `up`, at rest,
# inside an up hook, and between opening a TAP and naming it. Nothing is left (of both: after gc),
# and each up hook has its down hook: with its TAP where one of the two lives, else in an empty
# namespace with TAPNET_GONE=1.
#
# We are the subreaper of a lab whose guardian and worker are dead, so we reap, as a host's init
# does.
import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

import faultlab
from faultlab import HOOKS, HOOKS_OF_HOST, HOOKS_OF_TAPS, LAB, LONG, one

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, fault_bin, hostbr):
    """The lab with every kind, not yet up, and its plan's steps."""
    made = lab(LAB, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    return made, faultlab.steps(made)


def check_hooks(made, both):
    """Pairs; what each down hook had. Gives what is wrong."""
    log = faultlab.hook_lines(made)
    wrong = faultlab.unpaired(log)
    # The next hook may have been started, and killed before its first word: it has its down hook.
    ups = [w for e, w, _ in log if e == "up"]
    begun = [w for w in HOOKS if w not in ups][:1]
    wrong = [line for line in wrong if line not in [f"down hook of {w} without its up hook"
                                                    for w in begun]]
    ours = os.readlink("/proc/self/ns/net")
    for event, whose, had in log:
        if event == "up":
            continue
        in_lab = whose not in HOOKS_OF_HOST
        if both and in_lab:
            if had["gone"] != "1" or had["net"] == ours or had["links"] != "lo":
                wrong.append(f"down hook of {whose}, its namespace gone: {had}")
        elif in_lab == (had["net"] == ours):
            wrong.append(f"down hook of {whose} in the wrong namespace: {had}")
        if not both and whose in HOOKS_OF_TAPS and had["fd"] != "/dev/net/tun":
            wrong.append(f"down hook of {whose} without its TAP: {had}")
        if not both and had["gone"]:
            wrong.append(f"down hook of {whose}: gone, it says: {had}")
    return wrong


def gc(made):
    """`gc` alone: exit 0, and the lab is not there."""
    made.verb("gc", timeout=20)
    return [] if not made.is_there() else ["still there after gc"]


def kill_at(made, steps, who, at, after, before, snapshot):
    """`up` that loses one of its two, or both, at a step. Gives what is wrong, a line each."""
    faultlab.forget_hooks(made)
    fault = f"kill-{who}@{at + 1}{'+' if after else ''}"
    log = made.file.parent / "up.log"
    with open(log, "w", encoding="utf-8") as out:
        up = subprocess.Popen([made.bin, "up", made.file], stdout=out, stderr=out,
                              stdin=subprocess.DEVNULL, cwd=made.file.parent,
                              env={**os.environ, "TAPNET_FAULT": fault})
        try:
            status = up.wait(30)
        except subprocess.TimeoutExpired:
            up.kill()
            status = "none in 30 s"
    said = log.read_text()
    wrong = [] if status == 5 else [f"exit {status}: {said}"]
    if status == 0 and who == "guardian":  # killed in the last moment: it is up, and comes down
        faultlab.wait("it comes down by itself", lambda: not made.is_there())
        wrong = []
    if who == "both" and "killed" not in said:
        wrong.append(f"does not say that they were killed: {said}")
    faultlab.reap()
    wrong += check_hooks(made, who == "both")
    if made.is_there():
        wrong.append("its run directory is there")
        wrong += gc(made)
    wrong += [f"left or gone: {line}" for line in faultlab.settle(before, snapshot)]
    return [f"{fault} ({steps[at]['op']} {steps[at]['what']}): {line}" for line in wrong]


def sample(steps):
    """One position of each operation, in the host and elsewhere, and the last one; or all."""
    seen, found = set(), []
    for at, step in enumerate(steps):
        key = (step["op"], step["where"] == "host")
        if LONG or key not in seen or at == len(steps) - 1:
            found.append(at)
        seen.add(key)
    return found


@pytest.mark.parametrize("after", (False, True), ids=("before", "after"))
@pytest.mark.parametrize("who", ("worker", "guardian", "both"))
def test_killed_while_it_goes_up(full, snapshot, who, after):
    made, steps = full
    before = snapshot()
    wrong = []
    for at in sample(steps):
        wrong += kill_at(made, steps, who, at, after, before, snapshot)
    assert not wrong, "\n".join(wrong)


def kill_who(who):
    """Kills them; of both the worker is stopped first, so that it has no time to mend anything."""
    pids = {"guardian": ["tapnet-guard"], "worker": ["tapnet-work"],
            "both": ["tapnet-guard", "tapnet-work"]}[who]
    victims = [one(comm) for comm in pids]
    if who == "both":
        os.kill(victims[1], signal.SIGSTOP)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return victims


@pytest.mark.parametrize("who", ("worker", "guardian", "both"))
def test_killed_at_rest(full, snapshot, who):
    made, _ = full
    before = snapshot()
    made.up()
    victims = kill_who(who)
    if who == "both":
        faultlab.wait("both dead", lambda: all(map(faultlab.gone, victims)))
        assert not gc(made)
    else:
        faultlab.wait("the other tears it down", lambda: not made.is_there())
    assert not faultlab.settle(before, snapshot)
    assert not check_hooks(made, who == "both")
    assert [w for e, w, _ in faultlab.hook_lines(made) if e == "down"] == list(reversed(HOOKS))


SLEEPS = faultlab.HOOK + """
if [ "$TAPNET_EVENT $TAPNET_NODE:$TAPNET_INTERFACE" = "up WHO" ]; then
    echo $$ > inside
    sleep 1000
fi
"""


@pytest.mark.parametrize("hook", ("r1:eth2", "g2:eth0", ":"), ids=("node", "host", "lab"))
@pytest.mark.parametrize("who", ("worker", "guardian", "both"))
def test_killed_inside_an_up_hook(full, snapshot, who, hook):
    made, _ = full
    before = snapshot()
    faultlab.script(made.file.parent / "hook", SLEEPS.replace("WHO", hook))
    inside = made.file.parent / "inside"
    with subprocess.Popen([made.bin, "up", made.file], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          cwd=made.file.parent) as up:
        faultlab.wait("the hook runs", lambda: inside.exists() and inside.read_text(), reap=False)
        its = int(inside.read_text())
        kill_who(who)
        faultlab.wait("up ends", lambda: up.poll() is not None, 30, reap=False)
        said = up.stderr.read()
    assert up.returncode == 5, said
    assert not made.is_there(), said
    assert not check_hooks(made, who == "both")
    whose = "lab" if hook == ":" else hook
    assert [e for e, w, _ in faultlab.hook_lines(made) if w == whose] == ["up", "down"]
    assert faultlab.gone(its)
    assert not faultlab.settle(before, snapshot)


DOWN_SLEEPS = faultlab.HOOK + """
if [ "$TAPNET_EVENT $TAPNET_NODE:$TAPNET_INTERFACE" = "down r1:eth2" ] && ! [ -e inside ]; then
    echo $$ > inside
    sleep 1000
fi
"""


@pytest.mark.parametrize("who", ("guardian", "worker"))
def test_killed_inside_a_down_hook(full, snapshot, who):
    """The one that tears down is killed as it waits for a down hook: `down` goes on where it was.
    That hook was begun and is run again; the others run once."""
    made, _ = full
    before = snapshot()
    faultlab.script(made.file.parent / "hook", DOWN_SLEEPS)
    inside = made.file.parent / "inside"
    made.up()
    if who == "worker":  # then the worker tears down
        faultlab.kill(one("tapnet-guard"))
    with subprocess.Popen([made.bin, "down", made.name], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True) as down:
        faultlab.wait("the hook runs", lambda: inside.exists() and inside.read_text(), reap=False)
        its = int(inside.read_text())
        os.kill(one("tapnet-guard" if who == "guardian" else "tapnet-work"), signal.SIGKILL)
        faultlab.wait("down ends", lambda: down.poll() is not None, 30, reap=False)
        said = down.stdout.read()
    assert down.returncode == 0, said
    assert faultlab.gone(its)
    log = [w for e, w, _ in faultlab.hook_lines(made) if e == "down"]
    assert log.count("r1:eth2") == 2
    log.remove("r1:eth2")
    assert log == list(reversed(HOOKS))
    assert not faultlab.settle(before, snapshot)


# --- between opening a TAP and naming it ----------------------------------------------------------

TAPS = """\
bridges: {lan: 10.1.0.0/24}
nodes:
  r1: {}
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: {bridge: lan, tap: {queues: 2}}}}
links: [[r1, g1]]
hooks: {up: ./hook, down: ./hook}
"""


def strace(made, nth, env):
    """`up` whose worker is killed as it enters its nth ioctl on /dev/net/tun: opened, not yet
    named; named, not yet given its queues or its MAC; and so on."""
    argv = ["strace", "-f", "-qq", "-o", made.file.parent / "trace", "-P", "/dev/net/tun", "-e",
            "trace=ioctl", "-e", f"inject=ioctl:signal=KILL:when={nth}", made.bin, "up", made.file]
    if not env:  # without a kill it comes down by itself, and strace ends; and so it does without
        argv += ["--ttl", "1ms"]  # a guardian, who must not die while the worker leaves it to him
    return subprocess.run([str(a) for a in argv], cwd=made.file.parent, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
                          env={**os.environ, **env})


@pytest.mark.parametrize("who", ("worker", "both"))
def test_killed_between_opening_a_tap_and_naming_it(lab, bin, fault_bin, needs, snapshot, who):
    needs("strace")
    made = lab(TAPS, bin if who == "worker" else fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    env = {}
    if who == "both":  # the guardian dies before the first TAP, the worker in the middle of one
        tap = next(s["step"] for s in faultlab.steps(made) if s["op"] == "tap")
        env = {"TAPNET_FAULT": f"kill-guardian@{tap}",
               "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=0"}
    for nth in range(1, 60, 1 if LONG or who == "worker" else 2):
        faultlab.forget_hooks(made)
        up = strace(made, nth, env)
        if up.returncode == 0:
            break
        assert up.returncode == 5, f"{nth}: {up.stderr}"
        faultlab.reap()
        assert not made.is_there(), f"{nth}: {up.stderr}"
        assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up", "down"], nth
        assert not faultlab.settle(before, snapshot), nth
    assert nth > 6, "no TAP was made"


# --- what gc must not touch -----------------------------------------------------------------------

def namespace_of_inode(inode, dead):
    """A process in a new network namespace with this inode, which is free: the kernel gives the
    lowest one; or None, when another was quicker."""
    others, found = [], None
    for _ in range(30):
        faultlab.reap_below(dead)
        other = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        comm = Path(f"/proc/{other.pid}/comm")
        faultlab.wait("it sleeps", lambda: comm.read_text() == "sleep\n", reap=False)
        if os.stat(f"/proc/{other.pid}/ns/net").st_ino == inode:
            found = other
            break
        others.append(other)
    for other in others:
        other.kill()
        other.wait()
    return found


def test_gc_knows_a_namespace_that_only_has_the_same_inode(full):
    """The kernel gives the inode of a dead namespace to the next one. What runs there is not ours."""
    made, _ = full
    for _ in range(20):
        made.up()
        inits = faultlab.pids("tapnet-init")
        inodes = set()
        for pid in inits:  # one of the last turn may be a zombie yet
            with contextlib.suppress(FileNotFoundError):
                inodes.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        inodes.discard(os.stat("/proc/self/ns/net").st_ino)
        victims = kill_who("both") + inits
        faultlab.wait("all dead", lambda: all(map(faultlab.gone, victims)))
        other = namespace_of_inode(inodes.pop(), victims)
        made.verb("gc")
        if other:
            lives = other.poll() is None
            other.kill()
            other.wait()
            assert lives, "gc killed another's process"
            return
    pytest.fail("no namespace got the inode")


def test_planted_leak_of_gc(full, snapshot):
    """A down hook that gc leaves out is seen."""
    made, steps = full
    made.up()
    victims = kill_who("both")
    faultlab.wait("both dead", lambda: all(map(faultlab.gone, victims)))
    at = next(i for i, s in enumerate(steps) if s["op"] == "hook" and s["of"] == "r1:eth2")
    made.verb("gc", env={"TAPNET_FAULT": f"leak@{at + 1}"})
    assert check_hooks(made, True) == ["up hook of r1:eth2 without its down hook"]
    left = faultlab.pids("tapnet-lab")
    assert len(left) == 1
    faultlab.kill(*left)
    faultlab.reap()
