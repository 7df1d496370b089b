# test_t12_steering.py - row T12: a program decides to which queue a frame goes: none (automq), always
# one, a hash over addresses and ports, or a program of the user's own. Counted a queue.
import re
import shutil
import time

import pytest

from taplab import said, tap_lab

FLOWS, FRAMES = 64, 4

SEND = """
import socket, sys
for flow in range({flows}):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("10.0.0.1", 20000 + flow))
        for _ in range({frames}):
            s.sendto(b"COUNT-ME", ("10.0.0.2", 9))
"""


def counts(made):
    """Frames a queue, of FLOWS flows of FRAMES frames each from the node to the guest."""
    made.exec("h", "ip", "neigh", "replace", "10.0.0.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0")
    made.exec("h", "python3", "-c", SEND.format(flows=FLOWS, frames=FRAMES))
    until = time.monotonic() + 10
    while sum(found := said(made, "g", "COUNTS")) < FLOWS * FRAMES and time.monotonic() < until:
        time.sleep(0.02)
    assert sum(found) == FLOWS * FRAMES, found
    return found


def of(lab, tap):
    made = lab(tap_lab(tap))
    made.up()
    return made, counts(made)


@pytest.mark.parametrize("queue", [0, 2, 3])
def test_t12_one_queue(lab, queue):
    _, found = of(lab, f"{{queues: 4, steering: queue {queue}}}")
    assert found == [FLOWS * FRAMES if k == queue else 0 for k in range(4)]


def test_t12_hash(lab):
    """Every queue has its share, and the frames of a flow stay together."""
    _, found = of(lab, "{queues: 4, steering: hash}")
    assert all(n > 0 and n % FRAMES == 0 for n in found), found


def test_t12_automq(lab):
    _, found = of(lab, "{queues: 4, steering: automq}")
    assert sum(n > 0 for n in found) > 1, found


def test_t12_only_attached_queues(lab):
    _, found = of(lab, "{queues: 4, enabled-queues: 2, steering: hash}")
    assert found[2:] == [0, 0] and all(found[:2]), found


def test_t12_object_file(lab, run, tmp_path):
    """The user's own program, from beside the lab."""
    assert shutil.which("clang"), "clang is needed to build the program"
    (tmp_path / "steer.c").write_text("""
struct __sk_buff { unsigned len; };
__attribute__((section("socket"), used)) int steer(struct __sk_buff *skb) { return skb->len ? 3 : 0; }
char _license[] __attribute__((section("license"), used)) = "GPL";
""")
    run(["clang", "-target", "bpf", "-O2", "-c", tmp_path / "steer.c", "-o", tmp_path / "steer.o"])
    _, found = of(lab, "{queues: 4, steering: steer.o}")
    assert found == [0, 0, 0, FLOWS * FRAMES]


@pytest.mark.parametrize("what, words", [("missing.o", "missing.o"), ("broken.o", "broken.o")])
def test_t12_object_file_that_is_none(lab, tmp_path, what, words):
    (tmp_path / "broken.o").write_text("no ELF file")
    made = lab(tap_lab(f"{{queues: 4, steering: {what}}}"))
    done = made.up(status=5)
    assert words in done.stderr and f"{made.file}:8:" in done.stderr


def test_t12_put_back_for_the_next_guest(lab):
    made, _ = of(lab, "{queues: 4, steering: queue 1}")
    made.verb("restart", "g")
    until = time.monotonic() + 10
    while len(re.findall("READY", made.verb("logs", "g").stdout)) < 2:
        assert time.monotonic() < until
    found = counts(made)
    assert found[1] == FLOWS * FRAMES, found
