"""Homes of one street for the end-to-end tests: real nodes, a real nats-server, the starter model."""
import atexit
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import tempfile

from e2e import HEARTH, SOURCE, Node, free_port, need_hub, wait_for

EMPTY = tempfile.mkdtemp(prefix="hearth-e2e-empty-")
atexit.register(os.rmdir, EMPTY)
with open(os.path.join(SOURCE, "models", "starter.gguf"), "rb") as f:
    STARTER = hashlib.sha256(f.read()).hexdigest()
SLOW = {"HEARTH_TEST_STEP_MS": "40"}  # answers last as long as those of large models do


class Street:
    """homes: (name, options) with options model=False for a home without one, slow=True, and settings. The first keeps the hub."""

    def __init__(self, *homes):
        need_hub()
        self.nodes, self.names = {}, []
        self.hub = f"127.0.0.1:{free_port()}"
        try:
            for name, options in homes:
                self._start(name, **options)
            first = self.names[0]
            self.pool(first, {"do": "create", "name": "Elm Street", "listen": self.hub})
            for name in self.names[1:]:
                line = self.pool(first, {"do": "invite"})["line"]
                self.pool(name, {"do": "join", "line": line})
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise

    def _start(self, name, model=True, slow=False, settings=(), env=(), conf=None, speed=None, program=HEARTH):
        all_env = dict(env)
        if not model:
            all_env["HEARTH_BUILTIN_MODELS"] = EMPTY
        if slow:
            all_env.update(SLOW)
        self.names.append(name)
        # What a home that is a hundred times slower than its neighbours has measured of itself.
        files = [("speeds", f"{STARTER} 5.0 {speed}\n")] if speed else []
        node = Node([program, "serve"], settings=("--home-name", name, *settings), env=all_env, conf=conf, files=files)
        self.nodes[name] = node

    def __getitem__(self, name):
        return self.nodes[name]

    def pool(self, name, body):
        answer = self.nodes[name].post("/hearth/pool", body)
        assert answer.status == 200, answer.body
        return answer.json

    def status(self, name):
        return self.nodes[name].get("/hearth/pool").json

    def online(self, name):
        return {m["name"] for m in self.status(name)["members"] if m["online"] and not m["self"]}

    def wait_online(self, *names):
        """Until each of these homes (all) sees all the others of them."""
        names = set(names or self.names)
        for name in sorted(names):
            wait_for(f"{name} sees {sorted(names - {name})}", 60, lambda: names - {name} <= self.online(name), 0.05)

    def egress(self, name, kind):
        """(host, reason, sent, received) of the egress log, oldest first."""
        db = sqlite3.connect(os.path.join(self.nodes[name].home, "hearth.db"))
        try:
            return db.execute("SELECT host, reason, sent, received FROM egress WHERE kind = ? ORDER BY id", (kind,)).fetchall()
        finally:
            db.close()

    def trust_all(self):
        for a in self.names:
            for b in self.names:
                if a != b:
                    wait_for(f"{a} knows {b}", 30, lambda: b in [m["name"] for m in self.status(a)["members"]], 0.05)
                    self.pool(a, {"do": "trust", "member": b})

    def wait_models(self, name, model="starter", homes=1):
        """Until `name` has heard of so many others that offer the model."""

        def offers():
            return sum(not m["self"] and model in m["models"] for m in self.status(name)["members"])

        wait_for(f"{name} hears who has {model}", 60, lambda: offers() >= homes, 0.05)

    def wait_log(self, name, text, seconds=30):
        wait_for(f"'{text}' in the log of {name}", seconds, lambda: text in self.nodes[name].log(), 0.02)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        failed = None
        for name in reversed(self.names):
            if name not in self.nodes:
                continue
            node = self.nodes[name]
            try:
                try:
                    os.kill(node.process.pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
                if kind is not None:
                    print(f"# === {name}")
                node.__exit__(kind, value, tb)
            except Exception as e:
                failed = failed or e
        if failed and kind is None:
            raise failed


def runner_pid(node):
    runners = node.status()["runners"]
    return runners[0]["pid"] if runners else 0


def chat(text, **more):
    return dict({"messages": [{"role": "user", "content": text}], "model": "starter", "temperature": 0, "max_tokens": 60}, **more)


NEIGHBOURS = {"Hearth-Privacy": "neighbours"}
PUBLIC = {"Hearth-Privacy": "public"}


def ledger(node, *args):
    done = subprocess.run([HEARTH, "ledger", *args, "--json"], env=node.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
