# test_docs.py - the documents say what the program does.
import importlib.machinery
import importlib.util
import re
import xml.etree.ElementTree

import pytest

from conftest import TOP

DOCUMENTS = ["README.md", "ARCHITECTURE.md"]
PAGES = ["tapnet-lab.1", "tapnet-lab.yaml.5", "tapnet-bridge-helper.8"]


@pytest.fixture(scope="module", name="generate")
def generate_():
    loader = importlib.machinery.SourceFileLoader("generate", str(TOP / "man/generate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate", loader))
    loader.exec_module(module)
    return module


def text(name):
    return (TOP / name).read_text()


def test_pages_are_current(generate, bin):
    for path, page in generate.pages(str(bin)).items():
        assert path.read_text() == page, f"man/generate {bin}"


def test_page_has_every_verb_and_option(bin, run):
    page = text("man/tapnet-lab.1").replace("\\-", "-")
    verbs = re.findall(r"^  ([a-z]+) ", run([bin, "help"]).stdout, re.M)
    assert len(verbs) > 5
    for verb in verbs:
        section = re.search(rf"^\.SS {verb}\b.*?(?=^\.S[SH]|\Z)", page, re.M | re.S)
        assert section, verb
        for option in re.findall(r" (--[a-z-]+)", run([bin, "help", verb]).stdout):
            assert option in section[0], f"{verb} {option}"


@pytest.mark.parametrize("page", PAGES)
def test_page_is_well_formed(page, run, needs):
    needs("groff")
    done = run(["groff", "-Kutf8", "-Tutf8", "-man", "-ww", "-z", TOP / "man" / page])
    assert done.stderr == ""


def test_readme_lab_is_valid(bin, run, tmp_path):
    lab = tmp_path / "lab.yaml"
    lab.write_text(re.search(r"```yaml\n(groups:.*?)```", text("README.md"), re.S)[1])
    assert "fine" in run([bin, "validate", lab]).stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_are_there(document):
    """What stands in backquotes and looks like a path of the repository is one."""
    folders = "labs|hooks|man|schemas|tests|orchestrator|base|model|sys|op|kind|plan|run|cli|guest|helper"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text(document)):
        assert (TOP / path).exists() or (TOP / "orchestrator" / path).exists(), path
    for path in re.findall(r"\]\(([\w./-]+)\)", text(document)):
        assert (TOP / path).exists(), path


def test_readme_names_every_lab_and_hook():
    readme = text("README.md")
    for path in [*TOP.glob("labs/*.yaml"), *TOP.glob("hooks/*")]:
        assert path.name in readme, path


def test_not_yet_is_still_not_yet(bin, run, tmp_path):
    """Keys that the README says are not there say so themselves."""
    said = text("README.md").split("## Not there yet")[1]
    lab = tmp_path / "lab.yaml"
    for body, key in [("seed: 1", "seed"), ("tests: {t: {ping: all}}", "tests"),
                      ("nodes: {a: {limits: {pids: 5}}}", "limits"), ("nodes: {a: {private: /x}}", "private"),
                      ("nodes: {a: {files: {/x: y}}}", "files"), ("bridges: {b: {uplink: nat}}", "uplink"),
                      ("bridges: {b: {dhcp: on}}", "dhcp"),
                      ("nodes: {a: {interfaces: {eth0: {impair: {delay: 1ms}}}}}", "impair")]:
        lab.write_text(body + "\n")
        assert f"`{key}`" in said
        error = run([bin, "validate", lab], status=2).stderr
        assert "not yet supported" in error and key in error


def test_exit_statuses_are_the_same_everywhere():
    readme = set(re.findall(r"^\| (\d) \|", text("README.md"), re.M))
    page = set(re.findall(r"^\.B (\d)$", text("man/tapnet-lab.1"), re.M))
    header = set(re.findall(r"EXIT_\w+\s*=\s*(\d)\b", text("orchestrator/base/err.h")))
    assert readme == page and header <= page


def test_picture():
    picture = xml.etree.ElementTree.parse(TOP / "labs/quickstart.svg").getroot()
    words = "".join(picture.itertext())
    for word in ("pc1", "r1", "web", "lan", "10.0.1.2", "10.0.2.2"):
        assert word in words
    shown = re.findall(r"^!\[.+\]\((.+)\)$", text("README.md"), re.M)
    assert len(shown) == 2
    for path in shown:
        assert xml.etree.ElementTree.parse(TOP / path).getroot().tag.endswith("svg")
