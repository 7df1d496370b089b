# test_signals.py - what ends a lab beside `down`: signals to `up` while it goes up, Ctrl-C in the
# foreground, time limits, a failed lab that is kept, a caller that goes away.
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import faultlab
from faultlab import start


@pytest.fixture
def make(lab, fault_bin):
    def make(text=faultlab.QUICK):
        return faultlab.with_hook(lab(text, fault_bin))
    return make


# --- the foreground -----------------------------------------------------------------------------

@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM", "SIGHUP"))
def test_foreground_ends_with_a_signal(make, snapshot, name):
    made = make()
    before = snapshot()
    with start(made, "up", "-f", made.file) as up:
        for line in up.stdout:
            if "Ctrl-C" in line:
                break
        os.kill(up.pid, signal.Signals[name])
        assert up.wait(20) == 0, up.stdout.read()
    assert not made.is_there()  # up returns when it is down
    faultlab.check_gone(made, before, snapshot)


def test_foreground_ends_with_the_lab(make, snapshot):
    """`down` from elsewhere ends `up --foreground`, and so does the end of its terminal."""
    made = make()
    before = snapshot()
    with start(made, "up", "-f", made.file) as up:
        for line in up.stdout:
            if "Ctrl-C" in line:
                break
        made.down()
        assert up.wait(20) == 0, up.stdout.read()
    with start(made, "up", "-f", made.file) as up:
        for line in up.stdout:
            if "Ctrl-C" in line:
                break
        up.kill()
    faultlab.check_gone(made, before, snapshot)


# --- time limits, and what is kept ----------------------------------------------------------------

def test_timeout_of_the_way_up(make, snapshot):
    made = make(faultlab.SLOW)
    before = snapshot()
    begin = time.monotonic()
    up = made.up("--timeout", "1s", status=5)
    assert 0.9 < time.monotonic() - begin < 6
    assert "--timeout" in up.stderr and "sleep 1000" in up.stderr
    faultlab.check_gone(made, before, snapshot)


@pytest.mark.parametrize("ready", ('{exec: "false"}', "{console: READY}", "{tcp: 80, from: r1}"))
def test_timeout_of_the_way_up_while_none_is_ready(make, snapshot, ready):
    made = make(faultlab.QUICK.replace('command: [sleep, "1000"]',
                              f'command: [sleep, "1000"], ready: {ready}')
                if "exec" not in ready else
                faultlab.QUICK.replace('exec: "true"', f'services: {{s: {{command: sleep 1000, ready: {ready}}}}}'))
    before = snapshot()
    begin = time.monotonic()
    up = made.up("--timeout", "1s", status=5)
    assert 0.9 < time.monotonic() - begin < 6
    assert "--timeout" in up.stderr and "waited for" in up.stderr
    faultlab.check_gone(made, before, snapshot)


def test_ttl(make, snapshot):
    made = make()
    before = snapshot()
    begin = time.monotonic()
    made.up("--ttl", "2s")
    assert made.is_there()
    faultlab.wait("it comes down by itself", lambda: not made.is_there())
    assert 1.9 < time.monotonic() - begin < 8
    faultlab.check_gone(made, before, snapshot)


def test_a_failed_lab_is_kept(make, snapshot):
    made = make(faultlab.QUICK.replace('exec: "true"', 'exec: "echo so it is; exit 3"'))
    before = snapshot()
    up = made.up("--keep", status=5)
    assert "exited with 3" in up.stderr and "so it is" in up.stdout + up.stderr
    assert made.is_there() and faultlab.one("tapnet-work")
    assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up", "up"]
    again = made.up(status=3)
    assert "failed" in again.stderr and "down" in again.stderr
    made.down()
    faultlab.check_gone(made, before, snapshot)


# --- a caller that goes away ------------------------------------------------------------------------

def children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_up_with_a_reader_that_went_away(make, snapshot):
    """SIGPIPE and a closed terminal do not keep a lab from its end."""
    made = make()
    before = snapshot()
    with subprocess.Popen(f"{made.bin} up {made.file} | true", shell=True,
                          cwd=made.file.parent) as up:
        up.wait(20)
    faultlab.wait("up has ended", lambda: not faultlab.pids("tapnet-lab"))
    if made.is_there():
        assert json.loads(made.verb("list", "--format", "json").stdout)
        made.down()
    faultlab.check_gone(made, before, snapshot)


def strace(made, inject):
    """`up` under it, which meddles with what its guardian does first."""
    argv = ["strace", "-f", "-qq", "-o", made.file.parent / "trace", "-e", "trace=prctl",
            "-e", f"inject=prctl:{inject}", made.bin, "up", made.file]
    return subprocess.Popen([str(a) for a in argv], cwd=made.file.parent, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_down_before_the_guardian_has_the_lab(lab, needs, snapshot):
    """`up` is killed when its run directory is there and its guardian, held up, not yet: a `down`
    that came between the two said the truth, for the guardian then makes nothing."""
    needs("strace")
    made = faultlab.with_hook(lab(faultlab.QUICK))  # strace and LeakSanitizer exclude each other
    before = snapshot()
    with strace(made, "delay_enter=500000:when=1") as under:
        faultlab.wait("the run directory", made.is_there)
        verb, = children(under.pid)
        faultlab.wait("the guardian", lambda: children(verb))
        os.kill(verb, signal.SIGKILL)
        made.down()
        while under.poll() is None:
            assert not made.is_there()
    assert "PR_SET_CHILD_SUBREAPER" in (made.file.parent / "trace").read_text()
    faultlab.check_gone(made, before, snapshot)


@pytest.mark.parametrize("then", ("up wakes it", "up is killed"))
def test_guardian_suspended_before_it_has_the_lab(lab, needs, snapshot, then):
    """Nobody but `up` knows of it."""
    needs("strace")
    made = lab("bridges: {lan: 10.1.0.0/24}\nnodes: {r1: {interfaces: {eth0: lan}}}\n")
    before = snapshot()
    with strace(made, "signal=STOP:when=3") as under:
        faultlab.wait("the guardian", lambda: faultlab.pids("tapnet-guard", under.pid), reap=False)
        guardian, = faultlab.pids("tapnet-guard", under.pid)
        stopped = Path(f"/proc/{guardian}/stat")
        faultlab.wait("it is suspended", lambda: stopped.read_text().split()[2] in "tT", reap=False)
        if then == "up wakes it":
            faultlab.wait("it is up", lambda: made.verb("list", status=None).stdout.count("ready"), reap=False)
            made.down()
        else:
            os.kill(children(under.pid)[0], signal.SIGKILL)
        assert under.wait(20) in (0, -signal.SIGKILL), under.stdout.read()
    faultlab.check_gone(made, before, snapshot)


def test_planted_leak(make, snapshot):
    """faultlab.check_gone() sees a process that is left."""
    made = make()
    before = snapshot()
    netns = next(s["step"] for s in faultlab.steps(made) if s["op"] == "netns")
    made.up(env={"TAPNET_FAULT": f"leak@{netns}"})
    made.down(status=None)
    assert any(line.startswith("process ") for line in faultlab.settle(before, snapshot, 0.3))
    faultlab.kill(*faultlab.pids("tapnet-guard"))
