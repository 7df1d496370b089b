# test_fds.py - no process of a lab has an fd that it was not given, whatever its caller left open.
#
# What hooks, exec, services and guests have is looked at in tests/contract/test_t04_hooks.py; here
# it is the others: guardian, worker, inits, helpers, and the commands that users type.
import os
import re
import sys
from pathlib import Path

import faultlab
from conftest import processes

NUMBERS = (3, 5, 30, 64, 65, 66, 67, 200, 1000)
LAB = """\
bridges: {lan: 10.0.0.0/24}
nodes:
  r1: {interfaces: {eth0: lan}, services: {s: sleep 1000}}
  g1:
    kind: guest
    command: sleep 1000
    interfaces:
      eth0: {bridge: lan}
      eth1: {tap: {source: helper, helper: {command: ./helper, bridge: br0}}}
"""
HELPER = """\
#!/usr/bin/python3
import fcntl, os, socket, struct, sys
with open("helper.fds", "w") as out:
    for fd in os.listdir("/proc/self/fd"):
        try:
            print(fd, os.readlink(f"/proc/self/fd/{fd}"), file=out)
        except OSError:
            pass
number = int([a for a in sys.argv if a.startswith("--fd=")][0][5:])
tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"", 0x1002 | (0x4000 if "--use-vnet" in sys.argv else 0)))
socket.send_fds(socket.socket(fileno=number), [b"x"], [tap])
"""


class Leak:
    """A pipe that the caller holds at many numbers, all inherited."""

    def __enter__(self):
        self.reading, self.writing = os.pipe()
        os.set_inheritable(self.writing, True)
        self.name = f"pipe:[{os.fstat(self.writing).st_ino}]"
        return self

    def __exit__(self, *_):
        os.close(self.reading)
        os.close(self.writing)

    def into(self):
        for number in NUMBERS:
            os.dup2(self.writing, number)

    def how(self):
        return {"close_fds": False, "preexec_fn": self.into}


def open_in(pid):
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            pass
    return found


def test_processes_of_a_lab(lab):
    """Not one of all that are there has the caller's pipe; an init has what it watches."""
    made = lab(LAB)
    faultlab.script(made.file.parent / "helper", HELPER)
    with Leak() as leak:
        made.up(**leak.how())
        ours = {pid: name for pid, name in processes(os.getpid()).items()}
        kinds = {name.split(":")[0] for name in ours.values()}
        assert {"tapnet-guard", "tapnet-work", "tapnet-init", "sleep"} <= kinds, kinds
        for pid, name in ours.items():
            assert leak.name not in open_in(pid).values(), name
            if name.startswith("tapnet-init"):
                assert sorted(open_in(pid)) == [0, 1, 2, 3, 4], open_in(pid)
        given = dict(line.split(" ", 1) for line in (made.file.parent / "helper.fds").read_text().splitlines())
        assert leak.name not in given.values(), given
        assert sum(to.startswith("socket:") for to in given.values()) == 1, given


def test_commands_that_users_type(lab):
    made = lab("nodes: {r1: {services: {s: sleep 1000}}, r2: }\n")
    made.up()
    look = [sys.executable, "-c", "import os\nfor f in os.listdir('/proc/self/fd'):\n"
            " try: print(f, os.readlink('/proc/self/fd/' + f))\n except OSError: pass"]
    with Leak() as leak:
        for words in (["exec", "r1", "--"], ["exec", "r2", "--"],
                      ["run", "-n", made.name[:31] + "x", made.file, "--"]):
            said = made.verb(words[0], *words[1:], *look, **leak.how()).stdout
            assert leak.name not in said
            assert set(re.findall(r"^(\d+) ", said, re.M)) <= {"0", "1", "2", "3"}, said


WHITE = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "TZ", "TMPDIR",
         "DISPLAY", "XAUTHORITY", "http_proxy", "https_proxy", "no_proxy"}


def test_environment(lab):
    """Of the caller's, what is listed; what would change what a shell or the loader does is not."""
    hostile = {"LD_PRELOAD": "", "LD_LIBRARY_PATH": "/x", "BASH_ENV": "/x", "ENV": "/x", "IFS": "/",
               "PYTHONPATH": "/x", "SECRET_TOKEN": "hunter2", "SSH_AUTH_SOCK": "/x", "SUDO_USER": "x",
               "BASH_FUNC_ls%%": "() { :; }", "TAPNET_FAULT": "", "LC_TIME": "C", "TZ": "UTC"}
    made = lab("""\
hooks: {up: ./look, down: ./look}
nodes:
  r1:
    interfaces: {eth0: {hooks: {up: ./look}}}
    exec: ./look
    services: {s: './look; exec sleep 1000'}
  g1: {kind: guest, command: './look; exec sleep 1000', interfaces: {eth0: {ipv4: none}}}
links: [[r1:eth0, g1:eth0]]
""")
    faultlab.script(made.file.parent / "look",
                    "#!/usr/bin/python3\nimport os, time\nname = f'look.{time.monotonic_ns()}'\n"
                    "open(name + '.new', 'w').write('\\n'.join(os.environ))\nos.rename(name + '.new', name)\n")
    seen = lambda: [p for p in Path(made.file.parent).glob("look.*") if not p.name.endswith(".new")]
    made.up(env=hostile)
    faultlab.wait("all looked", lambda: len(seen()) == 5, reap=False)
    made.down(env=hostile)
    assert len(seen()) == 6
    for path in seen():
        names = {n for n in path.read_text().split("\n") if not n.startswith(("TAPNET_", "LC_"))}
        assert names <= WHITE | {"PWD", "OLDPWD", "SHLVL", "_"}, names - WHITE
        assert "TZ" in names and "TAPNET_FAULT" not in path.read_text().split("\n")


def test_environment_of_a_nodes_init(lab):
    """It came from the caller, and whoever has CAP_SYS_ADMIN may read it: it is empty."""
    made = lab("nodes: {r1: {exec: 'tr \\\\0 \\\\n < /proc/1/environ'}}\n")
    made.up(env={"SECRET_TOKEN": "hunter2", "PATH": "/usr/bin:/bin"})
    said = made.verb("logs", "r1").stdout
    assert "hunter2" not in said and "SECRET" not in said and "PATH" not in said, said
