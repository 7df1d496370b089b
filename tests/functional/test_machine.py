# test_machine.py - tests/vm/machine, in which tests/vm runs: a command's status and output come
# through, a limit holds, and whatever ends it, nothing is left.
import os
import select
import signal
import subprocess
import time

import pytest

from conftest import TOP, processes

MACHINE = TOP / "tests/vm/machine"
BOOT = 240  # seconds; it takes 5 on two idle cores

pytestmark = pytest.mark.usefixtures("kernel")


@pytest.fixture(scope="module")
def kernel(needs, run):
    """Got before it is waited for."""
    needs("qemu-system-x86_64", "modprobe", "setpriv", "busybox")
    got = run([TOP / "labs/guest/kernel"], status=None, timeout=300)
    if got.returncode:
        pytest.skip(f"needs the guest's kernel: {got.stderr}")


def start(*argv, **how):
    # pylint: disable=subprocess-popen-preexec-fn
    return subprocess.Popen([MACHINE, *argv], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **how,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def emulators():
    return [pid for pid, name in processes(os.getpid()).items() if name.startswith("qemu")]


def wait_for(what, condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def test_a_command_runs_as_root_on_the_hosts_files_and_says_how_it_ended(tmp_path):
    """Its words come while it runs; what it writes is there only below --share; a program that it
    leaves behind keeps nobody waiting; it may say more than any buffer holds."""
    (tmp_path / "share").mkdir()
    (tmp_path / "host").write_text("the host's\n")
    script = f"""
        id -u; cat {tmp_path}/host; echo mine > {tmp_path}/host; echo mine > share/file
        setsid sleep 1000 & until [ -e share/heard ]; do sleep 0.1; done
        seq 1 100000; exit 3
    """
    with start("--share", "share", "--time", str(BOOT), "sh", "-c", script, cwd=tmp_path) as machine:
        said = ""
        while said != "0\nthe host's\n":
            assert select.select([machine.stdout], [], [], BOOT)[0], said
            more = os.read(machine.stdout.fileno(), 4096).decode()
            assert more, machine.stderr.read()
            said += more
        (tmp_path / "share/heard").touch()
        out, _ = machine.communicate(timeout=BOOT)
    assert machine.returncode == 3
    assert out.splitlines() == [str(n) for n in range(1, 100001)]
    assert (tmp_path / "share/file").read_text() == "mine\n"
    assert (tmp_path / "host").read_text() == "the host's\n"


def test_what_is_not_done_in_time_is_ended():
    with start("--time", "2", "sleep", "1000") as machine:
        _, err = machine.communicate(timeout=60)
    assert machine.returncode == 124
    assert "machine: not done in 2 s: sleep 1000" in err
    assert not emulators()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_emulator_outlives_it(number, tmp_path):
    with start("sleep", "1000", env={**os.environ, "TMPDIR": str(tmp_path)}) as machine:
        wait_for("an emulator", emulators)
        machine.send_signal(number)
        machine.communicate(timeout=60)
    assert machine.returncode in (-number, 128 + number)
    wait_for("its end", lambda: not emulators())
    assert not list(tmp_path.iterdir())


def test_where_there_is_no_kernel_it_says_so():
    with start("true", env={**os.environ, "KERNEL": "/nowhere/vmlinuz"}) as machine:
        _, err = machine.communicate(timeout=60)
    assert machine.returncode == 125
    assert "KERNEL=/nowhere/vmlinuz needs MODULES=" in err
