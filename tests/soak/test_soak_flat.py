# test_soak_flat.py - a lab goes up and comes down again and again, and one that stays up is asked and
# asked: the memory and the fds of our processes, and the kernel's slabs, are at the end what they
# were after a few rounds.
#
# Slabs are the whole machine's: others allocate meanwhile, and the kernel frees late. So the lowest of
# several looks counts, and who seems to grow is measured again, three times in all: a leak grows
# each time.
import json
import subprocess
import time
from pathlib import Path

import pytest

import faultlab
import soaklab
from soaklab import Figures, Watch

WARM_UP = 8
TRIES = 3
PER_ROUND = 24 << 10  # bytes of slabs: a namespace has ten times as much, a link a third of it
SLACK = 512 << 10  # bytes of slabs that come and go
MEMORY = 256  # kB that our processes may differ by
hostbr = pytest.fixture(faultlab.host_bridge)


def slabs():
    """Bytes of all that is allocated in slabs, and of what cannot be reclaimed as a cross-check."""
    total = 0
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        name, active, _, size, *_ = line.split()
        if not name.startswith(FREED_ON_DEMAND):
            total += int(active) * int(size)
    return total


# What the kernel keeps of files and processes until it wants the memory.
FREED_ON_DEMAND = ("dentry", "inode_cache", "proc_inode_cache", "shmem_inode_cache", "ext4", "btrfs",
                   "radix_tree_node", "buffer_head", "kernfs", "sock_inode_cache", "filp",
                   "overlay", "ovl", "xfs", "nfs", "vm_area", "anon_vma", "maple", "task", "signal",
                   "sighand", "cred", "pid", "files", "mm_struct", "fs_cache", "kmalloc-rcl", "lsm",
                   "names_cache", "skbuff", "bio", "jbd2", "virtio", "blkdev", "dax", "isofs",
                   "squashfs", "fuse", "page", "delayed", "extent", "xarray")


def lowest(what, seconds, enough=0):
    """Of several looks; the first that is low enough will do."""
    until, least = time.monotonic() + seconds, what()
    while least > enough and time.monotonic() < until:
        time.sleep(0.05)
        least = min(least, what())
    return least


def process(pid):
    """(fds, kB that are its own)"""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(line.split()[1]) for line in rollup.splitlines()
                  if line.startswith("Private_"))
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), private


def ours(made):
    return [process(soaklab.of_lab(made, name)) for name in ("tapnet-guard", "tapnet-work")]


def differ(before, after):
    """Of (fds, memory) of guardian and worker."""
    for name, (fds, kb), (fds2, kb2) in zip(("guardian", "worker"), before, after):
        if fds2 != fds:
            yield f"{name}: {fds} fds became {fds2}"
        if kb2 > kb + MEMORY:
            yield f"{name}: {kb} kB became {kb2} kB"


def one_round(made, figures, plant=None):
    begin = time.monotonic()
    made.up()
    had = ours(made)
    if plant:
        plant()
    made.down()
    figures.took(time.monotonic() - begin)
    soaklab.reap()
    return had


def grown(made, figures, rounds, plant=None):
    """After so many rounds: what grew, if anything."""
    for _ in range(WARM_UP):
        first = one_round(made, figures)
    before = lowest(slabs, 0.5)
    turns, last = 0, first
    for _ in rounds:
        last = one_round(made, figures, plant)
        turns += 1
    allowed = before + SLACK + PER_ROUND * turns
    after = lowest(slabs, 2, allowed)
    figures.more["slab_bytes_a_round"] = round((after - before) / max(turns, 1))
    found = list(differ(first, last))
    if after > allowed:
        found.append(f"slabs: {before >> 10} kB became {after >> 10} kB in {turns} rounds")
    return found


def test_up_and_down(lab, bin, hostbr, snapshot):
    made = soaklab.tiny(lab, bin)
    watch, figures = Watch(snapshot), Figures("up and down, all flat")
    found = grown(made, figures, soaklab.runs(figures, 50, 10000, 2))
    for _ in range(TRIES - 1):
        if not found:
            break
        found = grown(made, figures, range(50))
    figures.leak("flat", found + watch.left(full=True))
    figures.judge()


def asked(made):
    """What users ask of a lab at rest."""
    made.exec("r1", "true")
    json.loads(made.verb("status", "--format", "json").stdout)
    made.verb("restart", "g1")
    made.verb("logs", "g1")


def test_at_rest(lab, bin, hostbr, snapshot):
    made = soaklab.tiny(lab, bin)
    watch, figures = Watch(snapshot), Figures("a lab at rest, asked")
    made.up()
    for _ in range(WARM_UP):
        asked(made)
    before = ours(made)
    for _ in soaklab.runs(figures, 30, 5000, 2):
        begin = time.monotonic()
        asked(made)
        figures.took(time.monotonic() - begin)
    figures.leak("flat", list(differ(before, ours(made))))
    made.down()
    figures.leak("end", watch.left(full=True))
    figures.judge()


def test_planted(lab, bin, hostbr):
    """A namespace that is left each time is seen in the slabs, an fd and memory in a process."""
    made, figures, held = soaklab.tiny(lab, bin), Figures("planted"), []

    def hold():
        held.append(subprocess.Popen(["unshare", "-n", "sleep", "100"]))
    try:
        found = grown(made, figures, range(30), hold)
    finally:
        for one in held:
            one.kill()
            one.wait()
    assert [x for x in found if x.startswith("slabs")], figures.more
    assert list(differ([(9, 100), (20, 500)], [(9, 100), (21, 500)]))
    assert list(differ([(9, 100), (20, 500)], [(9, 100), (20, 501 + MEMORY)]))
    assert not list(differ([(9, 100), (20, 500)], [(9, 101), (20, 501)]))
