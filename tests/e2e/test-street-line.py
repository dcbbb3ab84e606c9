#!/usr/bin/env python3
"""Homes with a bad line between them: another network namespace behind a cable with latency and loss, which is then cut. Needs the rights to make one."""
import json
import os
import shutil
import subprocess

from e2e import Skip, free_port, need_hub, run_tests, test, wait_for
from homes import Home


class Line:
    """A namespace of its own behind a pair of interfaces; near and far are its two addresses."""

    def __init__(self):
        if os.geteuid() != 0 or not all(shutil.which(p, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") for p in ("ip", "tc", "unshare", "nsenter")):
            raise Skip("namespaces need root, ip and tc")
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "3600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        net = f"10.213.{os.getpid() % 250}"
        self.near, self.far, self.device = net + ".1", net + ".2", f"hth{os.getpid() % 100000}"
        self.inside = ["nsenter", "-t", str(self.holder.pid), "-n"]
        try:
            wait_for("the namespace", 10, lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"), 0.01)
            self.do("ip", "link", "add", self.device, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
            self.do("ip", "addr", "add", self.near + "/24", "dev", self.device)
            self.do("ip", "link", "set", self.device, "up")
            for args in (("ip", "addr", "add", self.far + "/24", "dev", "eth0"), ("ip", "link", "set", "eth0", "up"), ("ip", "link", "set", "lo", "up")):
                self.do(*self.inside, *args)
        except (OSError, subprocess.CalledProcessError, AssertionError) as e:
            self.close()
            raise Skip(f"no namespace can be made here: {e}")

    def do(self, *args):
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))

    def weather(self, *netem):
        """False: this kernel has no netem."""
        try:
            self.do("tc", "qdisc", "replace", "dev", self.device, "root", "netem", *netem)
            return True
        except subprocess.CalledProcessError as e:
            print("# no netem here, so no latency and no loss: " + e.stderr.decode().strip())
            return False

    def cut(self, cut):
        self.do("ip", "link", "set", self.device, "down" if cut else "up")

    def close(self):
        self.holder.kill()  # and with it the namespace and both ends
        self.holder.wait()


@test
def a_line_with_bad_weather_where_that_can_be_had_and_cut_for_a_while():
    need_hub()
    line = Line()
    homes = []
    try:
        slow = line.weather("delay", "60ms", "5ms", "loss", "2%")
        ann, ben = homes = [Home("ann"), Home("ben", prefix=line.inside)]
        ann.start()
        ben.start()
        ann.pool("create", "Elm Street", "--listen", f"{line.near}:{free_port()}")
        out = ben.pool("join", ann.pool("invite"))
        assert "2 homes" in out, out
        wait_for("ann sees ben", 60, lambda: ann.sees("ben"), 0.1)
        rtt = wait_for("a round trip", 60, lambda: ann.member("ben")["rtt_ms"], 0.1)
        print(f"# round trip {rtt:.1f} ms")
        assert rtt >= 50 or not slow
        line.cut(True)
        wait_for("ann misses ben", 90, lambda: not ann.member("ben")["online"], 0.1)
        line.cut(False)
        wait_for("ben is back by itself", 120, lambda: ann.sees("ben"), 0.1)
        members = json.loads(ben.pool("status", "--json"))["members"]
        assert all(m["online"] for m in members) or wait_for("ben sees ann", 60, lambda: all(m["online"] for m in json.loads(ben.pool("status", "--json"))["members"]), 0.5)
        for h in (ben, ann):
            h.stop()
    finally:
        for h in homes:
            h.remove()
        line.close()


run_tests()
