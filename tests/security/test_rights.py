# test_rights.py - what programs of a lab may do: no setuid file gives them more, root's capabilities
# are those of a router, and `user:` takes even these.
import grp
import os
import pwd
import shutil
import stat
import struct
import tempfile
from pathlib import Path

import faultlab
import pytest
from conftest import labs

KEPT = {"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
        "setpcap", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock",
        "ipc_owner", "sys_chroot", "sys_admin", "sys_nice", "sys_resource", "lease", "audit_write",
        "bpf"}
NUMBERS = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
    linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module
    sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
    wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split()
NOBODY = pwd.getpwnam("nobody")
OTHER_GROUP = next(g for g in grp.getgrall() if g.gr_gid not in (0, NOBODY.pw_gid))

LOOK = "cp /proc/self/status $1"


def caps(mask):
    return {NUMBERS[n] for n in range(64) if int(mask, 16) >> n & 1}


def status(path):
    faultlab.wait(f"{path} written", lambda: path.exists() and "NoNewPrivs" in path.read_text(), reap=False)
    return dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)


@pytest.fixture(name="lab")
def lab_where_all_may_enter(bin, request):
    """lab(), in a folder that other users can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="tapnet-rights-") as folder:
        os.chmod(folder, 0o755)
        yield from labs(bin, folder, request.node.name)


def lab_of(lab, text):
    made = lab(text)
    made.file.parent.chmod(0o777)
    faultlab.script(made.file.parent / "look", f"#!/bin/sh\nenv > $1.env\ncp /proc/self/status $1.new && mv $1.new $1\n")
    return made


EVERYBODY = """\
hooks: {up: [./look, lab-hook]}
nodes:
  r1:
    interfaces: {eth0: {bridge: lan, hooks: {up: ./look iface-hook}}}
    hooks: {up: [./look, node-hook]}
    exec: ./look exec
    services:
      s: {command: "./look service; exec sleep 1000", ready: {exec: ./look ready}}
  g1:
    kind: guest
    command: "./look guest; exec sleep 1000"
    interfaces: {eth0: {ipv4: none}}
links: [[r1:eth1, g1:eth0]]
bridges: {lan: }
"""


@pytest.mark.parametrize("handed_on", [False, True])
def test_who_runs_as_root(lab, run, bin, needs, handed_on):
    """In nodes a documented set of capabilities; on the host the caller's; none can be added. So
    it is when the caller handed its own on."""
    needs("setpriv")
    ours = caps(status(Path("/proc/self/status"))["CapBnd"])
    made = lab_of(lab, EVERYBODY)
    all_ = ",".join("+" + name for name in sorted(ours))
    caller = ["setpriv", "--inh-caps", all_, "--ambient-caps", all_] if handed_on else []
    run([*caller, bin, "up", "--trust-hooks", made.file])
    assert ours - KEPT, "a test needs something to lose"
    for who in ("iface-hook", "node-hook", "exec", "service", "ready", "guest"):
        its = status(made.file.parent / who)
        assert its["NoNewPrivs"] == "1", who
        for held in ("CapBnd", "CapPrm", "CapEff"):
            assert caps(its[held]) == KEPT & ours, (who, held)
        assert caps(its["CapInh"]) == caps(its["CapAmb"]) == set(), who
    its = status(made.file.parent / "lab-hook")
    assert its["NoNewPrivs"] == "1" and caps(its["CapEff"]) == ours


def test_what_the_caller_types_is_the_callers_own(lab, run, bin):
    made = lab_of(lab, "nodes: {r1: {exec: 'true'}}\n")
    made.up()
    for command in (["exec", "r1", "--"], ["run", "-n", made.name[:31] + "x", made.file, "--"]):
        said = made.verb(command[0], *command[1:], "grep", "NoNewPrivs", "/proc/self/status").stdout
        assert said.split()[-1] == "0"


USERS = """\
hooks: {up: {command: [./look, hook], user: "nobody:GROUP"}}
nodes:
  r1:
    user: nobody
    exec: ./look exec
    services:
      a: "./look a; echo opened > $(tty); exec sleep 1000"
      b: {command: "./look b; exec sleep 1000", user: "4242:4243"}
      c: {command: "./look c; exec sleep 1000", user: root}
  g1:
    kind: guest
    user: nobody
    command: "./look guest; echo > /dev/tty; exec sleep 1000"
    interfaces: {eth0: {ipv4: none, hooks: {up: {command: ./look iface, user: "4242:4243"}}}}
links: [[r1:eth1, g1:eth0]]
"""


def test_user(lab, run, bin, needs):
    """The user, one group, no capability; HOME and USER are theirs. `exec` sets up: it stays root."""
    needs("setpriv")
    made = lab_of(lab, USERS.replace("GROUP", OTHER_GROUP.gr_name))
    run(["setpriv", "--groups", "4,5,6", bin, "up", "--trust-hooks", made.file])
    expected = {"hook": (NOBODY.pw_uid, OTHER_GROUP.gr_gid), "exec": (0, 0),
                "a": (NOBODY.pw_uid, NOBODY.pw_gid), "b": (4242, 4243), "c": (0, 0),
                "guest": (NOBODY.pw_uid, NOBODY.pw_gid), "iface": (4242, 4243)}
    for who, (uid, gid) in expected.items():
        its = status(made.file.parent / who)
        assert its["Uid"].split() == [str(uid)] * 4, who
        assert its["Gid"].split() == [str(gid)] * 4, who
        if uid:
            assert its["Groups"].strip() == "" and its["NoNewPrivs"] == "1", who
            assert {its[c] for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}, who
    env = (made.file.parent / "a.env").read_text().splitlines()
    assert "USER=nobody" in env and f"HOME={NOBODY.pw_dir}" in env
    log = faultlab.run_dir() / made.name / "r1.a.log"
    faultlab.wait("it opened its terminal anew", lambda: "opened" in log.read_text(), reap=False)


def test_user_again_after_a_restart(lab):
    made = lab_of(lab, "nodes: {r1: {user: nobody, services: {s: './look s; exec sleep 1000'}}}\n")
    made.up()
    status(made.file.parent / "s")
    (made.file.parent / "s").unlink()
    made.verb("restart", "r1.s")
    assert status(made.file.parent / "s")["Uid"].split()[0] == str(NOBODY.pw_uid)


def test_a_setuid_file_gives_nothing(lab):
    made = lab_of(lab, "nodes: {r1: {user: nobody, services: {s: './id -u > s; exec sleep 1000'}}}\n")
    shutil.copy("/usr/bin/id", made.file.parent / "id")
    (made.file.parent / "id").chmod(0o4755)
    made.up()
    out = made.file.parent / "s"
    faultlab.wait("it looked", lambda: out.exists() and out.read_text(), reap=False)
    assert out.read_text() == f"{NOBODY.pw_uid}\n"


@pytest.mark.parametrize("user, words", [
    ("no-such-user", 'this host has no user "no-such-user"'),
    ("nobody:no-such-group", 'this host has no group "no-such-group"'),
    ("4242", "user 4242 has no login group here: write 4242:GROUP")])
def test_unknown_user(lab, user, words):
    made = lab(f"nodes:\n  r1: {{user: '{user}', services: {{s: sleep 1000}}}}\n")
    said = made.up(status=5).stderr
    assert words in said and f"{made.file}:2:" in said
    assert not made.is_there()


@pytest.mark.parametrize("user", ["a:b:c", ":b", "a:", "-a", "a b", "../a", "a\\u00a0b"])
def test_malformed_user(lab, user):
    made = lab(f'nodes:\n  r1: {{user: "{user}", services: {{s: sleep 1000}}}}\n')
    said = made.verb("validate", made.file, status=2).stderr
    assert f"{made.file.name}:2:14" in said and "is no user" in said


# --- the program itself ---------------------------------------------------------------------------

TRY = """\
#!/usr/bin/python3
import os
for name in ("exe", "mem", "root", "cwd"):
    try:
        path = f"/proc/1/{name}"
        os.listdir(path) if name in ("root", "cwd") else os.close(os.open(path, os.O_RDONLY))
        print("open", name, flush=True)
    except OSError as e:
        print("closed", name, flush=True)
    if name == "exe":
        try:
            os.close(os.open(f"/proc/1/{name}", os.O_RDWR))
            print("open", name, flush=True)
        except OSError as e:
            print("no", e.errno, flush=True)
print("done", flush=True)
import time; time.sleep(1000)
"""


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_no_way_into_a_nodes_init(lab, user):
    """Its /proc/1/exe is this program: nobody in a node gets to it by that, to read or to write."""
    made = lab(f"nodes: {{r1: {{user: {user}, services: {{s: ./try}}}}}}\n")
    made.file.parent.chmod(0o755)
    faultlab.script(made.file.parent / "try", TRY)
    made.up()
    faultlab.wait("it tried", lambda: "done" in made.verb("logs", "r1.s").stdout, reap=False)
    said = made.verb("logs", "r1.s").stdout.split("\n")
    assert not [line for line in said if line.startswith("open")], said
    assert len([line for line in said if line.startswith("closed")]) == 4, said


LOOK_AT_OURS = """\
#!/usr/bin/python3
import os, signal, sys, time
while not os.path.exists("pids"):
    time.sleep(0.01)
for pid in open("pids").read().split():
    comm = open(f"/proc/{pid}/comm").read().strip()
    for name in ("fd/1", "fd/64", "fdinfo/3", "mem", "exe", "cwd", "root", "ns/net", "environ", "auxv", "maps"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if name == "environ" and b"hunter2" in file.read():
                    print("open", comm, "secrets", flush=True)
        except IsADirectoryError:
            pass
        except OSError:
            continue
        print("open", comm, name, flush=True)
    if len(sys.argv) < 2:
        try:
            signal.pidfd_send_signal(os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY), 0)
            print("open", comm, "signals", flush=True)
        except OSError:
            pass
print("done", flush=True)
if len(sys.argv) < 2:
    time.sleep(1000)
"""
# Whoever has CAP_SYS_ADMIN may read these on newer kernels, of a process that is not dumpable too.
ADMINS = ("environ", "auxv", "maps")


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_no_way_into_guardian_and_worker(lab, run, user):
    """A guest has the host's /proc, and sees them there: their fds (every TAP and namespace), their memory
    and the caller's environment are not for it, nor are they for it to signal."""
    made = lab("bridges: {lan: }\nnodes: {g1: {kind: guest, user: USER, command: ./look, interfaces: {eth0: lan}}, "
               "r1: {exec: 'true'}}\n".replace("USER", user))
    made.file.parent.chmod(0o755)
    look = faultlab.script(made.file.parent / "look", LOOK_AT_OURS)
    made.up(env={"SECRET_TOKEN": "hunter2", "PATH": "/usr/bin:/bin"})
    ours = [pid for comm in ("tapnet-guard", "tapnet-work", "tapnet-init") for pid in faultlab.pids(comm)]
    assert len(ours) == 4
    (made.file.parent / "new").write_text(" ".join(map(str, ours)))
    (made.file.parent / "new").rename(made.file.parent / "pids")
    faultlab.wait("it looked", lambda: "done" in made.verb("logs", "g1").stdout, reap=False)
    said = [line.split() for line in made.verb("logs", "g1").stdout.splitlines() if line.startswith("open")]
    may = [] if user != "root" else [*ADMINS, "signals"]  # its own init, that is
    assert not [line for line in said if line[2] not in may or line[1:] in (["tapnet-guard", "signals"], [
        "tapnet-work", "signals"])], said
    seen = run([look, "once"], cwd=made.file.parent).stdout
    for what in ("guard mem", "work fd/64", "work exe", "init root"):
        assert f"open tapnet-{what}\n" in seen, "a test needs something to see"


def test_a_nodes_init_is_never_executed(lab, run, bin, needs):
    """A fork: it is what the caller started, at no name that a node could have changed."""
    needs("strace")
    made = lab("nodes: {r1: {services: {s: sleep 1000}}}\n")
    trace = made.file.parent / "trace"
    run(["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-o", trace, bin, "run", made.file,
         "--", "true"])
    calls = [line for line in trace.read_text().splitlines() if f'("{bin}"' in line]
    assert len(calls) == 1, calls  # strace's own, of what it was told to trace


def test_not_to_be_setuid(run, bin):
    for argv in ([bin, "version"], [bin, "list"], [bin.parent / "helper/tapnet-bridge-helper", "--help"]):
        if not argv[0].exists():
            argv[0] = bin.parent / argv[0].name
        done = run(argv, status=None, preexec_fn=lambda: os.setresuid(12345, 0, 0))
        assert done.returncode != 0 and "setuid" in done.stderr, (argv, done)


def test_not_to_have_capabilities_of_its_own(run, bin):
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="tapnet-rights-") as folder:
        os.chmod(folder, 0o755)
        copy = shutil.copy(bin, folder)
        os.setxattr(copy, "security.capability", struct.pack("<5I", 0x02000001, 1 << 12, 0, 0, 0))
        done = run([copy, "list"], status=None, preexec_fn=lambda: os.setresuid(12345, 12345, 12345))
        assert done.returncode == 4 and "capabilities of its own" in done.stderr, done


def test_nothing_that_is_built_is_setuid(bin):
    """Nor has it capabilities of its own; meson installs files as they are built."""
    for path in [p for p in bin.parent.rglob("tapnet-*") if p.is_file()]:
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert "security.capability" not in os.listxattr(path), path
