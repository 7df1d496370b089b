# test_leakcheck.py - the tests' own tools: each planted leak must fail its test, and be named; a
# lab must come down whatever its test does.
import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

# name of the inner test: (what it does, what the check must say)
PLANTED = {
    "link": ("sh('ip link add leak0 type bridge')", "left: link leak0 "),
    "link_gone": ("sh('ip link set lo down')", "gone: link lo (index 1, mtu 65536, master None, up)"),
    "address": ("sh('ip addr add 192.0.2.1/32 dev lo')", "left: address 192.0.2.1/32 of lo"),
    "route": ("sh('ip route add blackhole 192.0.2.0/24')", "left: route blackhole 192.0.2.0/24"),
    "qdisc": ("sh('tc qdisc add dev lo root pfifo')", "left: qdisc qdisc pfifo"),
    "netns": ("sh('ip netns add leak')", "left: file /run/netns/leak"),
    "unnamed_netns": ("sh('unshare -n sleep 60 & sleep .2')", "left: namespace net:["),
    "mount": ("sh('mkdir /run/leak; mount -t tmpfs leak /run/leak')", "left: mount /run/leak "),
    "run_dir": ("sh('mkdir -p /run/tapnet-lab/leak')", "left: file /run/tapnet-lab/leak"),
    "sysctl": ("sh('echo 1 > /proc/sys/net/ipv4/ip_forward')", "left: sysctl net/ipv4/ip_forward = 1"),
    "daemon": ("sh('setsid sh -c \"sleep 61 & sleep 62 &\"')", " sleep: sleep 61"),
    "report": ("(conftest.Session.reports / 'report.1').write_text('heap-use-after-free')",
               "left: sanitizer report.1: heap-use-after-free"),
}
# The same for tests that make labs, by a program that only pretends.
LABS = {
    "failing_test": ("lab('nodes:').up(); assert False", "assert False"),
    "stuck_lab": ("lab('nodes:').up('stuck')", "did not come down, gc ended it; down: exit 6"),
    "eternal_lab": ("lab('nodes:').up('eternal')", "is there after down and gc; down: exit 6"),
    "open_output": ("run(['sh', '-c', 'echo said; sleep 63 &'], timeout=.3)", "left its output open"),
    "wrong_status": ("run(['sh', '-c', 'echo words; exit 3'])", "exit 3, not 0\nwords"),
    "needs": ("needs('sh', '/nowhere', 'no-such-program')", "needs /nowhere, no-such-program"),
    "real_host": ("on_real_host('ip link add leak2 type bridge')", None),
}
PRETENDER = """#!/bin/sh
dir=/run/tapnet-lab/$TAPNET_LAB
case $1 in
up) mkdir -p "$dir"; echo "$2" > "$dir/mood" ;;
down) case $(cat "$dir/mood") in stuck | eternal) exit 6 ;; *) rm -r "$dir" ;; esac ;;
gc) case $(cat "$dir/mood") in eternal) ;; *) rm -r "$dir" ;; esac ;;
esac
"""
INNER = """
import subprocess
import conftest

def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)

def on_real_host(command):
    net, _ = conftest.Session.namespaces
    subprocess.run(["nsenter", f"--net=/proc/self/fd/{net}"] + command.split(), pass_fds=[net], check=True)

def test_clean(lab):
    lab("nodes:").up()
    sh("ip link add leak1 type bridge; ip link del leak1; sleep 60 & kill $!")
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """{inner test: what the leak check said, None when it was content}."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path_factory.mktemp("inner")
    text = (Path(__file__).parents[1] / "conftest.py").read_text(encoding="utf-8")
    assert "\nGRACE = 2.0" in text  # nothing here ends by itself
    (folder / "conftest.py").write_text(text.replace("\nGRACE = 2.0", "\nGRACE = 0.1"),
                                        encoding="utf-8")
    tests = [f"\ndef test_{name}(lab, run, needs):\n    {act}\n"
             for name, (act, _) in (LABS | PLANTED).items()]
    (folder / "pretender").write_text(PRETENDER, encoding="utf-8")
    (folder / "pretender").chmod(0o755)
    (folder / "test_inner.py").write_text(INNER + "".join(tests), encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    env["TAPNET_LAB_BIN"] = str(folder / "pretender")
    inner = subprocess.run([sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider",
                            "--rootdir", folder, "--junitxml=out.xml", "test_inner.py"],
                           cwd=folder, env=env, capture_output=True, text=True, timeout=120,
                           check=False)
    subprocess.run(["ip", "link", "del", "leak2"], check=False)  # our host is its real one
    assert inner.returncode == 1, inner.stdout + inner.stderr
    found = {"output": inner.stdout}
    for case in xml.parse(folder / "out.xml").iter("testcase"):
        said = [e.get("message", "") + (e.text or "") for e in case]
        name = case.get("name").removeprefix("test_")
        found[name] = "\n".join(filter(None, [found.get(name), *said])) or None
    return found


def test_clean_test_passes(verdicts):
    assert verdicts["clean"] is None


@pytest.mark.parametrize("name", PLANTED)
def test_leak_is_named(verdicts, name):
    assert verdicts[name] and PLANTED[name][1] in verdicts[name]


@pytest.mark.parametrize("name", [n for n, (_, words) in LABS.items() if words])
def test_tools_say_what_happened(verdicts, name):
    assert verdicts[name] and LABS[name][1] in verdicts[name]


def test_lab_of_a_failing_test_came_down(verdicts):
    assert "did not leave the host" not in verdicts["failing_test"]
    assert "left: file /run/tapnet-lab/t" not in verdicts["stuck_lab"]


def test_leak_on_the_real_host_fails_the_session(verdicts):
    assert verdicts["real_host"] is None
    assert "the real host is not as it was:  leak2" in verdicts["output"]
