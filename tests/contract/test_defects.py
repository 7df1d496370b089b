# test_defects.py - defects of the TAP backend that this tool grew from, each of which it must not have.
import os

import pytest

import helperlab
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
