#!/usr/bin/env python3
"""Pulling models that neighbours have: whose word is taken for what, when the internet is asked, and that nothing wrong is kept."""
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
from pullworld import MB, World, gguf  # noqa: E402
from taptests import run_tests, test  # noqa: E402

def sha(data):
    return hashlib.sha256(data).hexdigest()


def offer(home, data, trusted=False, **extras):
    return {"home": home, "trusted": trusted, "files": [{"bytes": len(data), "sha256": sha(data)}], "extras": extras}


class Street(World):
    def with_neighbours(self, reference, offers, gives=None, prefix=None, ok=True):
        args = ["offers=" + json.dumps(offers)]
        if gives is not None:
            path = os.path.join(self.home, "given")
            with open(path, "wb") as f:
                f.write(gives)
            args.append("gives=" + path)
        if prefix is not None:
            args.append(f"prefix={prefix}")
        return self.pull(reference, *args, ok=ok)


@test
def a_trusted_neighbours_word_is_enough_and_the_internet_is_not_asked():
    with Street() as w:
        data = gguf(3 * MB)
        got = w.with_neighbours("tiny:5m", [offer("Elm", data, True, template="{{ .Prompt }}", params={"temperature": 0.5}, license="MIT", other=1)], data)
        assert got["next_door"] == 3 * MB and got["finds"] == 1 and got["fetches"] == 1, got
        assert w.server.asked == [], w.server.asked
        assert w.read("tiny-5m.gguf") == data and w.files("models/.pull") == []
        record = w.record("tiny-5m")
        assert record["source"] == "tiny:5m" and record["template"] == "{{ .Prompt }}" and record["license"] == "MIT" and "other" not in record, record
        assert record["files"][0]["sha256"] == sha(data)
        assert w.egress() == []
        assert w.with_neighbours("tiny:5m", [offer("Elm", data, True, template="{{ .Prompt }}")], data)["already"]


@test
def one_that_is_not_trusted_gives_files_but_says_not_what_they_are():
    with Street() as w:
        data, evil = gguf(2 * MB), gguf(2 * MB, 6)
        w.server.add_registry("tiny", data, "5m")
        got = w.with_neighbours("tiny:5m", [offer("Mallory", evil)], data)
        assert got["next_door"] == 2 * MB, got
        assert w.read("tiny-5m.gguf") == data
        assert not any("/blobs/" in p and sha(data) in p for p in w.server.paths()), w.server.paths()  # the manifest was asked for, the weights were not


@test
def two_that_agree_are_believed_and_two_that_do_not_are_not():
    with Street() as w:
        data, evil = gguf(MB), gguf(MB, 6)
        w.with_neighbours("tiny:5m", [offer("Elm", data), offer("Oak", data)], data)
        assert w.server.asked == [] and w.read("tiny-5m.gguf") == data
    for second in (offer("Oak", evil), offer("Oak", data, template="{{ bad }}")):
        with Street() as w:
            w.server.add_registry("tiny", data, "5m")
            w.with_neighbours("tiny:5m", [offer("Elm", data), second], data)
            assert w.server.asked and w.read("tiny-5m.gguf") == data
    with Street() as w:  # two who are trusted, and say different things
        w.server.add_registry("tiny", data, "5m")
        w.with_neighbours("tiny:5m", [offer("Elm", data, True), offer("Oak", evil, True)], data)
        assert w.server.asked and w.read("tiny-5m.gguf") == data


@test
def what_neighbours_stop_giving_comes_from_the_internet_from_there_on():
    with Street() as w:
        data = gguf(4 * MB)
        w.server.add_registry("tiny", data, "5m")
        got = w.with_neighbours("tiny:5m", [offer("Elm", data, True)], data, prefix=3 * MB)
        assert got["next_door"] == 3 * MB and got["downloaded"] == 4 * MB, got
        assert w.read("tiny-5m.gguf") == data
        ranges = [h.get("Range") for m, p, h in w.server.asked if sha(data) in p]
        assert ranges == [f"bytes={3 * MB}-"], ranges
        assert w.files("models/.pull") == []


@test
def where_neither_helps_the_error_says_so():
    with Street() as w:
        data = gguf(MB)
        got = w.with_neighbours("tiny:5m", [offer("Elm", data, True)], data, prefix=1000, ok=False)
        assert got["status"] == "not_found" and "neighbours" in got["message"], got
        assert w.files() == []


@test
def bytes_that_are_not_the_file_are_not_kept():
    with Street() as w:
        data, evil = gguf(MB), gguf(MB, 6)
        got = w.with_neighbours("tiny:5m", [offer("Elm", data, True)], evil, ok=False)
        assert got["status"] == "bad_format" and sha(data) in got["message"], got
        assert w.files() == [] and [f for f in w.files("models/.pull") if not f.endswith(".lock")] == []


@test
def offers_that_make_no_sense_are_none():
    good = gguf(MB)
    for bad in (
        [{"home": "Elm", "trusted": True, "files": []}],
        [{"home": "Elm", "trusted": True, "files": [{"bytes": -1, "sha256": sha(good)}]}],
        [{"home": "Elm", "trusted": True, "files": [{"bytes": 1, "sha256": "../../x"}]}],
        [{"home": 3, "trusted": True, "files": [{"bytes": 1, "sha256": sha(good)}]}],
        [{"home": "Elm", "trusted": True, "files": [{"bytes": 1, "sha256": sha(good)}] * 65}],
        [[], 3, None],
        [],
    ):
        with Street() as w:
            w.server.add_registry("tiny", good, "5m")
            w.with_neighbours("tiny:5m", bad)
            assert w.read("tiny-5m.gguf") == good


@test
def a_local_file_is_not_asked_for():
    with Street() as w:
        path = os.path.join(w.home, "x.gguf")
        with open(path, "wb") as f:
            f.write(gguf(MB))
        got = w.with_neighbours(path, [offer("Elm", gguf(MB, 3), True)])
        assert got["finds"] == 0 and got["fetches"] == 0, got


run_tests()
