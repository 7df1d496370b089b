# test_meets_processes.py - processes that do not do what they should: a worker that is suspended or dies
# without a word, a guardian that is suspended, a guest that ignores SIGTERM, a TAP deleted under a
# running guest, a shell left open in a node.
import contextlib
import os
import pty
import signal
import subprocess
import time

import pytest

import faultlab
from faultlab import start

LAB = """\
hooks: {up: ./hook, down: ./hook}
bridges: {lan: 10.1.0.0/24}
nodes:
  r1:
    interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}
    exec: EXEC
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: lan}}
  plain: {interfaces: {eth0: lan}}
"""
QUICK = LAB.replace("EXEC", '"true"')
SLOW = LAB.replace("EXEC", "[touch inside, sleep 1000]")
WHO = {"worker": ["tapnet-work"], "guardian": ["tapnet-guard"], "both": ["tapnet-work", "tapnet-guard"]}


@pytest.fixture
def make(lab, fault_bin):
    def make(text=QUICK):
        return faultlab.with_hook(lab(text, fault_bin))
    return make


def stop(who):
    for comm in WHO[who]:
        os.kill(faultlab.one(comm), signal.SIGSTOP)


# --- suspended --------------------------------------------------------------------------------------

@pytest.mark.parametrize("who", WHO)
def test_down_of_who_is_suspended(make, snapshot, who):
    """A worker has a deadline, then SIGKILL; a guardian is woken; and the lab comes down."""
    made = make()
    before = snapshot()
    made.up()
    stop(who)
    begin = time.monotonic()
    made.down()
    assert time.monotonic() - begin < 10
    faultlab.check_gone(made, before, snapshot)


@contextlib.contextmanager
def started(made, *verb):
    """A verb under way, which is killed if it goes on for ever."""
    with start(made, *verb) as under_way:
        try:
            yield under_way
        finally:
            under_way.kill()


@contextlib.contextmanager
def going_up(made, *options):
    """`up` that waits in its exec."""
    with started(made, "up", *options, made.file) as up:
        faultlab.wait("it is at its exec", (made.file.parent / "inside").exists, reap=False)
        yield up


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM"))
def test_up_is_given_up_while_its_worker_is_suspended(make, snapshot, name):
    made = make(SLOW)
    before = snapshot()
    with going_up(made) as up:
        stop("worker")
        begin = time.monotonic()
        os.kill(up.pid, signal.Signals[name])
        assert up.wait(10) == 5
        said = up.stdout.read()
    assert time.monotonic() - begin < 8
    assert "its worker did not answer, and was killed" in said and "undone:" in said, said
    faultlab.check_gone(made, before, snapshot)


def test_timeout_of_the_way_up_while_its_worker_is_suspended(make, snapshot):
    made = make(SLOW)
    before = snapshot()
    with going_up(made, "--timeout", "1s") as up:
        stop("worker")
        assert up.wait(12) == 5
        said = up.stdout.read()
    assert "its worker did not answer, and was killed" in said, said
    faultlab.check_gone(made, before, snapshot)


def test_foreground_ends_while_its_worker_is_suspended(make, snapshot):
    made = make()
    before = snapshot()
    with started(made, "up", "-f", made.file) as up:
        for line in up.stdout:
            if "Ctrl-C" in line:
                break
        stop("worker")
        os.kill(up.pid, signal.SIGINT)
        up.wait(10)
    faultlab.check_gone(made, before, snapshot)


@pytest.mark.parametrize("who", WHO)
def test_questions_to_who_is_suspended(make, who):
    """They end in time, whoever does not answer."""
    made = make()
    made.up()
    stop(who)
    status = made.verb("status", status=0 if who == "guardian" else 3, timeout=12)
    if who != "guardian":
        assert "its worker does not answer" in status.stderr and "down" in status.stderr, status
    assert made.name in made.verb("list", timeout=12).stdout
    done = made.exec("r1", "true", status=0 if who == "guardian" else 125, timeout=12)
    assert who == "guardian" or "its worker does not answer" in done.stderr, done
    done = made.verb("restart", "g1", status=0 if who == "guardian" else 5, timeout=12)
    assert who == "guardian" or "its worker does not answer" in done.stderr, done
    made.down()


def test_worker_that_dies_silently_on_the_way_up(make, snapshot):
    made = make(SLOW)
    before = snapshot()
    with going_up(made) as up:
        os.kill(faultlab.one("tapnet-work"), signal.SIGKILL)
        assert up.wait(10) == 5
        said = up.stdout.read()
    assert f"{made.name}: its worker ended before it was ready" in said, said
    faultlab.check_gone(made, before, snapshot)


# --- guests and shells ------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ("ignores SIGTERM", "stopped"))
def test_guest_that_does_not_end(make, snapshot, how):
    """It is killed after its grace, and so is one that is suspended."""
    made = make(QUICK.replace('command: [sleep, "1000"]', "command: 'exec sleep 1000'" if how == "stopped"
                              else 'command: "trap : TERM; while :; do sleep 1000; done"'))
    before = snapshot()
    made.up()
    if how == "stopped":
        os.kill(faultlab.one("sleep"), signal.SIGSTOP)
    begin = time.monotonic()
    made.down()
    assert 4 < time.monotonic() - begin < 10
    faultlab.check_gone(made, before, snapshot)


def test_tap_deleted_under_a_running_guest(make, snapshot):
    """It is told, the lab goes on, and it comes down as ever."""
    made = make()
    before = snapshot()
    made.up()
    guest = faultlab.one("sleep")
    tap = next(s["args"]["name"] for s in faultlab.steps(made) if s["op"] == "tap")
    faultlab.switch(made, "ip", "link", "del", tap)
    said = made.verb("status", "--check", status=1).stdout
    assert "g1" in said and "problem" in said, said
    assert not faultlab.gone(guest)
    made.exec("r1", "ip", "link", "show", "eth0")
    said = made.verb("restart", "g1", status=5, timeout=20).stderr
    assert "is gone" in said, said
    made.down()
    faultlab.check_gone(made, before, snapshot)


@pytest.mark.parametrize("end", ("down", "both killed, gc"))
@pytest.mark.parametrize("node", ("r1", "plain"))
def test_shell_left_open_in_a_node(make, snapshot, node, end):
    """It ends with the lab, and so does what it started."""
    made = make()
    before = snapshot()
    made.up()
    master, slave = pty.openpty()
    with subprocess.Popen([made.bin, "shell", node], stdin=slave, stdout=slave, stderr=slave,
                          start_new_session=True, cwd=made.file.parent,
                          env={**os.environ, "TAPNET_LAB": made.name, "SHELL": "/bin/sh"}) as shell:
        os.close(slave)
        os.write(master, b"sleep 4321 & (trap '' HUP TERM; exec setsid sleep 4321) & touch inside\n")
        faultlab.wait("it runs", lambda: (made.file.parent / "inside").exists()
                      and len(faultlab.pids("sleep")) == 3, reap=False)
        if end == "down":
            made.down()
        else:
            victims = faultlab.kill_who("both")
            faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)), reap=False)
            made.verb("gc")
        try:
            faultlab.wait("the shell ends", lambda: shell.poll() is not None, reap=False)
        finally:
            shell.kill()
    os.close(master)
    faultlab.check_gone(made, before, snapshot)
