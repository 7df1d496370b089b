# test_bench.py - the bench itself: what it compares is the same, it tells and writes all of it, and
# it sees a tool that is slow, a kernel that is not done, and a signal.
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from conftest import TOP, run_dir

sys.path.append(str(TOP / "tests/bench"))
import labs
import tools

SVG = "{http://www.w3.org/2000/svg}"
MEASURES = ("memory", "calls", "plan", "exec", "guests", "hooks", "killed")


@pytest.fixture(scope="module", autouse=True)
def root(needs):
    if os.geteuid():
        pytest.skip("needs root, to make network namespaces")
    needs("strace", "nsenter")
    if not tools.LIMIT.exists():
        pytest.fail(f"{tools.LIMIT} is not built: ninja -C build bench", pytrace=False)


@pytest.fixture
def limit():
    """limit(kind, n): its lab is up."""
    up = []

    def make(kind, n):
        talk = tools.Talk([tools.LIMIT, kind, n])
        up.append(talk)
        talk.heard("up")
        return talk
    yield make
    for talk in up:
        talk.end()


def bench(run, tmp_path, *args, status=0, **env):
    """Its words, and what it wrote."""
    files = [tmp_path / "bench.json", tmp_path / "bench.svg"]
    ran = run([TOP / "tests/bench/bench", "--json", files[0], "--svg", files[1], *args], status=status,
              timeout=240, env={**os.environ, **env})
    return ran.stdout, json.loads(files[0].read_text()), files[1]


# --- the two make the same ---

def inside(pid, fd, *command):
    out = subprocess.run(["nsenter", f"--net=/proc/{pid}/fd/{fd}", "ip", "-j", "-d", *command],
                         capture_output=True, check=True, timeout=30).stdout
    return json.loads(out or "[]")


def namespace(pid, fd, macs):
    """All that is in it, but for alternative names; MACs go to the list."""
    addresses = {link["ifname"]: [(a["local"], a["prefixlen"]) for a in link["addr_info"]]
                 for link in inside(pid, fd, "addr")}
    devices = []
    for link in inside(pid, fd, "link"):
        info = link.get("linkinfo", {})
        if link["ifname"] != "lo":
            macs.append(link["address"])
        devices.append((link["ifname"], link["ifindex"], info.get("info_kind"), "UP" in link["flags"], link["mtu"],
                        link.get("master"), link["qdisc"], link["num_tx_queues"], link.get("inet6_addr_gen_mode"),
                        info.get("info_data", {}).get("mcast_snooping"),
                        tuple(addresses[link["ifname"]])))
    routes = [(r["dst"], r.get("gateway"), r.get("dev"), r.get("protocol"))
              for r in inside(pid, fd, "route", "show", "table", "all")]
    forward = [c.get("forwarding") for c in inside(pid, fd, "netconf") if c.get("interface") in addresses]
    return tuple(sorted(devices)), tuple(sorted(routes, key=str)), tuple(sorted(map(str, forward)))


def everything(pid, macs):
    """All that is in the namespaces that this process holds."""
    found, ours = {}, os.readlink("/proc/self/ns/net")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        to = os.readlink(f"/proc/{pid}/fd/{fd}")
        if to.startswith("net:") and to != ours:
            found[to] = fd
    return sorted(namespace(pid, fd, macs) for fd in found.values())


def worker():
    return tools.named("tapnet-work")[0]


@pytest.mark.parametrize("kind", (*labs.KINDS, "guests"))
def test_limit_makes_what_the_tool_makes(lab, limit, kind):
    raw, macs = limit(kind, 4), ([], [])
    theirs = everything(raw.it.pid, macs[0])
    made = lab(getattr(labs, kind)(4))
    made.up("-q")
    ours = everything(worker(), macs[1])
    assert ours == theirs
    assert sum(len(devices) for devices, _, _ in ours) >= 5
    for them in macs:
        assert len(set(them)) == len(them) and all(mac.startswith("02:") for mac in them)
    raw.go_on()
    assert raw.heard("down") > 0


def test_a_planted_difference_is_seen(lab, limit):
    theirs = everything(limit("star", 4).it.pid, [])
    made = lab(labs.star(4).replace("via 10.0.255.254", "via 10.0.255.253"))
    made.up("-q")
    assert everything(worker(), []) != theirs


def test_the_chain_forwards(lab):
    made = lab(labs.chain(5))
    made.up("-q")
    assert made.exec("r0", "ping", "-c1", "-W5", "10.0.0.14").returncode == 0


# --- what it says ---

def test_all_of_it(run, tmp_path):
    out, wrote, picture = bench(run, tmp_path, "--sizes", "3,5", "--runs", "1", "--with", "ip", status=None)
    assert set(wrote["labs"]) == set(labs.KINDS) and set(wrote["others"]) == set(MEASURES)
    for kind, sizes in wrote["labs"].items():
        for size in ("3", "5"):
            assert re.search(rf"^\| {kind} {size} +\|( +\d+ / \d+ \|){{3}} +\|$", out, re.M)
            assert set(sizes[size]) == {"tapnet-lab", "limit", "ip -batch"}
            for took in sizes[size].values():
                assert [len(took[of]) for of in ("up", "down", "cpu", "kernel")] == [1, 1, 1, 1]
                assert 0 < took["up"][0] < 100 and 0 < took["down"][0] < 100
    for name in ("memory of our processes, star 5", "validate and plan, star 50", "exec of true over nsenter of it",
                 "5 guests on TAPs, limit", "a hook, limit", "worker killed with 5 TAPs, all gone"):
        assert re.search(rf"^\| {name} +\|.*\| +(ok|missed) \|$", out, re.M), name
    assert all(values for found in wrote["others"].values() for values in found.values())
    assert 0.5 < wrote["others"]["memory"]["together"][0] < 16
    assert wrote["others"]["calls"]["tapnet-lab star"][0] > wrote["others"]["calls"]["limit star"][0] > 50
    drawn = xml.parse(picture).getroot()
    assert drawn.tag == SVG + "svg"
    assert len(drawn.findall(SVG + "polyline")) == 3 + 2 * len(labs.KINDS) * 3  # legend, lines
    assert len(drawn.findall(SVG + "circle")) == 2 * len(labs.KINDS) * 2 * 2


def test_help_and_nonsense(run):
    assert "--sizes" in run([TOP / "tests/bench/bench", "--help"]).stdout
    assert "star, chain" in run([TOP / "tests/bench/bench", "--only", "stars"], status=2).stderr
    assert "ip, mininet" in run([TOP / "tests/bench/bench", "--with", "docker"], status=2).stderr


# --- what it sees ---

def slow(tmp_path, binary, verb, how):
    """The tool, but one verb is slow."""
    path = tmp_path / "tapnet-lab"
    path.write_text(f'#!/bin/sh\n[ "$1" != {verb} ] || {how}\nexec {binary} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("verb", ("up", "down"))
def test_a_slow_tool_misses(bin, run, tmp_path, verb):
    """Slower by 8 s than a lab of a hundred nodes."""
    out, wrote, _ = bench(run, tmp_path, "--sizes", "100", "--runs", "1", "--only", "star", "--with", "none", status=1,
                          TAPNET_LAB_BIN=slow(tmp_path, bin, verb, "sleep 8"))
    assert wrote["labs"]["star"]["100"]["tapnet-lab"][verb][0] > 8
    assert f"star 100 {verb}, limit" in wrote["missed"]
    assert re.search(rf"^\| star 100 {verb}, limit +\| +≤ 1.1\d? × \|.*\| missed \|$", out, re.M)
    assert re.search(rf"^missed: .*star 100 {verb}, limit", out, re.M)


def test_a_greedy_tool_misses(bin, run, tmp_path):
    """Some of its memory is a shell's, called as the worker is."""
    greedy = (f"{sys.executable} -c 'import time; open(\"/proc/self/comm\", \"w\").write(\"tapnet-hog\"); "
              f"x = bytearray(b\"x\") * (48 << 20); time.sleep(1)'")
    _, wrote, _ = bench(run, tmp_path, "--sizes", "3", "--runs", "1", "--only", "memory", "--with", "none", status=1,
                        TAPNET_LAB_BIN=slow(tmp_path, bin, "up", greedy))
    assert wrote["others"]["memory"]["together"][0] > 48


def test_the_kernel_is_not_done(limit):
    """Namespaces that a killed process held: what is measured next waits for them."""
    idle = sorted(tools.Drain.took() for _ in range(5))
    raw = limit("star", 300)
    raw.end()
    assert tools.Drain.took() > idle[2] + 0.02


def test_told_to_end(tmp_path):
    """Nothing of it stays, says the leak check."""
    argv = [TOP / "tests/bench/bench", "--sizes", "3", "--runs", "1000", "--only", "taps", "--with", "none",
            "--json", tmp_path / "j", "--svg", tmp_path / "s"]
    with subprocess.Popen([str(a) for a in argv], stderr=subprocess.DEVNULL) as it:
        home = run_dir() / f"bench-{it.pid}"
        until = time.monotonic() + 60
        while not home.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert home.exists()
        it.send_signal(signal.SIGTERM)
        assert it.wait(60) == 1
    assert not home.exists()
    assert not Path(tmp_path / "j").exists()
