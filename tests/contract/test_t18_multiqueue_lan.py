# test_t18_multiqueue_lan.py - T18: a network of more than two ends takes guests with several queues:
# a bridge of the lab's or, where three plug into one link, an anonymous one, and no hub that would
# ask for one queue. Three guests of four queues each; all ping all, and every queue is attached.
import re

import pytest

import contractlab as c
from netlab import guest_program

GUEST = """\
  vm@:
    kind: guest
    command: [PROGRAM, "--nic=fds=${eth0.fds},mac=${eth0.mac},ip=${eth0.ipv4-prefix}", TO]
    interfaces: {eth0: {ipv4: 10.0.0.@/24, tap: {queues: 4}BRIDGE}}
    ready: {console: ^ready, timeout: 10s}
"""
GUESTS = range(1, 4)


def text(on_bridge):
    nodes = "".join(GUEST.replace("@", str(n)).replace("PROGRAM", str(guest_program())).replace("TO", ", ".join(
        f"--ping=10.0.0.{to}" for to in GUESTS if to != n)).replace(
            "BRIDGE", ", bridge: lan" if on_bridge else "") for n in GUESTS)
    if on_bridge:
        return f"bridges: {{lan: {{subnet: none}}}}\nnodes:\n{nodes}"
    return f"nodes:\n{nodes}links: [[vm1:eth0, vm2:eth0, vm3:eth0]]\n"


@pytest.mark.parametrize("on_bridge", (True, False), ids=("bridge", "link"))
def test_t18_three_guests_of_four_queues(lab, on_bridge):
    made = lab(text(on_bridge))
    made.up("-q")
    ports = [c.kernel_link(made, "switch", f"vm{n}:eth0") for n in GUESTS]
    assert len({port["master"] for port in ports}) == 1
    for n, port in zip(GUESTS, ports):
        data = port["linkinfo"]["info_data"]
        assert data["multi_queue"] and (data["numqueues"], data["numdisabled"]) == (4, 0), data
        assert [q["state"] for q in c.tap(made, f"vm{n}")["queues"]] == ["attached"] * 4
        assert len(c.fdinfo(c.program(made, f"vm{n}")["pid"])) == 4

    def heard():
        return {(n, int(to)) for n in GUESTS for to in
                re.findall(r"^reply from 10\.0\.0\.(\d):", made.verb("logs", f"vm{n}").stdout, re.M)}
    c.wait("each hears of each", lambda: heard() == {(n, to) for n in GUESTS for to in GUESTS if to != n})
    assert made.verb("status", "--check").stdout.endswith("no problems\n")
