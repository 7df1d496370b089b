# test_twins.py - two labs of one file, one name twice, and `up` of a lab that is there: the same
# plan, another one, --replace, half dead.
import os
import random
import signal

import pytest

import faultlab
from faultlab import start

LAB = """\
bridges: {lan: 10.1.0.0/24}
vars: {word: one}
hooks: {up: ./hook, down: ./hook}
nodes:
  r1: {exec: "echo ${word}"}
  r2: {}
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}}
links: [[r1, lan], [r2, lan], [r2, g1]]
"""


@pytest.fixture
def twin(lab, fault_bin):
    """twin(): a lab of LAB with its hook, in the sanitized build."""
    def make(text=LAB):
        made = lab(text, fault_bin)
        faultlab.script(made.file.parent / "hook", faultlab.HOOK)
        return made
    return make


def finish(started, seconds=60):
    """[(exit status, what it said)]"""
    return [(p.wait(seconds), said) for p in started for said in [p.communicate(timeout=seconds)[0]]]


def test_one_file_under_two_names_at_once(twin, snapshot):
    made = twin()
    before = snapshot()
    names = [f"{made.name[:28]}-{x}" for x in "ab"]
    ups = [start(made, "up", "--name", name, made.file) for name in names]
    assert [status for status, _ in finish(ups)] == [0, 0]
    assert len(faultlab.pids("tapnet-work")) == 2
    for name in names:
        made.verb("exec", "r1", "--", "ping", "-c1", "-W5", "r2", env={"TAPNET_LAB": name})
    downs = [start(made, "down", name) for name in names]
    assert [status for status, _ in finish(downs)] == [0, 0]
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    assert not faultlab.settle(before, snapshot)


def test_one_name_twice_at_once(twin, snapshot):
    made = twin()
    before = snapshot()
    for _ in range(5):
        faultlab.forget_hooks(made)
        ups = finish([start(made, "up", made.file) for _ in range(2)])
        won = [said for status, said in ups if status == 0 and "already up" not in said]
        assert len(won) == 1, ups
        for status, said in ups:
            assert status in (0, 3), ups
            assert status == 0 or "by another" in said, ups
        assert len(faultlab.pids("tapnet-work")) == 1
        made.down()
        assert not faultlab.unpaired(faultlab.hook_lines(made))
        assert not faultlab.settle(before, snapshot)


def test_ups_and_downs_of_one_name_at_once(twin, snapshot):
    """Never a leak, never a crash; whatever happened, `down` or `gc` ends it."""
    made = twin()
    before = snapshot()
    dice = random.Random(1)
    wrong = []
    for turn in range(6 if not faultlab.LONG else 60):
        verbs = [dice.choice((("up", made.file), ("down", made.name), ("up", "--replace", made.file),
                              ("gc",))) for _ in range(8)]
        for (status, said), verb in zip(finish([start(made, *v) for v in verbs]), verbs):
            expected = {"up": (0, 3, 5), "down": (0, 3), "gc": (0,)}[verb[0]]
            if status not in expected or "Sanitizer" in said:
                wrong.append(f"{turn}: {verb}: exit {status}: {said}")
    if made.is_there():
        made.down(status=None)
    assert not made.is_there()
    # A hook that `down` killed before its first word has its down hook all the same.
    wrong += [line for line in faultlab.unpaired(faultlab.hook_lines(made))
              if "without its up hook" not in line]
    wrong += faultlab.settle(before, snapshot)
    assert not wrong, "\n".join(wrong)


# --- a lab of this name is there -----------------------------------------------------------------

def test_same_plan_is_already_up(twin):
    made = twin()
    made.up()
    worker = faultlab.one("tapnet-work")
    assert "already up" in made.up().stdout
    assert faultlab.one("tapnet-work") == worker


def test_another_plan_is_refused_or_replaces(twin):
    made = twin()
    made.up()
    worker = faultlab.one("tapnet-work")
    other = made.up("--set", "word=two", status=3)
    assert "--replace" in other.stderr and str(made.file) in other.stderr
    assert faultlab.one("tapnet-work") == worker
    replaced = made.up("--replace", "--set", "word=two")
    assert "two" in replaced.stdout
    assert faultlab.one("tapnet-work") != worker
    log = faultlab.hook_lines(made)
    assert [e for e, w, _ in log if w == "lab"] == ["up", "down", "up"]


def test_replace_by_what_is_invalid_changes_nothing(twin):
    made = twin()
    made.up()
    worker = faultlab.one("tapnet-work")
    made.file.write_text(LAB.replace("bridges", "bridgs"))
    assert "did you mean" in made.up("--replace", status=2).stderr
    assert faultlab.one("tapnet-work") == worker
    made.exec("r1", "ping", "-c1", "-W5", "r2")
    made.file.write_text(LAB)


def test_half_dead_is_cleaned_first(twin, snapshot):
    made = twin()
    before = snapshot()
    made.up()
    victims = [faultlab.one("tapnet-guard"), faultlab.one("tapnet-work")]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # or one ends the lab when the other is dead
        for pid in victims:
            os.kill(pid, number)
    faultlab.wait("both dead", lambda: all(map(faultlab.gone, victims)))
    up = made.up("--set", "word=two")
    assert "cleaning up after a crash" in up.stderr
    log = faultlab.hook_lines(made)
    assert [(e, had["gone"]) for e, w, had in log if w == "g1:eth0"] == [
        ("up", ""), ("down", "1"), ("up", "")]
    faultlab.reap()
    made.down()
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    assert not faultlab.settle(before, snapshot)


def test_planted_leak(twin, snapshot):
    """The checks of this file see a down hook left out, and a process left."""
    made = twin()
    before = snapshot()
    hook, netns = (next(s["step"] for s in faultlab.steps(made) if s["op"] == op)
                   for op in ("hook", "netns"))
    made.up(env={"TAPNET_FAULT": f"leak@{hook},leak@{netns}"})
    made.down(status=None)
    assert faultlab.unpaired(faultlab.hook_lines(made)) == ["up hook of lab without its down hook"]
    assert any(line.startswith("process ") for line in faultlab.settle(before, snapshot, 0.3))
    faultlab.kill(*faultlab.pids("tapnet-guard"))
