# test_soak_fuzz.py - libFuzzer's targets, some at once, each from its kept corpus (tests/fuzz/corpus), for
# 30 s in a test run, with sanitizers; and then, in the build that users run, how long each input of the corpora, each new one
# and each malformed lab takes to be judged.
import os
import re
import shutil
import subprocess
import time

import pytest

import soaklab
from conftest import TOP
from soaklab import Figures

TARGETS = ("lab", "journal", "control", "netlink", "scm", "preset", "acl")
FUZZERS, JUDGES = TOP / "build/fuzz/tests/fuzz", TOP / "build/tests/fuzz"
CORPUS = TOP / "tests/fuzz/corpus"
CI_SECONDS = 30  # of each
AT_ONCE = 4
LEAST = 100  # inputs of each: with fewer it did not get to anything new
MORE = {"lab": [TOP / "tests/data/malformed", TOP / "tests/data/labs", TOP / "labs"],
        "preset": [TOP / "presets"]}


@pytest.fixture(autouse=True)
def built():
    if not (FUZZERS / "fuzz_lab").exists() or not (JUDGES / "judge_lab").exists():
        pytest.skip("needs the fuzz targets: ./dev soak fuzz")


def fuzz(name, folder, *options, plant=""):
    """A target under way; what it says is in folder/NAME.log, and what it found beside it."""
    new = folder / name
    new.mkdir(exist_ok=True)
    with open(folder / f"{name}.log", "wb") as log:
        return subprocess.Popen(
            ["nice", FUZZERS / f"fuzz_{name}", f"-seed={soaklab.SEED}", "-max_len=65536", "-timeout=60",
             "-print_final_stats=1", f"-artifact_prefix={folder}/{name}.", *options, new, CORPUS / name],
            stdout=log, stderr=log, env={**os.environ, "TAPNET_PLANT": plant, "ASAN_OPTIONS": "",
                                         "UBSAN_OPTIONS": "print_stacktrace=1"})


def judge(name, *folders, plant=""):
    return subprocess.run([JUDGES / f"judge_{name}", *folders], capture_output=True, text=True,
                          errors="replace", timeout=600, check=False,
                          env={**os.environ, "TAPNET_PLANT": plant})


def found(name, folder, log):
    """What a target that failed says, and where its input is kept."""
    keep = TOP / "build/found"
    kept = []
    for path in folder.glob(f"{name}.*-*"):
        keep.mkdir(exist_ok=True)
        kept.append(str(shutil.copy(path, keep)))
    lines = [line for line in log.splitlines() if "ERROR" in line or re.match(r"\s+#\d+ ", line)
             or "SUMMARY" in line]
    return "\n".join([f"{name}: {' '.join(kept)}", *lines[:12]])


def fuzz_some(names, folder, seconds, figures):
    running = {name: fuzz(name, folder, f"-max_total_time={seconds}") for name in names}
    until = time.monotonic() + seconds + 120
    for name, process in running.items():
        status = soaklab.wait_end(process, until - time.monotonic())
        if status is None:
            process.kill()
            process.wait()
        log = (folder / f"{name}.log").read_text(errors="replace")
        if status != 0:
            figures.reports.append(found(name, folder, log))
        inputs = sum(map(int, re.findall(r"executed_units:\s+(\d+)", log)))
        if status == 0 and inputs < LEAST:
            figures.wrong.append(f"{name}: only {inputs} inputs in {seconds} s")
        figures.runs += inputs


def test_fuzz(tmp_path):
    turns = [TARGETS[i:i + AT_ONCE] for i in range(0, len(TARGETS), AT_ONCE)]
    seconds = int(min(soaklab.SECONDS / len(turns), 3600)) or CI_SECONDS
    figures = Figures("libFuzzer, seven targets")
    for names in turns:
        fuzz_some(names, tmp_path, seconds, figures)
    slowest = 0.0
    for name in TARGETS:
        done = judge(name, tmp_path / name, CORPUS / name, *MORE.get(name, []))
        if done.returncode:
            figures.wrong.append(f"{name}: {done.stdout}{done.stderr}")
        slowest = max([slowest, *map(float, re.findall(r"slowest in ([\d.]+) ms", done.stdout))])
    figures.more = {"slowest_input_ms": slowest, "targets": len(TARGETS)}
    figures.judge()


def test_planted(tmp_path):
    """Each target tells a crash and a leak, each judge an input that takes long."""
    for plant, words in (("crash", "deadly signal"), ("leak", "LeakSanitizer")):
        running = {name: fuzz(name, tmp_path, "-runs=20", plant=plant) for name in TARGETS}
        for name, process in running.items():
            status = soaklab.wait_end(process, 120)
            log = (tmp_path / f"{name}.log").read_text(errors="replace")
            assert status not in (0, None) and words in log, f"{name}: {plant}: {status}: {log}"
    for name in TARGETS:
        folder = tmp_path / f"slow/{name}"
        folder.mkdir(parents=True)
        (folder / "one").write_text("x")
        done = judge(name, folder, plant="slow")
        assert done.returncode == 1 and "judged in" in done.stdout, done
