#!/usr/bin/env python3
"""Upstreams of a node: listed, asked, streamed through, cancelled through, their failures told, their class respected."""
import json
import os
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
from e2e import Node, in_parallel, run_tests, test, wait_for  # noqa: E402
from fakeupstream import FakeUpstream  # noqa: E402

FAKE = os.environ["HEARTH_FAKE_NODE"]


def start(conf, known=None):
    """A node with this hearth.conf, once it knows the model."""
    n = Node([FAKE], models=[("m", None)], conf=conf)
    if known:
        wait_for(f"{known} in the listing", 10, lambda: known in [m["id"] for m in n.get("/v1/models").json["data"]])
    return n


def chat(n, model, **more):
    headers = more.pop("headers", {})
    return n.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}, headers=headers)


@test
def its_models_are_listed_and_answer():
    up = FakeUpstream(key="s3cret")
    with start(f"upstream.big = {up.url}/ key=s3cret\n", "big/org/beta") as n:
        a = chat(n, "big/alpha", max_tokens=3, temperature=0.5, stop=["END"], seed=7)
        assert a.status == 200 and a.json["choices"][0]["message"]["content"] == "Hello from upstream", a.body
        assert a.json["choices"][0]["finish_reason"] == "length" and a.json["model"] == "big/alpha"
        assert a.json["usage"]["prompt_tokens"] == 11 and a.json["usage"]["completion_tokens"] == 3
        assert a.headers["Hearth-Served-By"] == "big"
        path, body = up.asked[-1]
        assert path == "/v1/chat/completions" and body["model"] == "alpha" and body["messages"] == [{"role": "user", "content": "hi"}], body
        assert body["temperature"] == 0.5 and body["max_tokens"] == 3 and body["stop"] == ["END"] and body["seed"] == 7 and body["stream"] is True
        assert chat(n, "big/org/beta").status == 200 and up.asked[-1][1]["model"] == "org/beta"
        assert n.get("/v1/models/big/alpha").json["id"] == "big/alpha"
        text = n.post("/v1/completions", {"model": "big/alpha", "prompt": "Once"}).json
        assert text["choices"][0]["text"] == "Hello from upstream" and up.asked[-1][1]["prompt"] == "Once"
        e = n.post("/v1/embeddings", {"model": "big/alpha", "input": "x"}).json
        assert [round(v, 3) for v in e["data"][0]["embedding"]] == [0.6, 0.8]
        assert chat(n, "big/gamma").status == 404 and chat(n, "small/alpha").status == 404
        assert chat(n, "m").status == 200, "models of this home still answer"
        assert "s3cret" not in n.log()
        db = sqlite3.connect(os.path.join(n.home, "hearth.db"))
        rows = db.execute("SELECT kind, host, reason FROM egress").fetchall()
        db.close()
        assert any(k == "upstream" and "model big/alpha for req-" in r for k, _, r in rows), rows
        assert sum("asked" in r for _, _, r in rows) == 1, rows
    up.close()


@test
def answers_stream_as_they_come_through_every_api():
    up = FakeUpstream()
    with start(f"upstream.u = {up.url}/v1\n", "u/alpha") as n:
        up.mode = "endless"
        s = n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True})
        got = []
        for e in s.events():
            got.append(e["choices"][0]["delta"].get("content"))
            if len(got) > 5:
                break
        assert "Hello" in got and " from" in got
        s.close()
        wait_for("the upstream to see that the client left", 5, up.gone.is_set)
        wait_for("no call active", 5, lambda: up.active == 0 and n.active() == 0)
        up.mode = "ok"
        lines = n.post("/api/chat", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}]}).body.decode().split("\n")
        assert "".join(json.loads(line)["message"]["content"] for line in lines if line) == "Hello from upstream"


@test
def reasoning_and_tool_calls_pass_through():
    up = FakeUpstream()
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    with start(f"upstream.u = {up.url}\n", "u/alpha") as n:
        up.mode = "think"
        message = chat(n, "u/alpha").json["choices"][0]["message"]
        assert message["content"] == "Hello from upstream" and "Let me see." in json.dumps(message)
        up.mode = "tools"
        a = chat(n, "u/alpha", tools=[tool])
        call = a.json["choices"][0]["message"]["tool_calls"][0]
        assert call["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'} and call["id"] == "call_7", a.body
        assert a.json["choices"][0]["finish_reason"] == "tool_calls"
        assert up.asked[-1][1]["tools"] == [tool] and "tool_choice" not in up.asked[-1][1]
        chat(n, "u/alpha", tools=[tool], tool_choice="required", parallel_tool_calls=False)
        assert up.asked[-1][1]["tool_choice"] == "required" and up.asked[-1][1]["parallel_tool_calls"] is False
        named = {"type": "function", "function": {"name": tool["function"]["name"]}}
        chat(n, "u/alpha", tools=[tool], tool_choice=named)
        assert up.asked[-1][1]["tool_choice"] == named
        chat(n, "u/alpha", response_format={"type": "json_object"})
        assert up.asked[-1][1]["response_format"] == {"type": "json_object"}
        n.post("/api/chat", {"model": "u/alpha", "messages": [{"role": "user", "content": "hi"}], "format": {"type": "array"}})
        assert up.asked[-1][1]["response_format"]["json_schema"]["schema"] == {"type": "array"}


@test
def log_probabilities_and_biases_pass_through():
    up = FakeUpstream()
    with start(f"upstream.u = {up.url}\n", "u/alpha") as n:
        a = chat(n, "u/alpha", logprobs=True, top_logprobs=2, logit_bias={"5": 1.5, "70000": -100})
        asked = up.asked[-1][1]
        assert asked["logprobs"] is True and asked["top_logprobs"] == 2 and asked["logit_bias"] == {"5": 1.5, "70000": -100}, asked
        choice = a.json["choices"][0]
        assert choice["message"]["content"] == "Hello from upstream"
        rows = choice["logprobs"]["content"]
        assert [r["token"] for r in rows] == ["Hello", " from", " upstream"] and all(abs(r["logprob"] + 0.25) < 1e-6 for r in rows), rows
        assert [t["token"] for t in rows[0]["top_logprobs"]] == ["a", "\u00e9"] and rows[0]["top_logprobs"][1]["bytes"] == [0xC3, 0xA9], rows
        s = n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True, "logprobs": True})
        got = [r for e in s.events() if e != "[DONE]" and e["choices"] and e["choices"][0].get("logprobs") for r in e["choices"][0]["logprobs"]["content"]]
        assert [r["token"] for r in got] == ["Hello", " from", " upstream"] and "top_logprobs" not in up.asked[-1][1]
        assert "logprobs" not in json.dumps(chat(n, "u/alpha").json["choices"][0]["message"]) and "logprobs" not in up.asked[-1][1]
    up.close()


@test
def its_state_is_in_the_status():
    up = FakeUpstream(key="k3y")
    dead = FakeUpstream()
    dead.close()
    with start(f"upstream.near = {up.url} key=k3y privacy=neighbours\nupstream.dead = {dead.url}\n", "near/alpha") as n:
        wait_for("both are looked at", 10, lambda: all(u["state"] != "unknown" for u in n.status()["upstreams"]))
        near, gone = n.status()["upstreams"]
        assert near["name"] == "near" and near["url"] == up.url + "/v1" and near["privacy"] == "neighbours" and near["state"] == "answers", near
        assert near["models"] == 2 and near["active"] == 0 and near["error"] == "" and near["since_unix"] > 1600000000
        assert gone["state"] == "silent" and gone["privacy"] == "private" and gone["models"] == 0 and gone["error"], gone
        assert "k3y" not in json.dumps(n.status())
    up.close()


@test
def one_that_comes_back_is_found_again():
    up = FakeUpstream()
    with start(f"upstream.u = {up.url}\n", "u/alpha") as n:
        port = up.port
        up.close()
        assert chat(n, "u/alpha").status in (502, 503)
        wait_for("it is known to be silent", 10, lambda: n.status()["upstreams"][0]["state"] == "silent")
        a = chat(n, "u/alpha")
        assert a.status == 503 and 1 <= int(a.headers["Retry-After"]) <= 3, a.headers
        again = FakeUpstream(port=port)
        wait_for("it is found", 10, lambda: chat(n, "u/alpha").status == 200, 0.1)
        assert n.status()["upstreams"][0]["state"] == "answers"
        again.close()


@test
def failures_are_told_as_what_they_are():
    up = FakeUpstream()
    with start(f"upstream.u = {up.url}\n", "u/alpha") as n:
        for mode, status in (("400", 400), ("401", 502), ("404", 404), ("429", 503), ("500", 502), ("503", 503), ("cut", 502), ("error", 502), ("garbage", 502)):
            up.mode = mode
            a = chat(n, "u/alpha")
            assert a.status == status, (mode, a.status, a.body)
            assert (mode == "400") == (a.error()["code"] == "context_length_exceeded"), a.body
            assert "upstream u" in a.error()["message"] and (not mode.isdigit() or mode == "401" or "as told" in a.error()["message"]), a.body
        up.mode = "ok"
        for body, param in (({"grammar": 'root ::= "a"'}, "grammar"), ({"prompt": "x", "logprobs": 1}, "logprobs"), ({"prompt": "x", "echo": True}, "echo")):
            path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
            a = n.post(path, dict({"messages": [{"role": "user", "content": "hi"}]}, model="u/alpha", **body))
            assert a.status == 400 and a.error()["param"] == param and "upstream" in a.error()["message"], a.body
        up.mode = "error"
        events = list(n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True}).events())
        assert "fire" in json.dumps(events[-1]) or "fire" in json.dumps(events[-2]), events
        up.mode = "ok"
        assert chat(n, "u/alpha").status == 200


@test
def one_that_does_not_answer_is_said_so_at_once():
    up = FakeUpstream()
    port = up.port
    up.close()
    with start(f"upstream.dead = http://127.0.0.1:{port}\nupstream.odd = http://127.0.0.1:{port}/x\n") as n:
        wait_for("the check", 10, lambda: "upstream dead does not answer" in n.log())
        a = chat(n, "dead/alpha")
        assert a.status == 503 and "dead" in a.error()["message"] and a.headers["Retry-After"], a.body
        assert [m["id"] for m in n.get("/v1/models").json["data"] if "/" in m["id"]] == []


@test
def a_private_request_goes_only_where_the_owner_said():
    mine, theirs, street = FakeUpstream(), FakeUpstream(), FakeUpstream()
    conf = f"upstream.mine = {mine.url} privacy=private\nupstream.near = {theirs.url} privacy=neighbours\nupstream.far = {street.url} privacy=public\n"
    with start(conf, "far/alpha") as n:
        for cls, allowed in ((None, {"mine"}), ("private", {"mine"}), ("neighbours", {"mine", "near"}), ("public", {"mine", "near", "far"})):
            for name in ("mine", "near", "far"):
                wait_for("all are known", 10, lambda: f"{name}/alpha" in [m["id"] for m in n.get("/v1/models").json["data"]])
                a = chat(n, f"{name}/alpha", headers={"Hearth-Privacy": cls} if cls else {})
                assert a.status == (200 if name in allowed else 403), (cls, name, a.body)
        assert len(street.asked) == 1 and len(theirs.asked) == 2 and len(mine.asked) == 4
    for u in (mine, theirs, street):
        u.close()


@test
def another_hearth_is_an_upstream():
    with Node([FAKE], models=[("far", None)]) as other:
        with start(f"upstream.den = http://127.0.0.1:{other.port}\n", "den/far") as n:
            direct, through = chat(other, "far").json, chat(n, "den/far").json
            assert direct["choices"][0]["message"]["content"] == through["choices"][0]["message"]["content"] != ""
            assert direct["usage"]["completion_tokens"] == through["usage"]["completion_tokens"]


@test
def many_at_once_and_a_stop_in_the_middle():
    up = FakeUpstream()
    n = start(f"upstream.u = {up.url}\n", "u/alpha")
    with n:
        answers = in_parallel(24, lambda i: chat(n, "u/alpha"))
        assert all(a.status == 200 and a.json["choices"][0]["message"]["content"] == "Hello from upstream" for a in answers)
        up.mode = "endless"
        streams = [n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True}) for _ in range(3)]
        for s in streams:
            next(iter(s.lines()))
        wait_for("it ends", 60, lambda: (n.process.terminate(), n.process.poll() is not None)[1], 0.2)  # a second signal cuts them off
    up.close()


@test
def bad_lines_are_refused_with_their_place():
    for line, says in (("upstream.Big = http://h", "a-z"), ("upstream.b = ftp://h", "http"), ("upstream.b = http://h privacy=some", "privacy="), ("upstream.b =", "address"),
                       ("upstream.b = http://h\nupstream.b = http://i", "two")):
        n = Node([FAKE], conf=line + "\n", expect_start=False)
        assert n.process.wait(240) != 0 and says in n.log() and "line" in n.log(), (line, n.log())
        n.process.stdout.close()
        n.log_file.close()


run_tests()
