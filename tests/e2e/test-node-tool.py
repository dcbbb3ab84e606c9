#!/usr/bin/env python3
"""The node's own tool web_fetch: a model asks for a page, gets it and goes on; the client sees one answer. What is refused is told to the model."""
import json
import os
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402

sys.path[:0] = [os.path.join(SOURCE, "tests", "pull"), os.path.join(SOURCE, "tests", "upstream")]
from fakeupstream import FakeUpstream  # noqa: E402
from modelserver import Server  # noqa: E402

FAKE = os.environ["HEARTH_FAKE_NODE"]
ASK = {"Hearth-Tools": "web_fetch"}
PAGE = b"<!doctype html><title>Opening times</title><h1>Bakery</h1><p>Open from 6 to 18 &ndash; every day. <a href='/bread'>Bread</a></p>"


def call(url, id="call_1", name="web_fetch", index=0):
    return ({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": json.dumps({"url": url} if url else {})}}]}, None)


def start(pages, up, hosts=True, env=()):
    n = Node([FAKE], ["--fetch-hosts", pages.host] if hosts else [], dict(env) if env else {"FAKE_FETCH_LOCAL": "1"}, models=[("m", None)], conf=f"upstream.u = {up.url}\n")
    wait_for("the upstream's models", 10, lambda: "u/alpha" in [m["id"] for m in n.get("/v1/models").json["data"]])
    return n


def ask(node, **more):
    headers = more.pop("headers", ASK)
    return node.post("/v1/chat/completions", dict({"model": "u/alpha", "messages": [{"role": "user", "content": "When is the bakery open?"}]}, **more), headers=headers)


def world(script):
    pages, up = Server(), FakeUpstream()
    pages.plain["/page.html"] = PAGE
    up.script = lambda body: script(body, pages)
    return pages, up


def reader(body, pages):
    """Asks for the page, then says what it read."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return [({"content": "It says: " + last["content"].split("\n")[0]}, None), ({}, "stop")]
    return [({"content": "Let me look. "}, None), call(pages.url + "/page.html"), ({}, "tool_calls")]


@test
def a_page_goes_to_the_model_and_one_answer_to_the_client():
    pages, up = world(reader)
    with start(pages, up) as n:
        a = ask(n)
        choice = a.json["choices"][0]
        assert a.status == 200 and choice["message"]["content"] == "Let me look. It says: Title: Opening times", a.body
        assert choice["finish_reason"] == "stop" and not choice["message"].get("tool_calls")
        assert a.json["usage"]["prompt_tokens"] == 20 and a.json["usage"]["completion_tokens"] == 10, a.json["usage"]
        first, second = up.asked[-2][1], up.asked[-1][1]
        tool = first["tools"][-1]["function"]
        assert tool["name"] == "web_fetch" and pages.host in tool["description"] and tool["parameters"]["required"] == ["url"]
        asked, told = second["messages"][-2:]
        assert asked["role"] == "assistant" and asked["content"] == "Let me look. " and asked["tool_calls"][0]["id"] == told["tool_call_id"] == "call_1"
        assert json.loads(asked["tool_calls"][0]["function"]["arguments"]) == {"url": pages.url + "/page.html"}
        assert "# Bakery" in told["content"] and "6 to 18 \u2013 every day" in told["content"] and f"- Bread: {pages.url}/bread" in told["content"], told
        # Streamed: one id, one role, one end.
        s = n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True}, headers=ASK)
        events = [e for e in s.events() if e != "[DONE]"]
        deltas = [e["choices"][0]["delta"] for e in events if e["choices"]]
        assert "".join(d.get("content") or "" for d in deltas) == "Let me look. It says: Title: Opening times" and not any("tool_calls" in d for d in deltas), deltas
        assert len({e["id"] for e in events}) == 1 and sum("role" in d for d in deltas) == 1
        assert [e["choices"][0]["finish_reason"] for e in events if e["choices"] and e["choices"][0]["finish_reason"]] == ["stop"]
        # Every family.
        o = n.post("/api/chat", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": False}, headers=ASK).json
        assert o["message"]["content"].endswith("Opening times") and "tool_calls" not in o["message"], o
        m = n.post("/v1/messages", {"model": "u/alpha", "max_tokens": 50, "messages": [{"role": "user", "content": "x"}]}, headers=ASK).json
        assert [b["type"] for b in m["content"]] == ["text"] and m["stop_reason"] == "end_turn", m
        r = n.post("/v1/responses", {"model": "u/alpha", "input": "x"}, headers=ASK).json
        assert r["output"][-1]["content"][0]["text"].endswith("Opening times") and r["status"] == "completed", r
        db = sqlite3.connect(os.path.join(n.home, "hearth.db"))
        rows = db.execute("SELECT host, reason, allowed FROM egress WHERE kind = 'fetch'").fetchall()
        db.close()
        assert len(rows) == 5 and all(h == "127.0.0.1" and why.startswith("web_fetch for req-") and ok for h, why, ok in rows), rows
        assert n.active() == 0 and "bakery" not in n.log().lower()
        # Without the header there is no tool.
        assert ask(n, headers={}).json["choices"][0]["finish_reason"] == "tool_calls" and "tools" not in up.asked[-1][1]
    pages.close()
    up.close()


@test
def a_model_of_this_home_is_offered_it_too():
    pages, up = world(reader)
    said = "I look. " + '<tool_call>\n{"name": "web_fetch", "arguments": {"url": "' + pages.url + '/page.html"}}\n</tool_call>'
    with start(pages, up, env={"FAKE_FETCH_LOCAL": "1", "FAKE_TEXT": said}) as n:
        for stream in (False, True):
            if stream:
                s = n.stream("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}, headers=ASK)
                text = "".join(e["choices"][0]["delta"].get("content") or "" for e in s.events() if e != "[DONE]" and e["choices"])
            else:
                a = ask(n, model="m").json
                text = a["choices"][0]["message"]["content"]
                assert a["usage"]["prompt_tokens"] == 14 and a["usage"]["completion_tokens"] == 4 and a["choices"][0]["finish_reason"] == "stop", a
            assert text.replace("\n", "").endswith("I have read it.") and "I look." in text and "tool_call" not in text and "web_fetch" not in text, text
        assert sum("page.html" in p for p in pages.paths()) == 2


@test
def what_may_not_be_fetched_is_told_to_the_model():
    urls = ["http://other.invalid/", "file:///etc/passwd", None, "http://[broken"]
    told = []

    def script(body, pages):
        told[:] = [m["content"] for m in body["messages"] if m["role"] == "tool"]
        if len(told) < len(urls):
            return [call(urls[len(told)], f"c{len(told)}"), ({}, "tool_calls")]
        return [({"content": "I cannot."}, None), ({}, "stop")]

    pages, up = world(script)
    with start(pages, up) as n:
        a = ask(n)
        assert a.json["choices"][0]["message"]["content"] == "I cannot.", a.body
        assert len(told) == 4 and "fetch_hosts" in told[0] and "url" in told[2], told
    # A model that never stops asking is told to.
    pages, up = world(lambda body, pages: [({"content": f"{sum(m['role'] == 'tool' for m in body['messages'])} "}, None)] +
                      ([({}, "stop")] if any("most for one answer" in m["content"] for m in body["messages"] if m["role"] == "tool")
                       else [call(pages.url + "/page.html"), ({}, "tool_calls")]))
    with start(pages, up) as n:
        a = ask(n)
        assert a.json["choices"][0]["message"]["content"] == "0 1 2 3 4 5 6 ", a.body
        assert sum("page.html" in p for p in pages.paths()) == 5
    # The usual rule, without the tests' exception: this machine is not the public Internet.
    pages, up = world(lambda body, pages: reader(body, pages))
    with start(pages, up, env={"NOTHING": "1"}) as n:
        assert "could not be fetched" in ask(n).json["choices"][0]["message"]["content"]
        assert pages.asked == []


@test
def it_is_off_by_default_and_for_one_answer_of_a_model():
    pages, up = world(reader)
    with start(pages, up, hosts=False) as n:
        a = ask(n)
        assert a.status == 403 and "fetch_hosts" in a.error()["message"] and up.asked == [], a.body
    with start(pages, up) as n:
        assert ask(n, n=2).status == 400
        assert ask(n, headers={"Hearth-Tools": "shell"}).status == 400
        assert n.post("/v1/embeddings", {"model": "u/alpha", "input": "x"}, headers=ASK).status == 400
        mine = {"type": "function", "function": {"name": "web_fetch", "parameters": {"type": "object"}}}
        assert ask(n, tools=[mine]).status == 400
        assert n.get("/v1/models", headers=ASK).status == 200


@test
def the_clients_own_tools_stay_the_clients():
    weather = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    pages, up = world(lambda body, pages: [call(pages.url + "/page.html"), call("x", "call_w", "weather", 1), ({}, "tool_calls")])
    with start(pages, up) as n:
        choice = ask(n, tools=[weather]).json["choices"][0]
        assert [c["function"]["name"] for c in choice["message"]["tool_calls"]] == ["weather"] and choice["finish_reason"] == "tool_calls", choice
        assert pages.asked == [] and [t["function"]["name"] for t in up.asked[-1][1]["tools"]] == ["weather", "web_fetch"]


@test
def a_client_that_leaves_and_a_node_that_stops_end_the_fetch():
    pages, up = world(reader)
    pages.plain["/page.html"] = b"<p>" + b"x" * 3000000
    pages.delay = 0.2
    with start(pages, up) as n:
        s = n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True}, headers=ASK)
        next(s.events())
        wait_for("the page is being fetched", 10, lambda: any("page.html" in p for p in pages.paths()))
        s.close()
        wait_for("nothing is left of it", 5, lambda: n.status()["connections"] <= 1 and n.active() == 0)
        s = n.stream("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "x"}], "stream": True}, headers=ASK)
        next(s.events())
        wait_for("the next page is being fetched", 10, lambda: sum("page.html" in p for p in pages.paths()) == 2)
        n.process.terminate()
        wait_for("it ends", 60, lambda: (n.process.terminate(), n.process.poll() is not None)[1], 0.3)  # a second signal cuts it off
        s.close()


run_tests()
