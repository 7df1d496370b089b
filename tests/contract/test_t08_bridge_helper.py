# test_t08_bridge_helper.py - the contract's T8: a bridge helper of our own, of the protocol that QEMU
# speaks with its helper, which makes a TAP a port of the host's bridge or of a lab's, if a file of
# rules allows it; a deny wins, and the file's owner and mode are checked. QEMU itself gets its TAP
# from it, by -netdev tap,helper= and by -netdev bridge,br=, and pings. It is not setuid.
import array
import fcntl
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

TUNGETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE, IFF_PERSIST = \
    0x800454d2, 0x0002, 0x1000, 0x4000, 0x0100, 0x0800
LAB = """\
bridges: {lan: {mtu: 1400}, other: }
nodes:
  h: {interfaces: {eth0: {bridge: lan, ipv4: 10.9.0.1/24}}}
  o: {interfaces: {eth0: {bridge: other, ipv4: 10.9.0.1/24}}}
"""


@pytest.fixture
def helper(fault_bin):
    """The one with sanitizers."""
    return fault_bin.parent / "helper/tapnet-bridge-helper"


@pytest.fixture
def acl(tmp_path):
    """acl(text): the option that names a file of these rules."""
    def write(text, name="bridge.conf", mode=0o644):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return f"--acl-file={path}"
    return write


@pytest.fixture
def br0():
    """A bridge of the host's, with an address."""
    for words in ("add br0 type bridge", "set br0 mtu 1300 up"):
        subprocess.run(["ip", "link", *words.split()], check=True)
    subprocess.run("ip addr add 10.9.0.1/24 dev br0".split(), check=True)
    yield "br0"
    subprocess.run("ip link del br0".split(), check=True)


class Answer:
    """How a helper ended, what it said, and what it sent."""

    def __init__(self, argv, **popen):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            fd = theirs.fileno()
            done = subprocess.run([str(a).replace("FD", str(fd)) for a in argv], pass_fds=[fd], text=True,
                                  capture_output=True, timeout=30, check=False, **popen)
            theirs.close()
            self.status, self.said, self.out = done.returncode, done.stderr, done.stdout
            self.data, control, flags, _ = ours.recvmsg(16, socket.CMSG_SPACE(64))
            self.fds = array.array("i", b"".join(c[2] for c in control))
            assert not flags & socket.MSG_CTRUNC

    def close(self):
        for fd in self.fds:
            os.close(fd)


def ask(helper, bridge, *options, **popen):
    return Answer([helper, "--fd=FD", f"--br={bridge}", *options], **popen)


def refused(answer, words, status=1):
    """Nothing was sent, and what was said has these words."""
    assert (answer.status, answer.data, list(answer.fds)) == (status, b"", []), answer.said
    assert words in answer.said
    return answer.said


def taps():
    """The TAPs of the host."""
    out = subprocess.run(["ip", "-j", "-d", "link"], capture_output=True, check=True).stdout
    return [link for link in json.loads(out) if link.get("linkinfo", {}).get("info_kind") == "tun"]


def iff(fd):
    name, flags = struct.unpack("16sH22x", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))
    return name.rstrip(b"\0").decode(), flags


# --- the TAP --------------------------------------------------------------------------------------

@pytest.mark.parametrize("vnet", [True, False])
def test_t08_a_port_of_the_hosts_bridge(helper, acl, br0, vnet):
    got = ask(helper, br0, acl("allow br0\n"), *["--use-vnet"] * vnet)
    assert (got.status, len(got.data), len(got.fds), got.said) == (0, 1, 1, "")
    (name, flags), (link,) = iff(got.fds[0]), taps()
    assert flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_PERSIST) == \
        IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if vnet else 0)
    assert re.fullmatch("tb[0-9a-f]{8}", name) and link["ifname"] == name
    assert (link["master"], link["mtu"], link["qdisc"], link["group"]) == ("br0", 1300, "noqueue", "default")
    assert "UP" in link["flags"] and link["address"].startswith("fe:")
    assert link["inet6_addr_gen_mode"] == "none"
    got.close()
    until = time.monotonic() + 10
    while taps() and time.monotonic() < until:
        time.sleep(0.01)
    assert not taps()


def test_t08_options_as_qemu_and_people_write_them(helper, acl, br0):
    rules = acl("allow br0\n")
    for words in (["--use-vnet", "--fd=FD", "--br=br0"], ["--fd", "FD", "--br", "br0"]):
        got = Answer([helper, *words, rules])
        assert (got.status, len(got.fds)) == (0, 1)
        got.close()
    for words, wrong in ([["--fd=FD"], "--br is missing"], [["--br=br0"], "--fd is missing"],
                         [["--fd=FD", "--br=br0", "--br=br0"], "--br is given twice"],
                         [["--fd=FD", "--br=br0", "more"], "unexpected argument"],
                         [["--fd=FD", "--br=br0", "--wrong"], "unknown option"],
                         [["--fd=2", "--br=br0"], '"2" is not a number from 3'],
                         [["--fd=3x", "--br=br0"], '"3x" is not a number']):
        refused(Answer([helper, *words, rules]), wrong, 2)
    refused(Answer([helper, "--fd=1000", "--br=br0", rules]), "fd 1000 is not a socket")
    assert "Usage" in Answer([helper, "--help"]).out and not taps()


def test_t08_names_are_whole(helper, acl, br0):
    """Neither cut, as by a buffer of 16 bytes, nor numbered by the kernel."""
    rules = acl("allow all\n")
    for name, wrong in (("br0456789abcdefg", "has 16 characters; 15 at most"), ("br%d", "no bridge has such a character"),
                        ("", "no bridge has such a name"), ("..", "no bridge has such a name"),
                        ("a b", "no bridge has such a character"), ("a/b/c", "no bridge has such a character"),
                        ("../lan", "no lab has such a name"), ("/lan", "no lab has such a name"),
                        ("l" * 33 + "/lan", "has 33 characters; 32 at most"), ("lab/*", "such a character"),
                        ("br\033[1m", "br\\x1b[1m")):
        refused(ask(helper, name, rules), wrong, 2)


def test_t08_no_such_bridge(helper, acl, br0):
    rules = acl("allow all\n")
    refused(ask(helper, "br1", rules), 'bridge "br1": there is none')
    refused(ask(helper, "lo", rules), "it is not a bridge")
    subprocess.run("ip link property add dev br0 altname uplink".split(), check=True)
    refused(ask(helper, "uplink", rules), "there is none")  # the file allows names, not devices
    refused(ask(helper, "no-such-lab/lan", rules), "no such lab is up")
    assert not taps()


def test_t08_without_rights(helper, acl, br0):
    """As a user it can do what the user can, in the host's namespace nothing; and that is said."""
    copy, rules = Path("/run/helper-of-nobody"), Path("/run/rules-of-nobody")
    shutil.copy(helper, copy)
    rules.write_text("allow br0\n")
    rules.chmod(0o644)
    try:
        for owner in (0, 65534):  # one's own rules are as good as root's: it is the kernel that decides
            os.chown(rules, owner, owner)
            said = refused(Answer(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy,
                                   "--fd=FD", "--br=br0", "--acl-file", rules]), 'bridge "br0"', 4)
            assert re.search("TAP device in this namespace|/dev/net/tun is not open to this user", said)
    finally:
        copy.unlink()
        rules.unlink()
    assert not taps()


# --- the rules ------------------------------------------------------------------------------------

@pytest.mark.parametrize("rules,allowed", [
    ("allow br0\n", True), ("allow all\n", True), ("  allow\tbr0 # a comment", True), ("allow br0\r\n", True),
    ("# allow br0\n", False), ("", False), ("allow br\n", False), ("allow br00\n", False),
    ("deny br0\nallow all\n", False), ("allow br0\ndeny all\n", False), ("allow br0\ndeny br1\n", True),
    ("allow br0/*\n", False), ("allow lab/br0\n", False),
])
def test_t08_allow_and_deny(helper, acl, br0, rules, allowed):
    got = ask(helper, br0, acl(rules))
    if allowed:
        assert (got.status, len(got.fds)) == (0, 1)
        got.close()
    else:
        refused(got, "denied by" if "\ndeny" in f"\n{rules}" else "no line of")
        assert not taps()


def test_t08_who_denies_is_told(helper, acl, br0, tmp_path):
    said = refused(ask(helper, br0, acl("allow all\ndeny br1\ndeny br0\n")), "denied by")
    assert f"{tmp_path}/bridge.conf:3" in said


def test_t08_include(helper, acl, br0, tmp_path):
    """Relative to the file that says it, and with the same checks."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "a").write_text("include b\n")
    (folder / "b").write_text("allow br0\n")
    rules = acl("include more/a\n")
    got = ask(helper, br0, rules, cwd="/")
    assert got.status == 0, got.said
    got.close()
    (folder / "b").write_text("deny br0\n")
    said = refused(ask(helper, br0, acl(f"allow all\ninclude {folder}/a\n")), "denied by")
    assert f"{folder}/b:1" in said
    (folder / "b").chmod(0o666)
    said = refused(ask(helper, br0, rules), "may be written by others (mode 666): chmod go-w")
    assert f"{folder}/a:1:9: {folder}/b may be" in said
    (folder / "b").unlink()
    assert f"{folder}/a:1:9: cannot open {folder}/b: No such file" in refused(ask(helper, br0, rules), "mistakes")


def test_t08_include_without_end(helper, acl, br0, tmp_path):
    (tmp_path / "a").write_text("include bridge.conf\n")
    said = refused(ask(helper, br0, acl("allow br0\ninclude a\n")), "is included by itself")
    assert f"{tmp_path}/a:1:9: " in said
    refused(ask(helper, br0, acl("allow br0\ninclude ./bridge.conf\n")), "is included by itself")
    for n in range(20):
        (tmp_path / f"deep{n}").write_text(f"include deep{n + 1}\n")
        (tmp_path / f"wide{n}").write_text(f"include wide{n + 1}\n" * 20 if n < 5 else "allow br0\n")
    refused(ask(helper, br0, acl("allow br0\ninclude deep0\n")), "more than 8 deep")
    begin = time.monotonic()
    refused(ask(helper, br0, acl("allow br0\ninclude wide0\n")), "more than 64 files")
    assert time.monotonic() - begin < 20


def test_t08_mistakes_are_told_at_once_with_their_places(helper, acl, br0, tmp_path):
    rules = acl("allow br0\npermit br1\n  allow\ndeny br1 br2\n\tallow a%b\ninclude none\n"
                "allow br0456789abcdefg\nallow lab/*\nallow */lan\nall\033ow br0\n")
    said = refused(ask(helper, br0, rules), "there are mistakes in")
    places = re.findall(rf"error: {re.escape(str(tmp_path))}/bridge\.conf:(\d+):(\d+): (.*)", said)
    assert [(int(line), int(column)) for line, column, _ in places] == \
        [(2, 1), (3, 3), (4, 10), (5, 8), (6, 9), (7, 7), (9, 7), (10, 1)]
    assert places[0][2] == '"permit" is not allow, deny or include'
    assert "\033" not in said
    refused(ask(helper, br0, acl("allow br0\n\0")), "it is no text")
    refused(ask(helper, br0, acl("#" * 70000)), "more than 64 KiB")


def test_t08_owner_and_mode(helper, acl, br0, tmp_path):
    path = tmp_path / "bridge.conf"
    for mode, wrong in ((0o664, "its group"), (0o646, "others"), (0o666, "others")):
        refused(ask(helper, br0, acl("allow br0\n", mode=mode)), f"may be written by {wrong}")
    rules = acl("allow br0\n")
    os.chown(path, 1000, 0)
    refused(ask(helper, br0, rules), "belongs to user 1000, not to root: chown root")
    os.chown(path, 0, 1000)
    got = ask(helper, br0, rules)
    assert got.status == 0
    got.close()
    (tmp_path / "link").symlink_to(path)
    refused(ask(helper, br0, f"--acl-file={tmp_path}/link"), "is a symbolic link: name the file itself")
    os.mkfifo(tmp_path / "fifo", 0o600)
    refused(ask(helper, br0, f"--acl-file={tmp_path}/fifo"), "is not a regular file")
    refused(ask(helper, br0, f"--acl-file={tmp_path}"), "is not a regular file")
    refused(ask(helper, br0, f"--acl-file={tmp_path}/none"), "No such file")
    assert not taps()


# --- setuid ---------------------------------------------------------------------------------------

def test_t08_not_setuid_as_installed(bin, needs, tmp_path):
    needs("meson")
    build = bin.parents[1]
    if not (build / "build.ninja").exists():
        pytest.skip("needs a folder of meson's")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path / "root"],
                   check=True, capture_output=True, timeout=60)
    installed, = (tmp_path / "root").rglob("libexec/tapnet-lab/tapnet-bridge-helper")
    assert installed.stat().st_mode & 0o7777 == 0o755
    assert "--acl-file" in subprocess.run([installed, "--help"], capture_output=True, text=True, check=True).stdout
    assert list((tmp_path / "root").rglob("man8/tapnet-bridge-helper.8*"))


def test_t08_setuid_it_refuses(bin, br0):
    """Whoever makes it setuid gets a word, and no TAP: it believes its environment and options."""
    copy = Path("/run/setuid-helper")
    shutil.copy(bin.parent / "helper/tapnet-bridge-helper", copy)
    try:
        for mode in (0o4755, 0o2755):
            copy.chmod(mode)
            refused(Answer(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy,
                            "--fd=FD", "--br=br0", "--acl-file=/dev/null"]), "not made to be setuid", 2)
    finally:
        copy.unlink()
    assert not taps()


# --- a lab's bridge -------------------------------------------------------------------------------

def test_t08_a_port_of_a_labs_bridge(helper, acl, lab, needs):
    needs("/dev/net/tun")
    made = lab(LAB)
    made.up()
    for rules in (f"allow {made.name}/lan", f"allow {made.name}/*", "allow all"):
        got = ask(helper, f"{made.name}/lan", acl(rules))
        assert (got.status, len(got.fds)) == (0, 1), got.said
        assert not taps()  # not in the host
        got.close()
    for rules in ("allow lan", f"allow {made.name}/other", "allow other-lab/*", f"allow all\ndeny {made.name}/*"):
        refused(ask(helper, f"{made.name}/lan", acl(rules)), "denied by" if "deny" in rules else "no line of")
    refused(ask(helper, f"{made.name}/none", acl("allow all")), "there is none")
    refused(ask(helper, "lan", acl("allow all")), "there is none")


def test_t08_a_lab_without_bridges(helper, acl, lab):
    made = lab("nodes: {a: , b: }\nlinks: [{endpoints: [a, b]}]\n")
    made.up()
    refused(ask(helper, f"{made.name}/lan", acl("allow all")), "it has no bridges")


def test_t08_the_lab_goes_down_with_such_a_tap(helper, acl, lab):
    """Its holder is no process of the lab's: the device goes, and its fd says so."""
    made = lab(LAB)  # no TAP of its own in the switch
    made.up()
    got = ask(helper, f"{made.name}/lan", acl("allow all"))
    name, _ = iff(got.fds[0])
    assert name.startswith("tb")
    begin = time.monotonic()
    made.down()
    assert time.monotonic() - begin < 20
    with pytest.raises(OSError, match="File descriptor in bad state"):
        iff(got.fds[0])
    got.close()


# --- QEMU -----------------------------------------------------------------------------------------

def until_said(process, words, seconds):
    """Reads what a guest says until these words came."""
    said, end = "", time.monotonic() + seconds
    while words not in said:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        part = os.read(process.stdout.fileno(), 65536).decode(errors="replace") if ready else ""
        assert part, f"{'ended' if ready else 'late'}: {said}"
        said += part
    return said


def qemu(image, netdev):
    append = "console=ttyS0 quiet ip=10.9.0.2:::255.255.255.0::eth0:off ping=10.9.0.1"
    return subprocess.Popen(
        ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial",
         "stdio", "-accel", "tcg", "-m", "128M", "-kernel", image / "vmlinuz", "-initrd", image / "initrd.gz",
         "-append", append, "-netdev", netdev, "-device", "virtio-net-pci,netdev=n0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def helped(helper, rules):
    """A value for helper=: with a space in it QEMU runs it by sh -c."""
    return f"{helper} {rules}".replace(",", ",,")


@pytest.mark.parametrize("backend", ["tap,id=n0,helper=", "bridge,id=n0,br=br0,helper="], ids=["tap", "bridge"])
def test_t08_qemu_on_the_hosts_bridge(bin, acl, br0, guest_image, backend):
    """br0 is what QEMU itself asks for when nobody says."""
    helper = bin.parent / "helper/tapnet-bridge-helper"
    with qemu(guest_image, backend + helped(helper, acl("allow br0\n"))) as guest:
        try:
            until_said(guest, "all pings ok", 120)
            link, = taps()
            assert link["master"] == "br0" and link["ifname"].startswith("tb")
            assert int(Path(f"/sys/class/net/{link['ifname']}/tun_flags").read_text(), 16) & IFF_VNET_HDR
        finally:
            guest.kill()


@pytest.mark.parametrize("backend", ["tap,id=n0,helper={}", "bridge,id=n0,br={lab}/lan,helper={}"],
                         ids=["tap", "bridge"])
def test_t08_qemu_on_a_labs_bridge(bin, acl, lab, guest_image, backend):
    made = lab(LAB)
    made.up()
    helper = helped(bin.parent / "helper/tapnet-bridge-helper", acl(f"allow {made.name}/lan\n"))
    if backend.startswith("tap"):  # has no br= of its own: it is the helper's option
        helper += f" --br={made.name}/lan"
    with qemu(guest_image, backend.format(helper, lab=made.name)) as guest:
        try:
            until_said(guest, "all pings ok", 120)
            made.exec("h", "ping", "-c", "1", "-W", "5", "10.9.0.2")
            assert not taps()
        finally:
            guest.kill()


def test_t08_qemu_hears_of_a_denial(bin, acl, br0, guest_image):
    helper = bin.parent / "helper/tapnet-bridge-helper"
    with qemu(guest_image, "bridge,id=n0,br=br0,helper=" + helped(helper, acl("deny br0\n"))) as guest:
        said = guest.stdout.read().decode()
        assert guest.wait(30) == 1
    assert "denied by" in said and "bridge helper failed" in said
    assert not taps()
