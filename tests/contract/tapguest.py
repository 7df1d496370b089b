#!/usr/bin/python3
# tapguest.py - a guest for tests: says what each of its queues is, as one line of JSON, then counts
# the frames that come on each, and says the counts whenever nothing comes and they are others.
#   tapguest.py FD:FD:…
import json
import os
import select
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "fault")]
import taplab  # noqa: E402

fds = [int(fd) for fd in sys.argv[1].split(":")]
print("STATE " + json.dumps([taplab.state(fd) for fd in fds]), flush=True)
counts, told = dict.fromkeys(fds, 0), None
poll = select.epoll()
for fd in fds:
    os.set_blocking(fd, False)
    poll.register(fd, select.EPOLLIN)
print("READY", flush=True)
while True:
    ready = poll.poll(0.05)
    for fd, _ in ready:
        counts[fd] += b"COUNT-ME" in os.read(fd, 70000)
    if not ready and told != (told := list(counts.values())):
        print("COUNTS " + json.dumps(told), flush=True)
