# failinglab.py - a small lab whose calls fail one by one, by the names of their functions: what is said then.
#
# A site is known once it was called, so a life that nothing disturbs comes first.
import re
import shutil

import pytest

import faultlab
from faultcalls import Calls, labels

LAB = """\
bridges: {lan: 10.1.0.0/24}
hooks: {up: ./hook, down: ./hook}
nodes:
  r1:
    interfaces: {eth0: lan}
    exec: "true"
    services: {s: exec sleep 1000}
  g1:
    kind: guest
    command: exec sleep 1000
    interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}TAP}
"""
EVER = {"last": 1 << 30}


class Failing:
    """A lab, and the calls of its processes; the sites are those of a life that nothing disturbs."""
    sites = {}  # {what: {label: where}}

    def __init__(self, made, binary, path):
        self.made, self.binary, self.calls = made, binary, Calls(path)
        self.env = self.calls.env

    def learn(self, what):
        """The sites since the last plan()."""
        found = self.calls.sites()
        Failing.sites[what] = {label: site[0] for site, label in labels(self.binary, found).items()}

    def where(self, what, call):
        found = [where for label, where in Failing.sites[what].items() if re.match(call, label)]
        assert found, f"{call} is not called"
        return min(found)

    def plan(self, what, call, how, **which):
        self.calls.plan(where=self.where(what, call), how=how, **which)

    def check(self, done, status, words):
        assert self.calls.table.fired, "the call did not fail"
        assert done.returncode == status, done
        assert re.search(words, done.stdout + done.stderr), done

    def end(self, before, snapshot):
        """What was told is taken by `gc`, and then there is nothing."""
        if self.made.is_there():
            self.made.verb("gc")
        shutil.rmtree(faultlab.failed_dir(self.made), ignore_errors=True)
        faultlab.check_gone(self.made, before, snapshot)


@pytest.fixture(name="failing")
def failing_(lab, fault_bin, tmp_path):
    """failing(text): a Failing, not yet up."""
    def make(text=LAB, tap=""):
        return Failing(faultlab.with_hook(lab(text.replace("TAP", tap), fault_bin)), fault_bin, tmp_path / "calls")
    return make


def both_killed():
    victims = faultlab.kill_who("both")
    faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)) and not faultlab.pids("tapnet-init"))


def learn_gc(one, name):
    """Of a lab that is up: both are killed, and `gc` tells where its calls are."""
    both_killed()
    one.calls.plan()
    one.made.verb("gc", env=one.env)
    one.learn(name)
    faultlab.forget_hooks(one.made)
