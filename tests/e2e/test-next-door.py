#!/usr/bin/env python3
"""Models from next door, with real nodes over the real hub: several sources at once, homes that are killed half way, one that corrupts, who may have what."""
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading

from e2e import HEARTH, SOURCE, run_tests, test, wait_for
from street import Street

sys.path.insert(0, os.path.join(SOURCE, "tests", "pull"))
from modelserver import Server  # noqa: E402

MB = 1 << 20
A, B, C, D = HOMES = ("home-a", "home-b", "home-c", "home-d")


def gguf(n, seed=1):
    """A model that can be computed, and bytes behind it."""
    with open(os.path.join(SOURCE, "models", "starter.gguf"), "rb") as f:
        model = f.read()
    return model + random.Random(seed).randbytes(n - len(model))


class World(Street):
    """n homes and a registry; those of `have` have pulled tiny:1b from it."""

    def __init__(self, size, *settings, have=(A, B), trust=True, n=3):
        self.server = Server()
        self.data = gguf(size)
        self.server.add_registry("tiny", self.data, tag="1b", system="Be brief.", license="A license\nof two lines")
        try:
            super().__init__(*((name, {"settings": ("--registry", self.server.url, "--huggingface", self.server.url, *settings)}) for name in HOMES[:n]))
        except BaseException:
            self.server.close()
            raise
        try:
            self.wait_online()
            if trust:
                self.trust_all()
            for name in have:
                # Each from the registry, not from the other: all of them at once would share.
                assert self.hearth(name, "pull", "-q", "--internet", "tiny:1b").returncode == 0
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        self.server.asked.clear()
        self.server.sent.clear()

    def __exit__(self, *why):
        try:
            return super().__exit__(*why)
        finally:
            self.server.close()

    def hearth(self, name, *args):
        env = dict(self[name].env, HEARTH_LISTEN=f"127.0.0.1:{self[name].port}", HEARTH_REGISTRY=self.server.url)
        return subprocess.run([HEARTH, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240)

    def path(self, home, name=""):
        return os.path.join(self[home].home, "models", name)

    def read(self, home, name="tiny-1b.gguf"):
        with open(self.path(home, name), "rb") as f:
            return f.read()

    def blobs_asked(self):
        return [p for p in self.server.paths() if "/blobs/" in p]

    def size_of_partial(self, home, name="tiny-1b.gguf"):
        try:
            return os.path.getsize(self.path(home, ".pull/" + name + ".blocks"))
        except FileNotFoundError:
            return 0

    def pulling(self, home, name="tiny:1b"):
        """A pull on a thread; join it for its lines."""
        lines = []

        def run():
            try:
                answer = self[home].post("/api/pull", {"model": name}, timeout=240)
                lines.extend(json.loads(line) for line in answer.body.decode().splitlines())
            except Exception as e:  # the node was killed
                lines.append({"error": repr(e)})

        t = threading.Thread(target=run)
        t.start()
        t.lines = lines
        return t

    def kill(self, home):
        self[home].process.kill()
        self[home].process.wait()


@test
def two_neighbours_give_a_model_and_the_internet_is_not_asked():
    with World(24 * MB) as w:
        done = w.hearth(C, "pull", "tiny:1b")
        assert done.returncode == 0 and "next door at home-" in done.stderr and "A license" in done.stderr and "from next door" in done.stdout, (done.stdout, done.stderr)
        assert w.server.asked == [], w.server.paths()
        assert w.read(C) == w.data
        record = json.loads(w.read(C, "tiny-1b.json"))
        assert record["source"] == "tiny:1b" and record["system"] == "Be brief.", record
        # Bytes in the egress log, at both ends, and both gave a good part.
        wait_for("rows of what was given", 60, lambda: len(w.egress(A, "blocks")) > 0 and len(w.egress(B, "blocks")) > 0, step=0.2)
        for home in (A, B):
            rows = [r for r in w.egress(home, "blocks") if r[0].startswith("home-c ")]
            assert sum(r[2] for r in rows) > 4 * MB and any("tiny-1b" in r[1] for r in rows), rows
        # What was fetched can be given on, and is not fetched twice.
        assert json.loads(w.hearth(C, "pull", "--json", "tiny:1b").stdout)["already"]
        # Every byte is in one row: the connection's own do not count the model again.
        lists, sha256 = w.path(A, ".chunks/"), hashlib.sha256(w.data).hexdigest()
        assert os.listdir(lists) == [sha256]
        w[A].stop()
        given, rest = (sum(r[2] for r in w.egress(A, kind)) for kind in ("blocks", "pool"))
        assert given > 4 * MB and 1000 < rest < given / 4, (given, rest)
        # Lists of what is not here are removed when the node starts.
        for name in ("0" * 64, sha256 + ".new"):
            open(lists + name, "w").close()
        old = w.path(A, ".pull/left.gguf.blocks")
        open(old, "w").close()
        os.utime(old, (1, 1))
        w[A].restart()
        assert os.listdir(lists) == [sha256] and not os.path.exists(old), os.listdir(lists)


@test
def a_source_that_is_killed_half_way_and_a_hub_that_stays():
    with World(12 * MB, "--pool-rate", "3M", n=4, have=(B, C)) as w:
        t = w.pulling(D)
        wait_for("a part of the model", 60, lambda: w.size_of_partial(D) > 3 * MB, step=0.02)
        w.kill(B)
        t.join()
        assert t.lines[-1] == {"status": "success"}, t.lines[-3:]
        assert w.read(D) == w.data and w.server.asked == []
        assert any(line.get("from") for line in t.lines), t.lines
        w[B].restart()


@test
def the_asking_home_is_killed_and_goes_on_where_it_was():
    with World(12 * MB, "--pool-rate", "3M") as w:
        t = w.pulling(C)
        wait_for("a part of the model", 60, lambda: w.size_of_partial(C) > 3 * MB, step=0.02)
        w.kill(C)
        t.join()
        assert not os.path.exists(w.path(C, "tiny-1b.gguf")), "nothing is to be seen before it is whole"
        w[C].restart()
        w.wait_online()
        done = w.hearth(C, "pull", "--json", "-q", "tiny:1b")
        assert done.returncode == 0, done.stderr
        got = json.loads(done.stdout)
        assert w.read(C) == w.data and w.server.asked == []
        assert got["next_door"] < 11 * MB, got  # not all of it again
        assert os.listdir(w.path(C, ".pull")) == []


@test
def the_internet_goes_on_where_neighbours_end():
    with World(12 * MB, "--pool-rate", "3M", have=(B,)) as w:
        t = w.pulling(C)
        wait_for("a part of the model", 60, lambda: w.size_of_partial(C) > 3 * MB, step=0.02)
        w.kill(B)
        t.join()
        assert t.lines[-1] == {"status": "success"}, t.lines[-3:]
        assert w.read(C) == w.data
        assert 0 < sum(n for p, n in w.server.sent.items() if "/blobs/" in p) < 11 * MB, w.server.sent
        w[B].restart()


@test
def who_sends_other_bytes_than_it_said_is_left():
    with World(8 * MB) as w:
        # Its list is made and kept; then its disk goes bad, which the file's time and size do not tell.
        assert w.hearth(C, "pull", "-q", "tiny:1b").returncode == 0
        assert w[C].ask("DELETE", "/api/delete", {"model": "tiny:1b"}).status == 200
        path = w.path(B, "tiny-1b.gguf")
        before = os.stat(path)
        with open(path, "r+b") as f:
            for at in range(4096, 8 * MB, 64 << 10):
                f.seek(at)
                f.write(b"rot")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        done = w.hearth(C, "pull", "-q", "tiny:1b")
        assert done.returncode == 0, done.stderr
        assert w.read(C) == w.data and w.server.asked == []
        assert "home-b sent something else" in w[C].log(), w[C].log()


@test
def who_is_not_trusted_says_nothing_of_names_and_gets_nothing_of_ones_own():
    with World(6 * MB, trust=False, have=(B,)) as w:
        own = gguf(6 * MB, 5)
        with open(w.path(A, "ours.gguf"), "wb") as f:
            f.write(own)
        w[A].get("/api/tags")  # its SHA-256 is made
        # The neighbour has it; the source is asked what it is, and not for its weights.
        done = w.hearth(C, "pull", "tiny:1b")
        assert done.returncode == 0 and "nobody whom you trust says so" in done.stderr, done.stderr
        assert w.read(C) == w.data
        assert any("/manifests/" in p for p in w.server.paths())
        assert not any(n > MB for p, n in w.server.sent.items() if p in w.blobs_asked()), w.server.sent
        # A file of home-a's own is for those whom it trusts, and its name is believed by those who trust it.
        assert w.hearth(C, "pull", "-q", "ours").returncode != 0
        w.pool(A, {"do": "trust", "member": C})
        assert w.hearth(C, "pull", "-q", "ours").returncode != 0
        w.pool(C, {"do": "trust", "member": A})
        wait_for("the file's SHA-256", 60, lambda: w.hearth(C, "pull", "-q", "ours").returncode == 0, step=0.5)
        files = [n for n in os.listdir(w.path(C)) if n.startswith("ours")]
        assert w.read(C, next(n for n in files if n.endswith(".gguf"))) == own


@test
def nothing_is_given_where_sharing_is_off():
    with World(6 * MB, "--pool-share", "off") as w:
        done = w.hearth(C, "pull", "-q", "--json", "tiny:1b")
        assert done.returncode == 0 and "next_door" not in json.loads(done.stdout) and w.server.asked, done.stdout
        assert w[C].ask("POST", "/hearth/next-door/fetch", {"home": "/elsewhere", "file": "x.gguf", "bytes": 5, "sha256": "0" * 64}).status == 409
        for file in ("../x.gguf", ".x", "", "a/b"):
            body = {"home": w[C].home, "file": file, "bytes": 5, "sha256": "0" * 64}
            assert w[C].ask("POST", "/hearth/next-door/fetch", body).status == 400, file


run_tests()
