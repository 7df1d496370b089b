# test_hooks.py - root executes no hook that others could have written: what is opened is judged,
# and what was judged is executed.
import os
import re
import shutil
import time

import faultlab
import pytest

ALICE = 12345
ONE = "hooks: {up: ./hook, down: ./hook}\nnodes: {r1: }\n"
HOOK = "#!/bin/sh\necho $TAPNET_EVENT $0 >> ran\n"


@pytest.fixture(name="made")
def one(lab):
    made = lab(ONE)
    faultlab.script(made.file.parent / "hook", HOOK)
    return made


def ran(made):
    log = made.file.parent / "ran"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def refused(made, *words):
    """At its place in the file, before anything is made."""
    said = made.up(status=2).stderr
    assert f"{made.file}:1:" in said and 'hook "./hook"' in said and "nothing was made" in said, said
    for word in words + ("--trust-hooks",):
        assert word in said, said
    assert not made.is_there() and not ran(made)


def trusted(made, *options):
    made.up(*options)
    made.down()
    assert ran(made) == ["up", "down"]


def test_writable_by_others(made):
    (made.file.parent / "hook").chmod(0o777)
    refused(made, str(made.file.parent / "hook"), "written by others (mode 777)", "chmod go-w")


def test_trust_hooks_lasts_until_down(made):
    (made.file.parent / "hook").chmod(0o777)
    trusted(made, "--trust-hooks")


def test_run_has_the_option_too(made):
    (made.file.parent / "hook").chmod(0o777)
    said = made.verb("run", made.file, "--", "true", status=125).stderr
    assert "written by others" in said
    made.verb("run", "--trust-hooks", made.file, "--", "true")
    assert ran(made) == ["up", "down"]


def test_writable_by_a_group_of_several(made):
    os.chown(made.file.parent / "hook", 0, ALICE)
    (made.file.parent / "hook").chmod(0o775)
    refused(made, "written by others (mode 775)")


def test_writable_by_roots_group(made):
    (made.file.parent / "hook").chmod(0o775)
    trusted(made)
    assert "down ./hook\n" in (made.file.parent / "ran").read_text(), "$0 is as the file has it"


def test_of_another_user(made):
    os.chown(made.file.parent / "hook", ALICE, -1)
    refused(made, f"belongs to user {ALICE}")


def test_of_the_lab_files_owner(made):
    """A user's checkout works with sudo: who wrote the commands may write the scripts."""
    for path in (made.file.parent / "hook", made.file, made.file.parent):
        os.chown(path, ALICE, -1)
    trusted(made)


def test_folder_of_another_user(made):
    os.chown(made.file.parent, ALICE, -1)
    refused(made, f"belongs to user {ALICE}")


def test_folder_writable_by_others(made):
    made.file.parent.chmod(0o777)
    refused(made, "written by others (mode 777)")


def test_folder_as_tmp_is(made):
    """With the sticky bit others put files there, but not in the place of ours."""
    made.file.parent.chmod(0o1777)
    trusted(made)


def test_a_link_is_what_it_points_at(made):
    hook = made.file.parent / "hook"
    hook.rename(hook.with_name("real"))
    hook.symlink_to("real")
    hook.with_name("real").chmod(0o777)
    refused(made, str(hook.with_name("real")))
    hook.with_name("real").chmod(0o755)
    trusted(made)


def test_a_fifo_does_not_hang(made):
    hook = made.file.parent / "hook"
    hook.unlink()
    os.mkfifo(hook, 0o755)
    began = time.monotonic()
    assert "it is not a file" in made.up(status=2).stderr
    assert "it is not a file" in made.up("--trust-hooks", status=2).stderr
    assert time.monotonic() - began < 5


def test_down_hook_is_judged_before_its_up_hook_runs(lab):
    made = lab("hooks: {up: ./fine, down: ./hook}\nnodes: {r1: }\n")
    faultlab.script(made.file.parent / "fine", HOOK)
    faultlab.script(made.file.parent / "hook", HOOK).chmod(0o777)
    refused(made, "written by others")


@pytest.mark.parametrize("which", ("up", "down"))
def test_judged_again_at_its_step(lab, which):
    """What is fine when `up` begins, and others can write when its turn comes: it is not run, nor its
    up hook, and all is undone."""
    made = lab("hooks: {up: 'chmod 777 WHICH'}\nnodes: {r1: {hooks: {up: ./up, down: ./down}}}\n".replace("WHICH", which))
    for name in ("up", "down"):
        faultlab.script(made.file.parent / name, HOOK)
    said = made.up(status=5).stderr
    assert f'{which} hook "./{which}"' in said and "written by others (mode 777)" in said, said
    assert f"{made.file}:2:" in said and not made.is_there() and not ran(made), said


def test_down_hook_that_others_wrote_meanwhile(made):
    """It is not run, and that is told; `gc` then takes away what is left."""
    made.up()
    (made.file.parent / "hook").chmod(0o777)
    said = made.down(status=6)
    assert "written by others" in said.stdout + said.stderr
    made.verb("gc", status=None)
    assert ran(made) == ["up"] and not made.is_there()


def test_interface_and_node_hooks_too(lab):
    for text in ("nodes: {r1: {hooks: {up: [./hook, word]}}}\n",
                 "nodes: {r1: {interfaces: {eth0: {bridge: lan, hooks: {up: ./hook}}}}}\nbridges: {lan: }\n",
                 "hooks: {up: ./hook with words}\nnodes: {r1: }\n"):
        made = lab(text)
        faultlab.script(made.file.parent / "hook", HOOK).chmod(0o777)
        refused(made, "written by others")


def test_a_lab_file_that_everybody_can_write_is_told(made):
    """Not refused: root named it, and checkouts of CI are often so. What it names is judged."""
    made.file.chmod(0o666)
    said = made.up().stderr
    assert "careful: everybody can write" in said and "(mode 666)" in said and "chmod o-w" in said, said
    made.down()
    assert "careful" not in made.up("--trust-hooks").stderr
    made.down()
    (made.file.parent / "hook").chmod(0o777)
    (made.file.parent / "ran").unlink()
    refused(made, "written by others")


# --- how it is executed ---------------------------------------------------------------------------

def executed(run, made, bin_):
    trace = made.file.parent / "trace"
    run(["strace", "-f", "-qq", "-s", "300", "-e", "trace=execve,execveat", "-o", trace, bin_, "run",
         made.file, "--", "true"])
    return [line for line in trace.read_text().splitlines() if " = 0" in line]


def test_a_program_by_its_fd(lab, run, bin, needs):
    """It has no fd more for it."""
    needs("strace")
    made = lab("hooks: {up: [./hook, -l, /proc/self/fd], down: 'true'}\nnodes: {r1: }\n")
    shutil.copy("/bin/ls", made.file.parent / "hook")
    calls = executed(run, made, bin)
    assert any(re.search(r'execveat\(\d+, "", \["./hook", .*AT_EMPTY_PATH', c) for c in calls), calls
    made.up()
    said = made.verb("logs").stdout
    assert re.findall(r" (\d+) -> ", said) == ["0", "1", "2", "3"], said  # 3: ls's own


def test_a_script_by_the_name_that_was_judged(lab, run, bin, needs):
    """Not by that of the file, which is a link here."""
    needs("strace")
    made = lab("hooks: {up: ./link}\nnodes: {r1: }\n")
    real = faultlab.script(made.file.parent / "real", "#!/bin/sh\nls -l /proc/self/fd\n")
    (made.file.parent / "link").symlink_to("real")
    calls = executed(run, made, bin)
    assert any(f'execve("{real}", ["./link"]' in c for c in calls), calls
    made.up()
    said = made.verb("logs").stdout
    assert re.findall(r" (\d+) -> ", said) == ["0", "1", "2", "3"], said
