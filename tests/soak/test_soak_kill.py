# test_soak_kill.py - SIGKILL of worker, guardian and both: before and after every step of the plan,
# by the build with sanitizers, several labs at once; and from outside, at any time, of the build that
# users run, one after the other, which tells how long it takes until nothing is left.
import functools
import signal
import time

import pytest

import faultlab
import soaklab
from soaklab import Figures, Watch

WHO = ("worker", "guardian", "both")
AT_ONCE = 5
IN_TEST = 350, 150  # at every step, at any time: 500
ANSWERS = ("tapnet-guard", "tapnet-work", "tapnet-lab")  # who waits for the kernel before it answers
hostbr = pytest.fixture(faultlab.host_bridge)


def kill_at(made, fault, figures):
    """`up` with a kill in it; all is undone by who is left, or by `up` itself."""
    begin = time.monotonic()
    up = soaklab.begin(made, "up", made.file, env={"TAPNET_FAULT": fault})
    status = soaklab.wait_end(up, 30)
    figures.took(time.monotonic() - begin, fault)
    said = soaklab.said(made, "up")
    if status is None:
        up.kill()
        up.wait()
    if status == 0 and "kill-guardian" in fault:  # in the last moment: it is up, and comes down
        faultlab.wait("it comes down by itself", lambda: not made.is_there(), reap=False)
    elif status == 0:
        figures.lies.append(f"{fault}: exit 0: {said}")
    elif status != 5:
        figures.wrong.append(f"{fault}: exit {status}: {said}")
    if made.is_there():
        figures.leak(fault, ["its run directory"])
        soaklab.end(made, figures, fault, "gc", (0,))
    figures.leak(fault, soaklab.unpaired(made))


def each(faults, dice):
    """All in any order, and again."""
    while True:
        dice.shuffle(faults)
        yield from faults


def test_kill_at_every_step(lab, fault_bin, hostbr, snapshot):
    made = [soaklab.tiny(lab, fault_bin) for _ in range(AT_ONCE)]
    n = len(faultlab.steps(made[0]))
    faults = [f"kill-{who}@{at}{after}" for who in WHO for at in range(1, n + 1)
              for after in ("", "+")]
    dice, watch, figures = soaklab.dice("steps"), Watch(snapshot), Figures("SIGKILL at every step")
    following = each(faults, dice)
    for _ in soaklab.runs(figures, IN_TEST[0], 15000, 2, AT_ONCE):
        turn = [(next(following), one) for one in made]
        soaklab.together([(fault, functools.partial(kill_at, one, fault, figures))
                          for fault, one in turn], figures)
        figures.leak(" | ".join(fault for fault, _ in turn), watch.left())
    figures.leak("end", watch.left(full=True))
    figures.judge()


# --- from outside, at any time --------------------------------------------------------------------

def victims(made, who):
    """(those that are there, who is left), the worker stopped first if both are to die: it has no
    time to mend."""
    worker, guardian = (soaklab.of_lab(made, name) for name in ("tapnet-work", "tapnet-guard"))
    if who == "both" and worker:
        soaklab.send(worker, signal.SIGSTOP)
    found = {"worker": [worker], "guardian": [guardian], "both": [worker, guardian]}[who]
    return [pid for pid in found if pid], guardian if who == "worker" else worker


def settle(made, watch, figures, found, left, up):
    """Kills, and waits until nothing is left; of both, `gc` follows at their end, or the `up` under way
    does its work. (how long, how much of it who takes the lab down waited
    for a processor, the verb that does it)"""
    both, verb = len(found) == 2, up
    left = up.pid if up and both else left
    waits, begin = soaklab.waited(left), time.monotonic()
    for pid in found:
        soaklab.send(pid, signal.SIGKILL)
    while made.is_there() or not watch.settled(ANSWERS if verb else ()):
        if both and (not verb or (verb is up and up.poll() is not None)) and not soaklab.alive(found):
            verb, waits = soaklab.begin(made, "gc", made.name), 0.0
            left = verb.pid
        soaklab.reap(left)
        if time.monotonic() - begin > soaklab.LONGEST:
            figures.wrong.append(f"not settled in {soaklab.LONGEST} s: {watch.left(0)}")
            break
        time.sleep(0.001)
    return time.monotonic() - begin, soaklab.waited(left) - waits, verb


def kill_once(made, dice, typical, watch, figures):
    """At rest, or while it goes up; how long that takes is typical."""
    who, in_up = dice.choice(WHO), dice.random() < 0.4
    quiet = soaklab.Quiet() if in_up else None
    begin = time.monotonic()
    up = soaklab.begin(made, "up", made.file)
    if in_up:
        time.sleep(dice.random() * typical)
    elif soaklab.wait_end(up, 30) != 0:
        figures.wrong.append(f"up: {soaklab.said(made, 'up')}")
    else:
        typical = min(0.9 * typical + 0.1 * (time.monotonic() - begin), 1.0)
    quiet = quiet or soaklab.Quiet()
    found, left = victims(made, who)
    if not found:  # not yet there
        soaklab.wait_end(up, 30)
        soaklab.end(made, figures, "early")
    else:
        *took, verb = settle(made, watch, figures, found, left, up if in_up else None)
        if verb and verb is not up and soaklab.wait_end(verb, 30) != 0:
            figures.wrong.append(f"{who}: gc: {soaklab.said(made, 'gc')}")
    status = up.wait()
    if status == 0 and in_up and found and made.is_there() and who != "both":
        figures.lies.append(f"{who} killed: exit 0: {soaklab.said(made, 'up')}")
    if made.is_there():
        figures.leak(who, ["its run directory"])
        soaklab.end(made, figures, who, "gc", (0,))
    figures.leak(who, soaklab.unpaired(made))
    figures.leak(who, watch.left())
    quiet.look()
    if found:
        figures.settled(*took, quiet.is_quiet)
    return typical


def test_kill_at_any_time(lab, bin, hostbr, snapshot):
    made = soaklab.tiny(lab, bin)
    dice, watch, figures = soaklab.dice("any"), Watch(snapshot), Figures("SIGKILL at any time")
    typical = 0.05
    for _ in soaklab.runs(figures, IN_TEST[1], 5000, 2):
        if figures.runs % 10 == 0:
            figures.kernel.append(soaklab.kernel_alone())
        typical = kill_once(made, dice, typical, watch, figures)
    figures.leak("end", watch.left(full=True))
    figures.judge()


def test_planted(lab, fault_bin, hostbr, snapshot):
    """A process with its namespace, a down hook, a file, and a lie are seen."""
    made = soaklab.tiny(lab, fault_bin)
    netns, hook = (next(s["step"] for s in faultlab.steps(made) if s["op"] == op)
                   for op in ("netns", "hook"))
    watch, figures = Watch(snapshot), Figures("planted")
    kill_at(made, f"leak@{netns},leak@{hook},kill-worker@{len(faultlab.steps(made))}", figures)
    figures.leak("planted", watch.left())
    assert [x for x in figures.leaks if "process" in x], figures.leaks
    assert [x for x in figures.leaks if "without its down hook" in x], figures.leaks
    kill_at(made, "nothing@1", figures)
    assert figures.lies and [x for x in figures.leaks if "run directory" in x]
    with pytest.raises(pytest.fail.Exception):
        figures.judge()
    faultlab.kill(*(pid for pid, name in soaklab.below().items() if name.startswith("tapnet")))
    soaklab.reap()


def test_planted_figures():
    """Who settles late, who has not run often enough, and who waits too long fails; a busy machine
    does not."""
    for own, runs, longest in ((0.2, 10, 1), (0.05, 9, 1), (0.05, 10, 31)):
        figures = Figures("planted")
        figures.wanted, figures.runs = 10, runs
        for _ in range(runs):
            figures.settled(own + 1, 1, quiet=False)
        figures.took(longest)
        with pytest.raises(pytest.fail.Exception):
            figures.judge()
    figures = Figures("planted")
    for _ in range(10):
        figures.settled(1.05, 1, quiet=False)
    figures.judge()
