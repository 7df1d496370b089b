# test_calls.py - each call of tapnet-lab that can fail does so once: no leak, no wait, no wrong exit.
#
# In a test run: the lab with every kind, each call site of its whole life once, with one errno, at one
# of its calls; all that is chosen by the seed and the names of functions, so that it stays what it was
# when other code changes. On demand (TAPNET_LONG, `./dev soak`): five labs, and TAPNET_CALLS says how:
#   all    every errno, the first three calls and the last of a site, and the site failing for good
#   each   every dynamic call with ENOMEM; a number: the first so many
#   once   each site once, as in a test run, but all of them
#   pairs  each site once, and then again, with a second fault: sites called since the first, three each
#   @NAME  as all, of the sites in functions that are so named
# The first of them is what `./dev soak` begins with; then come the others. TAPNET_LABS: names of labs.
import errno
import itertools
import os
import time
from functools import partial
from random import Random

import pytest

import calllabs
import faultlab
import taplab
import trial
from faultcalls import SHORT, Calls, errnos, labels, places
from trial import Trial, mine, tell

DEMAND = bool(faultlab.LONG or trial.SECONDS)
WANT = os.environ.get("TAPNET_CALLS", "").split() or (["all", "pairs", "each"] if DEMAND else [])
LABS = os.environ.get("TAPNET_LABS", "").split() or list(calllabs.LABS)[:None if DEMAND else 1]
PARTS = 2  # for as many processes of pytest
LANES = 2  # labs at once: they wait more than they work
EXEC = {125, 126, 127}  # its own words for what went wrong
SECONDS_OF = 3  # faults after each first one

hostbr = pytest.fixture(faultlab.host_bridge)


class Lane:
    """A lab, and what its calls tell us."""

    def __init__(self, kind, lab, fault_bin, bin, fds, path):
        made, self.verbs = calllabs.LABS[kind](lab, fault_bin, fds)
        self.trial, self.calls = Trial(made, bin, EXEC, fds), Calls(path)

    def life(self, plan):
        table = self.calls.table
        self.calls.plan(**plan)
        return {"env": self.calls.env, "verbs": self.verbs, "lasting": "last" in plan,
                "fired": lambda: table.fired and (table.then_fired or not table.then)}


@pytest.fixture(params=LABS)
def lanes(request, lab, fault_bin, bin, hostbr, tmp_path):
    """Labs of a kind that fail side by side; where they adopt fds one alone."""
    fds = taplab.open_tap("ours", taplab.c.IFF_VNET_HDR, count=2) if request.param == "taps" else []
    yield [Lane(request.param, lab, fault_bin, bin, fds, tmp_path / f"calls{k}")
           for k in range(1 if fds else LANES)]
    for fd in fds:
        os.close(fd)


def recorded(lane):
    """{site: its calls} of a whole life without a fault."""
    assert lane.trial.run(**{**lane.life({}), "fired": lambda: True}) == []
    return lane.calls.sites()


def one_each(sites, names, salt=""):
    """(name, what plan() takes): a fault of each site."""
    for site, label in names.items():
        random = Random(f"{trial.SEED} {label}{salt}")
        hows, at = errnos(*site[1:]), random.choice([1, 1, 2, 3, sites[site]])
        if hows:
            yield label, {"where": site[0], "how": random.choice(hows), "first": min(at, sites[site])}


def all_ways(sites, names):
    for site, label in names.items():
        for how in errnos(*site[1:]):
            for first in sorted({k for k in (1, 2, 3, sites[site]) if k <= sites[site]}):
                yield f"{label} {how} {first}", {"where": site[0], "how": how, "first": first}
            if how not in (errno.EINTR, SHORT) and sites[site] > 1:
                yield f"{label} {how} on", {"where": site[0], "how": how, "first": 1,
                                            "last": 1 << 30}


def each_call(count):
    """An errno that every call may have: by number one does not know which it is."""
    for nth in range(1, count + 1):
        yield str(nth), {"nth": nth, "how": errno.ENOMEM}


def plans(sites, binary, part):
    names = labels(binary, sites)
    for want in WANT or [""]:
        if want.isdigit() or want == "each":
            found = each_call(int(want) if want.isdigit() else sum(sites.values()))
        elif want in ("", "once", "pairs"):
            found = one_each(sites, names, "" if want == "once" else want)
        else:
            found = all_ways(sites, {site: label for site, label in names.items()
                                     if want == "all" or want[1:] in label})
        for plan in mine(found, part, PARTS):
            yield plan, want == "pairs"


def seconds(calls, plan):
    """Second faults for one that has just been."""
    sites = sorted(site for site in calls.after() if errnos(*site[1:]))
    random = Random(f"{trial.SEED} {plan}")
    for site in random.sample(sites, min(SECONDS_OF, len(sites))):
        hows = [how for how in errnos(*site[1:]) if how != SHORT]
        yield {**plan, "then": site[0], "then_how": random.choice(hows)}


class Faults:
    """What was tried of a kind of lab, and what was wrong."""

    def __init__(self, lanes, fault_bin):
        self.lanes, self.fault_bin = lanes, fault_bin
        self.tried, self.fired, self.problems = 0, 0, []

    def words(self, lane, plan):
        table = lane.calls.table
        where = places(self.fault_bin, {table.fired_where, table.then})
        then = f", then {where[table.then]}" if table.then else ""
        return f"{where[table.fired_where]}{then} ({plan})"

    def side_by_side(self, plans):
        """One a lane. Gives those that were met, with their lanes."""
        live = list(zip(self.lanes, plans))
        found = trial.together([lane.trial for lane, _ in live],
                               [partial(lane.life, plan) for lane, plan in live])
        if found:
            words = " | ".join(self.words(lane, plan) for lane, plan in live)
            self.problems += [(words, *problem) for problem in found]
            print(f"{words}: {found}", flush=True)  # `-s` shows it at once
        met = [(lane, plan) for lane, plan in live if lane.calls.table.fired]
        self.tried, self.fired = self.tried + len(live), self.fired + len(met)
        if WANT and self.tried % 50 < len(live):
            print(f"{self.tried} faults", flush=True)
        return met

    def all(self, plans):
        """plans: (plan, whether second faults follow)"""
        while batch := list(itertools.islice(plans, len(self.lanes))):
            met = self.side_by_side([plan for plan, _ in batch])
            more = iter([(second, False) for lane, plan in met for second in seconds(lane.calls, plan)
                         if (plan, True) in batch])
            self.all(more)


def in_time(plans):
    until = trial.until(PARTS * len(LABS), bool(WANT))
    return itertools.takewhile(lambda _: time.monotonic() < until, plans)


def fail_each(lanes, fault_bin, part):
    begin = time.monotonic()
    faults = Faults(lanes, fault_bin)
    faults.all(in_time(plans(recorded(lanes[0]), fault_bin, part)))
    wrong = tell("calls", faults.fired, faults.problems, max(lane.trial.longest for lane in lanes), begin)
    assert not wrong, wrong
    assert faults.fired > 0.7 * faults.tried, "most of the faults were never met"


class TestOneHalf:
    def test_every_failing_call(self, lanes, fault_bin):
        fail_each(lanes, fault_bin, 0)


class TestOtherHalf:
    def test_every_failing_call(self, lanes, fault_bin):
        fail_each(lanes, fault_bin, 1)


def test_sample_is_kept():
    """The sites of a program that was built anew, elsewhere, fail as they did."""
    sites = {(k << 32, name, 0): k for k, name in enumerate(["malloc", "open64", "poll", "send"], 1)}
    moved = {(site[0] + (1 << 40), *site[1:]): n for site, n in sites.items()}
    found, there = (dict(one_each(of, {site: site[1] for site in of})) for of in (sites, moved))
    assert [label for label, _ in mine(found.items(), 0, 1, keys=True)] == \
        [label for label, _ in mine(there.items(), 0, 1, keys=True)]
    for label, plan in found.items():
        assert {**plan, "where": 0} == {**there[label], "where": 0}


class Late:
    """A Trial that is late so often."""

    def __init__(self, often):
        self.often, self.longest, self.problems, self.before = often, 0.0, [], set()

    def life(self):
        self.often, self.problems = self.often - 1, [("late", "up")] if self.often > 0 else []

    def check_host(self):
        pass

    def check_hooks(self, told):
        pass


@pytest.mark.parametrize("often, wrong", [(0, False), (1, False), (1 + trial.AGAIN, True)])
def test_planted_wait(often, wrong):
    """Who is late whenever he is tried is seen; the machine may be so now and then."""
    assert bool(trial.together([Late(often), Late(0)], [dict, dict])) == wrong


def test_planted_leak(lab, fault_bin, hostbr, bin):
    """A step that is not undone is seen."""
    made, steps = trial.full(lab, fault_bin)
    trial_ = Trial(made, bin)
    hook = next(s["step"] for s in steps if s["op"] == "hook" and s["of"] == "g1:eth0")
    tap = next(s["step"] for s in steps if s["op"] == "tap")
    found = trial_.run({"TAPNET_FAULT": f"leak@{hook},leak@{tap}"})
    assert ("leak", "up hook of g1:eth0 without its down hook") in found
    assert any(kind == "leak" and words.startswith("left: process") for kind, words in found), found
