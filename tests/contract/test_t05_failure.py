# test_t05_failure.py - T5: a down hook runs if and only if its up hook succeeded, while the TAP's fd is
# still open. Here: whatever step of a plan fails, or is interrupted by a signal; then `up` exits with
# 5, the step's place is told, and everything is undone. (SIGKILL: test_t05_killed.py)
import os
import signal

import pytest

import faultlab
from faultlab import LONG

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, fault_bin, hostbr):
    """The lab with every kind, not yet up, and its plan's steps."""
    return faultlab.full(lab, fault_bin)


def ran(steps, upto):
    """The hooks among the first steps."""
    return [s["args"] and s["of"] for s in steps[:upto] if s["op"] == "hook"]


def fail(made, steps, at, after, before, snapshot):
    """`up` with a fault at step `at`, counted from 0. Gives what is wrong about it, a line each."""
    faultlab.forget_hooks(made)
    step = steps[at]
    fault = f"fail@{at + 1}{'+' if after else ''}"
    up = made.up(status=None, env={"TAPNET_FAULT": fault})
    said = up.stdout + up.stderr
    wrong = []
    if up.returncode != 5:
        wrong.append(f"exit {up.returncode}: {said}")
    if f"{made.name}: {step['of']}: planted fault" not in said:
        wrong.append(f"does not name {step['of']}: {said}")
    if "line" in step and f"{made.file}:{step['line']}:{step['column']}" not in said:
        wrong.append(f"does not name {step['line']}:{step['column']}: {said}")
    # A step is told to be undone when it is done: so with +, the hook of the step itself, too.
    due = ran(steps, at + after)
    due = ["lab" if of == made.name else of for of in due]
    log = faultlab.hook_lines(made)
    wrong += faultlab.unpaired(log)
    if sorted(w for e, w, _ in log if e == "down") != sorted(due):
        wrong.append(f"down hooks of {[w for e, w, _ in log if e == 'down']}, not of {due}")
    wrong += [f"down hook of {w} without its TAP" for e, w, had in log
              if w in faultlab.HOOKS_OF_TAPS and had["fd"] != "/dev/net/tun"]
    wrong += [f"left or gone: {line}" for line in faultlab.settle(before, snapshot)]
    return [f"{fault} ({step['op']} {step['what']}): {line}" for line in wrong]


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("after", (False, True), ids=("before", "after"))
def test_t05_fails_at_every_step(full, snapshot, after, part):
    made, steps = full
    before = snapshot()
    wrong = []
    assert len(steps) > 80
    for at in range(part, len(steps), 4):
        if after and not LONG and at % 3 and steps[at]["op"] not in ("hook", "hostport"):
            continue
        wrong += fail(made, steps, at, after, before, snapshot)
    assert not wrong, "\n".join(wrong)


def test_t05_nothing_fails(full):
    """The same lab without a fault: what each hook has, and the order of the way down."""
    made, _ = full
    made.up()
    made.down()
    log = faultlab.hook_lines(made)
    assert [w for e, w, _ in log if e == "up"] == list(faultlab.HOOKS)
    assert [w for e, w, _ in log if e == "down"] == list(reversed(faultlab.HOOKS))
    ours = faultlab.os.readlink("/proc/self/ns/net")
    for event, whose, had in log:
        assert (had["net"] == ours) == (whose in faultlab.HOOKS_OF_HOST), whose
        assert had["gone"] == ""
        assert (had["fd"] == "/dev/net/tun") == (whose in faultlab.HOOKS_OF_TAPS), whose


@pytest.mark.parametrize("hook", faultlab.HOOKS)
def test_t05_hook_that_fails(full, snapshot, hook):
    """An up hook's own failure: no down hook for it, one for each before it."""
    made, _ = full
    before = snapshot()
    faultlab.script(made.file.parent / "hook",
                    faultlab.HOOK + f'[ "$TAPNET_EVENT" = down ] || '
                    f'[ "${{TAPNET_NODE:-lab}}${{TAPNET_INTERFACE:+:$TAPNET_INTERFACE}}" != {hook} ]'
                    f' || exit 7\n')
    up = made.up(status=5)
    assert "exited with 7" in up.stderr and "./hook" in up.stderr
    assert f"{made.file}:" in up.stderr
    due = faultlab.HOOKS[:faultlab.HOOKS.index(hook)]
    log = faultlab.hook_lines(made)
    assert [w for e, w, _ in log if e == "up"] == [*due, hook]
    assert [w for e, w, _ in log if e == "down"] == list(reversed(due))
    assert not faultlab.settle(before, snapshot)


def test_t05_down_hook_that_fails(lab):
    """Told, and everything else is still undone, the other down hooks run."""
    made = lab("""\
hooks: {up: ./hook, down: ./hook}
nodes:
  r1:
    interfaces: {eth0: {ipv4: 10.0.0.1/24, hooks: {up: ./hook, down: ./hook}}}
    hooks: {up: "true", down: "echo not today; exit 9"}
    services: {s: sleep 1000}
  r2: {interfaces: {eth0: {ipv4: 10.0.0.2/24}}}
links: [[r1:eth0, r2:eth0]]
""")
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    made.up()
    down = made.down(status=6)
    assert f"{made.name}: not all could be undone: r1: down hook " in down.stderr, down.stderr
    assert "exited with 9\n    not today\n" in down.stderr, down.stderr
    ran = [(event, whose) for event, whose, _ in faultlab.hook_lines(made)]
    assert ran == [("up", "lab"), ("up", "r1:eth0"), ("down", "r1:eth0"), ("down", "lab")]
    assert not faultlab.pids("tapnet-guard") and not faultlab.pids("tapnet-init")
    made.verb("gc")
    assert not made.is_there()
    assert len(faultlab.hook_lines(made)) == 4


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"))
def test_t05_signal_while_it_goes_up(lab, fault_bin, snapshot, name):
    made = lab(faultlab.SLOW, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    with faultlab.start(made, "up", made.file) as up:
        inside = made.file.parent / "inside"
        faultlab.wait("it is at its exec", inside.exists, reap=False)
        os.kill(up.pid, signal.Signals[name])
        status = up.wait(20)
        said = up.stdout.read()
    if name == "SIGKILL":
        assert status == -signal.SIGKILL
    else:
        assert status == 5, said
        assert "undone:" in said and made.name in said
    faultlab.wait("it is gone", lambda: not made.is_there(), reap=False)
    assert not faultlab.settle(before, snapshot)
    assert [(e, w) for e, w, _ in faultlab.hook_lines(made)] == [
        ("up", "lab"), ("up", "r1:eth0"), ("down", "r1:eth0"), ("down", "lab")]


SERVER = """\
#!/bin/sh
if [ "$TAPNET_EVENT" = up ]; then
    setsid sleep 4321 &
    echo $! > server.pid
else
    kill $(cat server.pid) && echo stopped >> server.log
fi
"""


@pytest.mark.parametrize("down", (True, False), ids=("stopped", "forgotten"))
def test_t05_a_server_that_an_up_hook_starts(lab, fault_bin, snapshot, down):
    """Its down hook finds it running; without one it is killed with the lab."""
    made = lab(f"hooks: {{up: ./server{', down: ./server' if down else ''}}}\n"
               "nodes: {r1: {}}\n", fault_bin)
    faultlab.script(made.file.parent / "server", SERVER)
    before = snapshot()
    made.up()
    server = int((made.file.parent / "server.pid").read_text())
    assert not faultlab.gone(server)
    made.down()
    assert faultlab.gone(server)
    assert (made.file.parent / "server.log").exists() == down
    assert not faultlab.settle(before, snapshot)


# --- the checks above catch what they are there for: planted leaks ------------------------------

def leak_at(made, steps, fault, snapshot, before):
    """Up, then down without one undo, by the same process: TAPNET_FAULT is inherited."""
    made.up(env={"TAPNET_FAULT": fault})
    made.down(status=None)
    left = faultlab.settle(before, snapshot, 0.5)
    kill_leaks()
    return left


def kill_leaks():
    for pid in faultlab.pids("tapnet-guard"):
        faultlab.kill(pid)
        faultlab.reap()


def test_t05_planted_leak_of_a_hook(full, snapshot):
    made, steps = full
    before = snapshot()
    at = next(i for i, s in enumerate(steps) if s["op"] == "hook" and s["of"] == "r1:eth2")
    leak_at(made, steps, f"leak@{at + 1}", snapshot, before)
    assert faultlab.unpaired(faultlab.hook_lines(made)) == ["up hook of r1:eth2 without its down hook"]


def test_t05_planted_leak_of_what_is_in_the_host(full, snapshot):
    """A TAP whose fd stays open: a process is left, and its port on the host's bridge until the
    host's part of the teardown takes that away."""
    made, steps = full
    before = snapshot()
    tap = next(i for i, s in enumerate(steps) if s["op"] == "tap" and s["where"] == "host")
    port = next(i for i, s in enumerate(steps) if s["op"] == "hostport" and s["args"]["tap"])
    left = leak_at(made, steps, f"leak@{tap + 1},leak@{port + 1}", snapshot, before)
    assert any(line.startswith("process ") for line in left), left
    assert any(line.startswith("link tl") for line in left), left
