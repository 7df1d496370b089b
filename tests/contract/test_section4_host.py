# test_section4_host.py - an fd of a TAP is a full capability: its holder may give the device another
# MAC and make it persistent. In the host's namespace, where nothing else ends it, it is found by its
# ifindex and taken away all the same.
import pytest

import contractlab as c
import faultlab

host_bridge = pytest.fixture(faultlab.host_bridge)

LAB = f"""\
bridges: {{office: {{host: hostbr, subnet: none}}}}
nodes:
  g:
    kind: guest
    command: [{c.PYTHON}, ./guest.py, "${{eth0.fd}}"]
    ready: {{console: READY, timeout: 20s}}
    interfaces: {{eth0: {{bridge: office, tap: {{name: mine0}}}}}}
"""

GUEST = """
import fcntl, signal
fd = int(sys.argv[1])
c.set_mac(fd, "02:00:00:00:66:00")
fcntl.ioctl(fd, c.TUNSETPERSIST, 1)
print("READY", flush=True)
signal.pause()
"""


def up(lab):
    made = lab(LAB)
    c.guest_script(made, "guest.py", GUEST)
    made.up("-q")
    return made


def test_section4_down(lab, run, host_bridge):
    """The leak check of every test sees that the device is gone."""
    up(lab).down()
    assert "mine0" not in run(["ip", "link"]).stdout


def test_section4_gc(lab, run, host_bridge):
    """Guardian and worker are killed: the device, persistent now, is left for gc."""
    made = up(lab)
    faultlab.kill(faultlab.one("tapnet-guard"), faultlab.one("tapnet-work"))
    faultlab.reap()
    assert "mine0" in run(["ip", "link"]).stdout
    made.verb("gc")
    faultlab.wait("its init is reaped", lambda: not faultlab.pids("tapnet-init"))
    assert "mine0" not in run(["ip", "link"]).stdout
