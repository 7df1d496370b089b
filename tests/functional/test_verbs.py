# test_verbs.py - the verbs on a lab that is up, and those that need none: what they say, and each
# exit status.
import contextlib
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import run_dir

PLAIN = """
bridges: {lan: 10.7.0.0/24}
nodes:
  r1: {interfaces: {eth0: {bridge: lan, ipv4: 10.7.0.1/24}}, env: {COLOUR: "blue in ${lab.name}"}}
  r2: {interfaces: {eth0: {bridge: lan, ipv4: 10.7.0.2/24}}, routes: 10.8.0.0/16 via r1}
"""
GUEST = """
bridges: {lan: 10.7.0.0/24}
nodes:
  r1:
    interfaces: {eth0: lan}
    services:
      tick: {command: "echo ticking; while read x; do echo heard $x; done; exec sleep 1000"}
      tock: {command: exec sleep 1000}
  vm1:
    kind: guest
    interfaces: {eth0: {bridge: lan, tap: {queues: 2}}}
    command: [sh, -c, "echo hello; while read x && [ $x != end ]; do echo got $x; done"]
"""


@pytest.fixture(scope="module")
def plain(module_lab):
    made = module_lab(PLAIN)
    made.up("-q")
    return made


@pytest.fixture(scope="module")
def guest(module_lab):
    made = module_lab(GUEST)
    made.up("-q")
    return made


@pytest.fixture(scope="module", params=["plain", "guest"])
def either(request, plain, guest):
    """A lab whose r1 has nothing but its network, and one whose r1 has programs."""
    return plain if request.param == "plain" else guest


def env_of(lab):
    return {**os.environ, "TAPNET_LAB": lab.name}


def wait_for(what, seconds=10):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "nothing came of it in time"
        time.sleep(0.02)
    return found


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv, env, cwd=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.chdir(cwd or "/")
                os.execvpe(str(argv[0]), [str(a) for a in argv], env)
            os._exit(99)
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # its other end is closed
            return False
        self.said += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=10):
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < until, f"no {pattern!r} in {self.said!r}"
            self.read(0.1)
        self.said = self.said[found.end():]
        return found

    def end(self, seconds=10):
        """Its exit status, as a shell has it."""
        until = time.monotonic() + seconds
        while True:
            self.read(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            assert time.monotonic() < until, f"it does not end: {self.said!r}"


# --- exec and shell -------------------------------------------------------------------------------

@pytest.mark.parametrize("command, status", [
    (("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), 137),
    (("no-such-program",), 127), (("/no/such/program",), 127), (("/etc/hosts",), 126)])
def test_exec_status(plain, command, status):
    plain.verb("exec", "r1", "--", *command, status=status)
    plain.verb("exec", "r1", *command, status=status)


@pytest.mark.parametrize("argv", [("rr1", "--", "true"), ("r1",), (), ("--no-such-option", "r1", "true"),
                                  ("-l", "no-such-lab", "r1", "true"), ("-l", "NO", "r1", "true")])
def test_exec_own_failures(plain, argv):
    assert plain.verb("exec", *argv, status=125).stderr.startswith("tapnet-lab: ")


def test_exec_suggests_the_nearest_node(guest):
    assert 'did you mean "vm1"?' in guest.verb("exec", "vn1", "true", status=125).stderr


def test_exec_on_a_guest_says_console(guest):
    assert "vm1 is a guest: tapnet-lab console vm1" in guest.exec("vm1", "true", status=125).stderr


def test_exec_is_inside(either):
    out = either.exec("r1", "sh", "-c", "hostname; ls /sys/class/net; ip -4 -o addr; cat /etc/hosts").stdout
    assert out.split()[:3] == ["r1", "eth0", "lo"]
    assert re.search(r"eth0\s+inet 10\.7\.0\.1/24", out)
    assert re.search(r"^10\.7\.0\.2 (r2|vm1)$", out, re.M)


def test_exec_environment(plain):
    out = plain.exec("r1", "env", env={"PRIVATE": "secret", "TERM": "vt52"}).stdout.splitlines()
    assert not any(line.startswith("PRIVATE=") for line in out)
    assert {"TERM=vt52", f"COLOUR=blue in {plain.name}", "TAPNET_NODE=r1",
            f"TAPNET_LAB={plain.name}"} <= set(out)
    assert "PATH=" + os.environ["PATH"] in out


def test_exec_words_input_and_folder(plain):
    assert plain.exec("r1", "echo", "a", "--", "-l", "b").stdout == "a -- -l b\n"
    assert plain.verb("exec", "r1", "cat", input="typed\n").stdout == "typed\n"
    assert plain.exec("r1", "pwd").stdout.strip() == str(plain.file.parent)


def test_exec_from_a_folder_that_is_not_there_inside(plain, run, bin, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "{gone}"; exec "{bin}" exec r1 pwd'
    assert run(["sh", "-c", script], cwd=gone, env=env_of(plain)).stdout == "/\n"


def test_exec_all(plain, guest):
    assert plain.verb("exec", "--all", "--", "hostname").stdout == "==> r1\nr1\n\n==> r2\nr2\n"
    assert plain.verb("exec", "-a", "sh", "-c", "[ $(hostname) = r1 ] || exit 4", status=4)
    assert guest.verb("exec", "--all", "hostname").stdout == "==> r1\nr1\n"  # no guests


def test_exec_passes_signals_on(plain, bin):
    command = "trap 'echo term; exit 5' TERM; echo ready; while :; do sleep .05; done"
    with subprocess.Popen([bin, "exec", "r1", "sh", "-c", command], env=env_of(plain), text=True,
                          stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "term\n"
        assert process.wait(10) == 5


def test_exec_dies_with_its_command(plain, bin):
    with subprocess.Popen([bin, "exec", "r1", "sh", "-c", "echo $$; exec sleep 60"],
                          env=env_of(plain), text=True, stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        process.kill()
        process.wait(10)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or
             "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1][:3])


def test_exec_on_a_terminal(plain, bin):
    command = "trap 'echo caught; exit 3' INT; echo on; while :; do sleep .05; done"
    with Terminal([bin, "exec", "r1", "sh", "-c", command], env_of(plain)) as terminal:
        terminal.expect("on\r\n")
        terminal.type("\x03")  # the command's business, not ours
        terminal.expect("caught")
        assert terminal.end() == 3
    with Terminal([bin, "exec", "r1", "sleep", "60"], env_of(plain)) as terminal:
        time.sleep(0.2)
        terminal.type("\x03")
        assert terminal.end() == 130


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_shell_prompt(either, shell, bin, needs):
    needs(shell)
    prompt = re.escape(f"{either.name} r1# ")
    with Terminal([bin, "shell", "r1"], {**env_of(either), "SHELL": shell}) as terminal:
        terminal.expect(prompt)
        terminal.type("hostname\n")
        terminal.expect("[\r\n]r1\r\n")
        terminal.expect(prompt)
        terminal.type("exit 9\n")
        assert terminal.end() == 9


def test_shell_gives_the_terminal_back(plain, bin, needs):
    needs("/bin/bash")
    script = f'"{bin}" shell r1; read answer; echo "answer $answer"'
    with Terminal(["sh", "-c", script], {**env_of(plain), "SHELL": "/bin/bash"}) as terminal:
        terminal.expect("r1# ")
        terminal.type("exit\n")
        terminal.expect("exit\r\n")
        terminal.type("mine\n")
        terminal.expect("answer mine")
        assert terminal.end() == 0


def test_shell_own_failures(guest):
    assert guest.verb("shell", "r1", input="hostname; exit 6\n", status=6).stdout == "r1\n"
    assert "console vm1" in guest.verb("shell", "vm1", status=125).stderr
    guest.verb("shell", status=125)
    guest.verb("shell", "nobody", status=125)


# --- run ------------------------------------------------------------------------------------------

def run_lab(made, *argv, **how):
    """tapnet-lab run FILE -- ARGV; the lab must be gone afterwards."""
    done = made.verb("run", made.file, *argv, **how)
    assert not made.is_there()
    return done


def test_run(lab, bin):
    made = lab("nodes: {a: {exec: [echo said by the lab]}}")
    script = f'echo $TAPNET_LAB; pwd; cat; "{bin}" exec a hostname; exit 3'
    done = run_lab(made, "--", "sh", "-c", script, status=3, input="typed\n", env={"TAPNET_LAB": "x"})
    assert done.stdout == f"{made.name}\n{made.file.parent}\ntyped\na\n"
    assert "said by the lab" in done.stderr


@pytest.mark.parametrize("argv, status", [
    (("--", "true"), 0), (("--", "sh", "-c", "kill -TERM $$"), 143), (("--", "no-such-program"), 127),
    (("--", "/etc/hosts"), 126), (("true",), 125), (("--",), 125), (("--no-such-option", "--", "true"), 125),
    (("--ttl", "300ms", "--", "sleep", "60"), 125), (("--set", "nope=1", "--", "true"), 125)])
def test_run_status(lab, argv, status):
    run_lab(lab("nodes: {a: }"), *argv, status=status)


def test_run_of_labs_that_cannot_be_made(lab):
    run_lab(lab("nodes: {a: {no-such-key: 1}}"), "--", "true", status=125)
    assert "exited with 8" in run_lab(lab("nodes: {a: {exec: exit 8}}"), "--", "true", status=125).stderr


def test_run_beside_a_lab_that_is_up(lab):
    made = lab("nodes: {a: }")
    made.up("-q")
    assert "take that one down" in made.verb("run", made.file, "--", "true", status=125).stderr
    assert made.is_there()
    other = f"{made.name[:20]}-other"
    assert made.verb("run", made.file, "--name", other, "--", "sh", "-c", "echo $TAPNET_LAB",
                     ).stdout == other + "\n"


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_run_interrupted(lab, bin, number, status):
    made = lab("nodes: {a: }")
    with subprocess.Popen([bin, "run", made.file, "--", "sh", "-c", "echo on; exec sleep 60"],
                          text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(number)
        assert process.wait(20) == status
    assert not made.is_there()


def test_run_killed_takes_the_lab_down(lab, bin):
    made = lab("nodes: {a: }")
    with subprocess.Popen([bin, "run", made.file, "--", "sh", "-c", "echo on; exec sleep 60"],
                          text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "on\n"
        process.kill()
        process.wait(10)
    wait_for(lambda: not made.is_there(), 20)


# --- status and list ------------------------------------------------------------------------------

def test_status(guest):
    out = guest.verb("status").stdout
    assert re.match(rf"{guest.name}  up 00:\d\d:\d\d by \S+ from {re.escape(str(guest.file))}\n", out)
    assert re.search(r"^r1 +netns +ready +eth0 +up +10\.7\.0\.1/24$", out, re.M)
    assert re.search(r"^vm1 +guest +running +eth0 +up +10\.7\.0\.2/24$", out, re.M)
    assert re.search(r"^ +r1\.tick  running, pid \d+$", out, re.M)
    assert guest.verb("inspect").stdout.splitlines()[1:] == out.splitlines()[1:]
    assert guest.verb("status", "--check").stdout.endswith("no problems\n")


def test_status_json(guest):
    seen = json.loads(guest.verb("status", "--format", "json").stdout)
    assert seen["lab"] == guest.name and seen["state"] == "ready" and not seen["problems"]
    assert seen["file"] == str(guest.file) and seen["file_changed"] is False
    r1, vm1 = seen["nodes"]
    assert (r1["guest"], vm1["guest"]) == (False, True)
    eth0 = next(i for i in r1["interfaces"] if i["name"] == "eth0")
    inside = json.loads(guest.exec("r1", "ip", "-j", "link", "show", "eth0").stdout)[0]
    assert eth0["addresses"] == ["10.7.0.1/24"] and eth0["mac"] == inside["address"]
    assert (eth0["state"], eth0["carrier"], eth0["mtu"]) == ("up", True, inside["mtu"])
    assert all(eth0[k] >= 0 for k in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes"))
    tap = vm1["interfaces"][0]["tap"]
    assert [q["guest_fd"] for q in tap["queues"]] == [3, 4]
    program = vm1["programs"][0]
    assert program["name"] == "vm1" and program["state"] == "running" and program["restarts"] == 0
    assert b"hello" in Path(f"/proc/{program['pid']}/cmdline").read_bytes()
    assert [p["name"] for p in r1["programs"]] == ["r1.tick", "r1.tock"]


def test_status_usage(plain):
    assert plain.verb("status", "--format", "xml", status=2).stderr
    assert plain.verb("status", "a", "b", status=2).stderr
    assert "is not up" in plain.verb("status", "-l", "no-such-lab", status=3).stderr


REMEDY = re.compile(r"   tapnet-lab (exec .*)$", re.M)


@pytest.mark.parametrize("change, plan, kernel", [
    ("ip link set eth0 down", "up", "down"),
    ("ip link set eth0 mtu 1400", "mtu 1500", "mtu 1400"),
    ("ip addr del 10.7.0.2/24 dev eth0", "10.7.0.2/24", "no IPv4 address"),
    ("ip addr del 10.7.0.2/24 dev eth0; ip addr add 10.7.0.9/24 dev eth0", "10.7.0.2/24", "10.7.0.9/24"),
    ("ip route del 10.8.0.0/16", "10.8.0.0/16 via 10.7.0.1", "missing"),
    ("ip link set eth0 address 02:00:00:00:00:99", None, "02:00:00:00:00:99"),
])
def test_status_finds_drift_and_mends_it(lab, change, plan, kernel):
    made = lab(PLAIN)
    made.up("-q")
    made.exec("r2", "sh", "-c", change)
    out = made.verb("status", "--check", status=1).stdout
    assert re.search(rf"^r2 .*\n(    ! .*\n)*    ! \w+  plan: {plan and re.escape(plan) or '.*'}"
                     rf"   kernel: {re.escape(kernel)}   tapnet-lab ", out, re.M), out
    assert "problem" in made.verb("status").stdout.splitlines()[-1]  # 0 without --check
    for _ in range(4):  # what a link that was down loses is seen once it is up
        for remedy in REMEDY.findall(made.verb("status", "--check", status=None).stdout):
            made.verb(*shlex.split(remedy))
    assert made.verb("status", "--check").stdout.endswith("no problems\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_status_knows_every_wire(lab, run):
    made = lab("""
bridges:
  lan: {subnet: [10.7.0.0/24, "fd00:7::/64"]}
  other: {subnet: none}
  third: {subnet: none}
  out: {host: hostbr, subnet: 10.9.0.0/24}
nodes:
  r1: {forward: true, interfaces: {eth0: lan, lo: {ipv4: 10.255.0.1/32}, up0: out}}
  r2: {interfaces: {eth0: lan, eth1: other}, routes: [default via r1, "fd00:9::/64 via r1"]}
  vm1: {kind: guest, command: sleep 1000, interfaces: {eth0: {bridge: lan, tap: {queues: 4}}, eth2: out}}
  vm2: {kind: guest, command: sleep 1000}
links:
  - [r1:eth1, vm1:eth1]
  - {endpoints: [r1:eth2, r2:eth2], mtu: 9000}
  - [other, third]
  - [vm1:eth3, vm2:eth0]
  - [r1:eth3, r2:eth3, vm2:eth1]
""")
    run(["ip", "link", "add", "hostbr", "type", "bridge"])
    try:
        run(["ip", "link", "set", "hostbr", "up"])
        made.up("-q")
        assert made.verb("status", "--check").stdout.endswith("no problems\n")
        ports = run(["ip", "-o", "link", "show", "master", "hostbr"]).stdout.splitlines()
        assert len(ports) == 2
        run(["ip", "link", "set", ports[0].split(": ")[1].split("@")[0], "down"])
        out = made.verb("status", "--check", status=1).stdout
        assert re.search(r"^host\n    ! (r1:up0|vm1:eth2)  plan: up   kernel: down", out, re.M), out
        made.down()
    finally:
        run(["ip", "link", "del", "hostbr"])


def test_status_missing_device_and_changed_file(lab):
    made = lab(PLAIN)
    made.up("-q", "--ttl", "2h")
    made.exec("r2", "ip", "link", "del", "eth0")
    made.file.write_text(made.file.read_text() + "# edited\n")
    out = made.verb("status").stdout
    assert "(changed since: `tapnet-lab up --replace`)" in out and "expires in 01:59:" in out
    assert re.search(r"! eth0  plan: there   kernel: missing   tapnet-lab up --replace", out)
    seen = json.loads(made.verb("status", "--check", "--format", "json", status=1).stdout)
    assert seen["file_changed"] and 0 < seen["expires_ms"] <= 7200000
    assert {"r2", "switch"} <= {p["of"] for p in seen["problems"]}


def test_status_programs_that_ended(lab):
    made = lab("""
nodes:
  a: {services: {bad: {command: exit 3, restart: on-failure}, good: {command: "true"}, off: {command: exit 4}}}
  g: {kind: guest, interfaces: {eth0: lan}, command: "true"}
bridges: {lan: }
""")
    made.up("-q")

    def problems():
        found = json.loads(made.verb("status", "--format", "json").stdout)["problems"]
        by_name = {p["where"] or p["of"]: p for p in found}
        return by_name if set(by_name) == {"a.bad", "a.off", "g"} else None
    by_name = wait_for(problems)
    assert by_name["a.bad"]["kernel"].startswith("restarting")
    assert by_name["a.bad"]["remedy"] == "tapnet-lab logs a.bad"
    assert by_name["a.off"]["kernel"].startswith("ended, exited with 4 ")
    assert by_name["g"]["remedy"] == "tapnet-lab restart g"


def kill_lab(made):
    """Guardian and worker at once, so that neither can tear down."""
    pids = [int(p) for p in subprocess.run(["pgrep", "-f", str(made.file)], capture_output=True,
                                           text=True, check=True).stdout.split()]
    comms = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}
    ours = [pid for pid, comm in comms.items() if comm.startswith("tapnet-") and comm != "tapnet-init"]
    assert len(ours) == 2, comms
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in ours:
            os.kill(pid, number)


def test_a_dead_lab(lab):
    made = lab(PLAIN)
    made.up("-q")
    kill_lab(made)
    wait_for(lambda: "dead" in made.verb("list").stdout)
    out = made.verb("status").stdout
    assert "its worker was killed   tapnet-lab gc" in out
    made.verb("status", "--check", status=1)
    assert json.loads(made.verb("status", "--format", "json").stdout)["state"] == "dead"
    for verb, status in (("exec", 125), ("console", 3), ("restart", 3)):
        argv = ("r1", "true") if verb == "exec" else ("r1",)
        assert "tapnet-lab gc" in made.verb(verb, *argv, status=status).stderr
    made.verb("gc")
    assert not made.is_there()
    made.verb("status", status=3)


def test_list(plain, guest):
    out = plain.verb("list").stdout.splitlines()
    assert out[0].split() == ["LAB", "STATE", "NODES", "SINCE", "FILE"]
    rows = {line.split()[0]: line.split()[1:] for line in out[1:]}
    assert rows[plain.name][:2] == ["ready", "2"] and rows[plain.name][-1] == str(plain.file)
    seen = {o["lab"]: o for o in json.loads(plain.verb("list", "--format=json").stdout)}
    assert seen[guest.name]["state"] == "ready" and seen[guest.name]["nodes"] == 2
    plain.verb("list", "--format", "xml", status=2)


def test_list_of_none(run, bin, tmp_path):
    done = run([bin, "list"], env={**os.environ, "TAPNET_RUN_DIR": str(tmp_path / "run")})
    assert not done.stdout and "no lab is up" in done.stderr
    assert json.loads(run([bin, "list", "--format", "json"], env={
        **os.environ, "TAPNET_RUN_DIR": str(tmp_path / "run")}).stdout) == []


# --- console, logs, restart -----------------------------------------------------------------------

def test_console_on_a_terminal(lab, bin):
    made = lab(GUEST)
    made.up("-q")
    script = f'before=$(stty -g); "{bin}" console vm1; echo "status $?"; [ "$before" = "$(stty -g)" ] && echo same'
    with Terminal(["sh", "-c", script], env_of(made)) as terminal:
        terminal.expect(r"vm1: Ctrl-\] leaves")
        terminal.expect("hello")  # what was said before
        terminal.type("one\r")
        terminal.expect("got one")
        terminal.type("\x1d")
        terminal.expect(r"vm1 left\]\r\nstatus 0\r\nsame")
        assert terminal.end() == 0
    for number, status in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with Terminal(["sh", "-c", script.replace(f'"{bin}"', f'sh -c \'echo pid $$; exec "{bin}" "$@"\' x')],
                      env_of(made)) as terminal:
            pid = int(terminal.expect(r"pid (\d+)")[1])
            terminal.expect("hello")
            os.kill(pid, number)
            terminal.expect(rf"status {status}\r\nsame")
            assert terminal.end() == 0
    with Terminal([bin, "console", "r1.tick"], env_of(made)) as terminal:
        terminal.expect("ticking")
        terminal.type("two\r")
        terminal.expect("heard two")
        terminal.type("\x1d")
        assert terminal.end() == 0
    with Terminal([bin, "console", "vm1"], env_of(made)) as terminal:
        terminal.expect("got one")
        terminal.type("end\r")
        terminal.expect("vm1 has ended")
        assert terminal.end() == 0


def test_console_without_a_terminal(lab):
    made = lab(GUEST)
    made.up("-q")
    out = made.verb("console", "vm1", input="three\nend\n").stdout
    assert "hello" in out and "got three" in out
    assert "got three" in made.verb("console", "vm1").stdout  # its last words, and the end


def test_console_usage(guest, plain):
    assert "2 services: say which (r1.tick, r1.tock)" in guest.verb("console", "r1", status=2).stderr
    assert 'did you mean "r1.tick"?' in guest.verb("console", "r1.tik", status=2).stderr
    assert "no services" in plain.verb("console", "r1", status=2).stderr
    guest.verb("console", status=2)
    guest.verb("console", "-l", "no-such-lab", "vm1", status=3)


def test_logs(guest):
    assert wait_for(lambda: guest.verb("logs", "r1.tick").stdout).startswith("ticking")
    assert guest.verb("logs", "vm1").stdout.startswith("hello")
    everything = guest.verb("logs").stdout
    assert "==> r1.tick\nticking" in everything.replace("\r", "") and "==> vm1\n" in everything
    assert 'did you mean "vm1"?' in guest.verb("logs", "vn1", status=2).stderr
    guest.verb("logs", "r1.tok", status=2)
    guest.verb("logs", "-l", "no-such-lab", status=3)


def test_logs_of_the_silent(plain):
    assert "has printed nothing" in plain.verb("logs", "r1").stderr
    assert "has printed nothing" in plain.verb("logs").stderr


def test_logs_follow_until_the_end(lab, bin):
    made = lab("nodes: {a: {services: {s: {command: 'while read x; do echo heard $x; done'}}}}")
    made.up("-q")
    with subprocess.Popen([bin, "logs", "-f", "a"], env=env_of(made), text=True,
                          stdout=subprocess.PIPE) as process:
        for word in ("one", "two"):
            subprocess.run(["timeout", "-s", "INT", "1", bin, "console", "a.s"], env=env_of(made),
                           input=f"{word}\n", text=True, stdout=subprocess.DEVNULL, check=False)
            assert any(f"heard {word}" in process.stdout.readline() for _ in range(3))
        made.down()
        process.stdout.read()
        assert process.wait(10) == 0


def test_logs_of_a_lab_that_did_not_come_up(lab, bin, run):
    made = lab('nodes: {a: {exec: "echo last words; exit 2"}}')
    made.up(status=5)
    done = made.verb("logs", "a")
    assert done.stdout == "last words\n" and "is not up" in done.stderr
    folder = made.file.parent / "here"
    folder.mkdir()
    shutil.copy(made.file, folder / "lab.yaml")
    (folder / "lab.yaml").write_text(f"name: {made.name}\n" + made.file.read_text())
    env = {k: v for k, v in os.environ.items() if k != "TAPNET_LAB"}
    assert run([bin, "logs"], cwd=folder, env=env).stdout == "last words\n"


def test_logs_are_safe_on_a_terminal(lab, bin):
    made = lab('nodes: {a: {exec: "printf \'\\\\033]0;title\\\\007\\tx\\n\'"}}')
    made.up("-q")
    with Terminal([bin, "logs", "a"], env_of(made)) as terminal:
        assert terminal.end() == 0
        assert r"\x1b]0;title\x07" in terminal.said and "\x1b" not in terminal.said


def test_restart(lab):
    guest = lab(GUEST)
    guest.up("-q")

    def seen(key):
        nodes = json.loads(guest.verb("status", "--format", "json").stdout)["nodes"]
        return {p["name"]: p[key] for n in nodes for p in n["programs"]}
    before = seen("pid")
    links = guest.exec("r1", "ip", "-o", "link").stdout
    assert re.match(r"vm1 runs again \(\d+ ms\)$", guest.verb("restart", "vm1").stdout)
    guest.verb("restart", "r1.tock")
    after = seen("pid")
    assert {n for n in after if after[n] != before[n]} == {"vm1", "r1.tock"}
    assert set(seen("state").values()) == {"running"} and set(seen("restarts").values()) == {0}
    assert guest.exec("r1", "ip", "-o", "link").stdout == links
    guest.verb("status", "--check")


def test_restart_usage(guest, plain):
    assert "no services" in plain.verb("restart", "r2", status=2).stderr
    guest.verb("restart", status=2)
    guest.verb("restart", "nobody", status=2)
    guest.verb("restart", "r1", status=2)


# --- doctor, init, help ---------------------------------------------------------------------------

def test_doctor(run, bin, snapshot):
    before = snapshot()
    out = run([bin, "doctor"]).stdout
    release = os.uname().release
    assert out.startswith(f"this machine   Linux {release}, {os.cpu_count()} cores, ")
    assert re.search(r"^labs as root +everything", out, re.M)
    assert "/dev/net/tun yes" in out and "veth yes; bridge yes" in out
    assert snapshot() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_doctor_where_no_lab_can_run(run, bin, tmp_path):
    shutil.copy(bin, "/run/tapnet-lab-doctor")  # where everybody can read it
    try:
        done = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                    "/run/tapnet-lab-doctor", "doctor"], status=4, cwd="/")
    finally:
        os.unlink("/run/tapnet-lab-doctor")
    assert re.search(r"^labs as \S+ +none$", done.stdout, re.M) and "sudo tapnet-lab" in done.stdout


@pytest.fixture
def examples(tmp_path):
    data = tmp_path / "data"
    (data / "labs").mkdir(parents=True)
    (data / "hooks").mkdir()
    (data / "labs" / "one.yaml").write_text("# The first.\nnodes: {a: {hooks: {up: ../hooks/hello}}}\n")
    (data / "labs" / "two.yaml").write_text("# The second.\nvars: {x: ../files/x}\nnodes: {b: }\n")
    (data / "labs" / "notes.txt").write_text("no lab\n")
    (data / "hooks" / "hello").write_text("#!/bin/sh\nexit 0\n")
    (data / "hooks" / "hello").chmod(0o755)
    here = tmp_path / "here"
    here.mkdir()
    return {"cwd": here, "env": {**os.environ, "TAPNET_LAB_DATA": str(data)}}


def test_init(run, bin, examples):
    here = examples["cwd"]
    assert run([bin, "init"], **examples).stdout == "one  The first.\ntwo  The second.\n"
    assert run([bin, "init", "one"], **examples).stdout == "hooks/hello\nlab.yaml\n"
    assert (here / "lab.yaml").read_text() == "# The first.\nname: one\nnodes: {a: {hooks: {up: hooks/hello}}}\n"
    assert os.access(here / "hooks" / "hello", os.X_OK)
    run([bin, "validate"], **examples)
    assert "--force" in run([bin, "init", "two"], status=2, **examples).stderr
    assert "name: one" in (here / "lab.yaml").read_text()
    assert "../files/x" in run([bin, "init", "--force", "two"], **examples).stderr
    assert "name: two" in (here / "lab.yaml").read_text()


def test_init_usage(run, bin, examples):
    assert 'did you mean "one"?' in run([bin, "init", "onee"], status=2, **examples).stderr
    run([bin, "init", "one", "two"], status=2, **examples)
    examples["env"]["TAPNET_LAB_DATA"] = "/no/such/folder"
    assert "TAPNET_LAB_DATA" in run([bin, "init"], status=4, **examples).stderr


def test_init_finds_the_examples_of_the_checkout(run, bin, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "TAPNET_LAB_DATA"}
    names = [line.split()[0] for line in run([bin, "init"], cwd=tmp_path, env=env).stdout.splitlines()]
    assert "triangle" in names
    for name in names:
        run([bin, "init", "--force", name], cwd=tmp_path, env=env)
        run([bin, "validate"], cwd=tmp_path, env=env)


def test_help_of_each_verb(run, bin):
    verbs = re.findall(r"^  ([a-z]+) ", run([bin, "help"]).stdout, re.M)
    assert {"run", "status", "list", "exec", "shell", "console", "logs", "restart", "doctor", "init"} <= set(verbs)
    for verb in verbs:
        assert run([bin, "help", verb]).stdout.startswith(f"usage: tapnet-lab {verb}")


def test_options_after_operands(lab):
    made = lab("nodes: {a: }")
    made.verb("up", made.file, "--ttl", "1h", "-q")
    assert "expires in 00:59" in made.verb("status").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_control_socket_is_its_owners(lab, tmp_path):
    """Another user who gets as far as the socket is hung up on; root is answered."""
    made = lab("nodes: {a: }")
    made.up()
    where = run_dir() / made.name
    modes = {path: path.stat().st_mode & 0o777 for path in (run_dir(), where, where / "control")}
    ask = ("import os, socket, sys\n"
           "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
           "s.settimeout(5)\n"
           "os.chdir(sys.argv[1])\n"
           "os.setresuid(*[int(sys.argv[2])] * 3)\n"
           "s.connect('control')\n"
           "try:\n"
           "    s.send(b'{\"do\": \"status\"}')\n"
           "    print(s.recv(60000).decode())\n"
           "except (BrokenPipeError, ConnectionResetError):\n"
           "    print()\n")
    said = {}
    try:
        for path in modes:  # as if it had been left open to all
            path.chmod(0o777)
        for uid in ("0", "65534"):
            said[uid] = subprocess.run([sys.executable, "-c", ask, str(where), uid], text=True, check=True,
                                       capture_output=True, timeout=20).stdout.strip()
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert '"state":"ready"' in said["0"].replace(" ", "")
    assert said["65534"] == ""
