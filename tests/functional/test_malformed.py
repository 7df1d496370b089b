# test_malformed.py - what is wrong with a lab file is told, all of it, each at its place.
#
# Each file of tests/data/malformed begins with the errors that it must give, and no others:
#   # expect: LINE:COL: error: message      or, without a place,      # expect: error: message
import os
import re
import resource
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
DATA = TOP / "tests/data"
MALFORMED = sorted((DATA / "malformed").glob("*.yaml"))
ENV = {**os.environ, "NO_COLOR": "1"}
ENV.pop("TAPNET_TEST_UNSET", None)


def errors_of(run, bin, path, *options):
    """The errors of `validate`, without the file's name; nothing else may be said but their lines."""
    done = run([bin, "validate", *options, path], status=2, env=ENV)
    assert done.stdout == ""
    errors = [m[1] for m in re.finditer(rf"^{re.escape(str(path))}:? ?((?:\d+:\d+: )?error: .*)$",
                                        done.stderr, re.M)]
    count = f"{path}: {len(errors)} error{'s' if len(errors) != 1 else ''}; nothing was made\n"
    assert done.stderr.endswith(count)
    return errors


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.stem)
def test_malformed(run, bin, path):
    expected = re.findall(rb"^# expect: (.*)$", path.read_bytes(), re.M)
    assert expected, "the file says not what is wrong with it"
    assert errors_of(run, bin, path) == [e.decode() for e in expected]


def test_there_are_enough():
    assert len(MALFORMED) >= 100


@pytest.mark.parametrize("path", [DATA / "reference.yaml", *sorted((DATA / "labs").glob("*.yaml"))],
                         ids=lambda path: path.stem)
def test_only_not_yet(run, bin, path):
    """The whole vocabulary is known: what is not built says so, and nothing else is wrong."""
    for error in errors_of(run, bin, path):
        assert re.search(r'error: "[\w-]+(: \w+)?" is not yet supported( \(in \w+\))?$', error)


@pytest.mark.parametrize("path", sorted((DATA / "labs").glob("*.yaml")), ids=lambda path: path.stem)
def test_built_part_is_valid(run, bin, path, tmp_path):
    """The same labs without the keys that are not built yet."""
    lines = path.read_text().splitlines(keepends=True)
    for error in errors_of(run, bin, path):
        line, key = re.match(r'(\d+):\d+: error: "([\w-]+)', error).groups()
        lines[int(line) - 1] = without_key(lines[int(line) - 1], key)
    if "tests:" in "".join(lines):
        lines = lines[:next(i for i, line in enumerate(lines) if line.startswith("tests:"))]
    lab = tmp_path / path.name
    lab.write_text("".join(lines))
    if not re.search("uplink", path.read_text()):  # others hang on these
        run([bin, "validate", lab])


def without_key(line, key):
    """A flow mapping's pair, or a whole line, less."""
    value = r"(\{[^{}]*\}|\[[^\[\]]*\]|[^,{}\[\]]*)"
    flow = re.sub(rf"(?<=[{{ ,]){key}: *{value}(, *)?", "", line, count=1)
    if re.match(rf"\s*{key}:", line) and not line.startswith("tests:"):
        return "\n"
    return line if line.startswith("tests:") else re.sub(r", *\}", "}", flow)


def test_missing_file(run, bin, tmp_path):
    done = run([bin, "validate", tmp_path / "none.yaml"], status=2)
    assert "none.yaml: No such file or directory" in done.stderr


def test_empty_and_too_large(run, bin, tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text("")
    assert errors_of(run, bin, path) == ["1:1: error: the file is empty"]
    path.write_text("nodes: {h1: }\n" + "# filler\n" * 130000)
    assert errors_of(run, bin, path) == ["error: the file is larger than 1 MiB"]


def test_options(run, bin, tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text('vars: {delay: 1}\nnodes: {h1: {env: {A: "${delay}"}}}\n')
    assert errors_of(run, bin, path, "--set", "dely=5") == [
        'error: --set dely=5: the file\'s vars have no "dely" (did you mean "delay"?)']
    assert errors_of(run, bin, path, "--set", "delay") == ["error: --set delay: write --set VAR=VALUE"]
    assert errors_of(run, bin, path, "--name", "Job #7") == [
        'error: --name "Job #7" cannot name a lab (job-7 can)']
    run([bin, "validate", "--set", "delay=5", "--name", "job-7", path])


# What makes a parser slow: nesting, repetition, multiplication. Each of 64 KiB at most.
SLOW = {
    "brackets": "a: " + "[" * 65000,
    "braces": "a: " + "{" * 65000,
    "dashes": "a:\n  " + "- " * 32000,
    "questions": "? " * 32000,
    "aliases": "a: [" + "*a," * 21000 + "]",
    "keys": "nodes: {" + "a: ," * 16000 + "}",
    "doubling": "vars: {v0: xxxxxxxx, " + ", ".join(f'v{i + 1}: "${{v{i}}}${{v{i}}}"' for i in range(60)) + "}\n",
    "for": "nodes:\n  h${i}: {for: {i: 1-25000}, interfaces: {lo: , eth0: lan}}\n",
    "for-text": 'nodes:\n  h${i}: {for: {i: 1-25000}, exec: "' + "x" * 60000 + ' ${i}"}\n',
    "for-env": "nodes:\n  h${i}: {for: {i: 1-25000}, env: {"
               + ", ".join(f'A{i}: "${{i}}"' for i in range(3500)) + "}}\n",
    "late": 'nodes:\n  h${i}: {for: {i: 1-25000}, interfaces: {lo: }, exec: "' + "${lo.mac}" * 6000 + '"}\n',
    "ends": "nodes: {a: }\nlinks: [[" + "a," * 31000 + "]]\n",
    "unknown": "links: [" + ", ".join(f"[x{i}, y]" for i in range(4000)) + "]\n",
    "waits": "nodes: {" + ", ".join(f"n{i}: {{wait-for: n{i}}}" for i in range(2500)) + "}\n",
    "vlans": "defaults: {link: {trunk: 1-4094}}\nbridges: {" + ", ".join(f"b{i}: " for i in range(1500))
             + "}\nnodes:\n  h${i}: {for: {i: 1-4094}, interfaces: {eth0: {bridge: b0, vlan: '${i}'}}}\nlinks:\n"
             + "".join(f"- [b{i}, b{i + 1}]\n" for i in range(1499)) + "oops: 1\n",
    "trunks": "bridges: {b: }\nnodes:\n  h${i}: {for: {i: 1-25000}, interfaces: {eth0: {bridge: b, trunk: ["
              + ", ".join(map(str, range(1, 4094, 2))) + "]}}}\n",
    "sub-interfaces": "nodes:\n  h:\n    interfaces:\n" + "".join(
        f"      e{i}: {{parent: e, vlan: {i % 4094 + 1}}}\n" for i in range(1700)),
    "commands": "nodes:\n  h${i}: {for: {i: 1-24000}, exec: [" + "a, " * 12000 + "]}\n",
    "links": "nodes:\n  h${i}: {for: {i: 1-160}}\nlinks:\n"
             "- {for: {i: 1-155, j: 1-155}, endpoints: ['h${i}', 'h${j}']}\n",
    "interfaces": "bridges: {" + ", ".join(f"b{i}: 10.{i}.0.0/16" for i in range(64))
                  + "}\nnodes:\n  h${i}: {for: {i: 1-1023}, interfaces: {"
                  + ", ".join(f"e{i}: b{i}" for i in range(64)) + "}}\n",
    "unquoted": "a: [" + "${" * 32000,
}


@pytest.mark.parametrize("name", SLOW)
def test_slow(run, bin, tmp_path, name):
    """An error or not: it is known soon. (100 ms, measured where nothing else runs.)"""
    path = tmp_path / "lab.yaml"
    path.write_text(SLOW[name][:65536])
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = run([bin, "validate", path], status=2, timeout=20)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 2
    assert done.stderr.endswith("nothing was made\n")


def test_large(run, bin, tmp_path):
    """Ten thousand nodes, each of its own line, are read within the program's start."""
    path = tmp_path / "large.yaml"
    path.write_text("nodes:\n" + "".join(f"  r{i}: {{forward: true}}\n" for i in range(10000))
                    + "links:\n" + "".join(f"  - [r{i}, r{i + 1}]\n" for i in range(9999))
                    + "oops: 1\n")
    assert errors_of(run, bin, path) == ['20002:1: error: unknown key "oops" (did you mean "pools"?)']
