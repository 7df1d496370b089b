# test_t13_queues.py - T13: a queue is attached and detached while its guest runs, by `tapnet-lab
# queue`, as often as one likes; a queue that nobody reads is detached, so that no flow is lost in it.
import os
import re
import signal

import pytest

import contractlab as c
from netlab import guest_program

LAB = """\
bridges: {lan: 10.7.0.0/24}
nodes:
  pc: {interfaces: {eth0: lan}}
  vm1:
    kind: guest
    command: [sleep, "1000"]
    interfaces: {eth0: {bridge: lan, tap: {queues: 4}}, eth1: {bridge: lan}}
  vm2:
    kind: guest
    command: [sleep, "1000"]
    interfaces: {eth0: {bridge: lan, tap: {queues: 2}}}
"""


@pytest.fixture(scope="module")
def up(module_lab):
    made = module_lab(LAB)
    made.up("-q")
    return made


def bits(made, guest="vm1"):
    """The queues' states by the kernel, asked through the guest's own fds."""
    found = []
    pid, name = c.program(made, guest)["pid"], c.planned(made, f"{guest}:eth0")["name"]
    for fd in sorted(fd for fd, of in c.fdinfo(pid).items() if of == name):
        copy = c.borrowed(pid, fd)
        try:
            found.append(c.attached(copy))
        finally:
            os.close(copy)
    return found


def test_t13_disable_and_enable_are_idempotent(up):
    """IFF_DETACH_QUEUE comes and goes; twice is no error, and says so."""
    assert bits(up) == [True] * 4
    assert up.verb("queue", "disable", "vm1:eth0", "2").stdout == "vm1:eth0: queue 2 is disabled\n"
    assert bits(up) == [True, True, False, True]
    assert c.kernel_link(up, "switch", "vm1:eth0")["linkinfo"]["info_data"]["numqueues"] == 3
    assert up.verb("queue", "disable", "vm1:eth0", "2").stdout == \
        "vm1:eth0: queue 2 is already disabled\n"
    assert bits(up) == [True, True, False, True]
    assert up.verb("queue", "enable", "vm1:eth0", "2", "-l", up.name, env={"TAPNET_LAB": ""}).stdout \
        == "vm1:eth0: queue 2 is enabled\n"
    assert up.verb("queue", "enable", "vm1:eth0", "2").stdout == \
        "vm1:eth0: queue 2 is already enabled\n"
    assert bits(up) == [True] * 4


def test_t13_all_of_them(up):
    """The device and its carrier stay when the last one goes."""
    for queue in "0123":
        up.verb("queue", "disable", "vm1:eth0", queue)
    assert bits(up) == [False] * 4
    link = c.kernel_link(up, "switch", "vm1:eth0")
    assert "LOWER_UP" in link["flags"]
    assert link["linkinfo"]["info_data"]["numdisabled"] == 4
    for queue in "3120":
        up.verb("queue", "enable", "vm1:eth0", queue)
    assert bits(up) == [True] * 4


@pytest.mark.parametrize("argv, words", (
    (("disable", "vm9:eth0", "0"), r'no node "vm9" \(did you mean "vm[12]"\?\)'),
    (("disable", "vm1:eth7", "0"), r'no interface "eth7" \(did you mean "eth[01]"\?\)'),
    (("disable", "vm1", "0"), '"vm1" is no interface: say NODE:INTERFACE'),
    (("disable", "pc:eth0", "0"), "pc:eth0 has no TAP, so no queues"),
    (("disable", "vm1:eth0", "4"), "vm1:eth0 has queues 0-3"),
    (("disable", "vm1:eth0", "4294967296"), "vm1:eth0 has queues 0-3"),
    (("disable", "vm1:eth0", "-1"), 'unknown option "-1"'),
    (("disable", "vm1:eth0", "two"), '"two" is no queue: it is a number, from 0'),
    (("disable", "vm1:eth0", ""), '"" is no queue'),
    (("disable", "vm1:eth1", "0"), "vm1:eth1 has one queue, which the kernel never detaches"),
    (("enable", "vm1:eth1", "0"), "vm1:eth1 has one queue, which the kernel never detaches"),
    (("disable", "vm1:eth1", "1"), "vm1:eth1 has one queue, 0"),
    (("remove", "vm1:eth0", "1"), "say enable or disable"),
    (("disable", "vm1:eth0"), "say enable or disable"),
    (("disable", "vm1:eth0", "1", "2"), "say enable or disable"),
))
def test_t13_mistakes(up, argv, words):
    said = up.verb("queue", *argv, status=2).stderr
    assert re.search(words, said), said
    assert bits(up) == [True] * 4


def test_t13_no_lab(lab):
    lab(LAB).verb("queue", "disable", "vm1:eth0", "0", status=3)


def test_t13_nobody_reads(lab):
    """The queues of a guest that has ended are detached at once; there is none to enable."""
    made = lab(LAB)
    made.up("-q")
    os.kill(c.program(made, "vm2")["pid"], signal.SIGKILL)
    c.wait("it has ended", lambda: c.program(made, "vm2")["state"] == "ended")
    link = c.kernel_link(made, "switch", "vm2:eth0")
    assert link["linkinfo"]["info_data"]["numdisabled"] == 2
    assert "NO-CARRIER" in link["flags"]
    for what in ("enable", "disable"):
        assert "its guest does not run" in made.verb("queue", what, "vm2:eth0", "0", status=3).stderr
    assert c.kernel_link(made, "switch", "vm2:eth0")["linkinfo"]["info_data"]["numdisabled"] == 2


FLOWS = range(10, 18)  # the guest's lwIP knows ten neighbours; of more at once it drops some


def test_t13_no_flow_is_lost(lab):
    """What was hashed to a queue that is then disabled comes by another, and is answered."""
    made = lab(f"""\
bridges: {{lan: {{subnet: none}}}}
nodes:
  pc: {{interfaces: {{eth0: {{bridge: lan, ipv4: [{", ".join(f"10.7.0.{n}/24" for n in FLOWS)}]}}}}}}
  vm1:
    kind: guest
    command: [{guest_program()}, --nic, "fds=${{eth0.fds}},mac=${{eth0.mac}},ip=${{eth0.ipv4-prefix}}"]
    ready: {{console: ^ready, timeout: 10s}}
    interfaces: {{eth0: {{bridge: lan, ipv4: 10.7.0.1/24, tap: {{queues: 4}}}}}}
""")
    made.up("-q")
    script = " ".join(f"ping -c 1 -W 3 -I 10.7.0.{n} 10.7.0.1 &" for n in FLOWS) + " wait"
    for change in ((), ("disable", 0), ("disable", 2), ("disable", 3), ("enable", 2), ("disable", 1)):
        if change:
            made.verb("queue", change[0], "vm1:eth0", change[1])
        said = made.exec("pc", "sh", "-c", script).stdout
        assert said.count(" 1 received") == len(FLOWS), (change, said)
    assert bits(made) == [False, False, True, False]
