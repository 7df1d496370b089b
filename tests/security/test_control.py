# test_control.py - the control socket: who else connects, says nothing, says nonsense, floods or
# hangs harms neither the lab nor its other clients.
import array
import json
import os
import signal
import socket
import threading
import time

import faultlab
import pytest

LAB = """\
nodes:
  r1: {exec: "true", services: {s: 'while :; do echo tick; sleep 0.05; done'}}
"""
PLACES, SPARE = 64, 8


@pytest.fixture(name="made")
def made_(lab):
    made = lab(LAB)
    made.up()
    return made


def connect(made):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(5)
    until = time.monotonic() + 5
    while True:
        try:
            sock.connect(str(faultlab.run_dir() / made.name / "control"))
            return sock
        except BlockingIOError:  # its queue is full
            assert time.monotonic() < until, "nobody was let in"
            time.sleep(0.001)


def fds_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def works(made, within=3.0):
    """Others are answered, in time, and the lab's program goes on."""
    began = time.monotonic()
    assert json.loads(made.verb("status", "--format", "json").stdout)["state"] == "ready"
    assert made.exec("r1", "echo", "here").stdout == "here\n"
    assert time.monotonic() - began < within
    log = faultlab.run_dir() / made.name / "r1.s.log"
    size = log.stat().st_size
    faultlab.wait("the service goes on", lambda: log.stat().st_size > size, reap=False)


NONSENSE = [b"x", b"{", b"[]", b"null", b"\0" * 100, b'{"do": ', b'{"do": 7}', b'{"do": {"do": "status"}}',
            b'{"do": "status"', b"[" * 5000, b'{"a":' * 5000, b'{"do": "enter", "node": "\xff\xfe\x1b[31m"}',
            b'{"do": "status", "from": -1}', b'{"do": "status", "from": 99999999999999}',
            b'{"do": "space", "space": -7}', b'{"do": "space", "space": 1e99}', b'{"do": "queue", "fd": 3}',
            b'{"do": "queue", "fd": -1, "attach": 1}', b'{"do": "console", "node": "r1"}',
            b'{"do": "restart", "node": null}', b'{"do": "no-such"}', b"{}" * 10, b" " * 60000]


def test_nonsense(made):
    """Refused in words or hung up on; the fds that the worker holds stay as many."""
    worker = faultlab.worker_of(made)
    before = fds_of(worker)
    for words in NONSENSE:
        with connect(made) as sock:
            sock.send(words)
            try:
                answer = sock.recv(70000)
            except ConnectionResetError:
                answer = b""
            assert b"\x1b" not in answer
            if answer:
                json.loads(answer)
    faultlab.wait("as many fds", lambda: fds_of(worker) == before, reap=False)
    works(made)


def test_more_than_a_message_may_have(made):
    for size in (61 << 10, 100 << 10):
        with connect(made) as sock:
            sock.send(b'{"do": "status", "x": "' + b"x" * size + b'"}')
            try:
                assert sock.recv(100) == b""
            except ConnectionResetError:
                pass
    works(made)


def test_fds_that_nobody_asked_for(made):
    """They are not taken: neither kept nor used."""
    worker = faultlab.worker_of(made)
    before = fds_of(worker)
    reading, writing = os.pipe()
    with connect(made) as sock:
        for _ in range(20):
            sock.sendmsg([b'{"do": "status"}'],
                         [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing] * 50))])
            sock.recv(70000)
        os.close(writing)
        assert os.read(reading, 1) == b""  # nobody else holds it
        assert fds_of(worker) <= before + 1
    os.close(reading)
    works(made)


def test_many_who_say_nothing(made):
    """They give their places up to those who ask."""
    silent = [connect(made) for _ in range(PLACES + 20)]
    faultlab.wait("one is answered", lambda: made.verb("status", status=None).returncode == 0, 2, reap=False)
    works(made)
    made.down()
    for sock in silent:
        sock.close()


def test_all_places_taken_by_those_who_asked(made):
    """Others are told so, at once; `down` is answered all the same."""
    consoles = []
    for _ in range(PLACES - SPARE):
        consoles.append(connect(made))
        consoles[-1].send(b'{"do": "console", "node": "r1.s"}')
        assert json.loads(consoles[-1].recv(70000)) == {}
    began = time.monotonic()
    said = made.verb("exec", "r1", "--", "true", status=125).stderr
    assert "too many others are connected to it: try again" in said
    assert time.monotonic() - began < 2
    consoles.pop().close()
    made.exec("r1", "true")
    made.down()
    for sock in consoles:
        sock.close()


def test_a_flood(made):
    """Two clients that ask as fast as they can, and read nothing."""
    end = threading.Event()

    def flood():
        with connect(made) as sock:
            sock.setblocking(False)
            while not end.is_set():
                try:
                    sock.send(b'{"do": "status"}')
                except BlockingIOError:
                    time.sleep(0.0005)
                except OSError:
                    return

    def again():
        while not end.is_set():
            flood()
    threads = [threading.Thread(target=again) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        works(made, within=6)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    works(made)


def test_a_console_that_does_not_read(made):
    """It loses words; the service does not wait for it."""
    with connect(made) as sock:
        sock.send(b'{"do": "console", "node": "r1.s"}')
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        works(made)
        works(made)


def test_a_suspended_worker_whose_queue_is_full(made):
    """Who cannot even connect is told so in time; `down` insists."""
    worker = faultlab.worker_of(made)
    os.kill(worker, signal.SIGSTOP)
    waiting = []
    try:
        while True:
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            waiting[-1].setblocking(False)
            waiting[-1].connect(str(faultlab.run_dir() / made.name / "control"))
    except BlockingIOError:
        pass
    began = time.monotonic()
    assert "cannot reach the lab" in made.exec("r1", "true", status=125).stderr
    assert time.monotonic() - began < 6
    made.down(status=None)
    assert not made.is_there() and time.monotonic() - began < 20
    for sock in waiting:
        sock.close()


def test_another_user(made):
    """Even one whom the folder and the socket's mode let through is not answered."""
    folder = faultlab.run_dir() / made.name
    paths = [(folder.parent, 0o711), (folder, 0o711), (folder / "control", 0o777)]
    for uid, answered in ((12345, False), (0, True)):
        modes = [path.stat().st_mode & 0o7777 for path, _ in paths]
        for path, mode in paths:
            path.chmod(mode)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setresuid(uid, uid, uid)
            try:
                with connect(made) as sock:
                    try:
                        sock.send(b'{"do": "status"}')
                        os.write(writing, sock.recv(70000) or b"-")
                    except OSError:
                        os.write(writing, b"-")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(writing)
        for (path, _), mode in zip(paths, modes):
            path.chmod(mode)
        answer = os.read(reading, 70000)
        os.close(reading)
        assert answer, "it connected"
        assert answer.startswith(b"{") == answered, answer
    works(made)
