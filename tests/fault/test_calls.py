# test_calls.py - each call of tapnet-lab that can fail does so once: no leak, no wait, no wrong exit.
#
# In a test run: all of the lab with every kind. On demand (TAPNET_LONG, `./dev soak`) five labs.
# TAPNET_CALLS says how:
#   all    every errno, the first three calls and the last of a site, and the site failing for good
#   each   every dynamic call with ENOMEM; a number: the first so many
#   once   each site once, with one errno, at one of its calls; all that is chosen by the seed and the
#          names of functions, so that it stays what it was when other code changes
#   pairs  each site once, and then again, with a second fault: sites called since the first, three each
#   @NAME  as all, of the sites in functions that are so named
# The first of them is what `./dev soak` begins with; then come the others. TAPNET_LABS: names of labs.
import errno
import itertools
import os
import time
from random import Random

import pytest

import calllabs
import faultlab
import taplab
import trial
from faultcalls import SHORT, Calls, errnos, labels, places
from trial import Trial, mine, tell

DEMAND = bool(faultlab.LONG or trial.SECONDS)
WANT = os.environ.get("TAPNET_CALLS", "").split() or (["all", "pairs", "each"] if DEMAND else ["all"])
LABS = os.environ.get("TAPNET_LABS", "").split() or list(calllabs.LABS)[:None if DEMAND else 1]
PARTS = 2  # for as many processes of pytest
LANES = 8  # labs at once: they wait more than they work
EXEC = {125, 126, 127}  # its own words for what went wrong
SECONDS_OF = 3  # faults after each first one

hostbr = pytest.fixture(faultlab.host_bridge)


class Lane(Trial):
    """A lab, and what its calls tell us."""

    def __init__(self, kind, lab, fault_bin, bin, fds, path):
        made, self.verbs = calllabs.LABS[kind](lab, fault_bin, fds)
        super().__init__(made, bin, EXEC, fds)
        self.calls = Calls(path)

    def live(self, plan):
        """Where the fault was met, or None; and where a second one would be."""
        table = self.calls.table
        self.calls.plan(**plan)
        self.life(env=self.calls.env, verbs=self.verbs, lasting="last" in plan,
                  fired=lambda: table.fired and (table.then_fired or not table.then))
        return table.fired and table.fired_where, table.then, self.calls.after()


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
    assert trial.alone(lane, lambda: lane.live({})) == []
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
    for want in WANT:
        if want.isdigit() or want == "each":
            found = each_call(int(want) if want.isdigit() else sum(sites.values()))
        elif want in ("once", "pairs"):
            found = one_each(sites, names, "" if want == "once" else want)
        else:
            found = all_ways(sites, {site: label for site, label in names.items()
                                     if want == "all" or want[1:] in label})
        for plan in mine(found, part, PARTS):
            yield plan, want == "pairs"


def seconds(after, plan):
    """Second faults for one that has just been; after: the sites called since."""
    sites = sorted(site for site in after if errnos(*site[1:]))
    random = Random(f"{trial.SEED} {plan}")
    for site in random.sample(sites, min(SECONDS_OF, len(sites))):
        hows = [how for how in errnos(*site[1:]) if how != SHORT]
        yield {**plan, "then": site[0], "then_how": random.choice(hows)}


class Faults:
    """What was tried of a kind of lab, and what was wrong."""

    def __init__(self, lanes, fault_bin):
        self.lanes, self.fault_bin = lanes, fault_bin
        self.tried, self.fired, self.problems = 0, 0, []

    def words(self, plan, where, then):
        known = places(self.fault_bin, {where or 0, then})
        second = f", then {known[then]}" if then else ""
        return f"{known[where or 0]}{second} ({plan})"

    def all(self, plans):
        """plans: (plan, whether second faults follow)"""
        count = trial.ROUND * len(self.lanes)
        while batch := list(itertools.islice(plans, count)):
            more = []
            for plan, (where, then, after), found in trial.together(self.lanes, [of for of, _ in batch]):
                if found:
                    words = self.words(plan, where, then)
                    self.problems += [(words, *problem) for problem in found]
                    print(f"{words}: {found}", flush=True)  # `-s` shows it at once
                if where and (plan, True) in batch:
                    more += [(second, False) for second in seconds(after, plan)]
                self.fired += bool(where)
            self.tried += len(batch)
            print(f"{self.tried} faults", flush=True)
            self.all(iter(more))


def fail_each(lanes, fault_bin, part):
    begin = time.monotonic()
    faults = Faults(lanes, fault_bin)
    faults.all(trial.in_time(plans(recorded(lanes[0]), fault_bin, part), PARTS * len(LABS)))
    wrong = tell("calls", faults.fired, faults.problems, max(lane.longest for lane in lanes), begin)
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
    """A lane that is late so often."""

    def __init__(self, often):
        self.often, self.longest, self.problems, self.before = often, 0.0, [], set()

    def live(self, _):
        self.often, self.problems = self.often - 1, [("late", "up")] if self.often > 0 else []

    def check_host(self):
        pass


@pytest.mark.parametrize("often, wrong", [(0, False), (1, False), (1 + trial.AGAIN, False),
                                          (2 + trial.AGAIN, True)])
def test_planted_wait(often, wrong):
    """Who is late whenever he is tried is seen; the machine may be so now and then."""
    found = trial.together([Late(often)], ["a fault"])
    assert bool(found[0][2]) == wrong


def test_planted_leak(lab, fault_bin, hostbr, bin):
    """A step that is not undone is seen."""
    made, steps = trial.full(lab, fault_bin)
    trial_ = Trial(made, bin)
    hook = next(s["step"] for s in steps if s["op"] == "hook" and s["of"] == "g1:eth0")
    tap = next(s["step"] for s in steps if s["op"] == "tap")
    found = trial_.run({"TAPNET_FAULT": f"leak@{hook},leak@{tap}"})
    assert ("leak", "up hook of g1:eth0 without its down hook") in found
    assert any(kind == "leak" and words.startswith("left: process") for kind, words in found), found
