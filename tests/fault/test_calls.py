# test_calls.py - each call of tapnet-lab that can fail does so once: no leak, no wait, no wrong exit.
#
# In a test run: the lab with every kind, each call site of its whole life once, with one errno, at one
# of its calls; all that is chosen by the seed and the names of functions, so that it stays what it was
# when other code changes. On demand (TAPNET_LONG, `./dev soak`): five labs, and TAPNET_CALLS says how:
#   all    every errno, the first three calls and the last of a site, and the site failing for good
#   each   every dynamic call with ENOMEM; a number: the first so many
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
WANT = os.environ.get("TAPNET_CALLS", "").split() or (["all", "pairs", "each"] if DEMAND else [])
LABS = os.environ.get("TAPNET_LABS", "").split() or list(calllabs.LABS)[:None if DEMAND else 1]
PARTS = 2  # for as many processes of pytest
SECONDS_OF = 3  # faults after each first one

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture(params=LABS)
def made(request, lab, fault_bin, hostbr):
    """A lab, not yet up, with the fds that it adopts, and the verbs to try on it."""
    fds = taplab.open_tap("ours", taplab.c.IFF_VNET_HDR, count=2) if request.param == "taps" else []
    made, made.verbs = calllabs.LABS[request.param](lab, fault_bin, fds)
    made.fds, made.kind = fds, request.param
    yield made
    for fd in fds:
        os.close(fd)


@pytest.fixture
def calls(tmp_path):
    return Calls(tmp_path / "calls")


def recorded(trial_, calls):
    """{site: its calls} of a whole life without a fault."""
    calls.plan()
    assert trial_.run(calls.env) == []
    return calls.sites()


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
        elif want in ("", "pairs"):
            found = one_each(sites, names, want)
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
    """What was tried of a lab, and what was wrong."""

    def __init__(self, made, calls, bin, fault_bin):
        self.trial = Trial(made, bin, pass_fds=made.fds)
        self.calls, self.verbs, self.fault_bin = calls, made.verbs, fault_bin
        self.tried, self.fired, self.problems = 0, 0, []

    def one(self, plan):
        calls = self.calls
        calls.plan(**plan)
        found = self.trial.run(calls.env, fired=lambda: calls.table.fired, lasting="last" in plan,
                               verbs=self.verbs)
        self.tried += 1
        self.fired += bool(calls.table.fired)
        if WANT and self.tried % 50 == 0:
            print(f"{self.tried} faults", flush=True)
        where = places(self.fault_bin, {calls.table.fired_where, calls.table.then}) if found else {}
        words = f"{where.get(calls.table.fired_where)} ({plan})"
        if found and plan.get("then"):
            words += f", then {where[plan['then']]}"
        for problem in found:
            print(f"{words}: {': '.join(problem)}", flush=True)  # `-s` shows it at once
        self.problems += [(words, *problem) for problem in found]


def fail_each(made, calls, bin, fault_bin, part):
    begin = time.monotonic()
    faults = Faults(made, calls, bin, fault_bin)
    until = trial.until(PARTS * len(LABS), bool(WANT))
    for plan, pairs in plans(recorded(faults.trial, calls), fault_bin, part):
        if time.monotonic() > until:
            break
        faults.one(plan)
        for more in list(seconds(calls, plan)) if pairs and calls.table.fired else []:
            faults.one(more)
    wrong = tell("calls", faults.fired, faults.problems, faults.trial.longest, begin)
    assert not wrong, wrong
    assert faults.fired > 0.7 * faults.tried, "most of the faults were never met"


class TestOneHalf:
    def test_every_failing_call(self, made, calls, bin, fault_bin):
        fail_each(made, calls, bin, fault_bin, 0)


class TestOtherHalf:
    def test_every_failing_call(self, made, calls, bin, fault_bin):
        fail_each(made, calls, bin, fault_bin, 1)


def test_sample_is_kept():
    """The sites of a program that was built anew, elsewhere, fail as they did."""
    sites = {(k << 32, name, 0): k for k, name in enumerate(["malloc", "open64", "poll", "send"], 1)}
    moved = {(site[0] + (1 << 40), *site[1:]): n for site, n in sites.items()}
    found, there = (dict(one_each(of, {site: site[1] for site in of})) for of in (sites, moved))
    assert [label for label, _ in mine(found.items(), 0, 1, keys=True)] == \
        [label for label, _ in mine(there.items(), 0, 1, keys=True)]
    for label, plan in found.items():
        assert {**plan, "where": 0} == {**there[label], "where": 0}


def test_planted_leak(lab, fault_bin, hostbr, bin):
    """A step that is not undone is seen."""
    made, steps = trial.full(lab, fault_bin)
    trial_ = Trial(made, bin)
    hook = next(s["step"] for s in steps if s["op"] == "hook" and s["of"] == "g1:eth0")
    tap = next(s["step"] for s in steps if s["op"] == "tap")
    found = trial_.run({"TAPNET_FAULT": f"leak@{hook},leak@{tap}"})
    assert ("leak", "up hook of g1:eth0 without its down hook") in found
    assert any(kind == "leak" and words.startswith("left: process") for kind, words in found), found
