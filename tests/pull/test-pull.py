#!/usr/bin/env python3
"""Pulling models from servers that behave like the real ones, and that misbehave: what arrives, what is asked for, what is left behind."""
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
from modelserver import Server, sha  # noqa: E402
from pullworld import MB, TOOL, World, gguf  # noqa: E402
from taptests import run_tests, test  # noqa: E402

@test
def a_url_arrives_whole_and_is_recorded():
    with World() as w:
        data = w.server.plain["/m/Tiny-Model.Q8_0.gguf"] = gguf(3 * MB)
        got = w.pull(w.server.url + "/m/Tiny-Model.Q8_0.gguf?download=true&key=secret")
        assert got["name"] == "tiny-model.q8_0" and got["bytes"] == 3 * MB and not got["already"] and got["done"] == 1, got
        assert w.read("tiny-model.q8_0.gguf") == data
        assert w.files() == ["tiny-model.q8_0.gguf", "tiny-model.q8_0.json"] and w.files("models/.pull") == []
        assert w.record("tiny-model.q8_0")["files"][0]["sha256"] == sha(data)
        log = w.egress()
        assert log and all(r[0] == "pull" and r[1] == "127.0.0.1" and r[4] == 1 and "secret" not in r[2] for r in log), log
        assert sum(r[3] for r in log) >= 3 * MB


@test
def what_is_here_is_not_fetched_again_and_what_changed_is():
    with World() as w:
        w.server.plain["/a.gguf"] = gguf(MB)
        w.pull(w.server.url + "/a.gguf")
        w.server.sent.clear()
        got = w.pull(w.server.url + "/a.gguf")
        assert got["already"] and got["downloaded"] == 0 and w.server.sent["/a.gguf"] <= 16, w.server.sent
        w.server.plain["/a.gguf"], w.server.etag = gguf(MB + 5, 1), "v2"
        assert not w.pull(w.server.url + "/a.gguf")["already"]
        assert w.read("a.gguf") == gguf(MB + 5, 1)


@test
def a_cut_download_goes_on_where_it_was_cut():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(4 * MB)
        w.server.cut_after = [MB, 2 * MB]
        got = w.pull(w.server.url + "/a.gguf")
        assert got["paused"] == 2, got
        assert w.read("a.gguf") == data
        # Not a byte twice: what was sent is the file and the four bytes of the first look.
        assert w.server.sent["/a.gguf"] <= 4 * MB + 16, w.server.sent
        ranges = [h.get("Range") for m, p, h in w.server.asked][1:]
        assert ranges == [None, f"bytes={MB}-", f"bytes={3 * MB}-"], ranges
        assert w.server.asked[-1][2]["If-Range"] == '"v1"'


@test
def a_killed_pull_is_gone_on_with_by_the_next():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(6 * MB)
        w.server.hold_after = 3 * MB
        first = w.start(w.server.url + "/a.gguf")
        part = os.path.join(w.home, "models/.pull/a.gguf.partial")
        end = time.monotonic() + 240
        while not (os.path.exists(part) and os.path.getsize(part) > MB) and time.monotonic() < end:
            time.sleep(0.01)
        first.kill()
        first.communicate()
        part = os.path.getsize(part)
        assert part > MB and w.files() == []
        w.server.hold_after = None
        w.server.go.set()
        got = w.pull(w.server.url + "/a.gguf")
        assert got["downloaded"] == 6 * MB - part and w.read("a.gguf") == data
        assert w.server.asked[-1][2]["Range"] == f"bytes={part}-"


@test
def cancelling_keeps_what_came():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(6 * MB)
        w.server.delay = 0.01
        w.fails(w.server.url + "/a.gguf", f"stop={MB}", status="cancelled")
        assert w.files() == [] and sorted(w.files("models/.pull")) == ["a.gguf.partial", "a.gguf.state"]
        w.server.delay = 0
        assert 0 < w.pull(w.server.url + "/a.gguf")["downloaded"] <= 5 * MB and w.read("a.gguf") == data


@test
def a_server_without_ranges_starts_over():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(2 * MB)
        w.server.no_ranges, w.server.cut_after = True, [2 * MB, MB]  # the first look stops by itself
        w.pull(w.server.url + "/a.gguf")
        assert w.read("a.gguf") == data
        assert w.server.sent["/a.gguf"] >= 3 * MB


@test
def another_file_under_the_same_url_is_not_mixed_in():
    for etag in (True, False):
        with World() as w:
            w.server.no_etag = not etag
            w.server.plain["/a.gguf"] = gguf(2 * MB)
            w.server.delay = 0.01
            w.fails(w.server.url + "/a.gguf", f"stop={MB}", status="cancelled")
            w.server.delay = 0
            data = w.server.plain["/a.gguf"] = gguf(2 * MB, 7)
            w.server.etag = "v2"
            w.pull(w.server.url + "/a.gguf")
            assert w.read("a.gguf") == data


@test
def a_range_that_begins_elsewhere_is_not_believed():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(2 * MB)
        w.server.wrong_range, w.server.cut_after = True, [MB]
        w.pull(w.server.url + "/a.gguf")
        assert w.read("a.gguf") == data


@test
def sizes_that_do_not_hold_are_refused():
    with World() as w:
        w.server.repos["o/r"] = {"m-Q4_K_M.gguf": gguf(MB)}
        w.server.lie_length["/o/r/resolve/main/m-Q4_K_M.gguf"] = MB + 7
        assert "announced" in w.fails("hf.co/o/r", status="bad_format")
        assert w.files() == [] and w.files("models/.pull") == []


@test
def a_file_without_a_size_arrives():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(MB + 3)
        w.server.no_length = w.server.no_ranges = True
        w.pull(w.server.url + "/a.gguf")
        assert w.read("a.gguf") == data


@test
def a_wrong_checksum_leaves_nothing():
    with World() as w:
        w.server.repos["o/r"] = {"m-Q4_K_M.gguf": gguf(MB)}
        w.server.corrupt.add("/o/r/resolve/main/m-Q4_K_M.gguf")
        assert "SHA-256" in w.fails("hf.co/o/r", status="bad_format")
        assert w.files() == [] and w.files("models/.pull") == []
        w.server.corrupt.clear()
        assert w.pull("hf.co/o/r")["bytes"] == MB


@test
def what_is_no_gguf_is_refused_at_its_first_bytes():
    with World() as w:
        w.server.plain["/page.gguf"] = b"<!doctype html>" + b"x" * (4 * MB)
        assert "GGUF" in w.fails(w.server.url + "/page.gguf", status="bad_format")
        assert w.server.sent["/page.gguf"] < MB and w.files("models/.pull") == []


@test
def a_disk_without_room_is_told_with_numbers():
    with World() as w:
        w.server.repos["o/r"] = {"m-Q4_K_M.gguf": gguf(MB)}
        real = w.server.tree

        def huge(h, repo):
            entry = {"type": "file", "size": 1 << 56, "path": "m-Q4_K_M.gguf", "lfs": {"oid": "a" * 64, "size": 1 << 56}}
            return w.server.reply(h, 200, json.dumps([entry]).encode())
        w.server.tree = huge
        message = w.fails("hf.co/o/r", status="io")
        assert "72.1 PB" in message and "free" in message, message
        assert not any("resolve" in p for p in w.server.paths()), "asked for bytes that have no room"
        w.server.tree = real


@test
def busy_servers_and_stalls_are_waited_for():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(2 * MB)
        w.server.fail_first = 2
        w.server.stall_once = True
        w.pull(w.server.url + "/a.gguf")
        assert w.read("a.gguf") == data


@test
def giving_up_comes_in_the_end_and_keeps_what_came():
    with World() as w:
        w.server.repos["o/r"] = {"m-Q4_K_M.gguf": gguf(2 * MB)}
        w.server.cut_after = [MB] + [0] * 50
        w.fails("hf.co/o/r", status="gone")
        assert os.path.getsize(os.path.join(w.home, "models/.pull/hf.co--o--r.gguf.partial")) == MB
        w.server.cut_after = []
        assert w.pull("hf.co/o/r")["downloaded"] == MB
        w.fails("http://127.0.0.1:9/a.gguf", status="gone")


@test
def redirects_are_followed_but_not_for_ever():
    with World() as w:
        data = w.server.plain["/real.gguf"] = gguf(MB)
        w.server.redirects = {"/a.gguf": "/b/c", "/b/c": w.server.url + "/real.gguf", "/loop.gguf": "/loop.gguf", "/file.gguf": "file:///etc/passwd"}
        w.pull(w.server.url + "/a.gguf")
        assert w.read("a.gguf") == data
        assert "more than 5" in w.fails(w.server.url + "/loop.gguf", status="denied")
        w.fails(w.server.url + "/file.gguf", status="denied")


@test
def hugging_face_gives_the_usual_quantisation():
    with World() as w:
        w.server.repos["bartowski/Some-Model-GGUF"] = {n: gguf(MB + i, i) for i, n in enumerate(
            ["README.md", "Some-Model-F16.gguf", "Some-Model-Q2_K.gguf", "Some-Model-Q4_K_M.gguf", "Some-Model-Q4_K_S.gguf", "Some-Model-Q8_0.gguf",
             "mmproj-Some-Model-Q4_K_M.gguf", "imatrix.gguf"])}
        w.server.page_size = 3
        got = w.pull("hf.co/bartowski/Some-Model-GGUF")
        assert got["name"] == "hf.co--bartowski--some-model-gguf", got
        assert w.read(got["name"] + ".gguf") == gguf(MB + 3, 3)
        got = w.pull("huggingface.co/bartowski/Some-Model-GGUF:q8_0")
        assert w.read(got["name"] + ".gguf") == gguf(MB + 5, 5) and got["name"].endswith("-gguf-q8_0")
        got = w.pull("https://huggingface.co/bartowski/Some-Model-GGUF:Some-Model-Q2_K.gguf", "name=small one")
        assert got["name"] == "small-one" and w.read("small-one.gguf") == gguf(MB + 2, 2)
        got = w.pull("https://huggingface.co/bartowski/Some-Model-GGUF/blob/main/Some-Model-F16.gguf", "name=from-its-page")
        assert w.read("from-its-page.gguf") == gguf(MB + 1, 1), got
        assert w.pull("https://huggingface.co/bartowski/Some-Model-GGUF/tree/main")["already"]
        w.fails("https://huggingface.co/bartowski/Some-Model-GGUF/blob/main/", status="invalid")
        message = w.fails("hf.co/bartowski/Some-Model-GGUF:Q9_X", status="not_found")
        assert "Some-Model-Q2_K" in message
        w.fails("hf.co/nobody/nothing", status="not_found")
        assert w.pull("hf.co/bartowski/Some-Model-GGUF")["already"]


@test
def hugging_face_shards_arrive_together():
    with World() as w:
        parts = {f"Q4_K_M/Big-Q4_K_M-{i:05}-of-00003.gguf": gguf(MB + i, i) for i in (1, 2, 3)}
        w.server.repos["o/Big"] = {**parts, "Q8_0/Big-Q8_0-00001-of-00002.gguf": gguf(MB)}
        w.server.cut_after = [MB // 2]
        got = w.pull("hf.co/o/Big")
        assert got["bytes"] == sum(map(len, parts.values()))
        for i in (1, 2, 3):
            assert w.read(f"hf.co--o--big-{i:05}-of-00003.gguf") == gguf(MB + i, i)
        # The record is beside the shards, under the model's name.
        assert [f["sha256"] for f in w.record("hf.co--o--big")["files"]] == [sha(d) for d in parts.values()]
        w.fails("hf.co/o/Big:Q8_0", status="not_found")  # its second shard is not there


@test
def the_token_goes_to_its_own_host_only():
    with World() as w:
        other = Server("127.0.0.2")
        try:
            data = other.plain["/cdn/x"] = gguf(MB)
            w.server.repos["o/r"] = {"m-Q4_K_M.gguf": data}
            w.server.want_hf_token = "hf_right"
            assert "HF_TOKEN" in w.fails("hf.co/o/r", status="unauthorized")
            w.server.redirects["/o/r/resolve/main/m-Q4_K_M.gguf"] = other.url + "/cdn/x"
            w.pull("hf.co/o/r", "token=hf_right")
            assert all("Authorization" not in h for _, _, h in other.asked) and other.asked
            assert w.server.asked[-1][2]["Authorization"] == "Bearer hf_right"
            assert {r[1] for r in w.egress()} == {"127.0.0.1", "127.0.0.2"}
            w.server.plain["/p.gguf"] = gguf(MB)
            w.pull(w.server.url + "/p.gguf", "token=hf_right")
            assert "Authorization" not in w.server.asked[-1][2]
        finally:
            other.close()


@test
def a_registry_gives_the_model_and_what_belongs_to_it():
    with World() as w:
        model = gguf(2 * MB)
        w.server.add_registry("llama9", model, tag="1b", template="{{ .Prompt }}", system="Be kind.", license="Apache-2.0", params='{"temperature":0.5,"stop":["<x>"]}',
                              projector="ignored")
        w.server.want_token = "tok-1"
        w.server.cut_after = [MB]
        got = w.pull("llama9:1b")
        assert got["name"] == "llama9-1b" and w.read("llama9-1b.gguf") == model
        record = w.record("llama9-1b")
        assert record["template"] == "{{ .Prompt }}" and record["system"] == "Be kind." and record["license"] == "Apache-2.0"
        assert record["params"] == {"temperature": 0.5, "stop": ["<x>"]} and record["source"] == "llama9:1b"
        asked = [p for p in w.server.paths() if p.startswith("/token")]
        assert asked == ["/token?service=reg%20%26%20co&scope=repository%3Alibrary/llama9%3Apull"], asked
        w.fails("llama9:7b", status="not_found")
        w.server.add_registry("mine", gguf(MB, 3), ns="me")
        assert w.pull("me/mine")["name"] == "me--mine"
        got = w.pull(f"{w.server.host}/me/mine:latest")
        assert got["name"].endswith("--me--mine") and w.read(got["name"] + ".gguf") == gguf(MB, 3)
        assert w.pull("llama9:1b")["already"]


@test
def a_registrys_blobs_are_checked():
    with World() as w:
        w.server.add_registry("bad", gguf(MB), template="hello")
        digest = "sha256:" + sha(b"hello")
        w.server.blobs[digest] = b"hallo"
        assert "SHA-256" in w.fails("bad", status="bad_format")
        w.server.blobs[digest] = b"hello"
        model = next(d for d in w.server.blobs if d != digest)
        w.server.corrupt.add(f"/v2/library/bad/blobs/{model}")
        w.fails("bad", status="bad_format")
        assert w.files() == []


@test
def a_token_that_runs_out_is_asked_for_again():
    with World() as w:
        w.server.add_registry("x", gguf(2 * MB))
        w.server.want_token = "tok-1"
        w.server.delay = 0.005
        p = w.start("x")
        end = time.monotonic() + 20
        while not w.server.sent and time.monotonic() < end:
            time.sleep(0.005)
        w.server.want_token, w.server.cut_after = "tok-2", []
        w.server.delay = 0
        w.finish(p)
        # Once more with a cut after which the old token is no good.
        w.server.add_registry("y", gguf(2 * MB, 5))
        w.server.want_token = "tok-3"
        original = w.server.file

        def cut_and_expire(h, path, data):
            w.server.file = original
            w.server.cut_after = [MB]
            original(h, path, data)
            w.server.want_token = "tok-4"
        w.server.file = cut_and_expire
        w.pull("y")
        assert w.read("y.gguf") == gguf(2 * MB, 5)


@test
def two_pulls_download_once():
    with World() as w:
        data = w.server.plain["/a.gguf"] = gguf(4 * MB)
        w.server.delay = 0.02
        processes = [w.start(w.server.url + "/a.gguf") for _ in range(4)]
        got = [w.finish(p) for p in processes]
        assert sorted(g["already"] for g in got) == [False, True, True, True], got
        assert sum(g["waited"] > 0 for g in got) == 3
        assert w.server.sent["/a.gguf"] <= 4 * MB + 64, w.server.sent
        assert w.read("a.gguf") == data and w.files("models/.pull") == []


@test
def names_from_outside_choose_no_folder():
    with World() as w:
        for path in ("/x/..%2F..%2Fetc%2Fpasswd.gguf", "/.hidden.gguf", "/%00a.gguf", "/con%20fig.gguf", "/-rf.gguf"):
            w.server.plain[path] = gguf(1000)
            got = w.pull(w.server.url + path)
            assert "/" not in got["name"] and not got["name"].startswith((".", "-")), got
            assert got["name"] + ".gguf" in w.files()
        assert sorted(os.listdir(w.home)) == sorted(n for n in os.listdir(w.home) if n == "models" or n.startswith("hearth.db"))
        w.server.repos["o/r"] = {"../../evil-Q4_K_M.gguf": gguf(1000)}
        w.fails("hf.co/o/r", status="not_found")
        for bad in ("hf.co/../r", "hf.co/o", "hf.co/o/r/s", "../x:y", "a/b/c/d", "UPPER CASE", "", "x" * 3000, "ns/na me", "http://", "name:ta/g", "h@st/a/b"):
            w.pull(bad, "nofiles", ok=False)


@test
def files_are_brought_in_without_a_network():
    with World() as w:
        folder = tempfile.mkdtemp(prefix="hearth-pull-")
        try:
            path = os.path.join(folder, "My Model.gguf")
            with open(path, "wb") as f:
                f.write(gguf(MB))
            assert w.pull(path)["name"] == "my-model" and w.read("my-model.gguf") == gguf(MB)
            assert w.pull(path)["already"]
            for i in (1, 2):
                with open(os.path.join(folder, f"s-{i:05}-of-00002.gguf"), "wb") as f:
                    f.write(gguf(MB, i))
            assert w.pull(os.path.join(folder, "s-00001-of-00002.gguf"))["name"] == "s"
            assert w.read("s-00002-of-00002.gguf") == gguf(MB, 2)
            with open(os.path.join(folder, "text.gguf"), "wb") as f:
                f.write(b"no model")
            w.fails(os.path.join(folder, "text.gguf"), status="bad_format")
            w.fails(os.path.join(folder, "none.gguf"), status="not_found")
            w.fails(path, "nofiles", status="denied")
            w.fails(os.path.join(folder, "s-00002-of-00002.gguf"), status="invalid")
            assert not os.path.exists(os.path.join(w.home, "hearth.db"))
        finally:
            shutil.rmtree(folder)


@test
def another_model_of_the_name_is_not_overwritten():
    with World() as w:
        w.server.plain["/a.gguf"], w.server.plain["/b/a.gguf"] = gguf(MB), gguf(MB, 1)
        w.pull(w.server.url + "/a.gguf")
        message = w.fails(w.server.url + "/b/a.gguf", status="conflict")
        assert "--name" in message and "hearth rm a" in message
        assert w.pull(w.server.url + "/b/a.gguf", "name=b")["name"] == "b"
        assert w.read("a.gguf") == gguf(MB)
        assert w.pull("a", "rm")["freed"] == MB and w.files() == ["b.gguf", "b.json"]
        w.fails("a", "rm", status="not_found")
        w.pull(w.server.url + "/b/a.gguf")


@test
def looking_before_pulling_fetches_only_the_beginning():
    with World() as w:
        parts = {f"Big-Q4_K_M-{i:05}-of-00002.gguf": gguf(8 * MB, i) for i in (1, 2)}
        w.server.repos["o/Big"] = parts
        got = w.pull("hf.co/o/Big", f"peek={2 * MB}")
        assert got["bytes"] == 16 * MB and [f["size"] for f in got["files"]] == [8 * MB, 8 * MB] and got["files"][0]["magic"] == "GGUF"
        held = [f["held"] for f in got["files"]]
        assert 2 * MB - 16 < held[0] <= 2 * MB and MB // 2 - 16 < held[1] <= MB // 2, held
        assert sum(w.server.sent.values()) <= 2 * MB + MB // 2
        assert w.files() == [] and w.files("models/.pull") == []
        w.server.no_ranges = True
        w.server.delay = 0.001
        w.pull("hf.co/o/Big", f"peek={1024}", ok=False)  # the second step cannot go on


run_tests()
