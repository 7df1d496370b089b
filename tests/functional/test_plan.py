# test_plan.py - the plans of tests/data/golden, byte for byte, and what they must not depend on.
#
# A plan that changed on purpose: `tests/functional/test_plan.py PROGRAM` writes the golden files
# anew; then read their diff.
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden"
LABS = sorted(path.stem for path in GOLDEN.glob("*.yaml"))
FORMS = {"txt": "text", "json": "json"}


def plan_argv(program, lab, form, *more):
    return [str(program), "plan", "--assume", "kvm=no", "--format", form, *more, str(lab)]


@pytest.fixture(name="plan")
def plan_(bin, run):
    def make(lab, form="text", *more, **how):
        return run(plan_argv(bin, lab, form, *more), **how).stdout
    return make


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("lab", LABS)
def test_golden(plan, lab, suffix):
    assert plan(GOLDEN / f"{lab}.yaml", FORMS[suffix]) == (GOLDEN / f"{lab}.{suffix}").read_text()


@pytest.mark.parametrize("lab", LABS)
def test_same_from_anywhere(plan, lab, tmp_path):
    """Another folder, another environment, another user: the same bytes."""
    file = tmp_path / f"{lab}.yaml"
    shutil.copy(GOLDEN / file.name, file)
    tmp_path.chmod(0o755)
    golden = (GOLDEN / f"{lab}.json").read_text()
    bare = {"HOME": "/nowhere", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Auckland", "USER": "somebody"}
    assert plan(file.name, "json", cwd=tmp_path, env=bare) == golden
    assert plan(os.path.relpath(file, "/usr/share"), "json", cwd="/usr/share") == golden


def test_same_of_another_user(bin, run):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with tempfile.TemporaryDirectory() as folder:  # the checkout may be closed to others
        os.chmod(folder, 0o755)
        program = shutil.copy(bin, folder)
        lab = shutil.copy(GOLDEN / "matrix.yaml", folder)
        out = run(plan_argv(program, lab, "text"), user="nobody", cwd="/", env={}).stdout
    assert out == (GOLDEN / "matrix.txt").read_text()


def test_order_of_steps():
    """What must stand before what, whatever else changes."""
    steps = json.loads((GOLDEN / "programs.json").read_text())["steps"]

    def at(op, of):
        return next(s["step"] for s in steps if s["op"] == op and s["of"] == of)
    assert at("hook", "programs") == 1
    assert at("netns", "second") < at("bridge", "lan") < at("tap", "vm:eth0") < at("port", "vm:eth0")
    assert at("hook", "second:eth0") < at("cell", "second") < at("hook", "second")
    assert at("proc", "second.db") < at("proc", "second.web") < at("exec", "first") < at("proc", "vm")
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    assert all(s["undone_by"] for s in steps)


def test_nothing_is_given_twice():
    """Names and indexes in a namespace, MACs and planned fds in a lab."""
    for lab in LABS:
        steps = json.loads((GOLDEN / f"{lab}.json").read_text())["steps"]
        devices, macs, fds = [], [], []
        for step in steps:
            args = step["args"]
            if step["op"] in ("bridge", "tap"):
                devices += [(step["where"], args["name"]), (step["where"], args["ifindex"] or step)]
                macs.append(args["mac"])
            if step["op"] == "subif":
                devices += [(step["where"], args["name"]), (step["where"], args["ifindex"])]
            if step["op"] == "veth":
                devices += [(args["space"], args["name"]), (args["peer_space"], args["peer_name"])]
                macs += [args["mac"], args["peer_mac"]]
            if step["op"] in ("tap", "netns", "mounts", "disk"):
                fds += range(args["fd"], args["fd"] + args.get("queues", 1))
        for things in (devices, macs, fds):
            assert len(things) == len(set(map(str, things))), lab


def test_kvm_is_on_the_first_line(plan, bin, run):
    lab = GOLDEN / "qemu.yaml"
    without = plan(lab)
    with_kvm = run([bin, "plan", "--assume", "kvm=yes", lab]).stdout
    assert "kvm=no" in without.splitlines()[0] and "kvm=yes" in with_kvm.splitlines()[0]
    assert without.count("-accel tcg,thread=multi -cpu max") == 2
    assert with_kvm.count("-accel kvm -cpu host") == 2
    by_itself = run([bin, "plan", lab]).stdout
    assert by_itself in (without, with_kvm)
    other = run([bin, "plan", "--assume", "kvm=yes", GOLDEN / "numbers.yaml"]).stdout
    assert "depends" not in other.splitlines()[0]  # nor is the machine asked


def test_a_lab_without_machines_asks_none(tmp_path, bin):
    calls = tmp_path / "calls"
    subprocess.run(["strace", "-f", "-o", calls, bin, "validate", GOLDEN / "numbers.yaml"],
                   check=True, timeout=30, stdout=subprocess.DEVNULL)
    assert "numbers.yaml" in calls.read_text()
    assert not re.findall("/dev/(?!null)", calls.read_text())
    subprocess.run(["strace", "-f", "-o", calls, bin, "validate", GOLDEN / "qemu.yaml"],
                   check=True, timeout=30, stdout=subprocess.DEVNULL)
    assert "/dev/kvm" in calls.read_text()


def test_name_and_variables_change_it(plan):
    lab = GOLDEN / "programs.yaml"
    other = plan(lab, "json", "--name", "other", "--set", "greeting=moin")
    assert '"lab":"other"' in other.replace(" ", "") and "WORD=moin" in other
    assert "WORD=hello" not in other


if __name__ == "__main__":
    for lab_ in LABS:
        for suffix_, form_ in FORMS.items():
            out = subprocess.run(plan_argv(sys.argv[1], GOLDEN / f"{lab_}.yaml", form_), check=True,
                                 capture_output=True).stdout
            (GOLDEN / f"{lab_}.{suffix_}").write_bytes(out)
