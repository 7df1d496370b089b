# test_rundir.py - the run directory is its owner's alone: what another could have put there, or
# could look into, is refused before anything is made.
import os
import stat
import time

import faultlab
import pytest

LAB = "nodes: {r1: }\n"
VERBS = ("up", "down", "status", "exec", "logs", "gc")


@pytest.fixture(name="base")
def base_(tmp_path):
    return tmp_path / "run"


def verb(made, base, name, status):
    words = {"up": [made.file], "down": [made.name], "exec": ["r1", "true"], "gc": []}.get(name, [])
    return made.verb(name, *words, status=status, env={"TAPNET_RUN_DIR": str(base)})


def all_refuse(made, base, words, verbs=VERBS):
    for name in verbs:
        done = verb(made, base, name, None)
        assert done.returncode not in (0, None), name
        assert words in done.stderr + done.stdout, (name, done)


def test_0700(lab):
    made = lab("nodes: {r1: {services: {s: sleep 1000}, exec: 'true'}}\n")
    before = os.umask(0)
    try:
        made.up()
    finally:
        os.umask(before)
    folder = faultlab.run_dir() / made.name
    for path in (folder.parent, folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_a_link_in_its_place(lab, base, tmp_path):
    """At the labs' folder."""
    made = lab(LAB)
    (tmp_path / "else").mkdir(mode=0o700)
    base.symlink_to("else")
    all_refuse(made, base, f"{base} is not a folder: remove it")
    assert not list((tmp_path / "else").iterdir())


def test_a_link_in_the_labs_place(lab, base, tmp_path):
    made = lab(LAB)
    base.mkdir(mode=0o700)
    (tmp_path / "else").mkdir(mode=0o700)
    (base / made.name).symlink_to(tmp_path / "else")
    all_refuse(made, base, f"{base / made.name} is not a folder: remove it", ("up", "status", "down", "exec"))
    assert not list((tmp_path / "else").iterdir())


@pytest.mark.parametrize("of", ["base", "lab"])
def test_another_users(lab, base, of):
    made = lab(LAB)
    (base / made.name).mkdir(parents=True)
    for path in (base, base / made.name):
        path.chmod(0o700)
    os.chown(base if of == "base" else base / made.name, 12345, -1)
    all_refuse(made, base, "belongs to user 12345", ("up", "status", "down", "gc"))


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o711, 0o1777])
def test_open_to_others(lab, base, mode):
    made = lab(LAB)
    base.mkdir()
    base.chmod(mode)
    all_refuse(made, base, "chmod 700 it", ("up", "list"))


@pytest.mark.parametrize("name", ("lock", "journal", "control", "hosts", "journal.new", "r1.log"))
def test_pipes_in_it_are_not_waited_for(lab, base, name):
    """In the place of its files: verbs end, whatever they make of it."""
    made = lab("nodes: {r1: {exec: 'echo words', hooks: {up: 'true'}}}\n")
    (base / made.name).mkdir(parents=True)
    for path in (base, base / made.name):
        path.chmod(0o700)
    os.mkfifo(base / made.name / name)
    for what in ("up", "status", "down", "gc"):
        began = time.monotonic()
        verb(made, base, what, None)
        assert time.monotonic() - began < 20, what


def test_links_in_it_are_not_followed(lab, base, tmp_path):
    """Files of the lab's, put there as links by a mistake."""
    made = lab("nodes: {r1: {exec: 'echo words'}}\n")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("lock", "journal.new", "hosts", "r1.log"):
        folder = base / made.name
        folder.mkdir(parents=True)
        for path in (base, folder):
            path.chmod(0o700)
        (folder / name).symlink_to(victim)
        verb(made, base, "up", None)
        assert victim.read_text() == "precious", name
        verb(made, base, "down", None)
        if folder.exists():
            (folder / name).unlink(missing_ok=True)
            verb(made, base, "gc", None)
        assert not folder.exists(), name
        for path in base.glob("*.failed/*"):
            path.unlink()
        for path in base.glob("*.failed"):
            path.rmdir()
