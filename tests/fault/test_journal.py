# test_journal.py - a journal that is truncated, corrupt, of another version or of another boot: up,
# down, gc and list say so and touch nothing of the host.
import os
import struct
from pathlib import Path

import pytest

import faultlab

LAB = """\
bridges: {lan: 10.1.0.0/24}
hooks: {up: ./hook, down: ./hook}
nodes:
  r1: {interfaces: {eth0: lan}}
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: lan}}
"""
VERSION, BOOT_ID, BODY = 8, 16, 400  # offsets in the file; BODY: somewhere in meta and plan


def truncated(path):
    os.truncate(path, 100)


def short(path):
    os.truncate(path, path.stat().st_size - 64)


def empty(path):
    os.truncate(path, 0)


def poke(offset, data):
    def change(path):
        with open(path, "r+b") as journal:
            journal.seek(offset)
            journal.write(data)
    return change


def garbage(path):
    path.write_bytes(os.urandom(8192))


def endless(path):
    """Lengths that add up to more than there is."""
    poke(VERSION + 4, struct.pack("<I", 0xfffffff8))(path)


BAD = {
    "truncated": (truncated, "truncated"),
    "short": (short, "truncated"),
    "empty": (empty, "truncated"),
    "garbage": (garbage, "not a journal"),
    "version": (poke(VERSION, struct.pack("<I", 99)), "version 99"),
    "corrupt": (poke(BODY, b"\xff\xff\xff"), "corrupt"),
    "endless": (endless, "truncated"),
}


@pytest.fixture
def dead(lab, fault_bin):
    """A lab whose guardian and worker are dead, and its journal."""
    made = lab(LAB, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    made.up()
    victims = faultlab.kill_who("both")
    faultlab.wait("both dead, and all with them",
                  lambda: all(map(faultlab.gone, victims)) and not faultlab.pids("sleep"))
    faultlab.wait("the inits too", lambda: not faultlab.pids("tapnet-init"))
    folder = Path("/run/tapnet-lab") / made.name
    yield made, folder / "journal"
    for entry in folder.glob("*"):  # what the message says to do
        entry.unlink()
    if folder.exists():
        folder.rmdir()


@pytest.mark.parametrize("how", BAD)
def test_bad_journal(dead, snapshot, how):
    made, journal = dead
    change, words = BAD[how]
    change(journal)
    before = snapshot()
    for verb, status in (("list", 0), ("down", 6), ("gc", 6), ("up", 6)):
        said = made.verb(verb, *{"down": [made.name], "up": [made.file]}.get(verb, []), status=None)
        text = said.stdout + said.stderr
        assert said.returncode == status, f"{verb}: exit {said.returncode}: {text}"
        assert words in text or verb == "list", f"{verb}: {text}"
        assert made.name in text, f"{verb}: {text}"
        if verb != "list":  # how to go on
            assert f"rm -r {journal.parent}" in text, f"{verb}: {text}"
        assert snapshot() == before, verb
    assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up"]


@pytest.mark.parametrize("verb", ("down", "gc", "up"))
def test_journal_of_another_boot(dead, verb):
    """Nothing of it lives, not even what it says is there: it is only removed."""
    made, journal = dead
    poke(BOOT_ID, b"00000000-0000-0000-0000-000000000000")(journal)
    assert made.name in made.verb("list").stdout
    if verb == "up":
        made.up()
        assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up", "up"]
        made.down()
    else:
        made.verb(verb, *([made.name] if verb == "down" else []))
        assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up"]
    assert not made.is_there()


@pytest.mark.parametrize("how", ("garbage", "version", "corrupt"))
def test_living_lab_with_a_bad_journal(lab, fault_bin, snapshot, how):
    """Its processes have it mapped: what is read anew is bad, and `down` asks them all the same."""
    made = lab(LAB, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up()
    journal = Path("/run/tapnet-lab") / made.name / "journal"
    bad = journal.with_name("bad")
    bad.write_bytes(journal.read_bytes())
    bad.chmod(0o600)
    BAD[how][0](bad)
    bad.rename(journal)  # the guardian sees that its own is gone, and tears down: or `down` does
    made.down(status=None)
    faultlab.wait("it is gone", lambda: not faultlab.pids("tapnet-guard"))
    if made.is_there():
        made.verb("gc", status=None)
    assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up", "down"]
    assert not faultlab.settle(before, snapshot)


def test_living_lab_whose_journal_was_spoilt(lab, fault_bin, snapshot):
    """In place: `down` cannot read it, and asks the worker all the same."""
    made = lab(LAB, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    before = snapshot()
    made.up()
    BAD["corrupt"][0](Path("/run/tapnet-lab") / made.name / "journal")
    made.down()
    assert not made.is_there()
    assert [e for e, _, _ in faultlab.hook_lines(made)] == ["up", "down"]
    assert not faultlab.settle(before, snapshot)


def test_no_journal(lab, fault_bin, snapshot):
    """`up` was killed before it wrote one: there is a directory, and nothing else."""
    made = lab(LAB, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    folder = Path("/run/tapnet-lab") / made.name
    for verb in ("down", "gc", "up"):
        folder.mkdir(mode=0o700, parents=True)
        folder.parent.chmod(0o700)
        (folder / "journal.new").write_text("half")
        made.verb(verb, *{"down": [made.name], "up": [made.file]}.get(verb, []))
        assert made.is_there() == (verb == "up")


@pytest.mark.parametrize("mode, owner", ((0o755, 0), (0o700, 1000)))
def test_directory_that_is_not_ours_alone(lab, fault_bin, mode, owner):
    """Somebody else's directory, or one open to others, is not trusted."""
    made = faultlab.with_hook(lab(LAB, fault_bin))
    folder = Path("/run/tapnet-lab") / made.name
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    os.chown(folder, owner, owner)
    folder.chmod(mode)
    try:
        said = made.up(status=4).stderr
        assert str(folder) in said and ("chmod 700" in said or "belongs to user" in said)
        assert not list(folder.glob("*"))
    finally:
        folder.rmdir()
