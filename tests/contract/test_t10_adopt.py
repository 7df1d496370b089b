# test_t10_adopt.py - row T10: a device that another instance used is brought to a known state when
# its fds are taken over, and what was stale is told.
import fcntl
import json
import os
import subprocess

import pytest

import contractlab as c
import taplab
from taplab import said, tap_lab


@pytest.fixture
def stale():
    """A persistent TAP that was left with a header of 12 bytes, a small sndbuf and offloads."""
    fds = taplab.open_tap("stale0", c.IFF_VNET_HDR, count=2)
    c.number(fds[0], c.TUNSETVNETHDRSZ, 12)
    c.number(fds[0], c.TUNSETSNDBUF, 4096)
    fcntl.ioctl(fds[0], c.TUNSETOFFLOAD, 1)
    fcntl.ioctl(fds[0], c.TUNSETPERSIST, 1)
    yield fds
    fcntl.ioctl(fds[0], c.TUNSETPERSIST, 0)
    for fd in fds:
        os.close(fd)


def test_t10_adopt_says_what_was_stale(lab, stale):
    made = lab(tap_lab(f"{{fds: {stale}}}", node=False))
    out = made.up(pass_fds=stale).stdout
    told = next(line for line in out.splitlines() if "took over" in line)
    assert told.startswith("g:eth0: took over stale0; stale was: ")
    for word in ("vnet header 12", "send buffer 4096", "persistent"):
        assert word in told, told
    for state in said(made, "g", "STATE"):
        assert state["hdr"] == 10 and state["sndbuf"] == 2**31 - 1
        assert state["flags"] == ["multi_queue", "no_pi", "persist", "tap", "vnet_hdr"]


def test_t10_a_fresh_device_is_not_called_stale(lab):
    fds = taplab.open_tap("fresh0", c.IFF_VNET_HDR)
    try:
        assert "stale" not in lab(tap_lab(f"{{fds: {fds}}}", node=False)).up(pass_fds=fds).stdout
    finally:
        os.close(fds[0])


def test_t10_settings_of_the_file_are_set(lab, stale):
    made = lab(tap_lab(f"{{fds: {stale}, vnet-hdr-len: 20, sndbuf: 8K, enabled-queues: 1}}",
                       node=False))
    made.up(pass_fds=stale)
    first, second = said(made, "g", "STATE")
    assert first["hdr"] == second["hdr"] == 20
    assert first["sndbuf"] == second["sndbuf"] == 8192
    assert "detached" not in first["flags"] and "detached" in second["flags"]


def test_t10_down_leaves_the_device_to_its_owner(lab, stale):
    """It was there before the lab, and is there after it, with its frames for us again."""
    made = lab(tap_lab(f"{{fds: {stale}}}", node=False))
    made.up(pass_fds=stale)
    made.down()
    assert taplab.state(stale[0])["name"] == "stale0"
    assert "persist" in taplab.state(stale[0])["flags"]


def test_t10_restarted_guest_gets_the_same_fds(lab, stale):
    made = lab(tap_lab(f"{{fds: {stale}}}", node=False))
    made.up(pass_fds=stale)
    c.number(stale[0], c.TUNSETVNETHDRSZ, 12)  # as the guest might
    made.verb("restart", "g")
    states = said(made, "g", "STATE")
    assert [s["name"] for s in states] == ["stale0", "stale0"]
    assert states[0]["hdr"] == 10


@pytest.mark.parametrize("plugged", (True, False))
def test_t10_a_cable_that_was_out_stays_out(lab, stale, plugged):
    """Over the guest's restart too, whose end pulls it; and one that was in comes back in."""
    def carrier():
        link, = json.loads(subprocess.run(["ip", "-j", "link", "show", "stale0"], capture_output=True,
                                          check=True).stdout)
        return "NO-CARRIER" not in link["flags"]
    subprocess.run(["ip", "link", "set", "stale0", "up"], check=True)
    c.number(stale[0], c.TUNSETCARRIER, plugged)
    made = lab(tap_lab(f"{{fds: {stale}}}", node=False))
    made.up(pass_fds=stale)
    assert carrier() == plugged
    for _ in range(2):
        made.verb("restart", "g")
        assert carrier() == plugged


def test_t10_hooks_of_adopted_fds(lab, stale, tmp_path):
    """With adopt-hooks: the device's name as first argument, its first fd, up and down in pairs."""
    (tmp_path / "hook").write_text("#!/bin/sh\necho $TAPNET_EVENT $1 $TAPNET_IFNAME $TAPNET_FDS "
                                   "$(readlink /proc/$$/fd/3) >> hooks.log\n")
    (tmp_path / "hook").chmod(0o755)
    made = lab(tap_lab(f"{{fds: {stale}, adopt-hooks: true}}",
                       ", hooks: {up: ./hook, down: ./hook}", node=False))
    made.up(pass_fds=stale)
    made.down()
    assert (tmp_path / "hooks.log").read_text().splitlines() == [
        f"{event} stale0 stale0 3 /dev/net/tun" for event in ("up", "down")]


def test_t10_any_number_is_fine(lab):
    """Also one that the lab's own fds have."""
    fd, = taplab.open_tap("high0")
    high = fcntl.fcntl(fd, fcntl.F_DUPFD, 66)
    os.close(fd)
    os.set_inheritable(high, True)
    try:
        made = lab(tap_lab(f"{{fd: {high}}}", node=False))
        made.up(pass_fds=[high])
        assert said(made, "g", "STATE")[0]["name"] == "high0"
        made.down()
    finally:
        os.close(high)


def test_t10_what_is_no_tap_is_refused(lab):
    null = os.open("/dev/null", os.O_RDWR)
    os.set_inheritable(null, True)
    try:
        done = lab(tap_lab(f"{{fds: [{null}]}}", node=False)).up(status=5, pass_fds=[null])
        assert f"fd {null} is not a TAP queue" in done.stderr
    finally:
        os.close(null)


def test_t10_status_shows_them(lab, stale):
    made = lab(tap_lab(f"{{fds: {stale}}}", node=False))
    made.up(pass_fds=stale)
    status = json.loads(made.verb("status", "--format", "json").stdout)
    assert status["problems"] == []
    assert status["nodes"][0]["interfaces"][0]["device"] == "stale0"
