# test_defects.py - defects of the TAP backend that this tool grew from, each of which it must not have.
import os
import re
import socket
import subprocess

import pytest

import helperlab
from conftest import run_dir
from helperlab import devices, fake, one, taps_of

br0 = pytest.fixture(helperlab.bridge)


@pytest.fixture
def guest(bin, needs):
    needs("/dev/net/tun", str(bin.parent / "guest/tapnet-guest"))


# --- 1: a helper that exits with 0 and sends nothing: fd 0 was taken for the TAP ----------------------

def test_defect_1_helper_that_sends_nothing(lab, guest):
    """Though fd 0 is a TAP here, and every fd that a program of ours could mistake for one."""
    made = lab("nodes: {}\n")
    fake(made, "nothing")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    try:
        helperlab.name_tap(tap, "tbstdin")
        up = made.up(status=5, stdin=tap)
        assert "exited with 0, but sent no fd" in up.stderr
        assert devices() == ["tbstdin"]
        assert not made.is_there()
    finally:
        os.close(tap)


# --- 7: leaks: the helper had sent an fd and then exited with another status; the socketpair stayed open
# when a fork failed -----------------------------------------------------------------------------------

def sockets(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
                  if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"))


@pytest.mark.parametrize("what", ["fails-after", "hangs-after", "twice", "two"])
def test_defect_7_helper_that_sent_an_fd_and_failed(lab, guest, what):
    """A failed lab is left standing, and its worker and guardian hold no TAP: the device is gone."""
    made = lab("nodes: {}\n")
    fake(made, what, more=", timeout: 1s" if what == "hangs-after" else "")
    made.up("--keep", status=5)
    assert made.is_there() and not devices()
    for comm in ("tapnet-work", "tapnet-guard"):
        assert not taps_of(one(comm))
    made.down()


def test_defect_7_a_program_that_cannot_be_started(lab, guest, bin):
    """Neither end of its socket stays open: what a kept lab holds is what it holds without a helper."""
    held = []
    for command in ("[./none]", "[./fake, fails]"):
        made = lab(helperlab.lab_text(bin, command))
        (made.file.parent / "fake").write_text("#!/bin/sh\nexit 3\n")
        (made.file.parent / "fake").chmod(0o755)
        made.up("--keep", status=5)
        held.append(len(sockets(one("tapnet-work"))))
        made.down()
    plain = lab("nodes: {h: {exec: \"false\"}}\n")
    plain.up("--keep", status=5)
    assert held == [len(sockets(one("tapnet-work")))] * 2
    plain.down()


# --- 8: buffers of 1024 and 128 bytes cut the paths of scripts, and names, silently --------------------

def test_defect_8_long_paths(lab, guest, bin):
    """A helper and a hook whose paths have 3000 characters, and arguments of 50,000, are run as they are."""
    made = lab("nodes: {}\n")
    deep = "/".join(["d" * 200] * 15)
    os.makedirs(made.file.parent / deep)
    fake(made, "good")
    text, words = made.file.read_text(), "w" * 50000
    (made.file.parent / "fake").rename(made.file.parent / deep / "fake")
    (made.file.parent / deep / "hook").write_text('#!/bin/sh\necho "hook ${#0} ${#1}"\n')
    (made.file.parent / deep / "hook").chmod(0o755)
    text = text.replace('"./fake", "good"', f'./{deep}/fake, good, {words}')
    made.file.write_text(f"hooks: {{up: [./{deep}/hook, {words}]}}\n" + text)
    made.up()
    log = (run_dir() / made.name / "lab.log").read_text()
    assert f"hook {len(deep) + 7} 50000" in log
    assert f"fake good ['{words}', '--use-vnet', " in log
    made.down()


@pytest.mark.parametrize("name", ["b" * 16, "b" * 127, "b" * 2000])
def test_defect_8_long_names(bin, br0, name, tmp_path):
    """Our own helper refuses a name that it would have to cut, though what is left of it is a bridge."""
    ours, theirs = socket.socketpair()
    subprocess.run(["ip", "link", "add", name[:15], "type", "bridge"], check=True)
    try:
        with ours, theirs:
            done = subprocess.run([bin.parent / "helper/tapnet-bridge-helper", f"--fd={theirs.fileno()}",
                                   f"--br={name}"], pass_fds=[theirs.fileno()], capture_output=True, text=True,
                                  check=False)
        assert done.returncode == 2 and f"has {len(name)} characters; 15 at most" in done.stderr
        assert not devices()
    finally:
        subprocess.run(["ip", "link", "del", name[:15]], check=True)


# --- 9: the kernel gives the name tap0 to the next as soon as it is free -------------------------------

def test_defect_9_a_name_is_not_given_again(bin, br0, needs, tmp_path):
    needs("/dev/net/tun")
    rules, names = tmp_path / "bridge.conf", []
    rules.write_text("allow br0\n")
    rules.chmod(0o644)
    for _ in range(5):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run([bin.parent / "helper/tapnet-bridge-helper", f"--fd={theirs.fileno()}", "--br=br0",
                            f"--acl-file={rules}"], pass_fds=[theirs.fileno()], check=True)
            names += devices()
        helperlab.until("it went with the socket", lambda: not devices())
    assert len(set(names)) == 5 and all(re.fullmatch("tb[0-9a-f]{8}", n) for n in names)
