# test_soak_twins.py - sixteen ups, downs, replaces and gcs at once, of one name and of others, round
# after round: whoever wins, nothing is left, and no lab harms another.
import functools
import time

import pytest

import faultlab
import soaklab
from soaklab import Figures, Watch

AT_ONCE = 16
NAMES = 5  # the labs of a round; each is named by about three of its verbs
EXPECTED = {"up": (0, 3, 5), "down": (0, 3), "gc": (0,)}
hostbr = pytest.fixture(faultlab.host_bridge)


def verbs(made, dice):
    """[(lab, verb, …)]: half of them of the first name."""
    for _ in range(AT_ONCE):
        one = made[0] if dice.random() < 0.5 else dice.choice(made)
        yield one, *dice.choice((("up", one.file), ("up", one.file), ("down", one.name),
                                 ("up", "--replace", one.file), ("gc", one.name)))


def one_round(made, dice, figures):
    begin, said = time.monotonic(), made[0].file.parent
    running = []
    for i, (one, *argv) in enumerate(verbs(made, dice)):
        running.append((argv, soaklab.begin(one, *argv, log=said / f"said.{i}"), said / f"said.{i}"))
    for argv, process, log in running:
        status = soaklab.wait_end(process, 30)
        figures.took(time.monotonic() - begin, " ".join(map(str, argv)))
        if status is None:
            process.kill()
            process.wait()
        if status not in EXPECTED[argv[0]]:
            figures.wrong.append(f"{argv}: exit {status}: {log.read_text(errors='replace')}")


def check(made, figures, turn):
    soaklab.together([(one.name, functools.partial(soaklab.end, one, figures, turn))
                      for one in made if one.is_there()], figures)
    for one in made:
        if one.is_there():
            figures.leak(turn, [f"{one.name} is there after down"])
        figures.leak(turn, soaklab.unpaired(one))


def test_sixteen_at_once(lab, bin, fault_bin, hostbr, snapshot):
    made = [soaklab.tiny(lab, fault_bin if i == 1 else bin) for i in range(NAMES)]
    dice, watch, figures = soaklab.dice("twins"), Watch(snapshot), Figures("16 ups and downs at once")
    for _ in soaklab.runs(figures, 20, 2000):
        turn = f"round {figures.runs}"
        one_round(made, dice, figures)
        check(made, figures, turn)
        figures.leak(turn, watch.left())
    figures.leak("end", watch.left(full=True))
    figures.judge()


def test_planted(lab, fault_bin, hostbr, snapshot):
    """A down hook left out, and a process left."""
    made = soaklab.tiny(lab, fault_bin)
    watch, figures = Watch(snapshot), Figures("planted")
    netns = next(s["step"] for s in faultlab.steps(made) if s["op"] == "netns")
    made.up(env={"TAPNET_FAULT": f"leak@{netns}"})
    with open(soaklab.hook_log(made), "a", encoding="utf-8") as log:
        log.write("up planted\n")  # and never down
    check([made], figures, "planted")
    figures.leak("planted", watch.left(0.3))
    assert [x for x in figures.leaks if "without its down hook" in x], figures.leaks
    assert [x for x in figures.leaks if "process" in x], figures.leaks
    faultlab.kill(*(pid for pid, name in soaklab.below().items() if name.startswith("tapnet")))
    soaklab.reap()
