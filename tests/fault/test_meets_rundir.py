# test_meets_rundir.py - run directories as users have them: full or read-only, before and at rest; on a
# disk; removed under a running lab, or the journal in it cut short. Journals of the dead that cannot be
# read: test_journal.py.
import os
import shutil
import signal
import subprocess
import time

import pytest

import faultlab

LAB = """\
hooks: {up: ./hook, down: ./hook}
bridges: {lan: 10.1.0.0/24}
nodes:
  r1:
    interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}
    exec: echo hello
    services: {s: "while :; do echo talks; sleep 0.01; done"}
  g1: {kind: guest, command: exec sleep 1000, interfaces: {eth0: lan}}
"""
BASE = "/run/tapnet-lab"  # of the test's own host


def mount(*args):
    subprocess.run(["mount", *map(str, args)], check=True)


def umount():
    subprocess.run(["umount", BASE], check=True)


@pytest.fixture
def base(leaks):
    """Makes BASE a mount of its own, which is taken away after the lab."""
    made = []

    def base(*how):
        if not os.path.isdir(BASE):
            os.mkdir(BASE, 0o700)
            made.append("dir")
        mount(*how, BASE)
        made.append("mount")
        os.chmod(BASE, 0o700)
    yield base
    for what in reversed(made):
        umount() if what == "mount" else os.rmdir(BASE)


@pytest.fixture
def make(base, lab, fault_bin):
    def make(text=LAB):
        made = lab(text, fault_bin)
        faultlab.script(made.file.parent / "hook", faultlab.HOOK)
        return made
    return make


def fill(leave=0):
    """Takes all room but that of so many bytes."""
    with open(f"{BASE}/ballast", "wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            pass
        if leave:
            ballast.truncate(os.fstat(ballast.fileno()).st_size - leave)


def check(made, before, snapshot):
    assert not made.is_there()
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    (made.file.parent / "ballast").unlink(missing_ok=True)
    assert not faultlab.settle(before, snapshot)


@pytest.mark.parametrize("leave", (0, 4096, 8192, 16384, 20480, 24576, 28672, 36864))
def test_full_before(base, make, snapshot, leave):
    """Whatever there is still room for: it is up, or nothing is left and the words say why."""
    base("-t", "tmpfs", "-o", "mode=0700,size=256k", "tmpfs")
    made = make()
    fill(leave)
    before = snapshot()
    up = made.up(status=None)
    if up.returncode == 0:
        assert leave > 8192
        made.down()
    else:
        assert up.returncode in (4, 5), up.stderr
        no_log = 'exec "echo hello": exited with' in up.stderr  # what it says goes to the log
        assert no_log or "No space left on device" in up.stderr, up.stderr
        assert BASE in up.stderr
    shutil.rmtree(f"{BASE}/{made.name}.failed", ignore_errors=True)
    check(made, before, snapshot)


def test_full_at_rest(base, make, snapshot):
    """It costs the logs: what runs goes on, a new start and `down` are as ever."""
    base("-t", "tmpfs", "-o", "mode=0700,size=256k", "tmpfs")
    made = make()
    before = snapshot()
    made.up()
    fill()
    assert made.exec("r1", "echo", "well").stdout == "well\n"
    made.verb("restart", "g1")
    made.verb("restart", "r1.s")
    assert made.verb("status", "--check").stdout.endswith("no problems\n")
    made.down()
    os.unlink(f"{BASE}/ballast")
    check(made, before, snapshot)


def test_read_only_before(base, make, snapshot):
    base("-t", "tmpfs", "-o", "mode=0700,size=256k", "tmpfs")
    made = make()
    mount("-o", "remount,ro", BASE)
    before = snapshot()
    said = made.up(status=4).stderr
    assert "Read-only file system" in said and f"{BASE}/{made.name}" in said, said
    made.down(status=3)
    made.verb("gc")
    mount("-o", "remount,rw", BASE)
    check(made, before, snapshot)


@pytest.mark.parametrize("who", ("nobody", "both"))
def test_read_only_at_rest(base, make, snapshot, who):
    """All is undone, but for the directory: that is said, and gc takes it once it may. (A lab's open
    files forbid a remount; a mount over it does not ask.)"""
    base("-t", "tmpfs", "-o", "mode=0700,size=256k", "tmpfs")
    made = make()
    before = snapshot()
    made.up()
    base("--bind", BASE)
    mount("-o", "remount,bind,ro", BASE)
    if who == "both":
        victims = faultlab.kill_who(who)
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)))
    else:
        assert made.exec("r1", "echo", "well").stdout == "well\n"
        assert made.verb("status", "--check").stdout.endswith("no problems\n")
    said = made.down(status=None)
    if who == "both":
        assert said.returncode == 6 and "Read-only file system" in said.stderr, said
        said = made.verb("gc", status=6).stderr
        assert "Read-only file system" in said and f"{BASE}/{made.name}" in said, said
    assert not faultlab.pids("tapnet-work") and not faultlab.pids("sleep")
    mount("-o", "remount,bind,rw", BASE)
    if made.is_there():
        made.verb("gc")
    check(made, before, snapshot)


@pytest.mark.parametrize("place", ("tmpfs", "disk"))
@pytest.mark.parametrize("end", ("down", "worker", "guardian", "both"))
def test_on_a_disk_or_not(base, make, snapshot, tmp_path, place, end):
    if place == "disk":
        fs = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True,
                            check=True).stdout.strip()
        if fs in ("tmpfs", "ramfs"):
            pytest.skip("needs a folder for temporary files that is on a disk")
        (tmp_path / "runs").mkdir()
        base("--bind", tmp_path / "runs")
    made = make()
    before = snapshot()
    made.up()
    if end == "down":
        made.down()
    else:
        victims = faultlab.kill_who(end)
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)))
        if end == "both":
            assert not faultlab.gc(made)
        faultlab.wait("the other tears it down", lambda: not made.is_there())
    check(made, before, snapshot)


@pytest.mark.parametrize("what", ("lab's", "all", "moved"))
def test_removed_under_a_running_lab(make, snapshot, what):
    """A login manager removes it at the last logout: the lab comes down by itself."""
    made = make()
    before = snapshot()
    made.up()
    guardian = faultlab.one("tapnet-guard")
    begin = time.monotonic()
    if what == "moved":
        os.rename(f"{BASE}/{made.name}", "/run/moved")
    else:
        # It comes down at the first file that goes, and writes logs meanwhile.
        shutil.rmtree(f"{BASE}/{made.name}" if what == "lab's" else BASE, ignore_errors=True)
    faultlab.wait("it comes down by itself", lambda: faultlab.gone(guardian))
    assert time.monotonic() - begin < 8
    shutil.rmtree("/run/moved", ignore_errors=True)
    assert not made.is_there()
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    os.makedirs(BASE, 0o700, exist_ok=True)
    assert not faultlab.settle(before, snapshot)


def journal_of(made):
    return f"{BASE}/{made.name}/journal"


def overwrite(path, size):
    """All of it, to its size: no length tells."""
    with open(path, "r+b") as journal:
        journal.write(os.urandom(size))


CUT = {
    "empty": lambda path, size: os.truncate(path, 0),
    "in the head": lambda path, size: os.truncate(path, 100),
    "in the plan": lambda path, size: os.truncate(path, 500),
    "in the slots": lambda path, size: os.truncate(path, size - 64),
    "another's": lambda path, size: shutil.copyfile("/bin/sh", path),
    "noise": overwrite,
}


@pytest.mark.parametrize("end, how", [("down", how) for how in CUT] + [
    (end, how) for end in ("worker", "guardian", "both", "guardian suspended") for how in ("empty", "in the head")])
def test_journal_cut_short_under_a_running_lab(make, snapshot, how, end):
    """It is put back from memory: the lab goes on, and comes down with all its hooks, whoever is left."""
    made = make()
    before = snapshot()
    made.up()
    if end == "guardian suspended":  # then the worker finds out
        os.kill(faultlab.one("tapnet-guard"), signal.SIGSTOP)
    size = os.stat(journal_of(made)).st_size
    CUT[how](journal_of(made), size)
    if end in ("worker", "guardian", "both"):
        faultlab.wait("it is as long again", lambda: os.stat(journal_of(made)).st_size == size)
        assert made.verb("status", "--check").stdout.endswith("no problems\n")
        assert made.exec("r1", "echo", "well").stdout == "well\n"
        made.verb("restart", "g1")
        victims = faultlab.kill_who(end)
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)))
        if end == "both":
            assert not faultlab.gc(made)
        faultlab.wait("it is gone", lambda: not made.is_there())
    else:
        made.down()
    check(made, before, snapshot)


@pytest.mark.parametrize("how", ("empty", "in the head", "in the slots"))
def test_journal_cut_short_where_it_cannot_be_put_back(base, make, snapshot, how):
    """The disk is full: guardian and worker go on with what they have in memory."""
    base("-t", "tmpfs", "-o", "mode=0700,size=256k", "tmpfs")
    made = make(LAB + "  n${i}: {for: {i: 1-99}, interfaces: {eth0: lan}}\n")
    before = snapshot()
    made.up()
    guardian = faultlab.one("tapnet-guard")
    os.kill(guardian, signal.SIGSTOP)  # or it is quicker than the disk is full
    size = os.stat(journal_of(made)).st_size
    assert size > 8192
    CUT[how](journal_of(made), size)
    fill()
    os.kill(guardian, signal.SIGCONT)
    made.down()
    os.unlink(f"{BASE}/ballast")
    check(made, before, snapshot)


def test_journal_cut_short_time_and_again(make, snapshot):
    made = make()
    before = snapshot()
    made.up()
    for _ in range(20):
        os.truncate(journal_of(made), 0)
        assert made.exec("r1", "echo", "well").stdout == "well\n"
    made.down()
    check(made, before, snapshot)


def test_journal_cut_short_on_the_way_up(make, snapshot):
    """During its exec; an up hook before it has its down hook."""
    made = make(LAB.replace("exec: echo hello", "exec: [touch inside, sleep 1000]"))
    before = snapshot()
    with faultlab.start(made, "up", made.file) as up:
        faultlab.wait("it is at its exec", (made.file.parent / "inside").exists, reap=False)
        os.truncate(journal_of(made), 100)
        up.send_signal(signal.SIGINT)
        assert up.wait(15) == 5
    shutil.rmtree(f"{BASE}/{made.name}.failed", ignore_errors=True)
    check(made, before, snapshot)
