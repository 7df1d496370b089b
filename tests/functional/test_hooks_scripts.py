# test_hooks_scripts.py - the scripts of hooks/: what they set, what they write, and after a crash.
import os
import re
import stat

import pytest

from conftest import TOP

HOOKS = sorted((TOP / "hooks").iterdir())
ENV = {"TAPNET_LAB": "demo", "TAPNET_NODE": "vm1", "TAPNET_INTERFACE": "eth0"}
# A namespace with a TAP p1 of two queues on a bridge, and the command in it.
INSIDE = """mount -t sysfs sysfs /sys && ip link add lan type bridge &&
ip tuntap add p1 mode tap multi_queue && ip link set p1 master lan up && """


@pytest.fixture(name="inside")
def inside_(run, needs, tmp_path):
    needs("/dev/net/tun", "unshare", "ip", "bridge")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a namespace")

    def inside(command, **env):
        env = {**ENV, "PATH": os.environ["PATH"], "HOME": str(tmp_path), **env}
        return run(["unshare", "--net", "--mount", "sh", "-c", INSIDE + command], env=env).stdout
    return inside


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_form(hook, run, needs):
    lines = hook.read_text().splitlines()
    assert lines[0] == "#!/bin/sh" and lines[1].startswith(f"# {hook.name} ")
    assert any(line.startswith("#   hooks:") for line in lines), "how it is written into a lab"
    assert hook.stat().st_mode & stat.S_IXOTH
    needs("shellcheck")
    run(["shellcheck", "--shell=sh", hook])


def test_tap_up(inside, tmp_path):
    out = inside(f"{TOP}/hooks/tap-up p1 && ip -d -o link show p1", TXQUEUELEN="77", ISOLATED="on")
    first, link = out.splitlines()[0], out.splitlines()[1]
    assert "vm1:eth0 up: p1" in first and "txqueuelen 77, bridge lan" in first
    assert "qlen 77" in link and "isolated on" in link
    assert (tmp_path / ".local/state/tapnet-lab/demo/taps.log").read_text() == first + "\n"


def test_tap_up_changes_nothing_by_itself(inside):
    before, after = re.findall(r"qlen (\d+)", inside(
        f"ip -o link show p1 && {TOP}/hooks/tap-up p1 && ip -d -o link show p1"))
    assert before == after


def test_tap_up_refused(inside, run):
    out = inside(f"{TOP}/hooks/tap-up p1 2>&1 || echo refused", TXQUEUELEN="many")
    assert out.endswith("refused\n") and "many" in out


def test_tap_down(inside, tmp_path):
    log = tmp_path / "here/taps.log"
    inside(f"{TOP}/hooks/tap-up p1 && {TOP}/hooks/tap-down p1", STATE_DIR=str(log.parent))
    up, down = log.read_text().splitlines()
    assert " up: " in up and re.search(r"down: p1, \d+ frames \(\d+ bytes\) from it, \d+ \(\d+\) to it", down)


@pytest.mark.parametrize("gone", [{"TAPNET_GONE": "1"}, {}])
def test_tap_down_after_a_crash(inside, gone):
    assert "down: p9 is gone" in inside(f"{TOP}/hooks/tap-down p9", **gone)


def test_save_state(inside, tmp_path):
    file = tmp_path / "state/vm1.state"
    inside(f"ip addr add 192.0.2.1/24 dev lan && ip link set lan up && {TOP}/hooks/save-state",
           STATE_DIR=str(file.parent))
    text = file.read_text()
    for part in ("# vm1 of lab demo, ", "inet 192.0.2.1/24", "192.0.2.0/24 dev lan",
                 "# ip neighbour show", "# ip -statistics link show"):
        assert part in text
    inside(f"{TOP}/hooks/save-state", STATE_DIR=str(file.parent), TAPNET_GONE="1")
    assert file.read_text() == text
    assert os.listdir(file.parent) == ["vm1.state"]
