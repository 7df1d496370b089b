# test_vhost.py - row T9 where the kernel has vhost-net: each queue of a guest gets an open
# /dev/vhost-net of its own, after the queues and in their order, and frames go through it. vhost-net
# belongs to who sets it up, and to the memory of that process: a guest's next start gets new ones,
# and the lab keeps none, so that nothing of a dead guest goes on reading its queues.
import fcntl
import os
import signal
import struct
from pathlib import Path

import contractlab as c
from conftest import TOP

PEER = TOP / "tests/vm/vhostpeer"
ADDRESSES = range(10, 26)  # so many flows that both queues have some
LAB = f"""\
nodes:
  r1: {{interfaces: {{eth0: {{ipv4: 10.9.0.1/24}}}}}}
  g:
    kind: guest
    restart: on-failure
    command: [{PEER}, "${{eth0.fds}}", "${{eth0.vhostfds}}", "${{eth0.mac}}"]
    ready: {{console: ready, timeout: 60s}}
    interfaces: {{eth0: {{ipv4: 10.9.0.2/24, tap: {{queues: 2, vnet-hdr: on, vhost: require}}}}}}
links: [[r1:eth0, g:eth0]]
"""
CALLERS = f"""\
nodes:
  g:
    kind: guest
    command: [{PEER}, "${{eth0.fds}}", "${{eth0.vhostfds}}", "${{eth0.mac}}"]
    ready: {{console: ready, timeout: 60s}}
    interfaces: {{eth0: {{tap: {{fds: FDS, vhostfds: VHOST}}}}}}
"""
# Its firmware asks for an address for half a minute, and answers ping meanwhile.
QEMU = """\
nodes:
  r1: {interfaces: {eth0: {ipv6: "fd09::1/64"}}}
  g:
    kind: qemu
    cpus: 1
    memory: 64M
    extra: [-boot, n]
    interfaces: {eth0: {mac: "02:00:00:00:00:02"}}
links: [[r1:eth0, g:eth0]]
"""


def ping_all(ping):
    """Each address once, all at a time: a flow each."""
    script = " ".join(f"ping -c 1 -W 5 10.9.0.{n} &" for n in ADDRESSES) + " wait"
    said = ping("sh", "-c", script).stdout
    assert said.count(" 1 received") == len(ADDRESSES), said


def holders():
    """[(pid, fd)] of all open /dev/vhost-net."""
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            found += [(int(folder.parent.name), int(fd.name)) for fd in folder.iterdir()
                      if os.readlink(fd) == "/dev/vhost-net"]
        except OSError:
            pass
    return sorted(found)


def pid_of(made):
    return c.node(made, "g")["programs"][0].get("pid")


def starts(made):
    """What each of the guests in turn has said since it was ready."""
    return made.verb("logs", "g").stdout.split("ready")[1:]


def works(made, nth, ping):
    """The nth guest of the lab gets all frames by vhost-net, on both queues. Its pid."""
    c.wait(f"guest {nth} is ready", lambda: len(starts(made)) == nth, 60)
    ping_all(ping)
    assert "queue 0" in starts(made)[-1] and "queue 1" in starts(made)[-1]
    return pid_of(made)


def test_t9_frames_go_through_vhost_net_also_after_restart_and_after_a_kill(lab):
    made = lab(LAB)

    def works_alone(nth):
        pid = works(made, nth, lambda *argv: made.exec("r1", *argv))
        assert holders() == [(pid, 5), (pid, 6)]  # its fds of the TAP were 3 and 4; it closed them
        assert c.tap(made, "g")["vhost_fds"] == [5, 6]
        return pid
    made.up("-q", timeout=90)
    first = works_alone(1)
    made.verb("restart", "g")
    second = works_alone(2)
    os.kill(second, signal.SIGKILL)
    assert len({first, second, works_alone(3)}) == 3
    made.down()
    assert holders() == []


def test_t9_the_callers_vhostfds_are_handed_on_and_a_restart_gets_new_ones(lab, run):
    taps = [os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(2)]
    vhost = [os.open("/dev/vhost-net", os.O_RDWR | os.O_CLOEXEC) for _ in range(2)]
    try:
        for fd in taps:  # IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
            fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"callers", 0x5102))
        run(["ip", "link", "set", "callers", "up"])
        run(["ip", "addr", "add", "10.9.0.1/24", "dev", "callers"])
        made = lab(CALLERS.replace("FDS", str(taps)).replace("VHOST", str(vhost)))
        made.up("-q", timeout=90, pass_fds=taps + vhost)
    finally:
        for fd in taps + vhost:
            os.close(fd)
    for nth in (1, 2):
        pid = works(made, nth, lambda *argv: run(argv))
        assert [fd for of, fd in holders() if of == pid] == [5, 6] == c.tap(made, "g")["vhost_fds"]
        if nth == 1:
            made.verb("restart", "g")
    made.down()
    assert holders() == []


def test_t9_auto_gives_qemu_vhost_net_which_it_uses_and_a_restarted_one_too(lab):
    made = lab(QEMU)
    assert "vhost=on,vhostfd=4" in made.verb("plan", made.file).stdout
    made.up("-q", timeout=60)
    ping = "until ping -6 -c 1 -W 2 fe80::ff:fe00:2%eth0; do sleep 0.2; done"
    made.exec("r1", "sh", "-c", ping, timeout=120)
    assert holders() == [(pid_of(made), 4)]
    made.verb("restart", "g")
    made.exec("r1", "sh", "-c", ping, timeout=120)
    assert holders() == [(pid_of(made), 4)]
    made.down()
    assert holders() == []
