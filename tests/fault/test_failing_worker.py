# test_failing_worker.py - calls of the worker, its journal, its run directory and its control socket that
# fail, each by the names of its function and of the call: what `up` and the other verbs say, and that the
# lab is as it was. Those of guardian and teardown: test_failing_notifiers.py.
import errno
import os
import signal

import pytest

import failinglab
import faultlab
from conftest import run_dir
from failinglab import EVER, Failing, failing_  # noqa: F401


VERBS = {"status": ["status"], "exec": ["exec", "r1", "true"], "restart": ["restart", "g1"]}


def undisturbed(failing):
    """A life, which tells where calls are: of the way up, and of each verb."""
    if "gc of files" in Failing.sites:
        return
    one = failing()
    one.calls.plan()
    one.made.up(env=one.env)
    one.learn("all of up")
    for name, verb in VERBS.items():
        one.calls.plan()
        one.made.verb(*verb, env=one.env)
        one.learn(name)
    one.calls.plan()
    one.made.down(env=one.env)
    one.learn("down asked for")
    one.made.up()
    failinglab.learn_gc(one, "gc of files")


# --- the way up -------------------------------------------------------------------------------------

LOOP = "watch_add from (loop_init|worker_prepare) epoll_ctl 0"
UP = {
    "event loop": ("loop_init from .* epoll_create1", errno.EMFILE, 5, "cannot make the event loop: Too many"),
    "its signals": ("loop_init from .* signalfd", errno.EMFILE, 5, "cannot make the event loop: Too many"),
    "what it watches, 1": (f"{LOOP} 1", errno.ENOSPC, 5, "cannot make the event loop: No space"),
    "what it watches, 2": (f"{LOOP} 2", errno.ENOSPC, 5, "cannot make the event loop: No space"),
    "what it watches, 3": (f"{LOOP} 3", errno.ENOSPC, 5, "cannot make the event loop: No space"),
    "what it watches, 4": (f"{LOOP} 4", errno.ENOSPC, 5, "cannot make the event loop: No space"),
    "control socket": ("listen_on from .* socket", errno.EMFILE, 5, "cannot open the control socket: Too many"),
    "its name": ("listen_on from .* bind", errno.ENOSPC, 5, "cannot open the control socket: No space"),
    "its queue": ("listen_on from .* listen", errno.ENOMEM, 5, "cannot open the control socket: Cannot alloc"),
    "programs": ("procs_init from .* calloc", errno.ENOMEM, 5, "memory"),
    "journal's room": ("journal_fill from .* posix_fallocate64", errno.ENOSPC, 5, "no room for the journal"),
    "journal's memory": ("journal_map from .* mmap64", errno.ENOMEM, 5, "cannot map the journal"),
    "journal's name": ("journal_create from .* renameat", errno.ENOSPC, 5, "cannot write the journal: No space"),
    "run directory": ("open_own from .* mkdirat", errno.ENOSPC, 4, "cannot make /run/tapnet-lab.*: No space"),
    "its owner": ("open_there from .* fstat64", errno.ENOMEM, 4, "cannot open /run/tapnet-lab.*: Cannot alloc"),
    "its place": ("labdir_in_place from labdir_lock fstat64", errno.ENOMEM, 5, "cannot lock /run.*: Cannot alloc"),
    "its lock": ("labdir_lock from .* fstatat64", errno.ENOMEM, 5, "cannot lock /run.*: Cannot alloc"),
    "TAPs": ("tun_device from .* open64", errno.EACCES, 4, "this user may not open /dev/net/tun"),
    "no TAPs": ("tun_device from .* open64", errno.ENOENT, 4, "modprobe tun"),
}


@pytest.mark.parametrize("what", UP)
def test_up(failing, snapshot, what):
    """Nothing of the lab was made yet, and it says why."""
    call, how, status, words = UP[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.plan("all of up", call, how)
    one.check(one.made.up(status=None, env=one.env), status, words)
    assert not one.made.is_there()
    assert not faultlab.hook_lines(one.made)
    one.end(before, snapshot)


# In the middle: what was made is undone.
MADE = {
    "batch's socket": ("nlw_open from (ctx_nl|batch_run) socket", errno.EMFILE, {}, "Too many open files"),
    "batch": ("nlb_flush from .* sendto", errno.ENOBUFS, EVER, "No buffer space"),
    "answers": ("answer_read from .* recvmsg", errno.ENOBUFS, EVER, "the kernel's answer was lost"),
    "namespace": ("ns_make_net from .* unshare", errno.ENOMEM, {}, "cannot make a network namespace: Cannot alloc"),
    "program": ("child_clone from child_.* syscall 435", errno.EAGAIN, {}, "hook.*: cannot fork: Resource"),
    "program of a node": ("child_clone from child_.* syscall 435", errno.EAGAIN, {"first": 3}, "could not join its node"),
    "into a node": ("born_in from clone_begin setns", errno.ENOMEM, {}, "could not join its node"),
    "its terminal": ("spawn_pty from .* open64", errno.EMFILE, {}, "cannot open /dev/ptmx: Too many"),
    "second program": ("spawn_pty from .* open64", errno.EMFILE, {"first": 2}, "cannot open /dev/ptmx: Too many"),
    "report": ("report_try from .* sendmsg", errno.ENOMEM, EVER, "its guardian and worker were killed"),
    "hearing": ("report_recv from .* recv", errno.ENOMEM, EVER, "given up: it cannot be waited for"),
}


@pytest.mark.parametrize("what", MADE)
def test_up_that_is_undone(failing, snapshot, what):
    call, how, which, words = MADE[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.plan("all of up", call, how, **which)
    one.check(one.made.up(status=None, env=one.env), 5, words)
    one.end(before, snapshot)


@pytest.mark.parametrize("call, how", (
    ("report_try from .* sendmsg", errno.EINTR), ("report_try from .* sendmsg", errno.ENOBUFS),
    ("report_recv from .* recv", errno.EINTR), ("report_recv from .* recv", errno.ENOMEM),
    ("watch_add from (watch_proc|loop_watch|worker_started) epoll_ctl", errno.ENOSPC),
    ("watch_add from .*_wait epoll_ctl", errno.ENOSPC), ("loop_turn from .* epoll_wait", errno.EINTR),
    ("in_place from .* fstat64", errno.ENOMEM), ("born_in from spawn_into_cell setns", errno.EPERM),
    ("born_in from clone_end setns", errno.ENOMEM), ("pidfd_of from clone_end syscall 434", errno.EMFILE)))
def test_up_all_the_same(failing, snapshot, call, how):
    """It is tried again, or done in another way."""
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.plan("all of up", call, how)
    one.check(one.made.up(env=one.env), 0, "up in")
    one.made.verb("status", "--check")
    one.made.down()
    one.end(before, snapshot)


def test_journal_cut_short_as_it_is_written(failing, snapshot):
    """Not even a store to it that hits nothing (SIGBUS) is lost: it is put back first."""
    one = failing("""\
hooks: {up: ./hook, down: ./hook}
nodes: {r1: {exec: "touch inside; while ! test -e go; do sleep 0.01; done"}}
""")
    folder, before = one.made.file.parent, snapshot()
    journal = run_dir() / one.made.name / "journal"
    with faultlab.start(one.made, "up", one.made.file) as up:
        faultlab.wait("it is at its exec", (folder / "inside").exists, reap=False)
        guardian, size = faultlab.one("tapnet-guard"), journal.stat().st_size
        os.kill(guardian, signal.SIGSTOP)  # it would be first
        os.truncate(journal, 0)
        (folder / "go").touch()
        said = up.communicate(timeout=20)[0]
    assert up.returncode == 0, said
    assert journal.stat().st_size == size
    os.kill(guardian, signal.SIGCONT)
    one.made.verb("status", "--check")
    one.made.down()
    one.end(before, snapshot)


# --- questions ---------------------------------------------------------------------------------------

ASK = {
    "accept": ("status", "control_accept from .* accept4", errno.EMFILE, {}, 0, "running"),
    "who asks": ("status", "control_accept from .* getsockopt", errno.ENOBUFS, {}, 3, "cannot reach the lab|did not answer"),
    "hearing": ("status", "control_message from .* recv", errno.ENOBUFS, {}, 0, "running"),
    "hearing for good": ("status", "control_message from .* recv", errno.ENOBUFS, EVER, 3, "the lab did not answer: "),
    "interrupted": ("status", "control_message from .* recv", errno.EINTR, {}, 0, "running"),
    "reading": ("status", "control_message from .* json_tokener_new_ex", errno.ENOMEM, {}, 3, "the lab did not answer: it closed"),
    "answer's text": ("status", "answer_fds from .* json_object_to_json_string_ext", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "answer": ("status", "scm_send from answer.* sendmsg", errno.ENOMEM, EVER, 3, "the lab did not answer: it closed"),
    "list": ("status", "do_status from .* json_object_new_array", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "state": ("status", "do_status from .* json_object_new_string", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "program": ("status", "status_proc from .* json_object_new_object", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "its state": ("status", "status_proc from .* json_object_new_string", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "TAPs": ("status", "tap_state from .* json_object_new_array", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "list of TAPs": ("status", "control_taps from .* json_object_new_object", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "device": ("status", "add_device from .* json_object_new_string", errno.ENOMEM, {}, 3, "no memory for an answer"),
    "place": ("exec", "do_enter from .* json_object_new_object", errno.ENOMEM, {}, 125, "r1: it has no memory for an answer"),
    "cell": ("exec", "(spawn_pidfd|pidfd_of) from .* syscall 434", errno.ENOMEM, {}, 125, "r1: cannot reach its process namespace: Cannot alloc"),
    "socket": ("status", "control_connect from .* socket", errno.EMFILE, {}, 3, "cannot reach the lab .*: (Too many|Resource)"),
    "connection": ("status", "control_connect from .* connect", errno.EAGAIN, {}, 3, "cannot reach the lab .*: (Too many|Resource)"),
    "question's text": ("status", "control_call from .* json_object_to_json_string_ext", errno.ENOMEM, {}, 3, "cannot reach the lab: Cannot alloc"),
    "question interrupted": ("status", "control_call from .* send", errno.EINTR, {}, 0, "running"),
    "question": ("status", "control_call from .* send", errno.ENOBUFS, {}, 3, "cannot reach the lab"),
    "reading the answer": ("status", "receive from .* json_tokener_parse", errno.ENOMEM, {}, 3, "cannot be read"),
    "watching who asks": ("status", "watch_add from (on_listen|loop_\\w+) epoll_ctl", errno.ENOSPC, {}, 3, "cannot reach the lab|did not answer"),
    "restarted": ("restart", "watch_add from (watch_proc|loop_watch|start_again) epoll_ctl", errno.ENOSPC, {}, 0, "g1 runs again"),
}


@pytest.mark.parametrize("what", ASK)
def test_question(failing, snapshot, what):
    """It says why it has no answer, and the next one has."""
    verb, call, how, which, status, words = ASK[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.made.up(env=one.env)
    one.plan(verb, call, how, **which)
    one.check(one.made.verb(*VERBS[verb], status=None, env=one.env), status, words)
    one.calls.plan()
    one.made.verb(*VERBS[verb])
    one.made.down()
    one.end(before, snapshot)


# --- down -------------------------------------------------------------------------------------------

# Calls of who asks for it: it is done all the same, by the guardian's signal if need be.
DOWN = {
    "journal": ("journal_open from .* openat64", errno.EMFILE),
    "its size": ("journal_open from .* fstat64", errno.ENOMEM),
    "its memory": ("journal_map from journal_open mmap64", errno.ENOMEM),
    "what to ask": ("control_request from .* json_object_new_object", errno.ENOMEM),
    "socket": ("control_connect from .* socket", errno.EMFILE),
    "answer": ("receive from .* json_tokener_parse", errno.ENOMEM),
    "end": ("read_status from .* recv", errno.ENOMEM),
    "whom to wake": ("(spawn_pidfd|pidfd_of) from .* syscall 434", errno.EMFILE),
}


@pytest.mark.parametrize("what", DOWN)
def test_down(failing, snapshot, what):
    call, how = DOWN[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.made.up()
    one.plan("down asked for", call, how)
    one.check(one.made.down(status=None, env=one.env), 0, "is down")
    assert not one.made.is_there()
    one.end(before, snapshot)


# --- gc ---------------------------------------------------------------------------------------------

# It knows nothing of the lab, or cannot take its files: they stay, and the next one does it all.
GC = {
    "names": ("add_name from .* realloc", errno.ENOMEM, 4, "cannot list /run/tapnet-lab: Cannot alloc"),
    "name": ("add_name from .* strdup", errno.ENOMEM, 4, "cannot list /run/tapnet-lab: Cannot alloc"),
    "journal": ("journal_open from .* openat64", errno.EMFILE, 6, "cannot open the journal: Too many"),
    "its size": ("journal_open from .* fstat64", errno.ENOMEM, 6, "cannot open the journal: Cannot alloc"),
    "its memory": ("journal_map from .* mmap64", errno.ENOMEM, 6, "cannot map the journal"),
    "its plan": ("arena_init from .* mmap64", errno.ENOMEM, 6, "Cannot allocate"),
    "boot": ("io_read_file from boot_id openat64", errno.EMFILE, 6, "cannot read the boot id: Too many"),
    "file": ("remove_entry from .* unlinkat", errno.EBUSY, 6, "cannot remove .*: Device or"),
    "lock": ("labdir_remove from .* unlinkat 0 1", errno.EBUSY, 6, "cannot remove .*: Device or"),
    "directory": ("labdir_remove from .* unlinkat 0 2", errno.EBUSY, 6, "cannot remove .*: Device or"),
}


@pytest.mark.parametrize("what", GC)
def test_gc(failing, snapshot, what):
    call, how, status, words = GC[what]
    undisturbed(failing)
    one = failing()
    before = snapshot()
    one.made.up()
    failinglab.both_killed()
    one.plan("gc of files", call, how)
    one.check(one.made.verb("gc", status=None, env=one.env), status, words)
    assert one.made.is_there()
    one.end(before, snapshot)
