# test_guests.py - guests and services: the fds and values they are given, where they run, ready,
# wait-for, restarts, and their end.
import json
import os
import re
import time
from pathlib import Path

import pytest

import faultlab
from conftest import TOP, run_dir
from faultlab import switch

GIVEN = """\
bridges:
  lan: {subnet: [10.1.0.0/24, "fd00:1::/64"]}
nodes:
  r1: {interfaces: {eth0: lan}}
  a:
    kind: guest
    netns: host
    command: |
      echo "fd=${eth0.fd} fds=${eth0.fds} comma=${eth0.fds-comma} queues=${eth0.queues} ."
      echo "virtqueues=${eth0.virtqueues} vectors=${eth0.vectors} mac=${eth0.mac} ."
      echo "ifname=${eth0.ifname} ipv4=${eth0.ipv4} prefix=${eth0.ipv4-prefix} mask=${eth0.netmask} ."
      echo "ipv6=${eth0.ipv6} subnet=${eth0.subnet} gateway=${eth0.gateway} peer=${eth0.peer} mtu=${eth0.mtu} ."
      echo "second=${eth1.fds} peer1=${eth1.peer} r1=${r1:eth0.ipv4} dollar=$$ lab=${lab.name} node=${node.name} ."
      echo "net=$(readlink /proc/self/ns/net) ."
      for fd in $(ls /proc/self/fd); do echo "open $fd $(readlink /proc/self/fd/$fd) ."; done
      echo READY; exec sleep 1000
    ready: {console: READY, timeout: 20s}
    routes: default via r1
    interfaces:
      eth0: {bridge: lan, tap: {queues: 4}, mac: 02:00:00:00:00:0a}
      eth1: {}
  b:
    kind: guest
    netns: switch
    command: [sh, -c, 'readlink /proc/self/ns/net; ip -br link; echo READY; exec sleep 1000']
    ready: {console: READY, timeout: 20s}
    interfaces: {eth0: lan}
  c:
    kind: guest
    netns: r1
    command: [sh, -c, 'readlink /proc/self/ns/net; echo $1; echo READY; exec sleep 1000', sh, "${eth0.mac}"]
    ready: {console: READY, timeout: 20s}
    interfaces: {eth0: {ipv4: none}}
links:
  - [a:eth1, c:eth0]
"""


def status(made, name):
    nodes = json.loads(made.verb("status", "--format", "json").stdout)["nodes"]
    return next(p for n in nodes for p in n["programs"] if p["name"] == name)


def log(made, name):
    return made.verb("logs", name).stdout


@pytest.fixture(scope="module")
def given(module_lab):
    made = module_lab(GIVEN)
    plan = {s["of"]: s for s in faultlab.steps(made) if s["op"] == "proc"}
    made.up()
    return made, plan


def test_fds_are_those_of_the_plan(given):
    """0, 1, 2 are the terminal, then the TAPs' in the order of interfaces and queues."""
    made, plan = given
    had = {int(fd): to for fd, to in re.findall(r"open (\d+) (\S*) \.", log(made, "a"))}
    had.pop(8, None)  # the listing's own
    planned = [fd["to"] for fd in plan["a"]["args"]["fds"]]
    assert planned == [3, 4, 5, 6, 7]
    assert sorted(had) == [0, 1, 2, *planned]
    assert all(had[fd] == "/dev/net/tun" for fd in planned), had
    assert all(re.fullmatch(r"/dev/pts/\d+", had[fd]) for fd in (0, 2)), had


def test_fds_of_the_process_itself(given):
    """As the kernel tells it, of each guest; and each is the planned TAP."""
    made, plan = given
    taps = {s["args"]["fd"]: s["args"] for s in faultlab.steps(made) if s["op"] == "tap"}
    for name in ("a", "b", "c"):
        proc = Path(f"/proc/{status(made, name)['pid']}")
        planned = {fd["to"]: fd["from"] for fd in plan[name]["args"]["fds"]}
        assert sorted(map(int, os.listdir(proc / "fd"))) == sorted([0, 1, 2, *planned])
        for fd, at in planned.items():
            tap = next(t for first, t in taps.items() if first <= at < first + t["queues"])
            info = (proc / "fdinfo" / str(fd)).read_text()
            assert re.search(rf"^iff:\s+{tap['name']}$", info, re.M), (name, fd, info)


def test_values(given):
    """${…} of its own interfaces, and of another node's."""
    made, _ = given
    said = log(made, "a")
    port = next(s["args"]["name"] for s in faultlab.steps(made)
                if s["op"] == "tap" and s["of"] == "a:eth0")
    had = dict(word.split("=", 1) for line in re.findall(r"^\w+=.* \.", said, re.M)
               for word in line.split()[:-1])
    dollar = had.pop("dollar")
    had.pop("net")
    assert int(dollar) > 1  # $$ is the shell's
    assert had == {
        "fd": "3", "fds": "3:4:5:6", "comma": "3,4,5,6", "queues": "4", "virtqueues": "8",
        "vectors": "10", "mac": "02:00:00:00:00:0a", "ifname": port, "ipv4": "10.1.0.2",
        "prefix": "10.1.0.2/24", "mask": "255.255.255.0", "ipv6": "fd00:1::2",
        "subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "peer": "lan", "mtu": "1500",
        "second": "7", "peer1": "c:eth0", "r1": "10.1.0.1", "lab": made.name, "node": "a"}
    mac = next(i["mac"] for n in json.loads(made.verb("status", "--format", "json").stdout)["nodes"]
               if n["name"] == "c" for i in n["interfaces"])
    assert f"\n{mac}\n" in log(made, "c").replace("\r", "")


def test_place(given):
    """netns: host, switch, a node."""
    made, _ = given
    net = {name: re.search(r"net:\[\d+\]", log(made, name))[0] for name in "abc"}
    assert net["a"] == os.readlink("/proc/self/ns/net")
    assert net["c"] == made.exec("r1", "readlink", "/proc/self/ns/net").stdout.strip()
    assert len(set(net.values())) == 3
    assert re.search(r"^lan ", log(made, "b"), re.M)


# --- restarts -------------------------------------------------------------------------------------

AGAIN = """\
bridges: {lan: {subnet: none}}
nodes:
  g:
    kind: guest
    restart: on-failure
    command: |
      grep ^iff: /proc/self/fdinfo/3; date +started=%s.%N; echo READY
      while ! [ -e die ]; do sleep 0.02; done; rm die; exit 3
    ready: {console: READY, timeout: 20s}
    interfaces: {eth0: {bridge: lan, tap: {queues: 2}}}
  n:
    interfaces: {eth0: lan}
    services:
      s: {command: "echo up; sleep 1000 & while ! [ -e die-s ]; do sleep 0.02; done; rm die-s; exit 4", restart: on-failure}
"""


def port(made):
    """(ifindex, bridge, MAC, state) of the guest's TAP in the switch."""
    link, = json.loads(switch(made, "ip", "-j", "-d", "link", "show", "g:eth0"))
    return (link["ifindex"], link["master"], link["address"],
            link["linkinfo"]["info_slave_data"]["no"])


def test_restart_on_failure(lab):
    """After a back-off, on the same wire; counted in status."""
    made = lab(AGAIN)
    made.up()
    before, tap, old = port(made), status(made, "g"), status(made, "n.s")
    assert (tap["state"], tap["restarts"]) == ("running", 0)
    for name in ("die", "die-s"):
        (made.file.parent / name).touch()
    died = time.time()
    faultlab.wait("a back-off", lambda: status(made, "g")["state"] != "running", 5, reap=False)
    faultlab.wait("both again", lambda: all(
        (p := status(made, n))["state"] == "running" and p["restarts"] == 1
        for n in ("g", "n.s")), 8, reap=False)
    again, service = status(made, "g"), status(made, "n.s")
    assert again["pid"] != tap["pid"] and service["pid"] != old["pid"]
    assert "exited with 3" in str(again["last_exit"]) and "exited with 4" in str(service["last_exit"])
    faultlab.wait("its words", lambda: log(made, "g").count("READY") == 2, 5, reap=False)
    said = log(made, "g").replace("\r", "")
    starts = [float(s) for s in re.findall(r"^started=(.*)", said, re.M)]
    assert starts[1] - died >= 0.9, "no back-off"
    assert starts[1] - died < 4
    assert "[g exited with 3]" in said
    taps = re.findall(r"^iff:\s+(p\d+)$", said, re.M)
    assert len(taps) == 2 and taps[0] == taps[1]
    assert port(made) == before
    assert log(made, "n.s").count("up") == 2
    check = made.verb("status", "--check", status=1).stdout
    assert "restarted 1 time, exited with 3 before" in check, check


def test_restart_by_hand(lab):
    made = lab(AGAIN)
    made.up()
    before, old = port(made), status(made, "g")["pid"]
    made.verb("restart", "g")
    faultlab.wait("another process", lambda: (p := status(made, "g"))["state"] == "running"
                  and p["pid"] != old, 8, reap=False)
    assert port(made) == before
    assert faultlab.gone(old)
    made.verb("restart", "n.s")
    faultlab.wait("a new service", lambda: status(made, "n.s")["state"] == "running", 8, reap=False)


# --- ready ----------------------------------------------------------------------------------------

def guest(command, ready, more=""):
    return f"""\
nodes:
  r1: {{interfaces: {{eth0: {{ipv4: 10.0.0.1/24}}}}}}
  g:
    kind: guest
    command: {command}
    ready: {ready}
    interfaces: {{eth0: {{ipv4: 10.0.0.2/24}}}}
{more}links: [[r1:eth0, g:eth0]]
"""


def test_dies_before_it_is_ready(lab):
    made = lab(guest("'echo one; echo two; echo three; echo four; exit 7'", "{console: never}"))
    up = made.up(status=5)
    assert f"{made.name}: g: it exited with 7 before it was ready (waited for console \"never\")" \
        in up.stderr, up.stderr
    assert f"{made.file}:6:" in up.stderr, up.stderr
    assert re.search(r"three\n +four\n", up.stderr), up.stderr
    assert not made.is_there()


@pytest.mark.parametrize("ready, words", (
    ("{console: 'log[i]n:', timeout: 300ms}", 'console "log[i]n:"'),
    ("{tcp: 99, from: r1, timeout: 300ms}", "tcp 10.0.0.2 port 99"),
    ("{exec: test -e nothing, timeout: 300ms}", 'exec "test -e nothing"'),
), ids=("console", "tcp", "exec"))
def test_not_ready_in_time(lab, ready, words):
    made = lab(guest("'echo login; echo booting; exec sleep 1000'", ready))
    began = time.monotonic()
    up = made.up(status=5)
    assert time.monotonic() - began < 5
    assert f"g: not ready in 0.3 s (waited for {words})" in up.stderr, up.stderr
    assert "\n    booting\n" in up.stderr, up.stderr


def test_console_without_newline(lab):
    """A prompt, in pieces."""
    made = lab(guest("'printf lo; sleep 0.2; printf gin:; exec sleep 1000'",
                     "{console: '^login:$', timeout: 10s}"))
    made.up(timeout=8)


def test_after(lab):
    made = lab(guest("exec sleep 1000", "{after: 700ms}"))
    began = time.monotonic()
    made.up()
    assert time.monotonic() - began >= 0.7


def test_exec(lab):
    made = lab(guest("'sleep 0.4; touch there; exec sleep 1000'",
                     "{exec: test -e there, timeout: 10s}"))
    made.up()
    assert (made.file.parent / "there").exists()


def test_tcp(lab, needs, bin):
    """A guest's stack, asked from a node; and a service, that is asked in its own node."""
    program = next((p for p in (bin.parent / "guest/tapnet-guest",
                                TOP / "build/orchestrator/guest/tapnet-guest") if p.exists()), None)
    needs(str(program))
    server = "sleep 0.3; exec python3 -m http.server --bind 10.0.0.1 81"
    made = lab(guest(f"""[sh, -c, 'sleep 0.3; exec "$@"', sh, {program}, --nic,
      "fds=${{eth0.fds}},mac=${{eth0.mac}},ip=${{eth0.ipv4-prefix}}", --listen, "80"]""",
                     "{tcp: 80, from: r1, timeout: 10s}").replace(
        "  g:\n", f"    services: {{w: {{command: '{server}', ready: {{tcp: 81, timeout: 10s}}}}}}\n"
        "  g:\n").replace("r1: {interfaces: {eth0: {ipv4: 10.0.0.1/24}}}",
                          "r1:\n    interfaces: {eth0: {ipv4: 10.0.0.1/24}}"))
    made.up()
    for where, word in (("10.0.0.2", "g"), ("10.0.0.1:81", "Directory")):
        got = made.exec("r1", "curl", "-sm", "3", f"http://{where}/").stdout
        assert word in got, (where, got)


# --- wait-for -------------------------------------------------------------------------------------

ORDER = """\
bridges: {lan: {subnet: none}}
nodes:
  first:
    wait-for: last
    exec: echo first.exec >> order
    services:
      one: {command: 'echo one >> order; exec sleep 1000', wait-for: two, ready: {exec: grep -q one order}}
      two: {command: 'echo two >> order; sleep 0.2; echo two.ready >> order; exec sleep 1000', ready: {exec: grep -q two.ready order}}
  mid:
    services:
      s: {command: 'echo mid.s >> order; exec sleep 1000', wait-for: end, ready: {exec: grep -q mid.s order}}
  last:
    kind: guest
    interfaces: {eth0: lan}
    command: 'echo last >> order; sleep 0.3; echo last.ready >> order; echo READY; exec sleep 1000'
    ready: {console: READY, timeout: 10s}
  end:
    kind: guest
    interfaces: {eth0: lan}
    command: 'echo end >> order; sleep 0.3; echo end.ready >> order; echo READY; exec sleep 1000'
    ready: {console: READY, timeout: 10s}
"""


def test_order(lab):
    """Nodes and services, against the order of the file."""
    made = lab(ORDER)
    made.up()
    order = (made.file.parent / "order").read_text().split()
    for chain in (("last", "last.ready", "first.exec", "two", "two.ready", "one"),
                  ("end", "end.ready", "mid.s")):
        assert [step for step in order if step in chain] == list(chain), order


# --- the end --------------------------------------------------------------------------------------

def test_end(lab):
    """One that ignores SIGTERM is killed after its grace; daemons end, too."""
    made = lab("""\
bridges: {lan: {subnet: none}}
nodes:
  deaf: {kind: guest, interfaces: {eth0: lan}, command: "trap '' TERM; echo READY; while :; do sleep 1; done", ready: {console: READY}}
  polite:
    kind: guest
    interfaces: {eth0: lan}
    command: "trap 'echo bye > bye; exit 0' TERM; (setsid sleep 1001 &); echo READY; while :; do sleep 0.05; done"
    ready: {console: READY}
  n:
    services:
      s: "(setsid sh -c 'trap \\"\\" TERM; sleep 1002' &); exec sleep 1003"
""")
    made.up()
    deaf = status(made, "deaf")["pid"]
    ours = [p for p, what in faultlab.processes(os.getpid()).items() if re.search("sleep 100[123]", what)]
    assert len(ours) >= 3
    began = time.monotonic()
    made.down()
    took = time.monotonic() - began
    assert 4.9 < took < 15, took  # its grace is 5 s
    left = [p for p in [deaf, *ours] if not faultlab.gone(p)]
    assert not left, [faultlab.processes(os.getpid()).get(p) for p in left]
    assert (made.file.parent / "bye").read_text() == "bye\n"


def test_services(lab):
    """A log of its own, its node's name, and only its node's processes."""
    made = lab("""\
nodes:
  n:
    env: {COLOUR: red}
    services:
      talk: {command: "echo said $COLOUR $SIZE; ps -e -o pid,args; hostname; echo DONE; exec sleep 1000", env: {SIZE: big}, ready: {console: DONE}}
      other: [sleep, "1004"]
  m: {services: {s: sleep 1005}}
""")
    made.up()
    said = log(made, "n.talk").replace("\r", "")
    assert said.startswith("said red big\n") and "\nn\nDONE" in said
    assert (run_dir() / made.name / "n.talk.log").read_text().replace("\r", "") == said
    assert log(made, "n.other") == ""
    ps = made.exec("n", "ps", "-e", "-o", "pid,args").stdout
    assert "sleep 1004" in ps and "sleep 1005" not in ps and "python" not in ps
    pids = [int(line.split()[0]) for line in ps.splitlines()[1:]]
    assert min(pids) == 1 and len(pids) <= 5, ps
    made.verb("restart", "n.other")
    faultlab.wait("it runs again", lambda: status(made, "n.other")["state"] == "running", 5, reap=False)
