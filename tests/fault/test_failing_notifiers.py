# test_failing_notifiers.py - calls of guardian and teardown that fail, each by the names of its function and
# of the call: what `up`, `down` and `gc` say, their exit status, and that the next `gc` leaves nothing.
#
# Where guardian or worker have the fault alone, it is planned once the lab is up. All calls, a sample of
# them in a test run: test_calls.py.
import errno
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import failinglab
import faultlab
import taplab
from conftest import run_dir
from failinglab import EVER, Failing, failing_  # noqa: F401


def undisturbed(failing):
    """A life, which tells where calls are: of the way up, of the way down, and of `gc`."""
    if "gc" in Failing.sites:
        return
    one = failing()
    one.calls.plan()
    one.made.up(env=one.env)
    one.learn("up")
    one.calls.plan()
    touch(one)
    one.made.down()
    one.learn("down")
    one.made.up(env=one.env)
    failinglab.learn_gc(one, "gc")


def touch(one):
    """The guardian looks whether its run directory is there."""
    path = run_dir() / one.made.name / "touched"
    looked = sum(one.calls.sites().values())
    path.touch()
    path.unlink()
    faultlab.wait("it looks", lambda: sum(one.calls.sites().values()) > looked + 4, reap=False)


# --- the way up -------------------------------------------------------------------------------------

# Which call has which errno, the how many; the exit status, and what is said.
UP = {
    "socketpair": ("run_up from .* socketpair", errno.EMFILE, 1, 4, "socketpair: Too many open files"),
    "memory for its fds": ("guardian_fork from .* calloc", errno.ENOMEM, 1, 4,
                           "cannot start the guardian: Cannot allocate memory"),
    "fork of the guardian": ("child_clone from spawn_fork", errno.EAGAIN, 1, 4, "cannot fork: Resource"),
    "fork of the worker": ("child_clone from spawn_fork", errno.EAGAIN, 2, 5, "cannot fork: Resource"),
    "/dev/null": ("detach_stdio from .* open64", errno.EMFILE, 1, 5, "cannot open /dev/null: Too many"),
    "stdin": ("detach_stdio from .* dup2", errno.EBUSY, 1, 5, "cannot open /dev/null: Device or"),
    "lock": ("labdir_lock from take_lab openat64", errno.EMFILE, 1, 5, "cannot lock .*: Too many"),
    "lock of another": ("labdir_lock from take_lab fcntl64 6", errno.EAGAIN, 1, 3, "by another: try again"),
    "right to lock": ("labdir_lock from take_lab fcntl64 6", errno.ENOLCK, 1, 5, "cannot lock .*: No locks"),
    "journal": ("journal_create from .* openat64", errno.ENOSPC, 1, 5, "cannot write the journal: No space"),
    "pidfd": ("(spawn_pidfd|pidfd_of) from (spawn_pidfd|guardian_prepare) syscall 434", errno.EMFILE, 1, 5,
              "cannot prepare the guardian: Too many"),
    "signalfd": ("guardian_prepare from .* signalfd", errno.EMFILE, 1, 5, "cannot prepare the guardian: Too many"),
    "copy of the journal": ("journal_copy from .* mmap64", errno.ENOMEM, 1, 5, "no memory for the journal"),
    "own namespace": ("ns_self from teardown_ctx open64", errno.EMFILE, 1, 5, "cannot open /proc/.*/net: Too many"),
    "batch": ("nlb_init from .* malloc", errno.ENOMEM, 1, 5, "memory"),
    "way down": ("way_down from (teardown_ctx|guardian_prepare) calloc", errno.ENOMEM, 1, 5, "no memory to come down with"),
    "list of fds": ("reserve_fds from .* calloc", errno.ENOMEM, 1, 5, "no memory for 0 fds"),
    "/dev/null for the fds": ("fill_fds from .* open64", errno.EMFILE, 1, 5, "cannot open /dev/null: Too many"),
    "planned fds": ("fill_fds from .* dup3", errno.EBUSY, 2, 5, r"cannot reserve \d+ fds: Device or"),
}


def check_up(one, before, snapshot, status, words):
    """It fails, nothing but the run directory was made, and that is gone or told."""
    one.check(one.made.up(status=None, env=one.env), status, words)
    assert one.made.is_there() == (status == 6)
    assert not faultlab.hook_lines(one.made)
    one.end(before, snapshot)


@pytest.mark.parametrize("what", UP)
def test_up(failing, snapshot, what):
    call, how, nth, status, words = UP[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.plan("up", call, how, first=nth)
    check_up(one, before, snapshot, status, words)


# A call of the way up fails, and so does one of what takes back the run directory.
@pytest.mark.parametrize("first, then, words", (
    ("detach_stdio from .* open64", "labdir_lock from labdir_discard openat64", "cannot lock .*: Too many"),
    ("detach_stdio from .* open64", "labdir_discard from .* faccessat", "cannot look into .*: Too many"),
    ("fill_fds from .* open64", "each_entry from labdir_remove openat64", "cannot remove .*: Too many")))
def test_up_and_what_takes_it_back(failing, snapshot, first, then, words):
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.plan("up", first, errno.EMFILE)
    check_up(one, before, snapshot, 5, "cannot open /dev/null: Too many")
    one.learn("up failed")
    one.plan("up", first, errno.EMFILE, then=one.where("up failed", then), then_how=errno.EMFILE)
    check_up(one, before, snapshot, 6, words)


@pytest.mark.parametrize("which, status, words", (({}, 0, "up in"), (EVER, 5, "was removed|cannot lock"),
                                                  ("made anew", 5, "cannot make .*: No space")))
def test_up_whose_directory_is_removed(failing, snapshot, which, status, words):
    """By the end of the last lab of its name: it makes another, but not for ever."""
    undisturbed(failing)
    one = failing()
    before = snapshot()
    if which == "made anew":
        which = {"then": one.where("up", "open_own from .* mkdirat"), "then_how": errno.ENOSPC}
    one.plan("up", "labdir_lock from take_lab openat64", errno.ENOENT, **which)
    one.check(one.made.up(status=None, env=one.env), status, words)
    if status == 0:
        one.made.down()
    one.end(before, snapshot)


@pytest.mark.parametrize("call, how", (("watch_open from .* inotify_init1", errno.EMFILE),
                                       ("(guardian_turn|guardian_watch) from .* poll", errno.EINTR)))
def test_up_all_the_same(failing, snapshot, call, how):
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.plan("up", call, how)
    one.check(one.made.up(env=one.env), 0, "up in")
    one.made.down()
    one.end(before, snapshot)


TAP_OF_OURS = ", eth1: {tap: {fds: [FD]}}"


@pytest.mark.parametrize("call, how, words", (
    ("lift from .* fcntl64 1030", errno.EMFILE, r"fd \d+ of the caller: Too many.*\n.*\.yaml:\d+:\d+"),
    ("place from .* dup3", errno.EBUSY, r"cannot take over fd \d+: Device or")))
def test_up_with_a_tap_of_ours(failing, snapshot, call, how, words):
    """Its fd cannot be taken over: it is ours as before."""
    [fd] = taplab.open_tap("ours", taplab.c.IFF_VNET_HDR)
    try:
        one = failing(tap=TAP_OF_OURS.replace("FD", str(fd)))
        before = snapshot()
        if "up with a tap" not in Failing.sites:
            one.calls.plan()
            one.made.up(env=one.env, pass_fds=[fd])
            one.learn("up with a tap")
            one.made.down()
            faultlab.forget_hooks(one.made)
        one.plan("up with a tap", call, how)
        one.check(one.made.up(status=None, env=one.env, pass_fds=[fd]), 5, words)
        one.end(before, snapshot)
        assert os.path.exists("/sys/class/net/ours")
    finally:
        os.close(fd)


def test_what_the_guardian_knows_of_its_environment(failing):
    """Where its run directory is, and nothing that is no business of who reads /proc/1/environ."""
    one = failing()
    one.made.up(env={"XDG_RUNTIME_DIR": "/run", "OF_THE_CALLER": "secret"})
    known = Path(f"/proc/{faultlab.one('tapnet-guard')}/environ").read_bytes()
    assert b"XDG_RUNTIME_DIR=/run" in known and b"secret" not in known
    one.made.down()


# --- the way down ------------------------------------------------------------------------------------

# Calls of guardian and worker; the first or, for good, all of a site.
DOWN = {
    "program": ("(spawn_pidfd|pidfd_of) from (spawn_pidfd|victims_of|stop_.*) syscall 434", errno.ENOMEM, {}, 6,
                "its process cannot be reached: Cannot allocate"),
    "socket for the links": ("nlw_open from .* socket", errno.EMFILE, {}, 0, "is down"),
    "children": ("kill_children from .* open64", errno.EMFILE, {}, 0, "is down"),
    "list of children": ("kill_children from .* read", errno.ENOMEM, {}, 0, "is down"),
    "children for good": ("kill_children from .* open64", errno.EMFILE, EVER, 6, "cannot be seen or killed"),
    "what is inside": ("hunt_scan from .* opendir", errno.ENOMEM, {}, 6, "left in the lab's namespaces: Cannot alloc"),
    "sensor": ("ns_sensor_arm from .* socketpair", errno.EMFILE, {}, 0, "is down"),
    "answer of the sensor": ("sensor_hear from ns_sensor_wait recv", errno.ENOMEM, {}, 6,
                             "cannot watch the kernel let go"),
    "run directory": ("each_entry from labdir_remove openat64", errno.EMFILE, {}, 6, "cannot remove .*: Too many"),
    "waiting": ("io_wait from spawn_wait poll", errno.ENOMEM, EVER, 6, "a guest or service cannot be killed"),
}


@pytest.mark.parametrize("what", DOWN)
def test_down(failing, snapshot, what):
    call, how, which, status, words = DOWN[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.made.up(env=one.env)
    one.plan("down", call, how, **which)
    one.check(one.made.down(status=None), status, words)
    one.end(before, snapshot)


def plugged(one):
    """A lab that is up, and gave a bridge helper its switch: links there are deleted by group."""
    one.made.up(env=one.env)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(run_dir() / one.made.name / "control"))
        sock.send(b'{"do": "space", "space": 1, "plug": true}')
        assert sock.recv(4096) == b"{}"


def test_down_by_group(failing, snapshot):
    one = failing()
    before = snapshot()
    one.calls.plan()
    plugged(one)
    one.made.down()
    one.learn("down by group")
    one = failing()
    plugged(one)
    one.plan("down by group", "nlb_flush from delete_groups sendto", errno.ENOBUFS, **EVER)
    one.check(one.made.down(status=None), 6, "links of .*: No buffer space")
    one.end(before, snapshot)


@pytest.mark.parametrize("call", ("fstat64", "fstatat64"))
def test_a_run_directory_that_cannot_be_looked_at(failing, snapshot, call):
    """It is taken for one that is gone: the lab comes down by itself."""
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.made.up(env=one.env)
    one.plan("down", f"run_dir_gone from .* {call}", errno.ENOMEM)
    touch(one)
    one.end(before, snapshot)
    assert one.calls.table.fired


def told_to_end(one):
    """The guardian, by a signal: it is down."""
    os.kill(faultlab.one("tapnet-guard"), signal.SIGTERM)
    faultlab.wait("it is gone", lambda: not faultlab.pids("tapnet-guard"), reap=False)
    assert not one.made.is_there()


def test_signal_that_cannot_be_read(failing, snapshot):
    """It is read again."""
    one = failing()
    before = snapshot()
    for fails in (False, True):
        one.made.up(env=one.env)
        if fails:
            one.plan("signal", "told_to_stop from .* read", errno.EINTR)
        else:
            one.calls.plan()
        told_to_end(one)
        one.learn("signal")
    assert one.calls.table.fired
    one.end(before, snapshot)


def test_more_in_the_run_directory_than_one_thing(failing, snapshot):
    """Somebody writes to the journal, and removes a file: the lab goes on."""
    one = failing()
    before = snapshot()
    one.made.up()
    folder, guardian = run_dir() / one.made.name, faultlab.one("tapnet-guard")
    journal = (folder / "journal").read_bytes()
    os.kill(guardian, signal.SIGSTOP)
    (folder / "journal").write_bytes(b"not a journal")
    (folder / "touched").touch()
    (folder / "touched").unlink()
    os.kill(guardian, signal.SIGCONT)
    faultlab.wait("it is put back", lambda: (folder / "journal").read_bytes() == journal, reap=False)
    one.made.verb("status", "--check")
    one.made.down()
    one.end(before, snapshot)


def test_more_words_than_down_hears(failing, snapshot):
    """What many hooks have to say is cut."""
    name = "x" * 100
    one = failing(f"""\
bridges: {{lan: none}}
nodes:
  n${{i}}: {{for: {{i: 1-70}}, interfaces: {{eth0: {{bridge: lan, hooks: {{down: ./{name}}}}}}}}}
""")
    faultlab.script(one.made.file.parent / name, "#!/bin/sh\nexit 1\n")
    before = snapshot()
    one.made.up("-q")
    said = one.made.down(status=6).stderr
    assert 8100 < len(said) < 8400 and said.count("exited with 1") > 30, said
    one.end(before, snapshot)


# What the worker's death leaves to the guardian: an exec in a node without programs, or a hook, under way.
UNDER_WAY = """\
nodes:
  r1: {interfaces: {eth0: {bridge: lan, hooks: {up: ./slow}}}, exec: ./slow}
bridges: {lan: none}
"""
LEFT = {
    "exec": (UNDER_WAY.replace("hooks: {up: ./slow}", ""), "io_wait from spawn_wait poll",
             "a hook, exec or helper under way cannot be killed\n.*a guest or service cannot be killed"),
    "hook": (UNDER_WAY, "wanted_round from .* opendir", "what its hook or helper started cannot be killed"),
}


@pytest.mark.parametrize("what", LEFT)
def test_worker_dies_while_something_is_under_way(failing, snapshot, what):
    text, call, words = LEFT[what]
    one = failing(text)
    faultlab.script(one.made.file.parent / "slow", "#!/bin/sh\ntouch inside\nexec sleep 1000\n")
    before = snapshot()
    for fails in (False, True):
        one.calls.plan()
        with start(one) as up:
            faultlab.wait("it is inside", (one.made.file.parent / "inside").exists, reap=False)
            (one.made.file.parent / "inside").unlink()
            if fails:
                one.plan(what, call, errno.ENOMEM, **EVER)
            os.kill(faultlab.one("tapnet-work"), signal.SIGKILL)
            said = up.communicate(timeout=30)[0]
        assert up.returncode == (6 if fails else 5), said
        assert bool(re.search(words, said)) == fails, said
        one.learn(what)
    one.end(before, snapshot)


def start(one):
    return subprocess.Popen([str(one.made.bin), "up", one.made.file], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=one.made.file.parent,
                            env={**os.environ, **one.env})


# --- gc ----------------------------------------------------------------------------------------------

GC = {
    "lock": ("labdir_lock from run_gc openat64", errno.EMFILE, {}, 6, "cannot lock .*: Too many"),
    "right to lock": ("labdir_lock from run_gc fcntl64 6", errno.ENOLCK, {}, 6, "cannot lock .*: No locks"),
    "own namespace": ("ns_self from teardown_ctx open64", errno.EMFILE, {}, 6, "cannot open /proc/.*/net: Too many"),
    "batch": ("nlb_init from .* malloc", errno.ENOMEM, {}, 6, "memory"),
    "way down": ("way_down from .* calloc", errno.ENOMEM, {}, 6, "no memory to come down with"),
    "program": ("(spawn_pidfd|pidfd_of) from .* syscall 434", errno.ENOMEM, {}, 6, "cannot be reached: Cannot alloc"),
    "daemons": ("wanted_round from .* opendir", errno.ENOMEM, EVER, 6, "that a hook left cannot be killed"),
    "what is inside": ("hunt_scan from .* opendir", errno.ENOMEM, {}, 6, "left in the lab's namespaces: Cannot alloc"),
    "run directory": ("each_entry from labdir_remove openat64", errno.EMFILE, {}, 6, "cannot remove .*: Too many"),
}


@pytest.mark.parametrize("what", GC)
def test_gc(failing, snapshot, what):
    call, how, which, status, words = GC[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.made.up()
    failinglab.both_killed()
    one.plan("gc", call, how, **which)
    one.check(one.made.verb("gc", status=None, env=one.env), status, words)
    assert one.made.is_there()
    one.end(before, snapshot)


def test_planted_calls(failing):
    """A call that does not fail, or is nowhere, is seen; what is left, by test_signals.py."""
    undisturbed(failing)
    one = failing()
    one.plan("up", "run_up from .* socketpair", errno.EMFILE, first=1000)
    with pytest.raises(AssertionError, match="did not fail"):
        one.check(one.made.up(env=one.env), 0, "up in")
    one.made.down()
    with pytest.raises(AssertionError, match="is not called"):
        one.plan("up", "run_up from .* nothing", errno.EMFILE)
