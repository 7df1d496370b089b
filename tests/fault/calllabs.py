# calllabs.py - five labs that differ, for calls that fail: together they have all that a lab can have.
#
# A maker (lab, binary, fds) gives a lab that is not up, and what else is done with it while it is: verbs.
import helperlab
import trial
from conftest import TOP
from faultlab import script

HOOKS = "hooks: {up: ./hook, down: ./hook}"
READY = "echo READY; exec sleep 1000"

SERVICES = f"""\
vars: {{wait: 20ms}}
defaults: {{node: {{env: {{LANG: C, "WHO": "${{node.name}}"}}}}}}
groups:
  served:
    exec: ["true", "test -n \\"$WHO\\"", [ip, link, show, lo]]
    services:
      first: {{command: [sleep, "1000"], ready: {{after: "${{wait}}"}}, restart: on-failure}}
      second: {{command: "sleep 0.1; exit 1", wait-for: first, restart: on-failure}}
      third: {{command: "echo it serves; exec sleep 1000", user: nobody, env: {{MORE: words}},
              ready: {{console: serves, timeout: 8s}}, wait-for: first}}
nodes:
  s${{i}}: {{for: {{i: 1-2}}, group: served, interfaces: {{eth0: lan}}, {HOOKS}}}
  asked:
    interfaces: {{eth0: lan}}
    services:
      port: {{command: [python3, -S, -c, "import socket, time; s = socket.create_server(('', 80)); time.sleep(1000)"],
             ready: {{tcp: 80, timeout: 8s}}}}
    wait-for: s1
    {HOOKS}
bridges: {{lan: {{subnet: 10.1.0.0/24}}}}
{HOOKS}
"""

TAPS = f"""\
bridges: {{lan: 10.2.0.0/24}}
nodes:
  h: {{interfaces: {{eth1: lan}}}}
  g1:
    kind: guest
    command: "{READY}"
    ready: {{console: READY, timeout: 8s}}
    interfaces:
      eth0: {{tap: {{queues: 4, vnet-hdr: on, vnet-hdr-len: 12, endian: little, sndbuf: 64K, steering: hash,
                   enabled-queues: 3, offload: [csum, tso4], txqueuelen: 200}}, {HOOKS}}}
      eth1: {{bridge: lan, tap: {{queues: 2, steering: queue 1, owner: nobody}}}}
      eth2: {{tap: {{fds: FDS, adopt-hooks: true}}, hooks: {{up: {{command: ./hook, fds: all}}, down: ./hook}}}}
  g2:
    kind: guest
    netns: switch
    command: "{READY}"
    ready: {{console: READY, timeout: 8s}}
    restart: on-failure
    interfaces:
      eth0: {{tap: {{helper: {{command: [./fake, good]}}}}}}
      eth1: {{bridge: lan, tap: {{carrier: off}}}}
links: [{{endpoints: [h:eth0, g1:eth0], subnet: 10.0.0.0/24}}]
"""

WIRES = f"""\
defaults: {{link: {{mtu: 1400}}}}
pools: {{ipv4: 10.3.0.0/16, ipv6: "fd00:3::/48"}}
bridges:
  a: {{ageing: 20s}}
  b: {{mcast-snooping: false}}
  c: {{subnet: none}}
  d: {{subnet: none}}
  office: {{host: hostbr, subnet: none}}
nodes:
  r1:
    forward: true
    interfaces: {{lo: {{ipv4: 10.255.0.1/32}}, eth0: a, eth1: office, eth2: {{bridge: c, mac: "02:00:00:00:00:01"}}}}
    routes: [10.255.0.2/32 via r2, {{to: 10.99.0.0/16, via: r2, metric: 20}}]
  r2: {{forward: true, interfaces: {{lo: {{ipv4: 10.255.0.2/32}}, eth0: a, eth1: b, eth2: office}}}}
  p${{i}}: {{for: {{i: 1-3}}, interfaces: {{eth0: b}}, routes: default via r2, {HOOKS}}}
  g:
    kind: guest
    command: [sleep, "1000"]
    interfaces: {{eth0: b, eth1: {{bridge: office, {HOOKS}}}}}
links:
  - [a, d]
  - {{endpoints: [d, c], mtu: 1300}}
  - [r1, r2]
  - for: {{n: 7-8}}
    endpoints: ["r1:eth${{n}}", "r2:eth${{n}}"]
  - [r1, p1, p2]
  - [p3, g]
  - {{endpoints: [c, p3]}}
"""


def plain(text, verbs):
    def make(lab, binary, fds):
        made = trial.apart(lab)(text.replace("FDS", str(list(fds))), binary)
        script(made.file.parent / "hook", trial.HOOK)
        script(made.file.parent / "fake", helperlab.FAKE)
        return made, verbs
    return make


def quickstart(lab, binary, fds):
    """The one that README.md begins with; no wait of its own is as long as one that is too long."""
    text = (TOP / "labs/quickstart.yaml").read_text()
    for old, new in (("../hooks/tap-up", "./hook"), ("../hooks/tap-down", "./hook"), ("timeout: 10s", "timeout: 8s"),
                     ("- tapnet-guest", f"- {TOP}/build/orchestrator/guest/tapnet-guest")):
        assert old in text, old
        text = text.replace(old, new)
    return plain(text, [["exec", "pc1", "--", "true"], ["status"]])(lab, binary, fds)


LABS = {
    "every-kind": lambda lab, binary, fds: (trial.full(lab, binary)[0], []),
    "quickstart": quickstart,
    "services": plain(SERVICES, [["exec", "--all", "--", "true"], ["restart", "s1.first"], ["logs"]]),
    "taps": plain(TAPS, [["status"], ["queue", "disable", "g1:eth0", "0"], ["restart", "g1"]]),
    "wires": plain(WIRES, [["status"], ["list"], ["exec", "r1", "ip", "route"]]),
}
