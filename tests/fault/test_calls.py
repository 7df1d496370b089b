# test_calls.py - each call of tapnet-lab that can fail does so once: no leak, no wait, no wrong exit.
#
# By default each call site of a lab's whole life fails once, with one errno, at one of its calls that
# the seed chooses. TAPNET_CALLS=all (or TAPNET_LONG): every errno, the first three calls and the last
# of a site, and the site failing for good; TAPNET_CALLS=N: the first N dynamic calls, each once;
# TAPNET_CALLS=@NAME: the sites in functions that are so named, in all these ways.
import errno
import os
import time

import pytest

import faultlab
from faultcalls import SHORT, Calls, errnos, places
from trial import Trial, choice, tell

WANT = os.environ.get("TAPNET_CALLS") or ("all" if faultlab.LONG else "")
PARTS = 2  # for as many processes of pytest

hostbr = pytest.fixture(faultlab.host_bridge)


@pytest.fixture
def full(lab, fault_bin, hostbr):
    """The lab with every kind, not yet up; what waits for a guest that says nothing ends in time."""
    made, steps = faultlab.full(lab, fault_bin)
    made.file.write_text(made.file.read_text().replace("timeout: 20s", "timeout: 8s"))
    return made, steps


@pytest.fixture
def calls(tmp_path):
    return Calls(tmp_path / "calls")


def recorded(trial, calls):
    """{site: its calls} of a whole life without a fault."""
    calls.plan()
    assert trial.run(calls.env) == []
    return calls.sites()


def samples(sites, binary):
    """What plan() takes, for each fault to be."""
    random = choice()
    if WANT.startswith("@"):
        named = places(binary, {key[0] for key in sites})
        sites = {key: n for key, n in sites.items() if WANT[1:] in named[key[0]]}
    for (where, name, sub), n in sorted(sites.items()):
        hows = errnos(name, sub)
        if not hows:
            continue
        if WANT:
            for how in hows:
                for first in sorted({1, 2, 3, n}):
                    if first <= n:
                        yield {"where": where, "how": how, "first": first}
                if how not in (errno.EINTR, SHORT) and n > 1:
                    yield {"where": where, "how": how, "first": 1, "last": 1 << 30}
        else:
            yield {"where": where, "how": random.choice(hows),
                   "first": random.choice([1, 1, random.randint(1, n)])}


def dynamic(count):
    """An errno that every call may have: by number one does not know which it is."""
    for nth in range(1, count + 1):
        yield {"nth": nth, "how": errno.ENOMEM}


def fail_each(full, calls, bin, fault_bin, part):
    made, _ = full
    begin = time.monotonic()
    trial = Trial(made, bin)
    plans = list(dynamic(int(WANT)) if WANT.isdigit() else samples(recorded(trial, calls), fault_bin))
    problems, fired = [], 0
    for plan in plans[part::PARTS]:
        calls.plan(**plan)
        found = trial.run(calls.env, fired=lambda: calls.table.fired)
        fired += bool(calls.table.fired)
        problems += [(calls.table.fired_where, plan, *problem) for problem in found]
    where = places(fault_bin, {p[0] for p in problems})
    words = [(f"{where[at]} ({plan})", kind, text) for at, plan, kind, text in problems]
    assert fired > 0.8 * len(plans[part::PARTS]), "most of the faults were never met"
    wrong = tell("calls", fired, words, trial.longest, begin)
    assert not wrong, wrong


class TestOneHalf:
    def test_every_failing_call(self, full, calls, bin, fault_bin):
        fail_each(full, calls, bin, fault_bin, 0)


class TestOtherHalf:
    def test_every_failing_call(self, full, calls, bin, fault_bin):
        fail_each(full, calls, bin, fault_bin, 1)


def test_planted_leak(full, bin):
    """A step that is not undone is seen."""
    made, steps = full
    trial = Trial(made, bin)
    hook = next(s["step"] for s in steps if s["op"] == "hook" and s["of"] == "g1:eth0")
    tap = next(s["step"] for s in steps if s["op"] == "tap")
    found = trial.run({"TAPNET_FAULT": f"leak@{hook},leak@{tap}"})
    assert ("leak", "up hook of g1:eth0 without its down hook") in found
    assert any(kind == "leak" and words.startswith("left: process") for kind, words in found), found
