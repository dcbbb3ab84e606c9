#!/usr/bin/env python3
"""The node over fake runners: everything about HTTP and the life of a request that needs no model."""
import base64
import json
import os
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import HANG, Node, in_parallel, resident_bytes, run_tests, test, wait_for  # noqa: E402

PROGRAM = os.environ["HEARTH_FAKE_NODE"]
SETTINGS = ("--model", "alpha", "--log-level", "info")


def node(*settings, **kw):
    env = kw.pop("env", {})
    return Node([PROGRAM], SETTINGS + settings, env, models=[("alpha", None), ("beta", None)], **kw)


CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


@test
def a_stream_has_one_id_the_role_first_the_finish_alone_and_done():
    with node() as n:
        s = n.stream(CHAT, dict(HELLO, stream=True, n=2, stream_options={"include_usage": True}))
        assert s.status == 200 and s.r.headers["Content-Type"] == "text/event-stream"
        assert s.r.headers["Hearth-Served-By"] == "here" and s.r.headers["Hearth-Request-Id"].startswith("req-")
        events = list(s.events())
        assert events.pop() == "[DONE]"
        assert len({e["id"] for e in events}) == 1 and len({e["created"] for e in events}) == 1
        usage = events.pop()
        assert usage["choices"] == [] and usage["usage"] == {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15,
                                                             "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
        assert all("usage" not in e for e in events)
        for k in range(2):
            mine = [e["choices"][0] for e in events if e["choices"][0]["index"] == k]
            assert mine[0]["delta"] == {"role": "assistant", "content": ""}
            assert mine[-1]["delta"] == {} and mine[-1]["finish_reason"] == "stop"
            assert all(c["finish_reason"] is None for c in mine[:-1])
            assert "".join(c["delta"].get("content", "") for c in mine) == "word0 word1 word2 word3 word4 "
        # Without being asked, no usage.
        events = list(n.stream(CHAT, dict(HELLO, stream=True)).events())
        assert all("usage" not in e for e in events[:-1])


@test
def whole_answers_of_each_endpoint():
    with node() as n:
        a = n.post(CHAT, dict(HELLO, max_completion_tokens=2))
        c = a.json["choices"][0]
        assert a.status == 200 and c["message"]["content"] == "word0 word1 " and c["finish_reason"] == "length"
        assert a.json["object"] == "chat.completion" and a.json["id"].startswith("chatcmpl-") and a.json["model"] == "alpha"
        a = n.post("/v1/completions", {"prompt": ["x", "y"], "n": 2, "max_tokens": 1})
        assert [(c["index"], c["text"]) for c in a.json["choices"]] == [(i, "word0 ") for i in range(4)]
        assert a.json["usage"]["prompt_tokens"] == 10 and a.json["usage"]["completion_tokens"] == 4
        events = list(n.stream("/v1/completions", {"prompt": "x", "stream": True, "max_tokens": 2}).events())
        assert "".join(e["choices"][0]["text"] for e in events[:-1]) == "word0 word1 " and events[-1] == "[DONE]"
        a = n.post("/v1/embeddings", {"input": ["a", "b", "c"], "dimensions": 1})
        assert [d["index"] for d in a.json["data"]] == [0, 1, 2] and a.json["data"][1]["embedding"] == [1]
        a = n.post("/v1/embeddings", {"input": [1, 2, 3], "encoding_format": "base64"})
        values = struct.unpack("<4f", base64.b64decode(a.json["data"][0]["embedding"]))
        assert abs(values[0] - 0.6) < 1e-6 and abs(values[1] - 0.8) < 1e-6
        assert n.post("/v1/embeddings", {"input": "a", "dimensions": 5}).status == 400
        assert n.post("/v1/embeddings", {"input": [f"text {i}" for i in range(100)]}).json["data"][99]["index"] == 99
        assert n.post("/tokenize", {"content": "abc"}).json == {"tokens": [1, 2, 3], "count": 3}
        assert n.post("/detokenize", {"tokens": [1, 2]}).json["content"].startswith("word0")
        assert [m["id"] for m in n.get("/v1/models").json["data"]] == ["alpha", "beta"]
        assert n.get("/v1/models/beta").json["id"] == "beta"
        a = n.get("/v1/models/gamma")
        assert a.status == 404 and a.error()["code"] == "model_not_found"
        a = n.chat(model="gamma")
        assert a.status == 404 and "gamma" in a.error()["message"]
        assert n.get("/health").json == {"status": "ok"}
        metrics = n.get("/metrics").body.decode()
        assert 'hearth_requests_total{outcome="done"}' in metrics and "hearth_first_result_seconds_bucket" in metrics


@test
def the_front_door_knows_a_browser_from_a_program():
    with node() as n:
        a = n.get("/")
        assert a.body == b"Ollama is running"
        assert n.ask("HEAD", "/").status == 200
        a = n.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
        assert b"<h1>Hearth is running</h1>" in a.body and f"127.0.0.1:{n.port}/v1".encode() in a.body
        assert n.get("/nowhere").status == 404
        a = n.ask("PUT", CHAT, "{}")
        assert a.status == 405 and a.headers["Allow"] == "POST"
        assert n.get(CHAT).status == 405


@test
def every_field_of_the_wrong_type_is_named():
    wrong = {
        CHAT: {"messages": [None, 5, "x", {}, [], [5], [{}], [{"role": "user"}], [{"role": "wizard", "content": "x"}],
                            [{"role": "user", "content": 5}], [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
                            [{"role": "user", "content": [{"type": "text", "text": 5}]}],
                            [{"role": "assistant", "tool_calls": 5}], [{"role": "assistant", "tool_calls": [{}]}]],
               "model": [5, [], {}], "stream": [5, "yes"], "stream_options": [5, "x"], "max_tokens": ["x", 1.5, [], -7],
               "max_completion_tokens": ["x"], "temperature": ["hot", -1, 1e9], "top_p": ["x", 2, -0.1], "top_k": ["x", 1.5], "n": [0, "x", 1000],
               "stop": [5, [5], ["x"] * 20, "x" * 1000], "seed": ["x", 1.5, []], "presence_penalty": ["x"], "frequency_penalty": [[]],
               "logit_bias": [5, [], {"x": 1}, {"5": "x"}, {"-1": 1}], "logprobs": [5, "x"], "top_logprobs": [-1, 21, "x", 3],
               "tools": [5, {}, [5], [{"type": "function"}], [{"type": "web"}]], "tool_choice": [5, "maybe", "required"],
               "response_format": [5, {}, {"type": "json_schema"}], "chat_template_kwargs": [5, []], "ignore_eos": [5], "keep_alive": ["soon", []]},
        "/v1/completions": {"prompt": [None, 5, {}, [], [{}], ["x", 5], [[1, "x"]], [-1], [1.5]], "model": [5], "suffix": [5, "x"], "echo": [5],
                            "n": [0], "best_of": [5, "x"], "logprobs": ["x", 100], "max_tokens": ["x"], "stop": [5]},
        "/v1/embeddings": {"input": [None, 5, {}, [], "", [""], [[]], [{}], [1, "x"]], "encoding_format": [5, "hex"], "dimensions": [0, "x"]},
        "/tokenize": {"content": [5, [], {}], "messages": [5, []], "with_pieces": [5], "add_special": [5]},
        "/detokenize": {"tokens": [None, 5, "x", ["x"], [-1]]},
    }
    good = {CHAT: HELLO, "/v1/completions": {"prompt": "x"}, "/v1/embeddings": {"input": "x"}, "/tokenize": {"content": "x"}, "/detokenize": {"tokens": []}}
    with node() as n:
        for path, fields in wrong.items():
            for field, values in fields.items():
                for value in values:
                    body = dict(good[path], **{field: value})
                    a = n.post(path, body)
                    assert a.status == 400, (path, field, value, a.status, a.body)
                    e = a.error()
                    assert set(e) == {"message", "type", "param", "code"} and e["type"] == "invalid_request_error", (path, field, value, e)
                    assert e["param"] and e["param"].split("[")[0].split(".")[0] == field, (path, field, value, e)
        # Unknown fields and nulls are ignored.
        a = n.post(CHAT, dict(HELLO, store=True, metadata={"a": 1}, user="u", temperature=None, stop=None, tools=None, seed=2**70, logit_bias={},
                              service_tier="auto", parallel_tool_calls=True, max_tokens=1))
        assert a.status == 200, a.body
        # Nothing of all this left anything behind.
        assert n.active() == 0


@test
def bodies_that_are_no_json_are_refused_with_the_place():
    with node() as n:
        for body, place in (("", None), ("{", "line 1"), ('{"a":1}x', "line 1"), ("[" * 10000 + "]" * 10000, "column"), ('{"messages":' + '{"a":' * 10000, "column"),
                            ('{"a":"\xff\xfe"}'.encode("latin1"), "column"), (b'{"a":"\x00"}', "column"), ('{"a":1,"a":2}', "line"), ("[1]", None), ('"x"', None),
                            ("null", None), ('{"messages":[{"role":"user","content":"\\ud800"}]}', "column")):
            a = n.post(CHAT, body)
            assert a.status == 400, (body[:50], a.status)
            assert place is None or place in a.error()["message"], a.error()
            if len(body) > 100:
                assert len(a.body) < 1000
        a = n.post(CHAT, b"{}", headers={"Content-Encoding": "gzip"})
        assert a.status == 400 and a.error()["param"] == "Content-Encoding"
        a = n.post(CHAT, HELLO, headers={"Hearth-Privacy": "everyone"})
        assert a.status == 400 and a.error()["param"] == "Hearth-Privacy"
        assert n.post(CHAT, HELLO, headers={"Hearth-Privacy": "public"}).status == 200


@test
def a_body_of_100_mb_is_refused_and_costs_no_memory():
    with node() as n:
        before = resident_bytes(n.process.pid)
        s = n.connect()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n")
        chunk, got = b"x" * (1 << 20), b""
        s.settimeout(0.0)
        sent = 0
        end = time.monotonic() + HANG
        while sent < 104857600 and time.monotonic() < end and b"413" not in got:
            try:
                sent += s.send(chunk)
            except BlockingIOError:
                time.sleep(0.001)
            except (BrokenPipeError, ConnectionResetError):
                break
            try:
                got += s.recv(65536)
            except BlockingIOError:
                pass
        assert got.startswith(b"HTTP/1.1 413"), got[:100]
        assert resident_bytes(n.process.pid) - before < 40 << 20
        s.close()
        # And in chunks, which do not say their length.
        s = n.connect()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(100):
                s.sendall(b"100000\r\n" + chunk + b"\r\n")
            s.sendall(b"0\r\n\r\n")
            got = s.recv(65536)
            assert got.startswith(b"HTTP/1.1 413"), got[:100]
        except (BrokenPipeError, ConnectionResetError):
            pass
        s.close()
        assert n.chat().status == 200


@test
def headers_too_large_and_requests_too_slow():
    with node() as n:
        a = n.get("/health", headers={"X-Big": "x" * 40000})
        assert a.status == 431
        slow = []
        for i in range(200):
            s = n.connect()
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHo")
            slow.append(s)
        for _ in range(3):
            for s in slow:
                try:
                    s.send(b"x")
                except OSError:
                    pass
            assert n.chat().status == 200
        assert n.status()["connections"] <= 300
        for s in slow:
            s.close()
        wait_for("the slow ones are gone", 60, lambda: n.status()["connections"] == 1)


@test
def a_client_that_leaves_frees_its_place():
    with node(env={"FAKE_PIECES": "100000", "FAKE_PIECE_MS": "5"}) as n:  # minutes long, if nobody noticed
        for streaming in (True, False):
            s = n.connect()
            body = json.dumps(dict(HELLO, stream=streaming))
            s.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            wait_for("it runs", 5, lambda: n.active() == 1)
            if streaming:
                assert b"200 OK" in s.recv(4096)
            start = time.monotonic()
            s.close()
            wait_for("its place is free", 60, lambda: n.active() == 0, 0.005)
            print(f"# streaming={streaming}: free after {(time.monotonic() - start) * 1000:.0f} ms, as seen over HTTP")
        assert n.status()["requests"]["cancelled"] == 2


@test
def a_client_that_leaves_while_its_model_loads_is_forgotten():
    with node(env={"FAKE_LOAD_MS": "300000"}) as n:
        s = n.connect()
        body = json.dumps(HELLO)
        s.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for("it waits", 5, lambda: n.status()["requests"]["waiting"] == 1)
        s.close()
        wait_for("it is forgotten", 60, lambda: n.active() == 0)


@test
def more_than_slots_and_queue_get_503_with_retry_after():
    with node("--queue", "3", env={"FAKE_PIECES": "100000", "FAKE_PIECE_MS": "5", "FAKE_SLOTS": "2"}) as n:
        assert n.chat(max_tokens=1).status == 200
        held = [n.connect() for _ in range(5)]  # two answers that do not end, and three that wait for them
        body = json.dumps(HELLO)
        for s in held:
            s.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for("five are there", 60, lambda: n.active() == 5)
        for a in in_parallel(5, lambda i: n.chat()):
            assert a.status == 503 and int(a.headers["Retry-After"]) >= 1 and a.error()["type"] == "overloaded_error", a.body
        for s in held:
            s.close()
        wait_for("they are gone", 60, lambda: n.active() == 0)
        assert n.chat(max_tokens=1).status == 200
        assert n.status()["requests"]["refused"] == 5


@test
def a_load_that_takes_too_long_is_503_and_goes_on():
    with node("--load-timeout", "1s", env={"FAKE_LOAD_MS": "1500"}) as n:
        a = n.chat()
        assert a.status == 503 and "loading" in a.error()["message"] and a.headers["Retry-After"]
        assert n.chat().status == 200
        assert n.status()["runners"][0]["eta_s"] is None


@test
def a_long_load_says_how_far_it_is_and_when_to_come_back():
    with node("--load-timeout", "1s", env={"FAKE_LOAD_MS": "12000"}) as n:
        a, b, c = in_parallel(3, lambda i: (n.chat, lambda: n.post("/api/chat", {"model": n.status()["default_model"], "messages": [{"role": "user", "content": "x"}]}),
                                            lambda: n.post("/v1/messages", {"model": n.status()["default_model"], "max_tokens": 5,
                                                                            "messages": [{"role": "user", "content": "x"}]}))[i]())
        for answer, words in ((a, a.error()["message"]), (b, b.json["error"]), (c, c.error()["message"])):
            assert answer.status == 503, answer.body
            eta = int(answer.headers["Retry-After"])
            assert 1 <= eta <= 60 and "%" in words and f"about {eta} s left" in words, (eta, words)
        runner = n.status()["runners"][0]
        assert runner["state"] == "loading" and 0 < runner["progress"] < 1 and 1 <= runner["eta_s"] <= 60, runner


@test
def strangers_names_and_pages_are_turned_away():
    with node("--allowed-hosts", "hearth.lan,.home.example", "--allowed-origins", "https://chat.example") as n:
        for host, ok in (("localhost", 1), (f"localhost:{n.port}", 1), ("127.0.0.1", 1), ("[::1]:99", 1), ("a.localhost", 1), ("hearth.lan:80", 1),
                         ("HEARTH.LAN", 1), ("x.home.example", 1), ("evil.example", 0), ("localhost.evil.example", 0), ("hearth.lan.evil.example", 0),
                         ("192.168.1.5", 0), ("", 0), ("127.0.0.1.evil.example:4327", 0), ("[::1", 0), ("home.example", 0)):
            a = n.get("/v1/models", headers={"Host": host})
            assert a.status == (200 if ok else 403), (host, a.status)
        for origin, ok in ((f"http://127.0.0.1:{n.port}", 1), ("https://chat.example", 1), ("http://chat.example", 0), ("https://evil.example", 0),
                           ("null", 0), ("http://127.0.0.1:1", 0), ("http://localhost", 0)):
            a = n.post(CHAT, dict(HELLO, max_tokens=1), headers={"Origin": origin, "Host": f"127.0.0.1:{n.port}"})
            assert a.status == (200 if ok else 403), (origin, a.status)
            assert a.headers.get("Access-Control-Allow-Origin") == (origin if origin == "https://chat.example" else None)
            a = n.ask("OPTIONS", CHAT, headers={"Origin": origin, "Host": f"127.0.0.1:{n.port}", "Access-Control-Request-Method": "POST",
                                                "Access-Control-Request-Headers": "content-type,authorization"})
            assert a.status == (204 if ok else 403), (origin, a.status)
            if origin == "https://chat.example":
                assert a.headers["Access-Control-Allow-Origin"] == origin and "authorization" in a.headers["Access-Control-Allow-Headers"]
        assert "hearth_denied_total" in n.get("/metrics").body.decode()


@test
def the_key_is_asked_for_and_needed_beyond_loopback():
    with node(env={"HEARTH_API_KEY": "correct horse"}) as n:
        for headers, ok in (({}, 0), ({"Authorization": "Bearer wrong"}, 0), ({"Authorization": "Bearer correct horse"}, 1), ({"x-api-key": "correct horse"}, 1),
                            ({"Authorization": "bearer correct horse"}, 1), ({"Authorization": "correct horse"}, 0), ({"Authorization": "Bearer "}, 0),
                            ({"x-api-key": ""}, 0)):
            a = n.get("/v1/models", headers=headers)
            assert a.status == (200 if ok else 401), (headers, a.status)
            if not ok:
                assert a.headers["WWW-Authenticate"] == "Bearer" and a.error()["code"] == "invalid_api_key"
        assert n.get("/health").status == 200 and n.get("/").status == 200
        assert n.get("/hearth/status").status == 401 and n.get("/metrics").status == 401
        assert n.post("/hearth/stop", {"model": "alpha"}).status == 401
    n = node("--listen", "0.0.0.0:0", expect_start=False)
    assert n.process.wait(HANG) == 1 and "api_key" in n.log(), n.log()
    n.process.stdout.close()
    with node("--listen", "0.0.0.0:0", env={"HEARTH_API_KEY": "k"}) as n:
        assert n.get("/v1/models", headers={"Authorization": "Bearer k", "Host": "192.168.1.7:4327"}).status == 200
        assert n.get("/v1/models", headers={"Authorization": "Bearer k", "Host": "evil.example"}).status == 403


@test
def a_port_that_is_taken_is_said():
    with node() as n:
        other = node("--listen", f"127.0.0.1:{n.port}", expect_start=False)
        assert other.process.wait(HANG) == 1 and "taken" in other.log()
        other.process.stdout.close()


def accepts(n):
    try:
        socket.create_connection(("127.0.0.1", n.port), HANG).close()
        return True
    except ConnectionRefusedError:
        return False


@test
def an_ending_node_lets_answers_finish():
    with node(env={"FAKE_PIECES": "60", "FAKE_PIECE_MS": "10"}) as n:
        s = n.stream(CHAT, dict(HELLO, stream=True))
        events = s.events()
        next(events)
        idle = n.connect()
        n.process.send_signal(signal.SIGTERM)
        wait_for("it accepts no more", 60, lambda: not accepts(n))
        rest = list(events)
        assert rest[-1] == "[DONE]" and rest[-2]["choices"][0]["finish_reason"] == "stop"
        n.stop()
        idle.close()


@test
def an_ending_node_cuts_off_what_does_not_finish_in_time():
    with node("--shutdown", "1s", env={"FAKE_PIECES": "100000", "FAKE_PIECE_MS": "10"}) as n:
        s = n.stream(CHAT, dict(HELLO, stream=True))
        events = s.events()
        next(events)
        start = time.monotonic()
        n.process.send_signal(signal.SIGTERM)
        last = list(events)[-1]
        assert "stopping" in last["error"]["message"], last
        assert 0.8 < time.monotonic() - start, "it was given the time that the setting says"
        n.stop()
    # A second signal does not wait.
    with node("--shutdown", "60s", env={"FAKE_PIECES": "100000", "FAKE_PIECE_MS": "10", "FAKE_SLOTS": "1"}) as n:
        s = n.stream(CHAT, dict(HELLO, stream=True))
        next(s.events())
        n.process.send_signal(signal.SIGINT)
        wait_for("the first is heard", 60, lambda: not accepts(n))  # two at once would be one
        assert n.process.poll() is None
        begun = time.monotonic()
        n.stop(signal.SIGINT)
        assert time.monotonic() - begun < 59, "it waited for the answer"


@test
def stop_unloads_and_status_tells():
    with node() as n:
        assert n.status()["runners"] == []
        assert n.post("/hearth/stop", {"model": "alpha"}).status == 404
        n.chat()
        r = n.status()["runners"][0]
        assert r["model"] == "alpha" and r["state"] == "ready" and r["active"] == 0 and r["slots"] == 2 and r["unload_in_s"] > 0
        assert n.post("/hearth/stop", {"model": "alpha"}).json == {"stopped": True}
        wait_for("it is unloaded", 2, lambda: n.status()["runners"] == [])
        assert n.post("/hearth/stop", {}).status == 400 and n.post("/hearth/stop", "x").status == 400
        n.chat(keep_alive=0)
        wait_for("keep_alive 0 unloads at once", 2, lambda: n.status()["runners"] == [])


@test
def ollama_speaks_lines_and_manages_models():
    with node() as n:
        lines = [json.loads(line) for line in n.stream("/api/chat", dict(HELLO, model="alpha")).lines()]
        assert [x["done"] for x in lines] == [False] * 5 + [True]
        assert "".join(x["message"]["content"] for x in lines) == "word0 word1 word2 word3 word4 "
        last = lines[-1]
        assert last["done_reason"] == "stop" and last["prompt_eval_count"] == 5 and last["eval_count"] == 5 and last["model"] == "alpha"
        assert all(isinstance(last[k], int) for k in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"))
        a = n.post("/api/generate", {"model": "alpha:latest", "prompt": "x", "stream": False, "options": {"num_predict": 2, "num_ctx": 4096, "stop": ["q"]}})
        assert a.json["response"] == "word0 word1 " and a.json["done_reason"] == "length" and a.json["model"] == "alpha:latest"
        assert n.post("/api/generate", {"model": "alpha", "prompt": "x", "raw": True, "stream": False}).json["done"] is True
        a = n.post("/api/embed", {"model": "alpha", "input": ["a", "b"]})
        assert len(a.json["embeddings"]) == 2 and a.json["prompt_eval_count"] == 6
        assert len(n.post("/api/embeddings", {"model": "alpha", "prompt": "a"}).json["embedding"]) == 4
        # An empty prompt loads; with keep_alive 0 it unloads.
        assert n.post("/api/generate", {"model": "beta"}).json["done_reason"] == "load"
        assert {m["name"] for m in n.get("/api/ps").json["models"]} == {"alpha:latest", "beta:latest"}
        assert n.post("/api/chat", {"model": "beta", "messages": [], "keep_alive": 0}).json["done_reason"] == "unload"
        wait_for("it is unloaded", 2, lambda: len(n.get("/api/ps").json["models"]) == 1)
        tags = n.get("/api/tags").json["models"]
        assert [m["name"] for m in tags] == ["alpha:latest", "beta:latest"] and len(tags[0]["digest"]) == 64
        assert n.get("/api/version").json["version"].count(".") == 2
        for path, body, status in (("/api/chat", {"model": "gone", "messages": HELLO["messages"]}, 404), ("/api/chat", {"messages": []}, 400),
                                   ("/api/generate", {"model": "alpha", "prompt": 5}, 400), ("/api/generate", {"model": "alpha", "prompt": "x", "options": 5}, 400),
                                   ("/api/generate", {"model": "alpha", "prompt": "x", "images": ["aa"]}, 400), ("/api/show", {"model": "gone"}, 404),
                                   ("/api/generate", {"model": "alpha", "prompt": "x", "options": {"temperature": "hot"}}, 400),
                                   ("/api/embed", {"model": "alpha", "input": []}, 400), ("/api/copy", {"source": "alpha"}, 400),
                                   ("/api/copy", {"source": "alpha", "destination": "../x y"}, 400), ("/api/copy", {"source": "alpha", "destination": "beta"}, 409),
                                   ("/api/copy", {"source": "gone", "destination": "x"}, 404), ("/api/pull", {"model": 5}, 400)):
            a = n.post(path, body)
            assert a.status == status and isinstance(a.json["error"], str), (path, body, a.status, a.body)
        assert n.post("/api/copy", {"source": "alpha", "destination": "Mine/new:v2"}).status == 200
        assert n.post("/api/generate", {"model": "Mine/new:v2", "prompt": "x", "stream": False}).status == 200
        assert n.ask("DELETE", "/api/delete", {"model": "Mine/new:v2"}).status == 200
        assert n.ask("DELETE", "/api/delete", {"name": "beta"}).status == 200
        assert n.ask("DELETE", "/api/delete", {"name": "beta"}).status == 404
        assert [m["name"] for m in n.get("/api/tags").json["models"]] == ["alpha:latest"]
        assert os.listdir(os.path.join(n.home, "models")) == ["alpha.gguf"]
        assert b'"success"' in n.post("/api/pull", {"model": "alpha"}).body


@test
def a_thousand_requests_leave_nothing_behind():
    # AddressSanitizer keeps freed memory back, which would look like a leak.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    with node(env={"FAKE_PIECE_MS": "1", "FAKE_SLOTS": "8", "ASAN_OPTIONS": asan}) as n:
        def some(k):
            import http.client
            c = http.client.HTTPConnection("127.0.0.1", n.port, timeout=60)
            for i in range(60):
                c.request("POST", CHAT, json.dumps(dict(HELLO, max_tokens=1, stream=i % 2 == 0)))
                r = c.getresponse()
                assert r.status == 200, r.read()
                r.read()
            c.close()

        in_parallel(4, some)
        def value(name):
            return int([line for line in n.get("/metrics").body.decode().split("\n") if line.startswith(name + " ")][0].split()[1])

        fds, memory = value("process_open_fds"), value("process_resident_memory_bytes")
        for _ in range(3):
            in_parallel(4, some)
        # The node closes the connections that we closed when it comes to them.
        wait_for("all descriptors are back", 60, lambda: value("process_open_fds") <= fds, 0.05)
        grown = value("process_resident_memory_bytes") - memory
        print(f"# 720 more requests: {grown / 1024:.0f} KiB more resident, {memory / 1e6:.1f} MB before")
        assert grown < 8 << 20
        assert value("hearth_requests_active") == 0


run_tests()
