# mininet_star.py - Mininet's star of N hosts: says "up MS", reads a line, takes it down, says "down MS".
import resource
import sys
import time

sys.path.insert(0, "/usr/lib/python3/dist-packages")
# pylint: disable=wrong-import-position,import-error
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo


def main(n):
    Mininet.inited = True  # else it changes settings of the host, for larger networks than these
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    setLogLevel("error")
    begin = time.monotonic()
    net = Mininet(topo=SingleSwitchTopo(n), switch=LinuxBridge, controller=None)
    net.start()
    print("up", (time.monotonic() - begin) * 1e3, flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    net.stop()
    print("down", (time.monotonic() - begin) * 1e3, flush=True)


main(int(sys.argv[1]))
