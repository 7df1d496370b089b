# test_calls.py - each call of tapnet-lab that can fail does so once: no leak, no wait, no wrong exit.
#
# By default each call site of a lab's whole life fails once, with one errno, at one of its calls that
# the seed chooses. TAPNET_CALLS=all (or TAPNET_LONG): every errno, the first three calls and the last
# of a site, and the site failing for good; TAPNET_CALLS=N: the first N dynamic calls, each once;
# TAPNET_CALLS=@NAME: the sites in functions that are so named, in all these ways.
import errno
import os
import time
from random import Random

import pytest

import faultlab
import trial
from faultcalls import SHORT, Calls, errnos, places
from trial import Trial, mine, tell

WANT = os.environ.get("TAPNET_CALLS") or ("all" if faultlab.LONG or trial.SECONDS else "")
PARTS = 2  # for as many processes of pytest

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, fault_bin, hostbr):
    return trial.full(lab, fault_bin)


@pytest.fixture
def calls(tmp_path):
    return Calls(tmp_path / "calls")


def recorded(trial_, calls):
    """{site: its calls} of a whole life without a fault."""
    calls.plan()
    assert trial_.run(calls.env) == []
    return calls.sites()


def samples(sites, binary):
    """(site, what plan() takes) of each fault to be."""
    if WANT.startswith("@"):
        named = places(binary, {key[0] for key in sites})
        sites = {key: n for key, n in sites.items() if WANT[1:] in named[key[0]]}
    for site, n in sorted(sites.items()):
        where, name, sub = site
        random = Random(f"{trial.SEED} {site}")
        hows = errnos(name, sub)
        if not WANT and hows:
            yield site, {"where": where, "how": random.choice(hows),
                         "first": random.choice([1, 1, random.randint(1, n)])}
        for how in hows if WANT else []:
            for first in {k for k in (1, 2, 3, n) if k <= n}:
                yield site, {"where": where, "how": how, "first": first}
            if how not in (errno.EINTR, SHORT) and n > 1:
                yield site, {"where": where, "how": how, "first": 1, "last": 1 << 30}


def dynamic(count):
    """An errno that every call may have: by number one does not know which it is."""
    for nth in range(1, count + 1):
        yield nth, {"nth": nth, "how": errno.ENOMEM}


def fail_each(full, calls, bin, fault_bin, part):
    made, _ = full
    begin = time.monotonic()
    trial_ = Trial(made, bin)
    plans = dynamic(int(WANT)) if WANT.isdigit() else samples(recorded(trial_, calls), fault_bin)
    problems, fired, n = [], 0, 0
    for n, plan in enumerate(mine(plans, part, PARTS, WANT), 1):
        calls.plan(**plan)
        found = trial_.run(calls.env, fired=lambda: calls.table.fired, lasting="last" in plan)
        fired += bool(calls.table.fired)
        problems += [(calls.table.fired_where, plan, *problem) for problem in found]
    where = places(fault_bin, {p[0] for p in problems})
    words = [(f"{where[at]} ({plan})", kind, text) for at, plan, kind, text in problems]
    wrong = tell("calls", fired, words, trial_.longest, begin)
    assert not wrong, wrong
    assert fired > 0.7 * n, "most of the faults were never met"


class TestOneHalf:
    def test_every_failing_call(self, full, calls, bin, fault_bin):
        fail_each(full, calls, bin, fault_bin, 0)


class TestOtherHalf:
    def test_every_failing_call(self, full, calls, bin, fault_bin):
        fail_each(full, calls, bin, fault_bin, 1)


def test_planted_leak(full, bin):
    """A step that is not undone is seen."""
    made, steps = full
    trial_ = Trial(made, bin)
    hook = next(s["step"] for s in steps if s["op"] == "hook" and s["of"] == "g1:eth0")
    tap = next(s["step"] for s in steps if s["op"] == "tap")
    found = trial_.run({"TAPNET_FAULT": f"leak@{hook},leak@{tap}"})
    assert ("leak", "up hook of g1:eth0 without its down hook") in found
    assert any(kind == "leak" and words.startswith("left: process") for kind, words in found), found
