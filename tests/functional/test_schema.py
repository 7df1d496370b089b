# test_schema.py - the JSON Schema: as the program writes it, and true to real labs.
import json
from pathlib import Path

import pytest

jsonschema = pytest.importorskip("jsonschema")
yaml = pytest.importorskip("yaml")

TOP = Path(__file__).resolve().parents[2]
SCHEMA = TOP / "schemas/lab.schema.json"
LABS = [TOP / "tests/data/reference.yaml", *sorted((TOP / "tests/data/labs").glob("*.yaml")),
        *sorted((TOP / "labs").glob("*.yaml"))]


class Words(yaml.SafeLoader):
    """An editor of YAML 1.2: on and yes are words, 12:34:56:… is no number."""


Words.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag in
            ("tag:yaml.org,2002:null",) or (tag.endswith(":bool") and first in "tTfF")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_committed_schema_is_the_programs(run, bin):
    assert run([bin, "schema"]).stdout == SCHEMA.read_text(), \
        "tapnet-lab schema > schemas/lab.schema.json"


@pytest.mark.parametrize("loader", [yaml.SafeLoader, Words, yaml.BaseLoader], ids=lambda l: l.__name__)
@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_labs_are_valid(validator, path, loader):
    errors = list(validator.iter_errors(yaml.load(path.read_text(), loader)))
    assert not errors


@pytest.mark.parametrize("text", [
    "bridg: {}",
    "nodes: {h1: {foward: true}}",
    "nodes: {h1: {forward: maybe}}",
    "nodes: {h1: {interfaces: {eth0: {mtu: 12}}}}",
    "nodes: {h1: {interfaces: {eth0: {mac: 02:00}}}}",
    "nodes: {h1: {interfaces: {eth0: {tap: {queues: 257}}}}}",
    "nodes: {h1: {restart: always}}",
    "nodes: {h1: {hooks: {up: {timeout: soon, command: date}}}}",
    "nodes: {'h 1': {}}",
    "nodes: {h1: {kind: qemu, disk: {file: a.img, kept: true}}}",
    "nodes: [h1]",
    "links: {a: b}",
])
def test_wrong_labs_are_not(validator, text):
    assert list(validator.iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize("text", [
    "nodes: {'h${i}': {for: {i: 1-3}, forward: '${f}', interfaces: {eth0: {mtu: '${m}', mac: '${x}'}}}}",
    "nodes: {h1: {forward: on}, h2: {forward: 'off'}, h3: , h4: {routes: default via h1}}",
    "nodes: {h1: {kind: qemu, cpus: '4', memory: 512M, interfaces: {eth0: {tap: {queues: '4', vnet-hdr: off}}}}}",
    "nodes: {v1: {kind: mine, disk: images/a.img}, v2: {kind: crosvm, disk: {file: a.img, keep: on}}}",
    "links: [[a, b], {endpoints: [a, b], ipv4: [10.0.0.1/30, null]}]",
    "nodes: {h1: {hooks: {up: date, down: [date, -u]}, exec: [date, [date, -u]], wait-for: h2}}",
])
def test_right_labs_are(validator, text):
    assert not list(validator.iter_errors(yaml.safe_load(text)))
