# test_dev.py - the ./dev script: its help, its table of packages, what it does when told nonsense.
import re
import shutil
import time

import pytest

from conftest import TOP

DEV = (TOP / "dev").read_text(encoding="utf-8")
TABLE = [row.split() for row in re.search(r"^packages='\n(.*?)^'", DEV, re.M | re.S)[1].splitlines()]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_every_thing_has_a_probe_and_four_packages(row):
    assert len(row) == 6
    assert re.match(r"(cmd|static|pc|file|py|gcc|clang):\S+$", row[1])
    assert any(package != "-" for package in row[2:])


def test_every_need_is_in_the_table_and_the_other_way_round():
    needs = re.findall(r"^to_\w+=\((.*)\)|need .*\[@\]\}\" (\w+)$", DEV, re.M)
    named = {name for need in needs for name in " ".join(need).split() if not name.startswith('"')}
    assert sorted(named) == sorted(row[0] for row in TABLE)


@pytest.mark.parametrize("args", [(), ("help",), ("--help",)])
def test_help_names_every_verb(run, args):
    out = run([TOP / "dev", *args]).stdout
    for verb in re.findall(r"^(\w+)\)", DEV[DEV.index('case $verb in'):], re.M):
        assert f"./dev {verb}" in out


def test_unknown_verb_is_usage(run):
    assert "./dev build" in run([TOP / "dev", "biuld"], status=2).stderr


@pytest.fixture
def bare(tmp_path):
    """A PATH with bash and little else: nothing of the table but what is not a command."""
    for name in ("bash", "dirname", "readlink", "sort", "env", "stat"):
        (tmp_path / name).symlink_to(shutil.which(name))
    text = DEV.replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH\n", f"PATH={tmp_path}\n")
    (tmp_path / "dev").write_text(text.replace("EUID == 0", "0"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("manager, gcc, yaml", [
    ("apt-get", "gcc", "libyaml-dev"), ("dnf", "gcc", "libyaml-devel"),
    ("pacman", "gcc", "libyaml"), ("apk", "gcc", "yaml-dev")])
def test_without_root_it_says_what_is_missing(run, bare, manager, gcc, yaml):
    (bare / manager).symlink_to("/bin/true")
    err = run(["bash", bare / "dev", "deps"], status=1).stderr
    assert "run: sudo ./dev deps" in err
    assert {gcc, yaml} <= set(re.search(r"missing: (.*);", err)[1].split())


def test_nothing_to_do_is_quick(run):
    if not shutil.which("meson") or not (TOP / "build/build.ninja").exists():
        pytest.skip("needs a finished build")
    run([TOP / "dev", "build"], timeout=300)
    begin = time.monotonic()
    run([TOP / "dev", "build"])
    assert time.monotonic() - begin < 2  # 0.2 s on an idle machine
