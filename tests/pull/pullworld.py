"""A home that pulls (pull-tool as a process) and a server to pull from: what the tests of pulling share."""
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from modelserver import Server  # noqa: E402

TOOL = os.environ["HEARTH_PULL_TOOL"]
def gguf(n, seed=0):
    return b"GGUF\x03\x00\x00\x00" + random.Random(seed).randbytes(n - 8)


class World:
    """A home and a server."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="hearth-pull-")
        self.server = Server()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
        self.env["HEARTH_BUILTIN_MODELS"] = "/nonexistent"

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.server.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self, reference, *args):
        return subprocess.Popen([TOOL, self.home, reference, f"registry={self.server.url}", f"huggingface={self.server.url}", *args],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env)

    def finish(self, process, ok=True):
        out, err = process.communicate(timeout=120)
        assert "Sanitizer" not in err and "runtime error" not in err, err
        assert process.returncode == (0 if ok else 1), (process.returncode, out, err[-500:])
        return json.loads(out)

    def pull(self, reference, *args, ok=True):
        return self.finish(self.start(reference, *args), ok)

    def fails(self, reference, *args, status):
        got = self.pull(reference, *args, ok=False)
        assert got["status"] == status, got
        return got["message"]

    def files(self, folder="models"):
        base = os.path.join(self.home, folder)
        return sorted(n for n in os.listdir(base) if os.path.isfile(os.path.join(base, n))) if os.path.isdir(base) else []

    def read(self, name):
        with open(os.path.join(self.home, "models", name), "rb") as f:
            return f.read()

    def record(self, name):
        return json.loads(self.read(name + ".json"))

    def egress(self):
        db = sqlite3.connect(os.path.join(self.home, "hearth.db"))
        rows = db.execute("SELECT kind, host, reason, received, allowed FROM egress ORDER BY id").fetchall()
        db.close()
        return rows


MB = 1 << 20
