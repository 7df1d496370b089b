# test_t06_helper.py - the contract's T6: a TAP may come from a bridge helper, by the protocol of QEMU's
# own, which is tried here; it is run without a shell, has a time limit, and whatever it does instead of
# sending one TAP and exiting with 0 is an error at its line (exit 5) that leaves nothing.
import os
import re
import signal
import subprocess

import pytest

import helperlab
from conftest import run_dir
from helperlab import alive, devices, fake, fake_pid, lab_text, one, taps_of, until

br0 = pytest.fixture(helperlab.bridge)
GUEST_MAC = "02:00:00:00:00:07"


@pytest.fixture
def guest(bin, needs):
    needs("/dev/net/tun", "ping", str(bin.parent / "guest/tapnet-guest"))


@pytest.fixture
def etc_qemu(needs, tmp_path):
    """/etc/qemu, a folder of the test's own: over /etc lies another one, seen by this process only."""
    needs(str(helperlab.REAL))
    upper = tmp_path / "etc"
    upper.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", upper], check=True)
    (upper / "upper/qemu").mkdir(parents=True)
    (upper / "work").mkdir()
    over = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                           f"lowerdir=/etc,upperdir={upper}/upper,workdir={upper}/work", "/etc"],
                          capture_output=True, text=True, check=False)
    if over.returncode:
        subprocess.run(["umount", upper], check=True)
        pytest.skip(f"needs overlays: {over.stderr}")
    yield upper / "upper/qemu"
    subprocess.run(["umount", "-l", "/etc", upper], check=True)


def ping():
    subprocess.run(["ping", "-c", "1", "-W", "5", "10.9.0.2"], check=True, capture_output=True)


def failed(made, *words, status=5):
    """`up` fails with these words at the helper's line, and nothing is left (what a lab could leave
    anywhere is looked at after each test, too)."""
    up = made.up(status=status, env={"NO_COLOR": "1"})
    assert re.search(rf"^  {re.escape(str(made.file))}:6:31$", up.stderr, re.M), up.stderr
    for word in words:
        assert word in up.stderr
    assert not made.is_there() and not devices()
    return up.stderr


# --- helpers that do what they should -------------------------------------------------------------

def test_t06_the_real_helper(lab, guest, bin, br0, etc_qemu):
    """qemu-bridge-helper of the distribution's: its TAP is on the bridge, the guest's fd 3, and gone
    with the lab."""
    (etc_qemu / "bridge.conf").write_text("allow br0\n")
    made = lab(lab_text(bin, f"[{helperlab.REAL}]"))
    made.up()
    device, = devices()
    assert os.readlink(f"/sys/class/net/{device}/master").endswith("/br0")
    assert int(open(f"/sys/class/net/{device}/tun_flags").read(), 16) & 0x4000  # it was asked for a vnet header
    assert taps_of(one("tapnet-guest")) == [device]
    ping()
    made.down()
    assert not devices()


def test_t06_the_real_helper_denies(lab, guest, bin, br0, etc_qemu):
    (etc_qemu / "bridge.conf").write_text("deny br0\n")
    made = lab(lab_text(bin, f"[{helperlab.REAL}]"))
    failed(made, f'g:eth0: helper "{helperlab.REAL}": exited with 1', "access denied by acl file")


def test_t06_our_own_helper(lab, guest, bin, br0, tmp_path):
    rules = tmp_path / "bridge.conf"
    rules.write_text("allow br0\n")
    rules.chmod(0o644)
    made = lab(lab_text(bin, f"[{bin.parent}/helper/tapnet-bridge-helper, --acl-file={rules}]"))
    made.up()
    device, = devices()
    assert device.startswith("tb") and taps_of(one("tapnet-guest")) == [device]
    ping()
    made.down()
    assert not devices()


def test_t06_our_own_helper_on_another_labs_bridge(lab, guest, bin, tmp_path):
    rules = tmp_path / "bridge.conf"
    other = lab("nodes: {h: {interfaces: {eth0: {bridge: lan, ipv4: 10.9.0.1/24}}}}\nbridges: {lan: }\n")
    rules.write_text(f"allow {other.name}/lan\n")
    rules.chmod(0o644)
    other.up()
    made = lab(lab_text(bin, f"[{bin.parent}/helper/tapnet-bridge-helper, --acl-file={rules}]",
                        f", bridge: {other.name}/lan"))
    made.up()
    other.exec("h", "ping", "-c", "1", "-W", "5", "10.9.0.2")
    assert not devices()  # none in the host
    made.down()
    other.down()


def test_t06_words_as_they_are_and_no_shell(lab, guest, bin):
    """Its own words first, untouched; then those of the protocol. It has 0, 1, 2 and the socket."""
    made = lab("nodes: {}\n")
    fake(made, "good", "a b; touch made-by-a-shell", more=", bridge: br7")
    made.up()
    log = (run_dir() / made.name / "lab.log").read_text()
    assert "fake good ['a b; touch made-by-a-shell', '--use-vnet', '--fd=3', '--br=br7'] [0, 1, 2, 3]" in log
    assert not (made.file.parent / "made-by-a-shell").exists()
    assert taps_of(one("tapnet-guest")) == ["tbfake"]
    made.down()
    assert not devices()


def test_t06_hooks_of_such_a_tap(lab, guest):
    """They run where the helper did, in the host's network namespace, with the fd as 3."""
    made = lab("nodes: {}\n")
    fake(made, "good")
    node = "bridges: {lan: }\nnodes:\n  h: {interfaces: {eth0: {bridge: lan}}}\n"  # made before: in other namespaces
    hooks = "hooks: {up: 'readlink /proc/self/ns/net /proc/self/fd/3 > up', down: 'readlink /proc/self/ns/net > down'}"
    text = made.file.read_text().replace("nodes:\n", node).replace("}}}}\n", "}}, " + hooks + "}}\n")
    made.file.write_text(text)
    made.up()
    made.down()
    ours = os.readlink("/proc/self/ns/net")
    assert (made.file.parent / "up").read_text().split() == [ours, "/dev/net/tun"]
    assert (made.file.parent / "down").read_text().split() == [ours]


# --- helpers that do not ---------------------------------------------------------------------------

@pytest.mark.parametrize("what,words", [
    ("nothing", "exited with 0, but sent no fd"),
    ("closes", "exited with 0, but sent no fd"),
    ("byte", "a byte came without an fd"),
    ("credentials", "a byte came without an fd"),
    ("two", "more than one fd came"),
    ("twice", "more than one fd came"),
    ("no-tap", "is not a TAP"),
    ("fails", "exited with 3"),
    ("fails-after", "exited with 3"),
    ("killed-after", "killed by SIGTERM"),
    ("hangs", "not done within 3 s, killed"),
    ("hangs-after", "not done within 3 s, killed"),
])
def test_t06_a_hostile_helper(lab, guest, what, words):
    made = lab("nodes: {}\n")
    fake(made, what, more=", timeout: 3s" if what.startswith("hangs") else "")
    said = failed(made, "g:eth0", words)
    if what != "no-tap":
        assert 'helper "./fake": ' in said and f"    fake {what} " in said  # and its last words
    assert not alive(fake_pid(made))


def test_t06_no_such_helper(lab, guest, bin):
    failed(lab(lab_text(bin, "[./none]")), 'helper "./none": could not start: No such file or directory')


def test_t06_what_a_helper_leaves_running(lab, guest):
    """In its own session: killed at once, and the TAP is taken. One that daemonised holds the socket,
    and could hold the TAP: an error, and it is found."""
    made = lab("nodes: {}\n")
    fake(made, "leaves")
    made.up()
    assert not alive(fake_pid(made))
    made.down()
    (made.file.parent / "alone").unlink()
    fake(made, "daemon")
    failed(made, "holds its end of the socket")
    assert not alive(fake_pid(made))


# --- whoever dies ----------------------------------------------------------------------------------

@pytest.mark.parametrize("what", ["hangs", "hangs-after"])
@pytest.mark.parametrize("who", [["tapnet-work"], ["tapnet-guard"], ["tapnet-guard", "tapnet-work"], []],
                         ids=["worker", "guardian", "both", "interrupted"])
def test_t06_killed_while_the_helper_runs(lab, guest, who, what, tmp_path):
    """The helper goes with the lab, and so does a TAP that it has sent and nobody has received."""
    made = lab("nodes: {}\n")
    fake(made, what, more=", timeout: 60s")
    with open(tmp_path / "up.log", "w", encoding="utf-8") as log:
        up = subprocess.Popen([made.bin, "up", made.file], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                              cwd=made.file.parent)
    try:
        pid = fake_pid(made)
        if what == "hangs-after":
            until("it has made its TAP", devices)
        for victim in [one(comm) for comm in who]:
            os.kill(victim, signal.SIGKILL)
        if not who:
            up.send_signal(signal.SIGINT)
        status = up.wait(20)
    finally:
        up.kill()
        up.wait()
    if len(who) == 2:
        made.verb("gc", timeout=20)
    assert status == 5, (tmp_path / "up.log").read_text()
    until("the helper is dead", lambda: not alive(pid))
    until("its TAP is gone", lambda: not devices())
    until("the lab is gone", lambda: not made.is_there())
