# faultlab.py - what the tests of tests/fault share: a lab that has every kind of thing, its hooks'
# log, and the processes of a lab.
#
# Every hook of the lab runs ./hook, which adds a line to hooks.log: what it is of, up or down, what
# it had. A lab without a fault in it thus tells what each hook saw.
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from conftest import processes, run_dir

# Long runs: every position, not a sample. TAPNET_LONG=1 python3 -m pytest tests/fault
LONG = bool(os.environ.get("TAPNET_LONG"))

HOOK = """\
#!/bin/sh
fd=$(readlink /proc/$$/fd/3)
net=$(readlink /proc/self/ns/net)
links=$(ls -m /sys/class/net | tr -d " ")
echo "$TAPNET_EVENT ${TAPNET_NODE:-lab}${TAPNET_INTERFACE:+:$TAPNET_INTERFACE} gone=$TAPNET_GONE fd=$fd net=$net links=$links" >> hooks.log
"""

# A guest that says it is ready; one that also speaks TCP is not needed here.
GUEST = "echo READY; exec sleep 1000"

# Every kind: bridges, a bridge of the host, all wires of the link matrix, hooks on lab, node and
# interface, sysctls, routes, both families, exec, a service and guests with ready.
LAB = f"""\
bridges:
  lan: {{subnet: [10.1.0.0/24, "fd00:1::/64"]}}
  dmz: 10.2.0.0/24
  office: {{host: hostbr, subnet: none}}
hooks: {{up: ./hook, down: ./hook}}
nodes:
  r1:
    forward: true
    sysctls: {{net.ipv4.conf.all.rp_filter: 0, net.ipv4.conf.eth0.proxy_arp: 1}}
    interfaces:
      lo: {{ipv4: 10.255.0.1/32}}
      eth0: {{bridge: lan, hooks: {{up: ./hook, down: ./hook}}}}
      eth2: {{hooks: {{up: ./hook, down: ./hook}}}}
      eth4: office
    exec: ["true", "ip link show eth0"]
    services:
      keep: {{command: [sleep, "1000"], ready: {{exec: "true"}}}}
    hooks: {{up: ./hook, down: ./hook}}
  r2:
    interfaces: {{eth1: dmz}}
    routes: default via r1
  g1:
    kind: guest
    command: "{GUEST}"
    ready: {{console: READY, timeout: 20s}}
    interfaces:
      eth0: {{bridge: lan, tap: {{queues: 2}}, hooks: {{up: {{command: ./hook, fds: all}}, down: ./hook}}}}
  g2:
    kind: guest
    command: "{GUEST}"
    wait-for: g1
    interfaces:
      eth0: {{bridge: office, hooks: {{up: ./hook, down: ./hook}}}}
      eth3: {{bridge: office, tap: {{persist: true, queues: 2, name: persists}}}}
      eth4: {{bridge: office, tap: {{handoff: name}}}}
      eth5: {{bridge: lan, tap: {{handoff: unattached}}}}
    hooks: {{up: ./hook, down: ./hook}}
links:
  - {{endpoints: [r1:eth1, r2:eth0], ipv4: [10.9.0.1/30, 10.9.0.2/30], ipv6: ["fd00:9::1/64", "fd00:9::2/64"]}}
  - {{endpoints: [r1:eth2, g1:eth1], subnet: 10.8.0.0/30}}
  - [g1:eth2, g2:eth1]
  - {{endpoints: [r1:eth3, r2:eth2, g2:eth2], subnet: 10.7.0.0/24}}
  - [lan, dmz]
"""

# The same, and a guest of a preset beside the lab, which is given a disk and a file.
PRESET = f"""\
files: {{words: "for ${{node.name}}"}}
command: [sh, -c, "cat ${{file.words}} ${{disk}}; {GUEST}"]
"""
FULL = LAB.replace("links:\n", """\
  g3:
    kind: own
    disk: image
    ready: {console: READY, timeout: 20s}
    interfaces: {eth0: lan}
links:
""")

HOOKS = ("lab", "r1:eth0", "r1:eth2", "g1:eth0", "g2:eth0", "r1", "g2")
HOOKS_OF_TAPS = ("r1:eth2", "g1:eth0", "g2:eth0")
HOOKS_OF_HOST = ("lab", "g2:eth0", "g2")  # run in the namespace that the tool was started in


# A small one: hooks of the lab and of an interface, a guest, and an exec in which `up` stays for long.
SLOW = """\
hooks: {up: ./hook, down: ./hook}
nodes:
  r1:
    interfaces: {eth0: {bridge: lan, hooks: {up: ./hook, down: ./hook}}}
    exec: [touch inside, sleep 1000]
  g1: {kind: guest, command: [sleep, "1000"], interfaces: {eth0: lan}}
bridges: {lan: 10.1.0.0/24}
"""
QUICK = SLOW.replace("exec: [touch inside, sleep 1000]", 'exec: "true"')


def with_hook(made):
    """Its ./hook is there."""
    script(made.file.parent / "hook", HOOK)
    return made


def check_gone(made, before, snapshot):
    """Nothing of it is left, and its hooks ran in pairs."""
    wait("it is gone", lambda: not made.is_there(), reap=False)
    assert not settle(before, snapshot)
    assert not unpaired(hook_lines(made))


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def full(lab, binary):
    """FULL, not yet up, with all that it names, and its plan's steps."""
    made = lab(FULL, binary)
    folder = made.file.parent
    script(folder / "hook", HOOK)
    (folder / "presets").mkdir()
    (folder / "presets/own.yaml").write_text(PRESET)
    (folder / "image").write_text("an image")
    return made, steps(made)


def host_bridge():
    """A generator: the bridge of "the host" that LAB plugs into, which is the test's own host."""
    subprocess.run(["ip", "link", "add", "hostbr", "type", "bridge"], check=True)
    # Its routes and link-local address would come and go with the carrier.
    Path("/proc/sys/net/ipv6/conf/hostbr/disable_ipv6").write_text("1")
    subprocess.run(["ip", "link", "set", "hostbr", "up"], check=True)
    yield "hostbr"
    subprocess.run(["ip", "link", "del", "hostbr"], check=True)


def hook_lines(lab):
    """[(event, whose, {gone, fd, net, links})] in order."""
    log = lab.file.parent / "hooks.log"
    found = []
    for line in log.read_text().splitlines() if log.exists() else []:
        event, whose, *rest = line.split(" ")
        found.append((event, whose, dict(field.split("=", 1) for field in rest)))
    return found


def forget_hooks(lab):
    (lab.file.parent / "hooks.log").unlink(missing_ok=True)


def unpaired(lines):
    """What is wrong with a log: each up hook that started has its down hook, once, later."""
    wrong, open_ = [], []
    for event, whose, _ in lines:
        if event == "up":
            open_.append(whose)
        elif whose in open_:
            open_.remove(whose)
        else:
            wrong.append(f"down hook of {whose} without its up hook")
    return wrong + [f"up hook of {whose} without its down hook" for whose in open_]


def steps(lab):
    """The plan's steps, as `plan --format json` gives them."""
    return json.loads(lab.verb("plan", "--format", "json", lab.file).stdout)["steps"]


def pids(comm, root=None):
    """The processes of this name below us: tapnet-guard, tapnet-work, tapnet-init."""
    return [p for p, what in processes(root or os.getpid()).items()
            if what.startswith(comm + ":")]


def one(comm):
    """The process of this name; one that has not yet executed its program has its parent's."""
    wait(f"there is one {comm}", lambda: len(pids(comm)) == 1, reap=False)
    return pids(comm)[0]


def reap():
    """The processes that a killed lab left to us, as a host's init would."""
    for pid in Path("/proc/thread-self/children").read_text().split():
        try:
            os.waitpid(int(pid), os.WNOHANG)
        except ChildProcessError:
            pass


def reap_below(pids):
    """As reap(), of these only: others are waited for by who started them."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def wait(what, condition, seconds=10.0, reap=reap):
    """reap: False while programs run that the test itself waits for."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        if reap:
            reap()
        time.sleep(0.01)


def gone(pid):
    """Has ended; a zombie has, too."""
    try:
        return re.search(r"^State:\s+[ZX]", Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return True


def kill(*who):
    """All at once: stopped first, so that none sees another's end."""
    for how in (signal.SIGSTOP, signal.SIGKILL):
        for pid in who:
            os.kill(pid, how)
    wait("killed processes gone", lambda: all(map(gone, who)))


def kill_who(who):
    """Kills them; of both the worker is stopped first, so that it has no time to mend anything."""
    pids = {"guardian": ["tapnet-guard"], "worker": ["tapnet-work"],
            "both": ["tapnet-guard", "tapnet-work"]}[who]
    victims = [one(comm) for comm in pids]
    if who == "both":
        os.kill(victims[1], signal.SIGSTOP)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return victims


def check_hooks(made, both):
    """Pairs; what each down hook had. Gives what is wrong."""
    log = hook_lines(made)
    wrong = unpaired(log)
    # The next hook may have been started, and killed before its first word: it has its down hook.
    ups = [w for e, w, _ in log if e == "up"]
    begun = [w for w in HOOKS if w not in ups][:1]
    wrong = [line for line in wrong if line not in [f"down hook of {w} without its up hook"
                                                    for w in begun]]
    ours = os.readlink("/proc/self/ns/net")
    for event, whose, had in log:
        if event == "up":
            continue
        in_lab = whose not in HOOKS_OF_HOST
        if both and in_lab:
            if had["gone"] != "1" or had["net"] == ours or had["links"] != "lo":
                wrong.append(f"down hook of {whose}, its namespace gone: {had}")
        elif in_lab == (had["net"] == ours):
            wrong.append(f"down hook of {whose} in the wrong namespace: {had}")
        if not both and whose in HOOKS_OF_TAPS and had["fd"] != "/dev/net/tun":
            wrong.append(f"down hook of {whose} without its TAP: {had}")
        if not both and had["gone"]:
            wrong.append(f"down hook of {whose}: gone, it says: {had}")
    return wrong


def gc(made):
    """`gc` alone: exit 0, and the lab is not there."""
    made.verb("gc", timeout=20)
    return [] if not made.is_there() else ["still there after gc"]


def settle(before, snapshot, seconds=4.0):
    """Waits until what is there is what was; gives the difference."""
    until = time.monotonic() + seconds
    while True:
        reap()
        left = snapshot() ^ before
        if not left or time.monotonic() > until:
            return sorted(left)
        time.sleep(0.02)


def failed_dir(lab):
    return run_dir() / f"{lab.name}.failed"


def start(made, *verb, env=None):
    """A verb under way, its output in one pipe."""
    return subprocess.Popen([str(made.bin), *map(str, verb)], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            cwd=made.file.parent, env={**os.environ, **(env or {})})


def worker_of(made):
    """The worker that has the lab's journal open."""
    journal = str(run_dir() / made.name / "journal")
    for pid in pids("tapnet-work"):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") == journal:
                    return pid
            except FileNotFoundError:
                pass
    raise AssertionError(f"no worker has {journal}")


def switch(made, *argv):
    """A command in the switch, found by its fd: the number is in the plan."""
    fd = next(s["args"]["fd"] for s in steps(made)
              if s["op"] == "netns" and s["where"] == "switch")
    return subprocess.run(["nsenter", f"--net=/proc/{worker_of(made)}/fd/{fd}", *argv], check=True,
                          capture_output=True, text=True, timeout=10).stdout
