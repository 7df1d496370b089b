# test_soak_signals.py - SIGKILL, SIGSTOP, SIGTERM, SIGINT and SIGHUP of `up`, worker, guardian and the
# verb that takes the lab down, at any time: while it goes up, at rest, while it comes down. Several
# labs at once, each one case after the other, since who is suspended is waited for: three seconds, by
# the guardian.
import functools
import signal
import time

import pytest

import faultlab
import soaklab
from soaklab import SIGNALS, Figures, Watch

AT_ONCE, CASES = 8, 5  # labs, and of each so many cases until it is looked at what is left
PHASES = ("up", "rest", "down")
hostbr = pytest.fixture(faultlab.host_bridge)


class Case:
    """One lab that gets one signal."""

    def __init__(self, made, dice, figures):
        self.made, self.figures = made, figures
        self.phase = dice.choice(PHASES)
        self.signal = dice.choice(tuple(SIGNALS))
        self.who = dice.choice(("verb", "tapnet-work", "tapnet-guard"))
        self.delay = dice.random() * 0.15
        self.name = f"{self.signal} of {self.who} in {self.phase}"

    def hit(self, verb):
        """Sends it. Who is not there yet, or no more, gets none. Was it sent?"""
        time.sleep(self.delay)
        pid = verb.pid if self.who == "verb" and verb else soaklab.of_lab(self.made, self.who)
        soaklab.send(pid, SIGNALS[self.signal])
        if self.who == "verb" and self.signal == "SIGSTOP" and verb:
            time.sleep(0.05)
            soaklab.send(pid, signal.SIGCONT)
        return pid is not None

    def verb(self, *argv, hit=False):
        """Runs it; what it says must be true."""
        begin = time.monotonic()
        process = soaklab.begin(self.made, *argv)
        sent = self.hit(process) if hit else False
        if sent and argv[0] == "up" and self.signal == "SIGSTOP" and self.who != "verb":
            soaklab.wait_end(process, 0.3)  # who is suspended now may hold it up for ever
            self.verb("down", self.made.name)
        status = soaklab.wait_end(process, 30)
        self.figures.took(time.monotonic() - begin, f"{self.name}: {argv[0]}")
        if status is None:
            process.kill()
            process.wait()
        self.judge(argv[0], status, hit and self.who == "verb")
        return status

    def judge(self, verb, status, hit):
        number = SIGNALS[self.signal]
        fine = {"up": (0, 3, 5), "down": (0, 3), "gc": (0,)}[verb]
        if status not in fine + ((-number, 128 + number) if hit else ()):
            self.figures.wrong.append(
                f"{self.name}: {verb}: exit {status}: {soaklab.said(self.made, verb)}")
        if verb == "down" and status == 0 and not hit and self.made.is_there():
            self.figures.lies.append(f"{self.name}: down: exit 0, and it is there")

    def run(self):
        self.verb("up", self.made.file, hit=self.phase == "up")
        if self.phase == "rest":
            self.hit(None)
        if self.phase == "down":
            self.verb("down", self.made.name, hit=True)
        self.verb("down", self.made.name)
        if self.made.is_there():
            self.verb("gc")
        if self.made.is_there():
            self.figures.leak(self.name, ["its run directory"])
        self.figures.leak(self.name, soaklab.unpaired(self.made))


def in_turn(cases):
    for case in cases:
        case.run()


def test_signals_at_any_time(lab, bin, fault_bin, hostbr, snapshot):
    made = [soaklab.tiny(lab, fault_bin if i == 0 else bin) for i in range(AT_ONCE)]
    dice, figures = soaklab.dice("signals"), Figures("signals at any time")
    watch = Watch(snapshot)
    for _ in soaklab.runs(figures, 200, 5000, 1, AT_ONCE * CASES):
        turn = [(" | ".join(case.name for case in cases), functools.partial(in_turn, cases))
                for cases in ([Case(one, dice, figures) for _ in range(CASES)] for one in made)]
        soaklab.together(turn, figures)
        figures.leak(" | ".join(names for names, _ in turn), watch.left())
    figures.leak("end", watch.left(full=True))
    figures.judge()


def test_planted(lab, bin, fault_bin, hostbr, snapshot):
    """A process that is left, a down hook left out, and a `down` that says too much are seen."""
    made = soaklab.tiny(lab, fault_bin)
    watch, figures = Watch(snapshot), Figures("planted")
    case = Case(made, soaklab.dice("planted"), figures)
    netns = next(s["step"] for s in faultlab.steps(made) if s["op"] == "netns")
    made.up(env={"TAPNET_FAULT": f"leak@{netns}"})
    soaklab.said_file(made, "down").write_text("planted")
    case.judge("down", 0, False)
    case.judge("down", 1, False)
    with open(soaklab.hook_log(made), "a", encoding="utf-8") as log:
        log.write("up planted\n")  # and never down
    case.verb("down", made.name)
    figures.leak("planted", soaklab.unpaired(made) + watch.left(0.3))
    assert len(figures.lies) == 1 and len(figures.wrong) == 1
    assert [x for x in figures.leaks if "process" in x], figures.leaks
    assert [x for x in figures.leaks if "without its down hook" in x], figures.leaks
    faultlab.kill(*(pid for pid, name in soaklab.below().items() if name.startswith("tapnet")))
    soaklab.reap()
