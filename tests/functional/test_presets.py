# test_presets.py - kinds of guests that a file describes: one's own beside the lab, and ours.
#
# Each file of tests/data/malformed/presets begins with the errors that it must give, and no others:
#   # expect: LINE:COL: error: message
import json
import os
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
MALFORMED = sorted((TOP / "tests/data/malformed/presets").glob("*.yaml"))
OURS = sorted(path.stem for path in (TOP / "presets").glob("*.yaml"))
ENV = {**os.environ, "NO_COLOR": "1"}

OWN = """\
help: a program of one's own
vnet-hdr: on
queues: 4
files:
  settings:
    - "mac ${node.name}:"
    - {each: interfaces, args: "${index} ${if.mac}"}
command:
  - ./prog
  - --memory=${memory-bytes}
  - --settings=${file.settings}
  - {when: disk, args: ["--disk", "${disk}"]}
  - {unless: disk, args: --diskless}
  - join: [nets, {each: interfaces, args: "${if.fds}"}]
  - price=$5 and $${kept}
  - {each: extra}
"""


def write(folder, lab, **presets):
    (folder / "presets").mkdir(exist_ok=True)
    for name, text in presets.items():
        (folder / "presets" / f"{name}.yaml").write_text(text)
    path = folder / "lab.yaml"
    path.write_text(lab)
    return path


def node(kind, more=""):
    return f"bridges: {{lan: }}\nnodes:\n  vm: {{kind: {kind}, interfaces: {{eth0: lan, eth1: lan}}{more}}}\n"


def plan(run, bin, path):
    return json.loads(run([bin, "plan", "--assume", "kvm=no", "--assume", "vhost=no", "--format", "json", path],
                          env=ENV).stdout)["steps"]


def argv(steps):
    return next(s["args"]["program"]["argv"] for s in steps if s["op"] == "proc")


def test_own(run, bin, tmp_path):
    """presets/NAME.yaml beside the lab makes kind: NAME, from wherever the lab is loaded."""
    path = write(tmp_path, node("own", ", disk: d.img, memory: 1M, extra: [a b, c]"), own=OWN)
    steps = plan(run, bin, path)
    assert argv(steps) == ["./prog", "--memory=1048576", "--settings=${lab.run}/vm.settings", "--disk",
                           "/proc/self/fd/5", "nets,3,4", "price=$5 and ${kept}", "a b", "c"]
    file = next(s["args"] for s in steps if s["op"] == "file")
    assert file["name"] == "vm.settings"
    assert re.fullmatch(r"mac vm:\n0 02:[0-9a-f:]{14}\n1 02:[0-9a-f:]{14}\n", file["text"])
    tap = next(s["args"] for s in steps if s["op"] == "tap")
    assert tap["vnet_hdr"] is True
    relative = run([bin, "plan", "lab.yaml"], cwd=tmp_path).stdout
    assert "guest ./prog" in relative and "--diskless" not in relative


def test_own_runs(lab, tmp_path):
    """And `up` runs it."""
    write(tmp_path, "", own="command: [sh, -c, \"echo it is $TAPNET_NODE; cat ${file.words}; exec sleep 1000\"]\n"
                            "files: {words: \"said by ${lab.name}\"}\n")
    made = lab("nodes:\n  r1: {}\n  vm: {kind: own, ready: {console: said by, timeout: 10s}}\n"
               "links: [[r1:eth0, vm:eth0]]\n")
    made.up()
    assert made.verb("logs", "vm").stdout.split("\n")[:2] == ["it is vm", f"said by {made.name}"]


def test_status_tells_that_it_changed(lab, tmp_path):
    """As of the lab's file: edited, gone; or one that came, which `up` would take in place of ours."""
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "own.yaml").write_text("command: [sleep, '1000']\n")
    made = lab("bridges: {lan: }\ndefaults: {node: {interfaces: {eth0: lan}}}\nnodes:\n"
               "  a: {kind: guest, command: [sleep, '1000']}\n  b: {kind: own}\n  c: {kind: own}\n")

    def changed():
        text = made.verb("status").stdout
        assert json.loads(made.verb("status", "--format", "json").stdout)["file_changed"] == ("changed since" in text)
        return "changed since" in text
    made.up()
    assert not changed()
    (presets / "other.yaml").write_text("command: 'false'\n")
    assert not changed(), "none of its"
    (presets / "own.yaml").write_text("command: [sleep, '2000']\n")
    assert changed()
    made.up("--replace")
    assert not changed()
    (presets / "own.yaml").unlink()
    assert changed()


def test_own_wins_over_ours(run, bin, tmp_path):
    path = write(tmp_path, node("qemu"), qemu="command: [./another, -m, '${memory-mib}']\n")
    assert argv(plan(run, bin, path)) == ["./another", "-m", "256"]


def test_netns_and_guest_are_no_presets(run, bin, tmp_path):
    path = write(tmp_path, node("guest", ", command: [cat]"), guest="nonsense: 1\n", netns="nonsense: 1\n")
    assert argv(plan(run, bin, path)) == ["cat"]


def test_keys_that_it_does_not_use(run, bin, tmp_path):
    """A key that means nothing to the preset is an error at the node; one of defaults is passed over."""
    path = write(tmp_path, node("own", ", kernel: k"), own="command: [./prog, '${disk}']\n")
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f'{path}:3:55: error: own does not use "kernel"' in error
    path.write_text("defaults: {node: {kernel: k}}\n" + node("own", ", disk: d.img"))
    run([bin, "validate", path])
    path.write_text(node("own"))
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f'{path}:3:3: error: vm is of kind: own, which needs "disk"' in error


def test_a_disks_format(run, bin, tmp_path):
    """For a program that would guess it, as QEMU, and then write nothing to a raw image's first block."""
    path = write(tmp_path, node("crosvm", ", kernel: k, disk: {file: d.img, format: raw}"))
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f'{path}:3:97: error: crosvm does not use "format"' in error


def test_unknown(run, bin, tmp_path):
    path = write(tmp_path, node("firecraker"))
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f'{path}:3:14: error: no kind "firecraker" (did you mean "firecracker"?)' in error
    assert "presets/NAME.yaml beside the lab" in error
    for name in ("..", "a/b", "x" * 80):
        path.write_text(node(f'"{name}"'))
        assert "error: no kind" in run([bin, "validate", path], status=2, env=ENV).stderr


def test_cannot_be_read(run, bin, tmp_path):
    path = write(tmp_path, node("own"))
    (tmp_path / "presets/own.yaml").mkdir()
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f"{tmp_path}/presets/own.yaml: error: cannot be read: Is a directory" in error


def test_presets_that_is_a_file(run, bin, tmp_path):
    """Then there is none of one's own, and ours are there all the same."""
    (tmp_path / "presets").write_text("")
    path = tmp_path / "lab.yaml"
    path.write_text(node("own"))
    assert f'{path}:3:14: error: no kind "own"' in run([bin, "validate", path], status=2, env=ENV).stderr
    path.write_text(node("qemu", ", kernel: k"))
    assert argv(plan(run, bin, path))[0] == "qemu-system-x86_64"


def test_what_an_interface_has_not(run, bin, tmp_path):
    """${if.…} without a value is an error at its place in the preset, and names the interface."""
    path = write(tmp_path, node("own"), own="command:\n  - ./prog\n  - {each: interfaces, args: [\"${if.gateway}\"]}\n")
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert (f'{tmp_path}/presets/own.yaml:3:31: error: "${{if.gateway}}" of vm:eth0: '
            "no default route goes that way") in error
    assert error.endswith(f"{path}: 1 error; nothing was made\n"), "once, whatever interfaces there are"


def test_more_than_its_program_takes(run, bin, tmp_path):
    own = "queues: 2\nhandoff: unattached\ncommand: ./prog\n"
    path = write(tmp_path, "bridges: {lan: }\nnodes:\n  vm: {kind: own, interfaces: {eth0: {bridge: lan, tap: "
                           "{queues: 3, handoff: fd}}}}\n", own=own)
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f"{path}:3:66: error: a guest of kind: own takes 2 queues an interface, and vm:eth0 has 3\n" in error
    assert f"{path}:3:52: error: a guest of kind: own gets its devices unattached, not attached, by fd\n" in error
    assert error.endswith(f"{path}: 2 errors; nothing was made\n")


def test_words_that_come_to_nothing(run, bin, tmp_path):
    """A join of nothing is no word; a vhost-net that is not there, none either."""
    path = write(tmp_path, node("own"), own="vhost: on\nvnet-hdr: on\ncommand:\n  - ./prog\n  - {join: [{each: extra}]}\n"
                                            "  - {each: interfaces, args: [{when: if.vhostfds, args: v}]}\n")
    assert argv(plan(run, bin, path)) == ["./prog"]
    for answer, other, words in (("yes", "no", "./prog v v"), ("no", "yes", "./prog")):
        text = run([bin, "plan", "--assume", f"vhost={answer}", path], env=ENV).stdout
        assert text.splitlines()[0].endswith(f"depends on this machine: vhost={answer} (--assume vhost={other})")
        assert f"guest {words}  (vm)" in text


def test_files_that_are_missing(run, bin, tmp_path):
    """`up` looks for all of a guest's files, and hooks, before it makes anything; those whose names only the
    plan knows, it leaves to their steps."""
    (tmp_path / "disk").write_text("")
    path = write(tmp_path, f"""\
name: missing-{os.getpid()}
bridges: {{lan: }}
defaults: {{node: {{kind: own, interfaces: {{eth0: lan}}}}}}
nodes:
  a: {{kernel: "${{lab.dir}}/k", initrd: /nowhere/i, disk: disk}}
  b: {{kernel: {"x" * 4100}, initrd: "${{lab.dir}}/disk", disk: "${{eth0.mac}}.img"}}
  c: {{hooks: {{up: "${{lab.dir}}/up", down: ./may-come}}}}
  d: {{hooks: {{up: "${{eth0.mac}}/up"}}}}
""", own="command: [./prog, {when: kernel, args: '${kernel}'}, {when: initrd, args: '${initrd}'}, "
         "{when: disk, args: '${disk}'}]\n")
    error = run([bin, "up", path], status=2, env=ENV).stderr
    assert re.findall(r"^\S+?lab\.yaml:(\d+:\d+: error: .*)$", error, re.M) == [
        "5:15: error: k: No such file or directory",
        "5:39: error: /nowhere/i: No such file or directory",
        f"6:15: error: {'x' * 4100}: File name too long",
        '7:19: error: up hook "up": could not start: No such file or directory']


def test_where_guests_run(run, bin, tmp_path):
    """One that finds its TAPs by name runs where these are, unless the lab says otherwise."""
    wired = "nodes:\n  r: \n  vm: {kind: own%s}\nlinks: [[vm, r]]\n"
    for text, where in ((node("own"), "switch"), (node("own", ", netns: host"), "host"), (wired % "", "r"),
                        (wired % ", netns: switch", "switch"), (wired % ", netns: r", "r")):
        path = write(tmp_path, text, own="netns: tap\ncommand: ./prog\n")
        assert [s["where"] for s in plan(run, bin, path) if s["op"] == "proc"] == [where]


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.stem)
def test_malformed(run, bin, tmp_path, path):
    """Errors of a preset's file stand at their places in it; however many nodes are of it, once."""
    expected = [e.decode() for e in re.findall(rb"^# expect: (.*)$", path.read_bytes(), re.M)]
    assert expected
    lab = write(tmp_path, "nodes:\n  vm: {kind: own}\n  r${i}: {for: {i: 1-3}}\nlinks: [[vm:eth0, r1:eth0]]\n",
                own=path.read_text())
    for text in (lab.read_text(), lab.read_text().replace("  vm:", "  v2: {kind: own, interfaces: {eth0: }}\n  vm:")):
        lab.write_text(text)
        done = run([bin, "validate", lab], status=2, env=ENV)
        own = f"{tmp_path}/presets/own.yaml"
        errors = [m[1] for m in re.finditer(rf"^{re.escape(own)}:(\d+:\d+: error: .*)$", done.stderr, re.M)]
        if text.startswith("nodes:\n  vm"):
            assert errors == expected
            n = len(errors)
            assert done.stderr.endswith(f"{lab}: {n} error{'s' if n > 1 else ''}; nothing was made\n")
        assert done.stdout == ""


def test_an_unused_one_breaks_nothing(run, bin, tmp_path):
    path = write(tmp_path, "nodes: {h1: }\n", own="nonsense: 1\n")
    run([bin, "validate", path])


def test_both_files_errors(run, bin, tmp_path):
    """Errors of the lab and of the preset come in one run."""
    path = write(tmp_path, node("own") + "oops: 1\n", own="nonsense: 1\ncommand: [x]\n")
    error = run([bin, "validate", path], status=2, env=ENV).stderr
    assert f'{path}:4:1: error: unknown key "oops"' in error
    assert f'{tmp_path}/presets/own.yaml:1:1: error: unknown key "nonsense"' in error
    assert error.endswith(f"{path}: 2 errors; nothing was made\n")


@pytest.mark.parametrize("name", OURS)
def test_ours_as_ones_own(run, bin, tmp_path, name):
    """A copy of ours beside the lab does what ours does: it is what is built in."""
    text = node(name, ", kernel: k, initrd: i, append: a, disk: d, extra: e, cpus: 2, memory: 1G")
    path = write(tmp_path, text)
    before = plan(run, bin, path)
    write(tmp_path, text, **{name: (TOP / "presets" / f"{name}.yaml").read_text()})
    assert plan(run, bin, path) == before


def test_ours_are_known(run, bin):
    """Those of presets/ are all built in, and told by doctor."""
    said = re.search(r"^presets +(.*)$", run([bin, "doctor"], status=None).stdout, re.M)[1]
    assert sorted(word.split()[0] for word in said.split("; ")) == OURS
