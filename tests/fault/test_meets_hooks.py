# test_meets_hooks.py - hooks as users write them: one that hangs, stops itself, daemonises, closes its fds,
# cannot be executed; on the way up and on the way down. `up` and `down` end in time, say what it
# was, and nothing is left.
import os
import signal
import time
from pathlib import Path

import pytest

import faultlab

LAB = """\
hooks: {up: ./log, down: ./log}
bridges: {lan: 10.1.0.0/24}
nodes:
  r1: {interfaces: {eth0: {bridge: lan, hooks: {HOOKS}}}}
  g1: {kind: guest, command: exec sleep 1000, interfaces: {eth0: {bridge: lan, hooks: {HOOKS}}}}
"""
LATE = r"not done within 0\.4 s, killed"


@pytest.fixture
def make(lab, fault_bin):
    """make(up=…, down=…): a lab of which two interfaces have a hook that runs this script."""
    def make(**hooks):
        of = ", ".join(f"{event}: {{command: [./{event}], timeout: 400ms}}" for event in hooks)
        made = lab(LAB.replace("HOOKS", of), fault_bin)
        faultlab.script(made.file.parent / "log", faultlab.HOOK)
        for event, text in hooks.items():
            faultlab.script(made.file.parent / event, "#!/bin/sh\n" + text)
        return made
    return make


def pids_in(made, name):
    path = made.file.parent / name
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


HANGS = {
    "hangs": "while :; do sleep 1000; done",
    "stops itself": "kill -STOP $$; exit 0",
    "stops, and ignores what it may": "trap '' TERM INT HUP; kill -STOP $$; sleep 1000",
    "leaves one that is stopped": "sh -c 'kill -STOP $$' & echo $! >> pids; wait",
    "closes all it has": "exec 0<&- 1>&- 2>&- 3>&-; sleep 1000",
}


@pytest.mark.parametrize("how", HANGS)
def test_up_hook_that_hangs(make, snapshot, how):
    made = make(up=HANGS[how], down="touch down-ran")
    before = snapshot()
    began = time.monotonic()
    said = made.up(status=5).stderr
    assert time.monotonic() - began < 6
    assert "r1:eth0: up hook \"./up\": not done within 0.4 s, killed" in said, said
    assert f"{made.file}:4:" in said, said
    assert not made.is_there() and not (made.file.parent / "down-ran").exists()
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    assert not faultlab.settle(before, snapshot)


@pytest.mark.parametrize("how", HANGS)
def test_down_hook_that_hangs(make, snapshot, how):
    """Told, exit 6; the rest is undone, its other down hooks ran, and gc forgets it."""
    made = make(up="exit 0", down=HANGS[how])
    before = snapshot()
    made.up()
    began = time.monotonic()
    said = made.down(status=6).stderr
    assert time.monotonic() - began < 8
    for whose in ("r1:eth0", "g1:eth0"):
        assert f'{whose}: down hook "./down": not done within 0.4 s, killed' in said, said
    assert [(e, w) for e, w, _ in faultlab.hook_lines(made)] == [("up", "lab"), ("down", "lab")]
    assert all(map(faultlab.gone, pids_in(made, "pids")))
    made.verb("gc")
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)


def test_time_limit_kills_the_whole_group(make):
    """By itself, not the end of the lab: the next down hook sees the first one's child dead."""
    look = """\
[ $TAPNET_NODE = r1 ] || { sleep 1000 & echo $! > pid; sleep 1000; }
kill -0 $(cat pid) 2> /dev/null && grep -q '^State:.*[SRDT] ' /proc/$(cat pid)/status && touch lives
touch looked
"""
    made = make(down=look)  # g1's hook runs before r1's
    made.up()
    said = made.down(status=6).stderr
    assert "g1:eth0" in said and "r1:eth0" not in said, said
    assert (made.file.parent / "looked").exists() and not (made.file.parent / "lives").exists()
    made.verb("gc")


DAEMON = """\
for how in setsid nohup; do $how sleep 4321 < /dev/null > /dev/null 2>&1 & echo $! >> pids; done
(setsid sh -c 'trap "" TERM HUP; echo $$ >> pids; while :; do sleep 1; done' 3>&1 > /dev/null 2>&1 &)
"""


@pytest.mark.parametrize("who", ("nobody", "worker", "guardian", "both"))
def test_up_hook_that_daemonises(make, snapshot, who):
    """Its daemons go with the lab, whoever ends it."""
    made = make(up=DAEMON)
    before = snapshot()
    made.up()
    faultlab.wait("all daemons run", lambda: len(pids_in(made, "pids")) == 6)
    daemons = pids_in(made, "pids")
    assert not any(map(faultlab.gone, daemons))
    if who == "nobody":
        made.down()
    else:
        victims = faultlab.kill_who(who)
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)))
    if who == "both":
        assert not faultlab.gc(made)
    faultlab.wait("it is gone", lambda: not made.is_there())
    assert all(map(faultlab.gone, daemons))
    assert not faultlab.settle(before, snapshot)


def test_host_hook_that_daemonises(lab, fault_bin, snapshot):
    """In the host's own namespace nothing but its environment tells whose it is. Another lab's, and
    one that only has TAPNET_LAB set, as users do, are left alone."""
    made = lab("hooks: {up: ./up}\nnodes: {r1: {}}\n", fault_bin)
    other = lab("hooks: {up: ./up}\nnodes: {r1: {}}\n", fault_bin)
    before = snapshot()
    faultlab.script(made.file.parent / "up",
                    '#!/bin/sh\nsetsid sleep 4321 > /dev/null 2>&1 & echo $! > daemon.$TAPNET_LAB\n')
    made.up()
    victims = faultlab.kill_who("both")
    other.up()
    users = faultlab.subprocess.Popen(["sleep", "1000"], env={**os.environ, "TAPNET_LAB": made.name})
    try:
        faultlab.wait("killed", lambda: all(map(faultlab.gone, victims)), reap=False)
        made.verb("gc")
        assert all(map(faultlab.gone, pids_in(made, f"daemon.{made.name}")))
        assert not any(map(faultlab.gone, pids_in(other, f"daemon.{other.name}")))
        assert users.poll() is None
    finally:
        users.kill()
        users.wait()
    other.down()
    assert not faultlab.settle(before, snapshot)


def test_down_hook_that_daemonises(make, snapshot):
    made = make(down=DAEMON)
    before = snapshot()
    made.up()
    made.down()
    assert len(pids_in(made, "pids")) >= 4
    faultlab.wait("its daemons are gone", lambda: all(map(faultlab.gone, pids_in(made, "pids"))), 3)
    assert not faultlab.settle(before, snapshot)


def test_hook_that_closes_its_fds(make, snapshot):
    """They are its own copies: the lab comes up, its wires carry, the down hook has its TAP."""
    made = make(up="exec 0<&- 1>&- 2>&- 3>&- 4>&-; exit 0",
                down="readlink /proc/$$/fd/3 >> taps; exec 0<&- 1>&- 2>&- 3>&-; exit 0")
    before = snapshot()
    made.up()
    assert made.verb("status", "--check").stdout.endswith("no problems\n")
    made.down()
    assert "/dev/net/tun" in (made.file.parent / "taps").read_text()
    assert not faultlab.settle(before, snapshot)


NOT = {  # what is done to the file; words of `up`, and of the hook's own step
    "mode": (lambda path: path.chmod(0o644), "Permission denied (its mode is 644: chmod +x it)", "Permission denied"),
    "missing": (Path.unlink, "No such file or directory", "No such file or directory"),
    "interpreter": (lambda path: path.write_text("#!/none/such -x\n"), 'names, "/none/such": No such file', "interpreter"),
    "line ends": (lambda path: path.write_bytes(b"#!/bin/sh\r\nexit 0\r\n"), 'names, "/bin/sh\\x0d"', "interpreter"),
    "no first line": (lambda path: path.write_text("exit 0\n"), "Exec format error (a script begins with #!", "Exec format error (a script begins with #!"),
    "empty": (lambda path: path.write_text(""), "Exec format error (a script begins with #!", "Exec format error (a script begins with #!"),
    "format": (lambda path: path.write_bytes(b"\x7fELF nonsense"), None, "Exec format error"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "it is not a file", "it is not a file"),
}


@pytest.mark.parametrize("which", ("up", "down"))
@pytest.mark.parametrize("how", [how for how, (_, words, _) in NOT.items() if words])
def test_hook_that_cannot_be_executed_is_told_before_anything_is_made(make, lab, fault_bin, snapshot, how, which):
    """At its place in the file, as all else that is wrong there; nothing was run. (A down hook that is
    not there may be what its up hook writes.)"""
    made = make(up="touch up-ran", down="exit 0")
    before = snapshot()
    spoil, words, _ = NOT[how]
    made.file.write_text(made.file.read_text().replace("hooks: {up: ./log, down: ./log}", "hooks: {down: ./log}"))
    if how == "missing" and which == "down":
        made.file.write_text(made.file.read_text().replace("up: {command: [./up], timeout: 400ms}, ", ""))
    spoil(made.file.parent / which)
    said = made.up(status=2).stderr
    for line in (4, 5):
        assert f"{made.file}:{line}:" in said, said
    assert said.count(f'error: {which} hook "./{which}": could not start: ') == 2 and words in said, said
    assert said.endswith("2 errors; nothing was made\n"), said
    assert not made.is_there() and not (made.file.parent / "up-ran").exists()
    assert snapshot() == before


def test_hook_that_another_writes(lab, fault_bin):
    """What is not there yet may come: from the lab's up hook, and a down hook from its up hook."""
    made = lab("hooks: {up: ./log, down: ./undo}\nnodes: {r1: {hooks: {up: ./made, down: ./made}}}\n", fault_bin)
    faultlab.script(made.file.parent / "log", "#!/bin/sh\nfor f in undo made; do\n"
                    "printf '#!/bin/sh\\necho '$f' >> ran\\n' > $f; chmod +x $f; done\n")
    made.up()
    made.down()
    assert (made.file.parent / "ran").read_text().split() == ["made", "made", "undo"]


def test_hook_in_a_folder_without_programs(make, snapshot):
    """Its filesystem is mounted noexec."""
    made = make(up="exit 0")
    folder = made.file.parent / "mounted"
    folder.mkdir()
    faultlab.subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", folder], check=True)
    try:
        faultlab.script(folder / "up", "#!/bin/sh\n")
        made.file.write_text(made.file.read_text().replace("[./up]", "[./mounted/up]"))
        said = made.up(status=2).stderr
        assert 'up hook "./mounted/up": could not start: Permission denied' in said, said
    finally:
        faultlab.subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("how", NOT)
def test_hook_that_is_not_executable(make, snapshot, how):
    """By the time of its step: the lab's own hook spoils it."""
    made = make(up="exit 0", down="exit 0")
    before = snapshot()
    spoil, _, words = NOT[how]
    faultlab.script(made.file.parent / "log", faultlab.HOOK + "[ $TAPNET_EVENT = down ] || mv spoilt up\n")
    spoilt = faultlab.script(made.file.parent / "spoilt", "#!/bin/sh\n")
    spoil(spoilt)
    if not spoilt.exists() or spoilt.is_dir():
        faultlab.script(made.file.parent / "log", faultlab.HOOK + "[ $TAPNET_EVENT = down ] || { rm up; " + (
            "mkdir up; }\n" if spoilt.exists() else "}\n"))
    said = made.up(status=5).stderr
    assert 'r1:eth0: up hook "./up": could not start' in said and words in said, said
    assert f"{made.file}:4:" in said and not made.is_there(), said
    assert not faultlab.unpaired(faultlab.hook_lines(made))
    assert not faultlab.settle(before, snapshot)


@pytest.mark.parametrize("how", NOT)
def test_down_hook_that_is_not_executable_any_more(make, snapshot, how):
    made = make(up="exit 0", down="exit 0")
    before = snapshot()
    made.up()
    spoil, _, words = NOT[how]
    spoil(made.file.parent / "down")
    said = made.down(status=6).stderr
    assert 'r1:eth0: down hook "./down": could not start' in said and words in said, said
    made.verb("gc")
    assert not faultlab.settle(before, snapshot)


@pytest.mark.parametrize("verb", ("down", "gc"))
def test_down_hook_that_failed_when_nobody_heard(make, snapshot, verb):
    """The guardian was told to stop by a signal: the next who asks is told, once."""
    made = make(down="exit 1")
    before = snapshot()
    made.up()
    os.kill(faultlab.one("tapnet-guard"), signal.SIGTERM)
    faultlab.wait("the lab's end", lambda: not faultlab.pids("tapnet-guard"))
    asked = [made.name] if verb == "down" else []
    said = made.verb(verb, *asked, status=6).stderr
    assert "r1:eth0: its down hook failed before" in said, said
    made.verb("gc")
    assert not made.is_there()
    assert not faultlab.settle(before, snapshot)
