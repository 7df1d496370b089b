# test_t01_sources.py - row T1: a guest's device has one of four sources: made by us, one fd, several
# fds, or a helper; and whatever else is wrong with the file is told in the same run.
import os
import sys

import pytest

import taplab
from taplab import errors, said, tap_lab


def test_t01_create(lab):
    made = lab(tap_lab("{}"))
    made.up()
    assert said(made, "g", "STATE")[0]["name"] == "eth0"  # the node's end is the device


@pytest.mark.parametrize("count, key", [(1, "fd: {}"), (1, "fds: {}"), (1, "fds: [{}]"),
                                        (3, "fds: [{}, {}, {}]")])
def test_t01_fds(lab, count, key):
    fds = taplab.open_tap("given0", count=count)
    try:
        made = lab(tap_lab("{" + key.format(*fds) + "}", node=False))
        made.up(pass_fds=fds)
        assert [s["name"] for s in said(made, "g", "STATE")] == ["given0"] * count
        made.down()
    finally:
        for fd in fds:
            os.close(fd)


def test_t01_helper(lab, tmp_path):
    """A helper that makes a TAP of its own and sends it, as the emulator's does."""
    helper = tmp_path / "helper"
    helper.write_text(f"""#!/usr/bin/python3
import array, socket, sys
sys.path[:0] = {sys.path!r}
import contractlab as c
assert sys.argv[1:] == ["--mine", "--use-vnet", sys.argv[3], "--br=br7"], sys.argv
with socket.socket(fileno=int(sys.argv[3].removeprefix("--fd="))) as peer:
    fds = c.open_tap("helped0")
    peer.sendmsg([b"\\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
""")
    helper.chmod(0o755)
    made = lab(tap_lab("{helper: {command: [./helper, --mine], bridge: br7}}", node=False))
    made.up()
    state, = said(made, "g", "STATE")
    assert state["name"] == "helped0" and "vnet_hdr" in state["flags"]


def test_t01_no_two_sources(lab):
    for tap in ("{fds: [5], helper: [x]}", "{source: create, fds: [5]}",
                "{source: create, helper: [x]}", "{fd: 5, fds: [6]}"):
        assert len(errors(lab(tap_lab(tap, node="create" in tap)))) == 1, tap


def test_t01_every_error_at_once(lab):
    """Of several interfaces, each at its own line."""
    text = """\
bridges: {lan: 10.0.0.0/24}
nodes:
  g:
    kind: guest
    command: [x]
    interfaces:
      eth0: {bridge: lan, tap: {queues: 0}}
      eth1: {bridge: lan, tap: {offload: tso4}}
      eth2: {tap: {fds: [2]}}
      eth3: {tap: {helper: [x], queues: 2}}
      eth4: {bridge: lan, tap: {vhost: off, poll-us: 9}}
"""
    assert [line for line, _, _ in errors(lab(text))] == [7, 8, 9, 10, 11]
