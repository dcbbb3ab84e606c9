"""A neighbourhood of real nodes on this machine: a hub (nats-server) at the first home's, the others joined by invitation."""
import contextlib
import os
import shutil
import socket

from e2e import Node, Skip, wait_for


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Street:
    """Use as a context. homes[0] keeps the hub. trust: every home trusts every other one."""

    def __init__(self, n, command, settings=(), trust=False, models=(), env=()):
        if shutil.which("nats-server") is None:
            raise Skip("no nats-server here")
        self.stack = contextlib.ExitStack()
        self.hub = f"127.0.0.1:{free_port()}"
        self.names = [f"home-{chr(97 + i)}" for i in range(n)]
        self.homes = [Node(command, [*settings, "--home-name", name], models=models[i] if i < len(models) else (), env=env) for i, name in enumerate(self.names)]
        self.trust_all = trust

    def __enter__(self):
        try:
            for home in self.homes:
                self.stack.enter_context(home)
            self.change(0, do="create", name="Elm Street", listen=self.hub)
            for i in range(1, len(self.homes)):
                self.join(i)
            self.wait_online()
            if self.trust_all:
                for i in range(len(self.homes)):
                    for k, name in enumerate(self.names):
                        if k != i:
                            self.change(i, do="trust", member=name)
        except BaseException:
            import sys
            self.stack.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *why):
        return self.stack.__exit__(*why)

    def change(self, i, **what):
        answer = self.homes[i].post("/hearth/pool", what, timeout=60)
        assert answer.status == 200, (what, answer.status, answer.body)
        return answer.json

    def join(self, i):
        self.change(i, do="join", line=self.change(0, do="invite")["line"])

    def status(self, i):
        return self.homes[i].get("/hearth/pool").json

    def online(self, i):
        return sorted(m["name"] for m in self.status(i)["members"] if m["online"] and not m["self"])

    def wait_online(self, who=None, seconds=60):
        """Until each of these homes (all) sees all the others of them."""
        who = list(range(len(self.homes))) if who is None else who
        for i in who:
            others = sorted(self.names[k] for k in who if k != i)
            wait_for(f"{self.names[i]} sees {others}", seconds, lambda: set(others) <= set(self.online(i)), step=0.1)

    def egress(self, i, kind):
        import sqlite3
        db = sqlite3.connect(os.path.join(self.homes[i].home, "hearth.db"))
        try:
            return db.execute("SELECT host, reason, sent, received FROM egress WHERE kind = ? ORDER BY id", (kind,)).fetchall()
        finally:
            db.close()
