# taplab.py - what the tests of a TAP's sources and settings share: a lab of one guest that says what
# its queues are, and TAPs that the caller of tapnet-lab has.
import fcntl
import json
import os
import re
import struct
import time
from pathlib import Path

import contractlab as c

GUEST = Path(__file__).parent / "tapguest.py"
NAMES = {c.IFF_TAP: "tap", c.IFF_NO_PI: "no_pi", c.IFF_MULTI_QUEUE: "multi_queue",
         c.DETACH_QUEUE: "detached", c.IFF_PERSIST: "persist", c.IFF_VNET_HDR: "vnet_hdr"}


def state(fd):
    """What the kernel says of a queue."""
    name, flags = struct.unpack("16sH22x", fcntl.ioctl(fd, c.TUNGETIFF, bytes(40)))
    return {"name": name.rstrip(b"\0").decode(),
            "flags": sorted(word for bit, word in NAMES.items() if flags & bit),
            "hdr": c.number(fd, c.TUNGETVNETHDRSZ), "sndbuf": c.number(fd, c.TUNGETSNDBUF),
            "little": c.number(fd, c.TUNGETVNETLE)}


def open_tap(name, more=0, count=1):
    """The fds of a TAP's queues, as a caller of tapnet-lab has them: inherited by programs."""
    fds = c.open_tap(name, count, more)
    for fd in fds:
        os.set_inheritable(fd, True)
    return fds


def errors(made, **how):
    """[(line, column, message)] of an invalid lab: exit 2, and nothing made."""
    done = made.verb("up", made.file, status=2, env={"NO_COLOR": "1"}, **how)
    assert done.stdout == ""
    assert not made.is_there()
    return [(int(m[1]), int(m[2]), m[3])
            for m in re.finditer(r"^\S+:(\d+):(\d+): error: (.*)$", done.stderr, re.M)]


def said(made, name, word, timeout=10):
    """The newest JSON that a guest wrote after a word, since its last start."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        log = made.verb("logs", name).stdout
        found = re.findall(rf"^{word} (.*?)\r?$", log[max(log.rfind("STATE "), 0):], re.M)
        if found:
            return json.loads(found[-1])
        time.sleep(0.02)
    raise AssertionError(f"{name} never said {word}")


def tap_lab(tap, more="", node=True):
    """A lab of one guest g, tapguest.py, with eth0 wired to the node h, and these tap: settings."""
    return f"""\
nodes:
{"  h: {}" if node else ""}
  g:
    kind: guest
    command: [{GUEST}, "${{eth0.fds}}"]
    ready: {{console: READY, timeout: 20s}}
    interfaces:
      eth0: {{tap: {tap}{more}}}
{"links: [{endpoints: [h:eth0, g:eth0], subnet: 10.0.0.0/24}]" if node else ""}
"""
