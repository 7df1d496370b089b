# test_meets_file.py - the lab file is changed, spoilt, moved or gone while its lab is up, or one of its
# nodes has another name there: the lab is what it was when it came up, and `down` takes it down.
import os

import pytest

import faultlab

LAB = """\
hooks: {up: ./hook, down: ./hook}
bridges: {lan: 10.1.0.0/24}
nodes:
  r1: {interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}}
  g1: {kind: guest, command: exec sleep 1000, interfaces: {eth0: lan}}
"""
CHANGES = {
    "changed": lambda made: made.file.write_text(LAB.replace("10.1.0", "10.2.0")),
    "its name": lambda made: made.file.write_text("name: another\n" + LAB),
    "spoilt": lambda made: made.file.write_text("nodes: [\n"),
    "unreadable": lambda made: (made.file.unlink(), made.file.mkdir()),
    "gone": lambda made: made.file.unlink(),
    "a pipe": lambda made: (made.file.unlink(), os.mkfifo(made.file)),
}


@pytest.fixture
def up(lab, fault_bin, tmp_path):
    """The lab, up, with another one beside it, so that nothing is clear by itself."""
    other = lab("nodes: {r1: {}}\n", fault_bin)
    made = lab(LAB, fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    other.up()
    made.up()
    yield made
    assert other.is_there()


def check(made):
    assert not made.is_there()
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    assert [w for e, w, _ in faultlab.hook_lines(made) if e == "down"] == ["r1:eth0", "lab"]


@pytest.mark.parametrize("operand", ("name", "file", "path"))
@pytest.mark.parametrize("how", CHANGES)
def test_file_changed_before_down(up, how, operand):
    made = up
    CHANGES[how](made)
    status = made.verb("status").stdout
    assert made.name in status and ("file has changed" in status or "changed" in status), status
    made.verb("down", {"name": made.name, "file": made.file.name, "path": made.file}[operand])
    check(made)


@pytest.mark.parametrize("how", ("its name", "spoilt", "gone", "a pipe"))
def test_lab_yaml_changed_before_down(lab, fault_bin, how):
    """The file of the folder, without a word of which."""
    made, other = lab(LAB, fault_bin), lab("nodes: {r1: {}}\n", fault_bin)
    faultlab.script(made.file.parent / "hook", faultlab.HOOK)
    made.file = made.file.rename(made.file.with_name("lab.yaml"))
    made.up("--name", made.name)
    other.up()
    CHANGES[how](made)
    down = made.verb("down", env={"TAPNET_LAB": ""})
    assert made.name in down.stdout
    check(made)
    assert other.is_there()


def test_folder_gone_before_down(up, tmp_path):
    """Hooks run in the root folder then, and a relative one is told; all else is undone."""
    made = up
    away = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-away"))
    try:
        done = faultlab.subprocess.run([made.bin, "down", made.name], capture_output=True, text=True,
                                       cwd="/", check=False, timeout=30)
        assert done.returncode == 6 and "could not start" in done.stderr, done
        assert not faultlab.pids("sleep")
        faultlab.subprocess.run([made.bin, "gc"], cwd="/", check=True)
        assert not made.is_there()
    finally:
        away.rename(tmp_path)


def test_two_labs_of_one_file_that_is_gone(up):
    """Then the file says nothing: their names do."""
    made = up
    made.verb("up", "-q", "--name", made.name[:20] + "-twin", made.file)
    made.file.unlink()
    said = made.verb("down", made.file, status=2).stderr
    assert made.file.name in said and "No such file" in said, said
    assert made.is_there()
    made.verb("down", made.name[:20] + "-twin")
    made.verb("down", made.file)
    assert not made.is_there() and not faultlab.unpaired(faultlab.hook_lines(made))


def test_node_renamed_while_it_is_up(up):
    """By its old name until the lab is replaced."""
    made = up
    made.file.write_text(LAB.replace("r1:", "router:"))
    assert made.exec("r1", "hostname").stdout == "r1\n"
    said = made.exec("router", "true", status=None)
    assert said.returncode == 125 and 'no node "router" (tapnet-lab status)' in said.stderr, said
    assert "changed" in made.verb("status").stdout
    said = made.up(status=3).stderr
    assert "up --replace" in said, said
    made.up("--replace")
    assert made.exec("router", "hostname").stdout == "router\n"
    made.down()
    ups = [w for e, w, _ in faultlab.hook_lines(made) if e == "up"]
    assert ups == ["lab", "r1:eth0", "lab", "router:eth0"]
    assert not faultlab.unpaired(faultlab.hook_lines(made))
