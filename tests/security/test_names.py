# test_names.py - what others wrote reaches no terminal as it is: names in the file, names in the
# kernel, outputs of programs, arguments.
import os
import subprocess

import faultlab
import pytest

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m"
WRITTEN = r"\e]0;owned\a\e[2J\x9b31m"  # in YAML's double quotes


def clean(*texts):
    """No control character but the newline; C1 ones as they come in UTF-8 neither."""
    for text in texts:
        bad = [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]
        assert not bad, (bad, text)


HOSTILE = [
    'name: "X"\nnodes: {r1: }\n', 'nodes: {"X": }\n', 'nodes: {r1: {interfaces: {"X": {ipv4: none}}}}\n',
    'nodes: {r1: {interfaces: {eth0: "X"}}}\n', 'bridges: {"X": }\nnodes: {r1: }\n', '"X": 1\n',
    'nodes: {r1: {"X": 1}}\n', 'nodes: {r1: {kind: "X"}}\n', 'nodes: {r1: {routes: "X via X"}}\n',
    'nodes: {r1: {sysctls: {"X": 1}}}\n', 'nodes: {r1: {env: {"X": 1}}}\n', 'nodes: {r1: {wait-for: "X"}}\n',
    'nodes: {r1: {services: {"X": date}}}\n', 'nodes: {r1: {services: {s: {command: date, restart: "X"}}}}\n',
    'nodes: {r1: {interfaces: {eth0: {ipv4: "X"}}}}\n', 'nodes: {r1: {interfaces: {eth0: {mac: "X"}}}}\n',
    'nodes: {r1: {exec: "echo ${X}"}}\n', 'nodes: {r1: {hooks: {up: {command: date, timeout: "X"}}}}\n',
    'nodes: {r1: {user: "X"}}\n', 'links: [["X:eth0", "r1:eth0"]]\nnodes: {r1: }\n', 'vars: {"X": 1}\nnodes: {r1: }\n',
    'nodes: {r1: {group: "X"}}\n', '- "X"\n', '"X', "X: [\n", "# X\nnodes: {r1: {\n",
    'nodes: {g1: {kind: guest, command: date, interfaces: {eth0: {bridge: lan, tap: {name: "X"}}}}}\nbridges: {lan: }\n',
    'nodes: {g1: {kind: guest, command: date, interfaces: {eth0: {bridge: lan, tap: {owner: "X", steering: "X"}}}}}\nbridges: {lan: }\n',
    'bridges: {lan: {host: "X"}}\nnodes: {r1: {interfaces: {eth0: lan}}}\n',
    'nodes: {g1: {kind: guest, command: date, netns: "X", interfaces: {eth0: {ipv4: none}}}}\n']


@pytest.mark.parametrize("text", HOSTILE)
def test_the_files_values(run, bin, tmp_path, text):
    """As YAML writes them, and the bytes themselves."""
    file = tmp_path / "lab.yaml"
    for hostile in (WRITTEN, ESCAPES):
        if hostile == WRITTEN and ('"X' not in text or text.endswith('"X')):
            continue
        file.write_bytes(text.replace("X", hostile).encode("utf-8", "surrogateescape"))
        done = run([bin, "validate", file], status=None)
        assert done.returncode in (0, 2), done
        if done.returncode == 2:
            assert "error" in done.stderr
        clean(done.stdout, done.stderr)
        done = run([bin, "plan", file], status=None)
        clean(done.stdout, done.stderr)


def test_arguments(run, bin, lab):
    made = lab("nodes: {r1: }\n")
    made.up()
    for words in (["exec", ESCAPES, "true"], ["shell", ESCAPES], ["console", ESCAPES], ["restart", ESCAPES],
                  ["logs", ESCAPES], ["status", "-l", ESCAPES], ["queue", "enable", ESCAPES + ":eth0", "1"],
                  ["down", ESCAPES], [ESCAPES], ["init", ESCAPES], ["validate", ESCAPES], ["--" + ESCAPES],
                  ["up", "--" + ESCAPES], ["up", "--timeout", ESCAPES], ["up", "--set", ESCAPES],
                  ["up", "-n", ESCAPES], ["up", "--assume", ESCAPES], ["status", "--format", ESCAPES],
                  ["help", ESCAPES]):
        done = run([bin, *words], status=None, env={**os.environ, "TAPNET_LAB": made.name},
                   cwd=made.file.parent)
        assert done.returncode != 0, words
        clean(done.stdout, done.stderr)


def test_a_file_and_folder_with_such_names(run, bin, tmp_path):
    folder = tmp_path / f"a{ESCAPES}b"
    folder.mkdir()
    (folder / "t-lab.yaml").write_text(f"name: t{os.getpid()}-esc\nnodes: {{r1: }}\n")
    (folder / f"x{ESCAPES}.yaml").write_text("nodes: {r1: [}\n")
    clean(run([bin, "validate", folder / f"x{ESCAPES}.yaml"], status=2).stderr)
    try:
        for words in (["up", folder / "t-lab.yaml"], ["list"], ["status", "-l", f"t{os.getpid()}-esc"],
                      ["list", "--format", "json"]):
            done = run([bin, *words])
            clean(done.stdout, done.stderr)
    finally:
        run([bin, "down", f"t{os.getpid()}-esc"])


def test_what_hooks_and_commands_print(lab):
    """On the way up, when they fail, and in the logs on a terminal."""
    printf = r"printf '\033]0;owned\007\033[2Jwords\n'"
    for text in (f"hooks: {{up: \"{printf.replace(chr(92), chr(92) * 2)}; exit 3\"}}\nnodes: {{r1: }}\n",
                 f"nodes: {{r1: {{exec: \"{printf.replace(chr(92), chr(92) * 2)}; exit 3\"}}}}\n",
                 f"nodes: {{r1: {{exec: \"{printf.replace(chr(92), chr(92) * 2)}\"}}}}\n"):
        made = lab(text)
        done = made.up(status=None)
        assert done.returncode == (5 if "exit 3" in text else 0)
        assert "words" in done.stdout + done.stderr
        clean(done.stdout, done.stderr)


def test_names_in_the_kernel(lab, bin):
    """A program of a node renames, adds and describes devices as it likes."""
    made = lab("nodes: {r1: {interfaces: {eth0: lan}, exec: 'true'}}\n"
               "bridges: {lan: }\nlinks: [[r1:eth1, lan]]\n")
    made.up()
    bad = "\x1b[2Jx\x07"
    for words in (["ip", "link", "add", bad, "type", "dummy"], ["ip", "link", "set", "eth1", "alias", bad],
                  ["ip", "link", "property", "add", "dev", "eth1", "altname", bad + "y"],
                  ["ip", "link", "set", "eth0", "down"], ["ip", "link", "set", "eth0", "name", bad + "z"]):
        made.exec("r1", *words, status=None)
    assert bad in made.exec("r1", "ls", "/sys/class/net").stdout
    for options in ([], ["--check"], ["--format", "json"]):
        done = made.verb("status", *options, status=None)
        assert "eth0" in done.stdout
        clean(done.stdout, done.stderr)


def test_names_of_the_host(lab):
    """The host's bridge is not there, but a device of a hostile name is."""
    bad = "\x1b[2Jbr\x07"
    subprocess.run(["ip", "link", "add", bad, "type", "bridge"], check=True)
    try:
        made = lab("bridges: {lan: {host: brx, subnet: none}}\nnodes: {r1: {interfaces: {eth0: lan}}}\n")
        done = made.up(status=None)
        assert done.returncode == 4
        clean(done.stdout, done.stderr)
    finally:
        subprocess.run(["ip", "link", "del", bad], check=True)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "-x", "a b", "x" * 65, "", ".", "a\\nb"])
def test_names_that_would_be_paths(run, bin, tmp_path, name):
    """Labs, nodes and services name files and hosts: letters, digits, dots and dashes."""
    for text in (f'name: "{name}"\nnodes: {{r1: }}\n', f'nodes: {{"{name}": }}\n',
                 f'nodes: {{r1: {{services: {{"{name}": date}}}}}}\n'):
        (tmp_path / "lab.yaml").write_text(text)
        assert run([bin, "validate", tmp_path / "lab.yaml"], status=2).stderr
