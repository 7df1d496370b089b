# test_t05_killed.py - T5: a down hook runs if and only if its up hook succeeded, also when the worker, the
# guardian, or both are killed (SIGKILL): at the steps of `up`, at rest, inside an up hook, inside a down
# hook. Where one of the two lives the hook has its TAP, whose fd is still open; after both it is gc's,
# in an empty namespace with TAPNET_GONE=1. Nothing is left in either case.
#
# We are the subreaper of a lab whose guardian and worker are dead, so we reap, as a host's init
# does.
import os
import signal
import subprocess
from pathlib import Path

import pytest

import faultlab
from faultlab import HOOKS, LONG, check_hooks, gc, kill_who, one

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, fault_bin, hostbr):
    """The lab with every kind, not yet up, and its plan's steps."""
    return faultlab.full(lab, fault_bin)


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
def test_t05_killed_while_it_goes_up(full, snapshot, who, after):
    made, steps = full
    before = snapshot()
    wrong = []
    for at in sample(steps):
        wrong += kill_at(made, steps, who, at, after, before, snapshot)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("who", ("worker", "guardian", "both"))
def test_t05_killed_at_rest(full, snapshot, who):
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
def test_t05_killed_inside_an_up_hook(full, snapshot, who, hook):
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
def test_t05_killed_inside_a_down_hook(full, snapshot, who):
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
