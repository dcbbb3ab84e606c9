#!/usr/bin/env python3
"""Pulling and fetching through the node: lines of progress, one download for many, a client that leaves, what is refused."""
import json
import os
import random
import sys

from e2e import SOURCE, Node, run_tests, test, wait_for

sys.path.insert(0, os.path.join(SOURCE, "tests", "pull"))
from modelserver import Server  # noqa: E402

FAKE = os.environ["HEARTH_FAKE_NODE"]
MB = 1 << 20


def gguf(n):
    return b"GGUF\x03\x00\x00\x00" + random.Random(1).randbytes(n - 8)


def node(server, *settings):
    return Node([FAKE], ["--registry", server.url, "--huggingface", server.url, *settings], models=[("own", None)])


def lines(answer):
    return [json.loads(line) for line in answer.body.decode().splitlines()]


@test
def a_pull_streams_its_progress_and_the_model_is_there():
    s = Server()
    s.add_registry("tiny", gguf(3 * MB), tag="1b", system="Be brief.")
    s.delay = 0.02
    with node(s) as n:
        got = lines(n.post("/api/pull", {"model": "tiny:1b"}))
        assert got[0] == {"status": "pulling manifest"} and got[-1] == {"status": "success"}, got
        bars = [g for g in got if "digest" in g]
        assert bars and all(b["total"] == 3 * MB and b["digest"].startswith("sha256:") for b in bars), got
        assert [b["completed"] for b in bars] == sorted(b["completed"] for b in bars) and bars[-1]["completed"] > 0
        assert "tiny-1b" in [m["id"] for m in n.get("/v1/models").json["data"]]
        assert n.chat(model="tiny:1b").status == 200
        assert lines(n.post("/api/pull", {"name": "tiny:1b", "stream": False})) == [{"status": "success"}]
        assert n.ask("DELETE", "/api/delete", {"model": "tiny:1b"}).status == 200
        assert [f for f in os.listdir(os.path.join(n.home, "models")) if "tiny" in f] == []
        assert lines(n.post("/api/pull", {"model": "own"}))[-1] == {"status": "success"}, "what is not from anywhere needs no pulling"
    s.close()


@test
def what_cannot_be_pulled_is_an_error_of_its_kind():
    s = Server()
    s.add_registry("bad", gguf(MB))
    s.corrupt.add("/v2/library/bad/blobs/" + next(iter(s.blobs)))
    with node(s) as n:
        for body, status in (({"model": "nosuch"}, 404), ({"model": "hf.co/no/such"}, 404), ({"model": "/etc/passwd"}, 403), ({"model": "../x.gguf"}, 403), ({}, 400),
                             ({"model": "UP PER"}, 400)):
            a = n.post("/api/pull", body)
            assert a.status == status and isinstance(a.json["error"], str), (body, a.status, a.body)
        got = lines(n.post("/api/pull", {"model": "bad"}))
        assert "SHA-256" in got[-1]["error"], got
        assert n.ask("GET", "/api/pull").status == 405
    s.close()


@test
def many_clients_wait_for_one_download_and_one_may_leave():
    s = Server()
    model = gguf(4 * MB)
    s.add_registry("big", model)
    s.hold_after = 2 * MB
    with node(s) as n:
        first = n.stream("/api/pull", {"model": "big"})
        next(first.lines())
        others = [n.stream("/api/pull", {"model": "big"}) for _ in range(3)]
        for other in others:
            next(other.lines())
        first.close()
        wait_for("one has left", 60, lambda: n.status()["connections"] <= 4)
        s.go.set()
        assert all(list(other.lines())[-1] == '{"status":"success"}\n' for other in others)
        blob = next(p for p in s.sent if "/blobs/" in p)
        # The one that left may have had a little more under way.
        assert len(model) <= s.sent[blob] < len(model) + 2 * MB, s.sent
        with open(os.path.join(n.home, "models", "big.gguf"), "rb") as f:
            assert f.read() == model
    s.close()


@test
def a_node_that_stops_keeps_what_came():
    s = Server()
    s.add_registry("big", gguf(8 * MB))
    s.hold_after = 2 * MB
    with node(s) as n:
        held = n.stream("/api/pull", {"model": "big"})
        part = os.path.join(n.home, "models", ".pull", "big.gguf.partial")
        wait_for("some bytes", 10, lambda: os.path.exists(part) and os.path.getsize(part) > MB)
        n.stop()
        assert os.path.getsize(part) > MB and held.status == 200
    s.close()


@test
def fetching_is_off_and_then_held_to_its_list():
    s = Server()
    with node(s) as n:
        a = n.post("/hearth/fetch", {"url": s.url + "/"})
        assert a.status == 403 and "fetch_hosts" in a.error()["message"]
        assert n.post("/hearth/fetch", {}).status == 400 and n.get("/hearth/fetch").status == 405
    with node(s, "--fetch-hosts", f"{s.host},example.invalid") as n:
        a = n.post("/hearth/fetch", {"url": s.url + "/"})
        assert a.status == 403 and "public" in a.error()["message"], a.body
        assert n.post("/hearth/fetch", {"url": "http://other.invalid/"}).status == 403
        assert n.post("/hearth/fetch", {"url": "https://example.invalid/"}).status == 502
        assert n.post("/hearth/fetch", {"url": "file:///etc/passwd"}).status in (400, 403)
        assert s.asked == []
    s.close()


run_tests()
