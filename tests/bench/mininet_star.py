# mininet_star.py - Mininet's star of N hosts: says "up MS", reads a line, takes it down, says "down MS".
import sys
import time

sys.path.insert(0, "/usr/lib/python3/dist-packages")
# pylint: disable=wrong-import-position,import-error
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo


def main(n):
    begin = time.monotonic()
    net = Mininet(topo=SingleSwitchTopo(n), switch=LinuxBridge, controller=None)
    net.start()
    print("up", (time.monotonic() - begin) * 1e3, flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    net.stop()
    print("down", (time.monotonic() - begin) * 1e3, flush=True)


main(int(sys.argv[1]))
