# labs.py - the lab files that the bench makes, one a workload; limit.c makes the same by hand.
from math import sqrt

PORTS = 1000  # of the 1023 that a bridge has; the rest is for wires to other bridges
KINDS = ("star", "chain", "fat", "taps")


def bridges(n, subnet):
    """Enough of them for n ports, in a row."""
    count = -(-n // PORTS)
    text = "bridges:\n" + "".join(f"  lan{i}: {{subnet: {subnet}}}\n" for i in range(count))
    return text, "links:\n" + "".join(f"  - [lan{i}, lan{i + 1}]\n" for i in range(count - 1)) \
        if count > 1 else ""


def star(n):
    """n nodes on one bridge (a thousand each), with an address and a default route."""
    head, links = bridges(n, "10.0.0.0/16")
    text = head + "defaults: {node: {routes: default via 10.0.255.254}}\nnodes:\n"
    for at, first in enumerate(range(1, n + 1, PORTS)):
        text += (f"  n{at}-${{i}}:\n    for: {{i: {first}-{min(n, first + PORTS - 1)}}}\n"
                 f"    interfaces: {{eth0: lan{at}}}\n")
    return text + links


def chain(n):
    """n routers in a row: what is for the first link goes back, all else goes on to the next."""
    text = "defaults: {node: {forward: true}}\nnodes:\n"
    for i in range(n):
        routes = [f"default via r{i + 1 if i + 1 < n else i - 1}"]
        if 1 < i < n - 1:
            routes.append(f"10.0.0.0/30 via r{i - 1}")
        text += f"  r{i}: {{routes: [{', '.join(routes)}]}}\n"
    text += "links:\n"
    for i in range(n - 1):
        net = i * 4
        text += (f"  - {{endpoints: [r{i}:right, r{i + 1}:left], "
                 f"subnet: 10.{net >> 16}.{net >> 8 & 255}.{net & 255}/30}}\n")
    return text


def fat(n):
    """About n links: as many nodes as each has links, one to each bridge; 32 by 32 for 1000."""
    side = round(sqrt(n))
    text = "bridges:\n" + "".join(f"  lan{k}: 10.{k}.0.0/16\n" for k in range(side))
    devices = ", ".join(f"eth{k}: lan{k}" for k in range(side))
    return text + (f"nodes:\n  n${{i}}:\n    for: {{i: 1-{side}}}\n"
                   f"    interfaces: {{{devices}}}\n")


def taps(n, guests=None, queues=4, command="[sleep, infinity]"):
    """n TAPs on one bridge. The tool makes TAPs for guests. One guest that has them all, as in
    limit.c, measures TAPs; one guest a TAP would measure processes, which is measured by itself."""
    head, links = bridges(n, "none")
    each = n // (guests or 1)
    text = head + f"defaults: {{interface: {{tap: {{queues: {queues}}}}}}}\nnodes:\n"
    for g in range(guests or 1):
        devices = "".join(f"      e{i}: lan{i // PORTS}\n" for i in range(g * each, g * each + each))
        text += f"  g{g}:\n    kind: guest\n    command: {command}\n    interfaces:\n{devices}"
    return text + links


def hooks(n, hook=None):
    """A node whose n interfaces have a hook each, or none."""
    what = f"{{bridge: lan, hooks: {{up: {hook}}}}}" if hook else "lan"
    return ("bridges: {lan: {subnet: none}}\nnodes:\n  n:\n    interfaces:\n"
            + "".join(f"      e{i}: {what}\n" for i in range(n)))


def guests(n):
    return taps(n, guests=n, queues=1)
