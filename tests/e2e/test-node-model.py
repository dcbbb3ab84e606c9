#!/usr/bin/env python3
"""The real node with real runners and the starter model: answers, several at once, disconnects, death, unloading, limits."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, alive, cpu_seconds, in_parallel, resident_bytes, run_tests, test, wait_for  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"].split()
STARTER = os.path.join(SOURCE, "models", "starter.gguf")
CHAT = "/v1/chat/completions"
ASK = "I would like to book a table for two."


def node(*settings, **kw):
    return Node(PROGRAM, ("--model", "starter") + settings, kw.pop("env", {}), models=kw.pop("models", [("starter", STARTER)]), **kw)


def messages(text=ASK):
    return {"messages": [{"role": "user", "content": text}]}


@test
def a_prompt_is_given_back_with_its_logprobs_as_evaluation_harnesses_ask():
    text = "I would like to book a table for two. " * 12
    with node(env={"HEARTH_SLOTS": "2"}) as n, tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write(text)
        f.flush()
        done = subprocess.run([os.path.join(os.path.dirname(PROGRAM[0]), "hearth"), "perplexity", STARTER, f.name, "--json"], stdout=subprocess.PIPE, check=True)
        want = json.loads(done.stdout)
        assert len(want["tokens"]) > 120

        def check(prompt, **more):
            c = n.post("/v1/completions", dict(more, prompt=prompt, temperature=0, echo=True)).json
            rows = c["choices"][0]["logprobs"]
            k = len(want["tokens"])
            assert rows["token_logprobs"][0] is None and rows["top_logprobs"][0] is None and len(rows["tokens"]) == k + more["max_tokens"], c
            assert all(abs(a - b) < 0.1 for a, b in zip(rows["token_logprobs"][1:k], want["logprob_next"])), (rows["token_logprobs"][:9], want["logprob_next"][:9])
            if more["logprobs"]:
                assert all(len(t) == more["logprobs"] and max(t.values()) >= p - 1e-6 for t, p in zip(rows["top_logprobs"][1:], rows["token_logprobs"][1:]))
            assert c["usage"]["completion_tokens"] == more["max_tokens"] and c["usage"]["prompt_tokens"] == k and c["choices"][0]["text"].startswith(text)
            shown = c["choices"][0]["text"]
            assert all(shown.startswith(t.strip() or t, o) or shown.startswith(t, o) or t == "<s>" for t, o in zip(rows["tokens"], rows["text_offset"])), rows
            return rows

        first = check(text, max_tokens=1, logprobs=2)
        # What others have computed is not taken from: the same again, by tokens, with others beside it, without an answer.
        asks = [lambda: check(want["tokens"], max_tokens=0, logprobs=0), lambda: check(text, max_tokens=1, logprobs=1),
                lambda: n.chat(ASK, max_tokens=60, ignore_eos=True).status]
        results = in_parallel(3, lambda i: asks[i]())
        assert results[2] == 200 and results[1]["tokens"] == first["tokens"]
        events = list(n.stream("/v1/completions", {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0, "stream": True}).events())
        tokens = [t for e in events[:-1] if e["choices"][0]["logprobs"] for t in e["choices"][0]["logprobs"]["tokens"]]
        assert tokens == first["tokens"] and "".join(e["choices"][0]["text"] for e in events[:-1]).startswith(text)


@test
def the_starter_answers_whole_and_streamed_alike():
    with node() as n:
        cold = n.chat(ASK, temperature=0, max_tokens=30)
        assert cold.status == 200, cold.body
        text = cold.json["choices"][0]["message"]["content"]
        assert len(text) > 5 and cold.json["usage"]["completion_tokens"] > 2
        start = time.monotonic()
        s = n.stream(CHAT, dict(messages(), temperature=0, max_tokens=30, stream=True, stream_options={"include_usage": True}))
        first, pieces, last = None, "", None
        for e in s.events():
            if e != "[DONE]" and e["choices"] and e["choices"][0]["delta"].get("content"):
                first = first or time.monotonic()
                pieces += e["choices"][0]["delta"]["content"]
            last = e
        print(f"# first token of a loaded model: {(first - start) * 1000:.1f} ms")
        assert pieces == text and last == "[DONE]", (pieces, text)
        # A seed makes chance repeat itself.
        a, b, c = (n.chat(ASK, temperature=1.5, seed=k, max_tokens=30).json["choices"][0]["message"]["content"] for k in (7, 7, 8))
        assert a == b and a != c, (a, b, c)


@test
def every_endpoint_reaches_the_model():
    with node() as n:
        tokens = n.post("/tokenize", {"content": "Hello there"}).json["tokens"]
        assert len(tokens) >= 2 and all(isinstance(t, int) for t in tokens)
        assert n.post("/detokenize", {"tokens": tokens}).json["content"].strip() == "Hello there"
        pieces = n.post("/tokenize", {"content": "Hello there", "with_pieces": True}).json["tokens"]
        assert [p["id"] for p in pieces] == tokens and "Hello" in pieces[0]["piece"]
        chat = n.post("/tokenize", messages()).json["count"]
        assert chat > len(n.post("/tokenize", {"content": ASK}).json["tokens"])
        a = n.chat(ASK, max_tokens=1)
        assert a.json["usage"]["prompt_tokens"] == chat, (a.json, chat)
        a = n.post("/v1/completions", {"prompt": "Hello", "max_tokens": 4, "temperature": 0, "echo": True})
        assert a.json["choices"][0]["text"].startswith("Hello") and a.json["choices"][0]["finish_reason"] == "length"
        b = n.post("/v1/completions", {"prompt": n.post("/tokenize", {"content": "Hello", "add_special": True}).json["tokens"], "max_tokens": 4, "temperature": 0})
        assert "Hello" + b.json["choices"][0]["text"] == a.json["choices"][0]["text"], (a.json, b.json)
        a = n.post("/v1/embeddings", {"input": ["Hello", "Goodbye"]})
        vectors = [d["embedding"] for d in a.json["data"]]
        assert len(vectors[0]) == 256 and vectors[0] != vectors[1]
        assert all(abs(sum(x * x for x in v) - 1) < 1e-3 for v in vectors)
        a = n.chat(ASK, logprobs=True, top_logprobs=3, max_tokens=5, temperature=0)
        rows = a.json["choices"][0]["logprobs"]["content"]
        assert len(rows) == 5 and all(len(r["top_logprobs"]) == 3 and r["logprob"] <= 0 for r in rows)
        assert b"".join(bytes(r["bytes"]) for r in rows).decode().strip() == a.json["choices"][0]["message"]["content"].strip()
        assert all(abs(r["logprob"] - r["top_logprobs"][0]["logprob"]) < 1e-4 for r in rows)  # greedy takes the likeliest
        stop = a.json["choices"][0]["message"]["content"].split()[1]
        b = n.chat(ASK, stop=stop, max_tokens=5, temperature=0).json["choices"][0]
        assert stop not in b["message"]["content"] and b["finish_reason"] == "stop"
        banned = rows[0]["top_logprobs"][0]["token"]
        token = n.post("/tokenize", {"content": banned.strip()}).json["tokens"][0]
        c = n.chat(ASK, logit_bias={str(token): -100}, max_tokens=5, temperature=0).json["choices"][0]["message"]["content"]
        assert c != a.json["choices"][0]["message"]["content"]
        a = n.chat(ASK, n=3, max_tokens=8, seed=1)
        assert len({c["message"]["content"] for c in a.json["choices"]}) > 1 and a.json["usage"]["prompt_tokens"] == chat


@test
def twelve_at_once_answer_as_if_alone():
    with node("--parallel", "4") as n:
        asks = [f"I need {w} for {i} people." for i, w in enumerate(("a taxi", "a hotel room", "a table", "tickets"), 2)] * 3
        alone = {a: n.chat(a, temperature=0, max_tokens=24).json["choices"][0]["message"]["content"] for a in set(asks)}
        together = in_parallel(12, lambda i: n.chat(asks[i], temperature=0, max_tokens=24))
        for ask, answer in zip(asks, together):
            assert answer.status == 200, answer.body
            assert answer.json["choices"][0]["message"]["content"] == alone[ask], (ask, answer.json, alone[ask])
        assert n.active() == 0


@test
def a_client_that_leaves_frees_its_slot():
    with node("--parallel", "1") as n:
        n.chat(max_tokens=1)
        for streaming in (True, False):
            s = n.connect()
            body = json.dumps(dict(messages(), stream=streaming, ignore_eos=True, max_tokens=240, n=64))
            s.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            wait_for("it runs", 5, lambda: n.status()["runners"][0]["active"] > 0)
            start = time.monotonic()
            s.close()
            wait_for("its slot is free", 60, lambda: n.status()["runners"][0]["active"] == 0, 0.005)
            print(f"# streaming={streaming}: {(time.monotonic() - start) * 1000:.0f} ms")
            assert n.chat(max_tokens=1).status == 200
        assert n.status()["requests"]["cancelled"] >= 2


def kill_runner(n):
    pid = n.status()["runners"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


@test
def a_runner_killed_in_the_middle_is_said_and_replaced():
    with node() as n:
        s = n.stream(CHAT, dict(messages(), stream=True, ignore_eos=True, max_tokens=200, n=32))
        events = s.events()
        next(events)
        waiting = n.connect()
        body = json.dumps(dict(messages(), ignore_eos=True, max_tokens=240))
        waiting.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for("both run", 5, lambda: n.status()["runners"][0]["active"] > 8)
        kill_runner(n)
        last = list(events)[-1]
        assert "died" in last["error"]["message"] or "killed" in last["error"]["message"] or "signal" in last["error"]["message"], last
        answer = waiting.recv(65536)
        assert answer.startswith(b"HTTP/1.1 502"), answer
        wait_for("nothing is left of it", 1, lambda: n.active() == 0)
        assert n.chat(ASK, max_tokens=5).status == 200
        assert n.status()["requests"]["failed"] >= 2


@test
def an_idle_model_unloads_and_its_process_is_gone():
    with node("--keep-alive", "1s") as n:
        busy = n.stream(CHAT, dict(messages(), stream=True, ignore_eos=True, max_tokens=200, n=8))
        next(busy.events())
        pid = n.status()["runners"][0]["pid"]
        assert alive(pid)
        busy.close()
        wait_for("the process is gone", 60, lambda: not alive(pid))
        wait_for("the router knows it", 60, lambda: n.status()["runners"] == [])
        idle = resident_bytes(n.process.pid)
        print(f"# the idle daemon has {idle / 1e6:.1f} MB resident")
        assert n.chat(max_tokens=1).status == 200


def copies(n, *names):
    """The starter under other names, with weights of their own."""
    with open(STARTER, "rb") as f:
        data = f.read()
    for name in names:
        with open(os.path.join(n.home, "models", name + ".gguf"), "wb") as f:
            f.write(data)


@test
def several_models_share_a_budget_and_the_least_recently_used_idle_one_gives_way():
    with node("--memory", "100M") as n:
        copies(n, "a", "b", "c")
        assert n.chat(max_tokens=1, model="a").status == 200 and n.chat(max_tokens=1, model="b").status == 200
        assert {r["model"] for r in n.status()["runners"]} == {"a", "b"}
        time.sleep(0.02)
        assert n.chat(max_tokens=1, model="a").status == 200
        busy = n.stream(CHAT, dict(messages(), model="a", stream=True, ignore_eos=True, max_tokens=240, n=32))
        next(busy.events())
        assert n.chat(max_tokens=1, model="c").status == 200
        s = n.status()
        assert {r["model"] for r in s["runners"]} == {"a", "c"}, s["runners"]
        assert s["memory"]["budget_bytes"] == 100 << 20 and 0 < s["memory"]["used_bytes"] <= 100 << 20
        for r in s["runners"]:  # chosen, and said
            assert r["context"] == 256 and r["slots"] == 8 and 0 < r["memory_bytes"] and 0 < r["planned_bytes"] < 60 << 20, r
        busy.close()
        assert "unloading b to make room" in n.log() and "8 slots of 256 tokens" in n.log()
        # All at once: each waits its turn, none is refused.
        answers = in_parallel(9, lambda i: n.chat(max_tokens=1, model="abc"[i % 3]))
        assert all(a.status == 200 for a in answers), [a.body for a in answers if a.status != 200]


@test
def a_model_that_cannot_fit_is_refused_with_the_numbers():
    with node("--memory", "60M") as n:
        for path, body in ((CHAT, messages()), ("/api/chat", dict(messages(), model="starter"))):
            a = n.post(path, body)
            assert a.status == 503 and "68 MiB" in a.body.decode() and "60 MiB" in a.body.decode() and "memory" in a.body.decode(), a.body
        assert n.status()["runners"] == []
    with node("--context", "100000", "--memory", "100M") as n:
        a = n.chat()
        assert a.status in (500, 503) and "100000 tokens" in a.error()["message"] and "MiB" in a.error()["message"], a.body


@test
def a_prompt_that_does_not_fit_is_refused_with_both_numbers():
    with node() as n:
        for stream in (False, True):
            a = n.chat("hello " * 400, stream=stream)
            assert a.status == 400 and a.error()["code"] == "context_length_exceeded", a.body
            words = a.error()["message"]
            assert "256" in words and any(w.isdigit() and int(w) > 400 for w in words.replace(",", " ").split()), words
        assert n.chat(max_tokens=1).status == 200


@test
def listings_tell_what_is_in_the_files():
    with node(models=[("starter", STARTER), ("broken", None)]) as n:
        tags = {m["name"]: m for m in n.get("/api/tags").json["models"]}
        assert tags["starter:latest"]["details"]["family"] == "llama" and tags["starter:latest"]["details"]["quantization_level"] == "Q8_0"
        assert tags["starter:latest"]["details"]["parameter_size"] == "4.72M" and tags["broken:latest"]["details"]["family"] == ""
        show = n.post("/api/show", {"model": "starter"}).json
        assert show["model_info"]["general.architecture"] == "llama" and show["model_info"]["llama.context_length"] == 256
        assert "completion" in show["capabilities"] and "bos_token" in show["template"]
        assert n.status()["runners"] == []  # nothing was loaded for it


@test
def bad_models_are_refused_and_the_node_lives_on():
    with node(models=[("starter", STARTER), ("empty", None)]) as n:
        with open(STARTER, "rb") as f:
            data = f.read()
        with open(os.path.join(n.home, "models", "cut.gguf"), "wb") as f:
            f.write(data[: len(data) // 2])
        for name in ("empty", "cut"):
            a = n.chat(model=name)
            assert a.status == 500 and name in a.error()["message"], a.body
        assert n.chat(max_tokens=1).status == 200
        assert n.chat(model="nothing").status == 404


@test
def words_stay_out_of_the_log():
    with node("--log-level", "debug") as n:
        secret = "xylophone"
        n.chat(f"my {secret}", max_tokens=3)
        n.chat(f"my {secret} " * 200)
        n.post(CHAT, '{"messages":[{"role":"user","content":"xylophone"')
        n.post("/v1/embeddings", {"input": secret})
        kill_runner(n)
        n.chat(f"my {secret}", max_tokens=3)
        assert secret not in n.log() and "req-" in n.log()


@test
def ending_while_answers_stream():
    with node("--shutdown", "1s", "--parallel", "24") as n:
        streams = [n.stream(CHAT, dict(messages(), stream=True, ignore_eos=True, max_tokens=240, n=64)) for _ in range(3)]
        for s in streams:
            next(s.events())
        pid = n.status()["runners"][0]["pid"]
        n.process.send_signal(signal.SIGTERM)
        for s in streams:
            assert "stopping" in list(s.events())[-1]["error"]["message"]
        n.stop()
        assert not alive(pid)


@test
def a_loaded_model_that_nobody_asks_uses_no_processor_time():
    with node("--threads", "4") as n:
        n.chat(ASK, max_tokens=20)
        with open(f"/proc/{n.process.pid}/task/{n.process.pid}/children") as f:
            pids = [n.process.pid] + [int(pid) for pid in f.read().split()]
        assert len(pids) == 2, pids

        def rests():
            before = [cpu_seconds(pid) for pid in pids]
            time.sleep(1.5)
            return all(cpu_seconds(pid) - b <= 0.02 for pid, b in zip(pids, before))

        wait_for("both come to rest", 60, rests)


run_tests()
