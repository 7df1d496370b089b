# test_conflicts.py - options that exclude each other. Each is told at its own place; nothing is made.
import os

import pytest

import contractlab as c
import taplab
from taplab import errors, tap_lab

FDS = [
    ("name", "name: tap0"), ("vnet-hdr", "vnet-hdr: on"), ("helper", "helper: [./helper]"),
    ("queues", "queues: 2"),
]


def only(lab, tap, key, more=""):
    """The one error is about that key, at its place."""
    text = tap_lab(tap, more, node=" fds" not in tap and "{fds" not in tap and "helper" not in tap)
    (line, col, message), = errors(lab(text))
    assert message.startswith(f'"{key}" does not go with') or key in message, message
    assert text.splitlines()[line - 1][col - 1:].startswith(key)
    return message


@pytest.mark.parametrize("key, text", FDS, ids=[key for key, _ in FDS])
def test_fds_and(lab, key, text):
    only(lab, f"{{fds: [5, 6], {text}}}", key)


def test_fds_and_hooks(lab):
    only(lab, "{fds: [5, 6]}", "hooks", ", hooks: {up: date}")


def test_fds_and_hooks_when_the_file_says_so(lab):
    """adopt-hooks: true; what is then wrong is only that nobody hands fd 5 over."""
    made = lab(tap_lab("{fds: [5], adopt-hooks: true}", ", hooks: {up: date}", node=False))
    done = made.up(status=2)
    assert "fd 5 is not open" in done.stderr


@pytest.mark.parametrize("key, text", [("name", "name: tap0"), ("vnet-hdr", "vnet-hdr: on"),
                                       ("queues", "queues: 2"), ("vhostfds", "vhostfds: [7]")],
                         ids=["name", "vnet-hdr", "queues", "vhostfds"])
def test_helper_and(lab, key, text):
    only(lab, f"{{helper: [./helper], {text}}}", key)


def test_create_and_vhostfds(lab):
    assert "source: create" in only(lab, "{source: create, vhostfds: [7]}", "vhostfds")


@pytest.mark.parametrize("key, text", [("vhostfds", "fds: [5], vhostfds: [7]"),
                                       ("poll-us", "poll-us: 50")], ids=["vhostfds", "poll-us"])
def test_vhost_off_and(lab, key, text):
    assert "vhost: off" in only(lab, f"{{vhost: off, {text}}}", key)


def test_counts_of_fds_and_vhostfds(lab):
    (_, _, message), = errors(lab(tap_lab("{fds: [5, 6], vhostfds: [7]}", node=False)))
    assert message == "1 vhostfds for 2 fds: it is one a queue"


def test_all_are_told_in_one_run(lab):
    """Every error of the file, each with its line and column."""
    found = errors(lab(tap_lab("{fds: [5, 6], name: tap0, vnet-hdr: on, queues: 2, vhost: off, "
                               "vhostfds: [7, 8]}", ", hooks: {up: date}", node=False)))
    assert len(found) == 5
    assert len({(line, col) for line, col, _ in found}) == 5


@pytest.fixture
def two():
    """Two queues of two devices: the first has a vnet header."""
    fds = taplab.open_tap("one0", c.IFF_VNET_HDR) + taplab.open_tap("two0")
    yield fds
    for fd in fds:
        os.close(fd)


def test_fds_with_and_without_a_vnet_header(lab, two):
    """Different devices as well: this is found when they are adopted, at the line of fds."""
    made = lab(tap_lab(f"{{fds: {two}}}", node=False))
    done = made.up(status=5, pass_fds=two)
    assert f"fd {two[0]}" in done.stderr or f"fd {two[1]}" in done.stderr
    assert f"{made.file}:8:" in done.stderr
    assert taplab.state(two[0])["flags"] == ["no_pi", "tap", "vnet_hdr"]
    assert taplab.state(two[1])["flags"] == ["no_pi", "tap"]


def test_fds_of_two_devices(lab):
    """The emulator takes two devices for one list of queues."""
    fds = taplab.open_tap("one0") + taplab.open_tap("two0")
    try:
        done = lab(tap_lab(f"{{fds: {fds}}}", node=False)).up(status=5, pass_fds=fds)
        assert "one0" in done.stderr and "two0" in done.stderr
    finally:
        for fd in fds:
            os.close(fd)


def test_the_same_queue_twice_under_two_numbers(lab):
    """The same number twice is refused in the file; one queue behind two numbers when adopted."""
    fds = taplab.open_tap("one0", c.IFF_MULTI_QUEUE)
    fds.append(os.dup(fds[0]))
    os.set_inheritable(fds[1], True)
    try:
        done = lab(tap_lab(f"{{fds: {fds}}}", node=False)).up(status=5, pass_fds=fds)
        assert f"fds {fds[0]} and {fds[1]} are the same queue" in done.stderr
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("tap, message", [
    ("{queues: 0}", '"queues" is a number from 1 to 256, not "0"'),
    ("{queues: 257}", '"queues" is a number from 1 to 256, not "257"'),
    ("{fds: []}", '"fds" is empty'),
    ("{fds: [5, 5]}", "fd 5 is there twice"),
    ('{fds: "5:"}', '"fds" is a list of numbers, not "5:"'),
    ("{name: a-name-of-16-chars}", 'the name "a-name-of-16-chars" has 18 characters; 15 at most'),
    ('{name: "tap%d"}', '"tap%d" is no name'),
    ("{fds: [0]}", "fd 0 is standard input; a device's is 3 or above"),
    ("{fds: [1]}", "fd 1 is standard output; a device's is 3 or above"),
    ("{fds: [2]}", "fd 2 is standard error; a device's is 3 or above"),
], ids=lambda value: value if value[0] == "{" else "")
def test_what_the_emulator_takes_or_aborts_on(lab, tap, message):
    (_, _, told), = errors(lab(tap_lab(tap, node=False) if "fds" in tap else
                               f"bridges: {{lan: }}\nnodes: {{g: {{kind: guest, command: x, "
                               f"interfaces: {{eth0: {{bridge: lan, tap: {tap}}}}}}}}}\n"))
    assert told == message
