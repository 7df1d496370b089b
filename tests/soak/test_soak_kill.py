# test_soak_kill.py - SIGKILL of worker, guardian and both: before and after every step of the plan,
# by the build with sanitizers; and from outside, at any time, of the build that users run, which tells
# how long it takes until nothing is left.
import signal
import time

import pytest

import faultlab
import soaklab
from soaklab import Figures, Watch

WHO = ("worker", "guardian", "both")
hostbr = pytest.fixture(faultlab.host_bridge)


def kill_at(made, fault, watch, figures):
    """`up` with a kill in it; all is undone by who is left, or by `up` itself."""
    begin = time.monotonic()
    up = soaklab.begin(made, "up", made.file, env={"TAPNET_FAULT": fault})
    status = soaklab.wait_end(up, 30)
    figures.took(time.monotonic() - begin)
    said = soaklab.said(made, "up")
    if status is None:
        up.kill()
        up.wait()
    if status == 0 and "kill-guardian" in fault:  # in the last moment: it is up, and comes down
        faultlab.wait("it comes down by itself", lambda: not made.is_there())
    elif status == 0:
        figures.lies.append(f"{fault}: exit 0: {said}")
    elif status != 5:
        figures.wrong.append(f"{fault}: exit {status}: {said}")
    if made.is_there():
        figures.leak(fault, ["its run directory"])
        soaklab.end(made, figures, fault, "gc", (0,))
    figures.leak(fault, soaklab.unpaired(made))
    figures.leak(fault, watch.left())


def test_kill_at_every_step(lab, fault_bin, hostbr, snapshot):
    made = soaklab.tiny(lab, fault_bin)
    n = len(faultlab.steps(made))
    faults = [f"kill-{who}@{at}{after}" for who in WHO for at in range(1, n + 1)
              for after in ("", "+")]
    dice, watch, figures = soaklab.dice("steps"), Watch(snapshot), Figures("SIGKILL at every step")
    for i in soaklab.runs(350, 15000, 2):
        if i % len(faults) == 0:
            dice.shuffle(faults)
        kill_at(made, faults[i % len(faults)], watch, figures)
        figures.runs += 1
    figures.leak("end", watch.left(full=True))
    figures.judge()


# --- from outside, at any time --------------------------------------------------------------------

def victims(made, who):
    """Those that are there, the worker stopped first if both are to die: it has no time to mend."""
    found = [soaklab.of_lab(made, name) for name in
             {"worker": ["tapnet-work"], "guardian": ["tapnet-guard"],
              "both": ["tapnet-work", "tapnet-guard"]}[who]]
    if who == "both" and found[0]:
        soaklab.send(found[0], signal.SIGSTOP)
    return [pid for pid in found if pid]


def settle(made, watch, figures, up, both):
    """From now until processes and links are gone; with one of the two, the run directory too."""
    begin = time.monotonic()
    keep = (up.pid,) if up else ()
    while not watch.settled(files=not both):
        if up and up.poll() is not None:
            up, keep = None, ()
        soaklab.reap(keep)
        if time.monotonic() - begin > soaklab.LONGEST:
            figures.wrong.append(f"not settled in {soaklab.LONGEST} s: {watch.left(0)}")
            break
        time.sleep(0.0005)
    took = time.monotonic() - begin
    figures.settle.append(took)
    figures.took(took)


def kill_once(made, dice, typical, watch, figures):
    """At rest, or while it goes up; how long that takes is typical."""
    who, in_up = dice.choice(WHO), dice.random() < 0.4
    begin = time.monotonic()
    up = soaklab.begin(made, "up", made.file)
    if in_up:
        time.sleep(dice.random() * typical)
    elif soaklab.wait_end(up, 30) != 0:
        figures.wrong.append(f"up: {soaklab.said(made, 'up')}")
    else:
        typical = min(0.9 * typical + 0.1 * (time.monotonic() - begin), 1.0)
    found = victims(made, who)
    for pid in found:
        soaklab.send(pid, signal.SIGKILL)
    if not found:  # not yet there
        soaklab.wait_end(up, 30)
        soaklab.end(made, figures, "early")
    else:
        settle(made, watch, figures, up if in_up else None, who == "both")
    status = up.wait()
    if status == 0 and in_up and found and made.is_there() and who != "both":
        figures.lies.append(f"{who} killed: exit 0: {soaklab.said(made, 'up')}")
    if made.is_there():
        soaklab.end(made, figures, who, "gc", (0,))
    figures.leak(who, soaklab.unpaired(made))
    figures.leak(who, watch.left())
    return typical


def test_kill_at_any_time(lab, bin, hostbr, snapshot):
    made = soaklab.tiny(lab, bin)
    dice, watch, figures = soaklab.dice("any"), Watch(snapshot), Figures("SIGKILL at any time")
    typical = 0.05
    for i in soaklab.runs(150, 5000, 2):
        if i % 4 == 0:
            figures.kernel.append(soaklab.kernel_alone())
        typical = kill_once(made, dice, typical, watch, figures)
        figures.runs += 1
    figures.leak("end", watch.left(full=True))
    figures.judge()


def test_planted(lab, fault_bin, hostbr, snapshot):
    """A process with its namespace, a down hook, a file, and a lie are seen."""
    made = soaklab.tiny(lab, fault_bin)
    netns, hook = (next(s["step"] for s in faultlab.steps(made) if s["op"] == op)
                   for op in ("netns", "hook"))
    watch, figures = Watch(snapshot), Figures("planted")
    kill_at(made, f"leak@{netns},leak@{hook},kill-worker@{len(faultlab.steps(made))}", watch, figures)
    assert [x for x in figures.leaks if "process" in x], figures.leaks
    assert [x for x in figures.leaks if "without its down hook" in x], figures.leaks
    kill_at(made, "nothing@1", watch, figures)
    assert figures.lies and [x for x in figures.leaks if "run directory" in x]
    with pytest.raises(pytest.fail.Exception):
        figures.judge()
    faultlab.kill(*(pid for pid, name in soaklab.below().items() if name.startswith("tapnet")))
    soaklab.reap()
