# test_t02_create.py - row T2: a device is made with the flags that were asked for, read back from
# the kernel: a vnet header as wanted, several queues only when more than one is asked for.
import json

import pytest

from taplab import said, tap_lab


@pytest.mark.parametrize("tap, flags", [
    ("{}", []),
    ("{vnet-hdr: auto}", []),
    ("{vnet-hdr: off}", []),
    ("{vnet-hdr: on}", ["vnet_hdr"]),
    ("{queues: 1}", []),
    ("{queues: 3}", ["multi_queue"]),
    ("{queues: 2, vnet-hdr: on}", ["multi_queue", "vnet_hdr"]),
    ("{queues: 256}", ["multi_queue"]),
])
def test_t02_flags(lab, tap, flags):
    """In the lab's own namespaces a device persists as long as they do."""
    made = lab(tap_lab(tap))
    made.up()
    states = said(made, "g", "STATE")
    for state in states:
        assert state["flags"] == sorted(["tap", "no_pi", "persist", *flags])
    assert len(states) == (int(tap.split("queues: ")[1].split(",")[0].strip("}"))
                           if "queues" in tap else 1)


def test_t02_the_kernel_has_as_many_queues(lab):
    made = lab(tap_lab("{queues: 3}"))
    made.up()
    link, = json.loads(made.exec("h", "ip", "-d", "-j", "link", "show", "eth0").stdout)
    assert link["linkinfo"]["info_data"]["multi_queue"] and link["linkinfo"]["info_data"]["numqueues"] == 3


def test_t02_a_name_is_whole(lab):
    """15 characters are the kernel's limit: they are used as they are."""
    made = lab("bridges: {lan: 10.0.0.0/24}\n" + tap_lab("{name: fifteen-letters}", node=False)
               .replace("eth0: {tap", "eth0: {bridge: lan, tap"))
    made.up()
    assert said(made, "g", "STATE")[0]["name"] == "fifteen-letters"


def test_t02_queues_are_nonblocking(lab):
    made = lab(tap_lab("{queues: 2}"))
    made.up()
    pid = json.loads(made.verb("status", "--format", "json").stdout)["nodes"][1]["programs"][0]["pid"]
    for fd in (3, 4):
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as info:
            flags = next(line for line in info if line.startswith("flags:"))
        assert int(flags.split()[1], 8) & 0o4000  # O_NONBLOCK
