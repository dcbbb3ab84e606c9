#!/usr/bin/env python3
"""Sixty-four clients of every kind at once, some of which leave in the middle, while the model's process is killed and a download fills the disk: every
answer is the right one or an error that says why, nothing hangs, and afterwards the node is as it was. HEARTH_LOAD_SECONDS=60 is `make load`."""
import collections
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import HANG, SLACK, SOURCE, Node, Skip, in_parallel, resident_bytes, run_tests, test, wait_for  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "pull"))
from modelserver import Server  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"].split()
SECONDS = float(os.environ.get("HEARTH_LOAD_SECONDS", "7"))
CLIENTS = 64
MB = 1 << 20
ASKS = ["I would like to book a table for two.", "I need a taxi.", "Book me a hotel in Paris.", "Order a large coffee please", "Hello", "What's the weather like?"]
# The plain C kernels give a token the same logits in every batch, so answers can be compared to the letter.
ENV = {"HEARTH_KERNELS": "c"}


def body_of(k):
    """Every other question is asked with chance, and a seed."""
    return {"model": "starter", "messages": [{"role": "user", "content": ASKS[k % len(ASKS)]}], "max_tokens": 12, "temperature": 0 if k % 2 else 1.2, "seed": 5 + k}


def text_of(answer):
    return answer["choices"][0]["message"]["content"]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


class Load:
    def __init__(self, n, expected, vector):
        self.n, self.expected, self.vector = n, expected, vector
        self.end = time.monotonic() + SECONDS
        self.enough = lambda: True  # and it goes on until there was enough of everything
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.slowest = 0

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def check_error(self, status, words):
        """What may go wrong while runners are killed and queues are full; anything else is a fault."""
        assert status in (502, 503) and any(w in words for w in ("died", "try again", "ending", "failed", "stopped", "busy", "requests already")), (status, words)
        self.count(f"refused or broken off ({status})")
        time.sleep(0.05)  # it was told to come back later

    def whole(self, k):
        a = self.n.post("/v1/chat/completions", body_of(k))
        if a.status != 200:
            return self.check_error(a.status, a.error()["message"])
        assert text_of(a.json) == self.expected[k], (k, a.json, self.expected[k])
        return self.count("whole answers")

    def streamed(self, k, leave_after):
        s = self.n.stream("/v1/chat/completions", dict(body_of(k), stream=True))
        try:
            if s.status != 200:
                return self.check_error(s.status, json.loads(s.r.read())["error"]["message"])
            text = ""
            for i, e in enumerate(s.events()):
                if e == "[DONE]":
                    assert text == self.expected[k], (k, text, self.expected[k])
                    return self.count("streamed answers")
                if "error" in e:
                    assert self.expected[k].startswith(text), (k, text)
                    return self.check_error(502, e["error"]["message"])
                text += e["choices"][0]["delta"].get("content") or ""
                assert self.expected[k].startswith(text), (k, text, self.expected[k])
                if i == leave_after:
                    return self.count("left in the middle")
            raise AssertionError("a stream ended without its end")
        finally:
            s.close()

    def leaves_at_once(self, k):
        s = self.n.connect()
        text = json.dumps(dict(body_of(k), stream=k % 2 == 0, n=3))
        whole = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        s.sendall(whole[:random.randrange(1, len(whole) + 1)])
        time.sleep(random.random() * 0.05)
        s.close()
        self.count("left at once")

    def embeds(self, k):
        a = self.n.post("/v1/embeddings", {"model": "starter", "input": ["Hello", "Goodbye"]})
        if a.status != 200:
            return self.check_error(a.status, a.error()["message"])
        assert [round(x, 3) for x in a.json["data"][0]["embedding"]] == self.vector
        return self.count("embeddings")

    def looks(self, k):
        for path in ("/hearth/status", "/api/tags", "/metrics", "/v1/models"):
            assert self.n.get(path).status == 200
        self.count("looks")

    def goes_on(self):
        now = time.monotonic()
        return now < self.end or now < self.end + HANG and not self.enough()

    def client(self, i):
        r = random.Random(i)
        while self.goes_on():
            k, what = r.randrange(len(ASKS)), r.random()
            begin = time.monotonic()
            if what < 0.4:
                self.whole(k)
            elif what < 0.6:
                self.streamed(k, -1)
            elif what < 0.8:
                self.streamed(k, r.randrange(6))
            elif what < 0.9:
                self.leaves_at_once(k)
            elif what < 0.97:
                self.embeds(k)
            else:
                self.looks(k)
            self.slowest = max(self.slowest, time.monotonic() - begin)

    def killer(self):
        """A model that keeps dying within ten seconds is given pauses, so that is how often it is killed."""
        pause = SECONDS * 0.3
        while time.monotonic() < self.end or self.counts["kills of the runner"] == 0:
            time.sleep(max(0.02, min(pause, 0.1)))
            pause -= 0.1
            if pause > 0:
                continue
            for r in self.n.status()["runners"]:
                if r["state"] == "ready":
                    os.kill(r["pid"], signal.SIGKILL)
                    self.count("kills of the runner")
                    pause = max(SECONDS * 0.3, min(12, SECONDS))


def run_all(*jobs):
    in_parallel(len(jobs), lambda i: jobs[i]())


@test
def sixty_four_clients_and_kills_leave_the_node_as_it_was():
    with Node(PROGRAM, ("--model", "starter", "--parallel", "8", "--queue", "60", "--log-level", "warn"), ENV) as n:
        expected = [text_of(n.post("/v1/chat/completions", body_of(k)).json) for k in range(len(ASKS))]
        vector = [round(x, 3) for x in n.post("/v1/embeddings", {"model": "starter", "input": "Hello"}).json["data"][0]["embedding"]]
        pid = n.process.pid
        warm = Load(n, expected, vector)
        warm.end = time.monotonic() + 1
        in_parallel(8, warm.client)
        wait_for("it is quiet", 10, lambda: n.status()["connections"] <= 1 and n.active() == 0)
        fds, tasks, memory = descriptors(pid), threads(pid), resident_bytes(pid)
        load = Load(n, expected, vector)
        # A sanitizer leaves time for few.
        few = CLIENTS if SLACK < 4 else 8
        load.enough = lambda: load.counts["whole answers"] + load.counts["streamed answers"] > few and load.counts["kills of the runner"] > 0
        run_all(*[lambda i=i: load.client(i) for i in range(CLIENTS)], load.killer)
        for what, times in sorted(load.counts.items()):
            print(f"# {times:6} {what}")
        print(f"# the slowest call took {load.slowest:.1f} s")
        assert load.enough()

        def at_rest():
            s = n.status()
            return s["requests"]["active"] == s["requests"]["waiting"] == 0 and s["connections"] <= 1 and all(r["active"] == 0 for r in s["runners"])

        try:
            wait_for("every slot and connection is free", 10, at_rest)
        except AssertionError:
            print("#", n.status())
            raise
        # The right answer again, from a process that nobody disturbs.
        wait_for("its pause is over", 40, lambda: n.post("/v1/chat/completions", body_of(0)).status == 200, 0.2)
        assert [text_of(n.post("/v1/chat/completions", body_of(k)).json) for k in range(len(ASKS))] == expected
        wait_for("descriptors are back", 10, lambda: descriptors(pid) <= fds, 0.05)
        wait_for("threads are back", 10, lambda: threads(pid) <= tasks, 0.05)
        print(f"# descriptors {fds} -> {descriptors(pid)}, threads {tasks} -> {threads(pid)}, resident {memory / MB:.1f} -> {resident_bytes(pid) / MB:.1f} MiB")
        if SLACK < 4:  # a sanitizer keeps freed memory
            assert resident_bytes(pid) < memory + 16 * MB, (memory, resident_bytes(pid))


def small_disk(size_mb):
    """A command that runs the node with a models folder on a disk of its own; None where that is not allowed."""
    mount = f'mount -t tmpfs -o size={size_mb}m tmpfs "$HEARTH_HOME/models" && exec "$0" "$@"'
    if shutil.which("unshare") and subprocess.run(["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], stderr=subprocess.DEVNULL).returncode == 0:
        return ["unshare", "-Urm", "sh", "-c", mount] + PROGRAM
    return None


def gguf(size):
    return b"GGUF\x03\x00\x00\x00" + random.Random(1).randbytes(size - 8)


def pull_lines(n, model):
    return [json.loads(line) for line in n.post("/api/pull", {"model": model}).body.decode().splitlines()]


@test
def a_disk_that_fills_during_a_pull_costs_the_pull_alone():
    command = small_disk(112)
    if command is None:
        raise Skip("no user namespaces here")
    s = Server()
    model = gguf(24 * MB)
    s.add_registry("big", model)
    s.hold_after = 4 * MB
    with Node(command, ("--model", "starter", "--registry", s.url, "--log-level", "warn"), ENV) as n:
        models = f"/proc/{n.process.pid}/root{n.home}/models"
        expected = text_of(n.post("/v1/chat/completions", body_of(1)).json)
        fds = descriptors(n.process.pid)
        lines = []
        puller = threading.Thread(target=lambda: lines.extend(pull_lines(n, "big")))
        puller.start()
        part = os.path.join(models, ".pull", "big.gguf.partial")
        wait_for("it has begun", 10, lambda: os.path.exists(part) and os.path.getsize(part) > MB)
        with open(os.path.join(models, "filler"), "wb", buffering=0) as f:  # somebody else takes the rest
            try:
                while True:
                    f.write(b"\0" * MB)
            except OSError:
                pass
        s.hold_after = None
        s.go.set()
        puller.join(HANG)
        assert not puller.is_alive() and "full" in lines[-1]["error"] and "goes on" in lines[-1]["error"], lines[-1:]
        assert not any(m["name"].startswith("big") for m in n.get("/api/tags").json["models"])
        assert text_of(n.post("/v1/chat/completions", body_of(1)).json) == expected
        came, before = os.path.getsize(part), sum(v for k, v in s.sent.items() if "blobs" in k)
        assert came > MB
        lines = pull_lines(n, "big")
        assert "free" in lines[-1]["error"], lines  # refused before a byte, with the numbers
        os.remove(os.path.join(models, "filler"))
        lines = pull_lines(n, "big")
        assert lines[-1] == {"status": "success"}, lines[-1:]
        with open(os.path.join(models, "big.gguf"), "rb") as f:
            assert f.read() == model
        assert sum(v for k, v in s.sent.items() if "blobs" in k) - before <= len(model) - came + MB, ("it went on where it was", len(model), came, before, s.sent)
        wait_for("descriptors are back", 10, lambda: descriptors(n.process.pid) <= fds + 1, 0.05)
    s.close()


@test
def a_limit_on_the_size_of_files_is_a_full_disk():
    s = Server()
    s.add_registry("big", gguf(6 * MB))
    with Node(PROGRAM, ("--model", "starter", "--registry", s.url, "--log-level", "warn"), ENV) as n:
        expected = text_of(n.post("/v1/chat/completions", body_of(1)).json)
        resource.prlimit(n.process.pid, resource.RLIMIT_FSIZE, (2 * MB, 2 * MB))
        lines = pull_lines(n, "big")
        assert "error" in lines[-1] and ("full" in lines[-1]["error"] or "large" in lines[-1]["error"]), lines[-1:]
        assert text_of(n.post("/v1/chat/completions", body_of(1)).json) == expected
    s.close()


run_tests()
