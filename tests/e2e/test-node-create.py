#!/usr/bin/env python3
"""Models made of others (POST /api/create): what they bring to every API, what they share, what is refused; show, tags and ps of them."""
import hashlib
import json
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "pull"))
from modelserver import Server  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"].split()
STARTER = os.path.join(SOURCE, "models", "starter.gguf")
TOOLS = [{"type": "function", "function": {"name": "lamp", "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}}}]
ASK = "I would like to book a table for two."


def node(*settings, **kw):
    return Node(PROGRAM, ("--model", "starter") + settings, models=kw.pop("models", [("starter", STARTER)]), **kw)


def create(n, model, **body):
    return n.post("/api/create", dict(body, model=model, stream=False))


def rendered(n, model, messages, **more):
    """How many tokens a conversation takes: what was put in front of it shows."""
    return n.post("/tokenize", dict(more, model=model, messages=messages)).json["count"]


def user(text=ASK):
    return [{"role": "user", "content": text}]


@test
def both_forms_make_a_model_that_every_api_serves_with_its_settings():
    with node() as n:
        a = n.post("/api/create", {"model": "short", "from": "starter", "parameters": {"temperature": 0, "num_predict": 3, "seed": 7}, "system": "Be brief."})
        lines = [json.loads(line) for line in a.body.decode().splitlines()]
        assert a.status == 200 and lines[-1] == {"status": "success"} and all("status" in x for x in lines), a.body
        modelfile = 'FROM starter\n# a comment\nPARAMETER temperature 0\nparameter num_predict 3\nPARAMETER seed 7\nSYSTEM """Be\nbrief."""\n'
        assert create(n, "older", modelfile=modelfile).json == {"status": "success"}
        for model in ("short", "older", "short:latest"):
            got = n.chat(ASK, model=model).json
            assert got["usage"]["completion_tokens"] == 3 and got["choices"][0]["finish_reason"] == "length", got
            again = n.chat(ASK, model=model).json
            assert again["choices"][0]["message"] == got["choices"][0]["message"]
            assert n.chat(ASK, model=model, max_tokens=5, ignore_eos=True).json["usage"]["completion_tokens"] == 5, "the request's own wish counts"
            o = n.post("/api/chat", {"model": model, "messages": user(), "stream": False}).json
            assert o["eval_count"] == 3 and o["done_reason"] == "length", o
            g = n.post("/api/generate", {"model": model, "prompt": ASK, "stream": False}).json
            assert g["eval_count"] == 3 and g["response"] == o["message"]["content"], (g, o)
            m = n.post("/v1/messages", {"model": model, "messages": user(), "max_tokens": 4}).json
            assert 0 < m["usage"]["output_tokens"] <= 4
            assert n.post("/v1/responses", {"model": model, "input": ASK}).json["usage"]["output_tokens"] == 3
        assert n.chat(ASK, model="short", max_tokens=1).json["model"] == "short"
        assert "short" in [m["id"] for m in n.get("/v1/models").json["data"]]


@test
def the_system_message_and_first_messages_go_in_front_once():
    jinja = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    first = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    with node() as n:
        assert create(n, "made", **{"from": "starter", "system": "SYS", "messages": first, "template": jinja, "parameters": {"num_predict": 2}}).status == 200

        def same(messages, expected):
            want = n.post("/tokenize", {"model": "starter", "content": expected, "add_special": True}).json["tokens"]
            assert rendered(n, "made", messages) == len(want), (messages, expected)

        same(user("hi"), "<system>SYS<user>one<assistant>two<user>hi")
        same([{"role": "system", "content": "MINE"}] + user("hi"), "<system>MINE<user>one<assistant>two<user>hi")
        # A conversation that is gone on with does not get them twice.
        a = n.post("/v1/responses", {"model": "made", "input": "hi"}).json
        before = a["usage"]["input_tokens"]
        b = n.post("/v1/responses", {"model": "made", "input": "ho", "previous_response_id": a["id"]}).json
        assert b["usage"]["input_tokens"] < 2 * before, (a["usage"], b["usage"])


@test
def names_share_one_file_one_process_and_outlive_each_other():
    with node() as n:
        models = os.path.join(n.home, "models")
        os.remove(os.path.join(models, "starter.gguf"))
        with open(STARTER, "rb") as f, open(os.path.join(models, "base.gguf"), "wb") as to:
            to.write(f.read())
        assert create(n, "made", **{"from": "base", "parameters": {"num_predict": 1}}).status == 200
        assert n.post("/api/copy", {"source": "made", "destination": "copied"}).status == 200
        inode = os.stat(os.path.join(models, "base.gguf")).st_ino
        assert all(os.stat(os.path.join(models, f"{x}.gguf")).st_ino == inode for x in ("made", "copied"))
        for model in ("base", "made", "copied"):
            assert n.chat(ASK, model=model, max_tokens=2).status == 200
        assert len(n.status()["runners"]) == 1, n.status()["runners"]
        assert {m["name"] for m in n.get("/api/ps").json["models"]} == {"base:latest", "made:latest", "copied:latest"}
        # A context of its own that the loaded one does not have takes a process of its own; a smaller one does not.
        assert create(n, "small", **{"from": "base", "parameters": {"num_ctx": 128}}).status == 200
        assert n.chat(ASK, model="small", max_tokens=1).status == 200 and len(n.status()["runners"]) == 1
        assert n.ask("DELETE", "/api/delete", {"model": "base"}).status == 200
        wait_for("base is let go", 5, lambda: n.status()["runners"] == [])
        assert n.chat(ASK, model="base").status == 404
        got = n.chat(ASK, model="copied").json
        assert got["usage"]["completion_tokens"] == 1 and got["model"] == "copied"
        assert n.chat("hello " * 40, model="small").status == 200
        assert n.ask("DELETE", "/api/delete", {"model": "made"}).status == 200
        assert n.chat(ASK, model="copied").status == 200
        for model in ("copied", "small"):
            assert n.ask("DELETE", "/api/delete", {"model": model}).status == 200
        assert [f for f in os.listdir(models) if not f.startswith(".")] == []


@test
def a_smaller_context_is_what_its_process_is_made_for():
    with node() as n:
        assert create(n, "small", **{"from": "starter", "parameters": {"num_ctx": 64}}).status == 200
        a = n.chat("hello " * 40, model="small")
        assert a.status == 400 and "64" in a.error()["message"], a.body
        assert n.chat("hello " * 40, max_tokens=1).status == 200, "the base has its own length"
        assert len(n.status()["runners"]) == 2


@test
def making_it_anew_replaces_it_and_inherits():
    with node() as n:
        assert create(n, "a", **{"from": "starter", "system": "ONE", "parameters": {"num_predict": 2, "top_k": 5}}).status == 200
        assert create(n, "b", **{"from": "a", "parameters": {"num_predict": 4, "stop": ["never", "ever"]}}).status == 200
        assert n.chat(ASK, model="b", temperature=0).json["usage"]["completion_tokens"] == 4
        show = n.post("/api/show", {"model": "b"}).json
        assert show["system"] == "ONE" and show["details"]["parent_model"] == "a"
        params = [line.split(None, 1) for line in show["parameters"].split("\n")]
        assert ["num_predict", "4"] in params and ["top_k", "5"] in params and ["stop", '"never"'] in params, params
        assert show["modelfile"].startswith("FROM a\n") and 'PARAMETER stop ' in show["modelfile"] and "SYSTEM ONE" in show["modelfile"]
        # What show gives makes the same model again.
        assert create(n, "c", modelfile=show["modelfile"]).status == 200
        assert n.post("/api/show", {"model": "c"}).json["parameters"] == show["parameters"]
        assert create(n, "a", **{"from": "starter", "parameters": {"num_predict": 1}}).status == 200
        assert n.chat(ASK, model="a", temperature=0).json["usage"]["completion_tokens"] == 1
        assert n.post("/api/show", {"model": "a"}).json.get("system") is None


@test
def what_cannot_be_made_is_refused_by_name():
    s = Server()
    with node("--registry", s.url) as n:
        base = {"from": "starter"}
        for body, status, word in (({}, 400, "from"), ({"from": "nosuch"}, 404, "nosuch"), ({"from": "./x.gguf"}, 403, "hearth pull"), ({"from": "a/../../b"}, 400, "registry"), (dict(base, parameters={"warmth": 1}), 400, "warmth"),
                                   (dict(base, parameters={"temperature": "hot"}), 400, "temperature"), (dict(base, parameters={"top_p": 7}), 400, "top_p"),
                                   (dict(base, quantize="q4_K_X"), 400, "Q4_K_M"), (dict(base, adapters={"a": "b"}), 501, "adapters"),
                                   (dict(base, template="{% for %}"), 400, "template"), (dict(base, messages=[{"role": "tool", "content": ""}]), 400, "messages"),
                                   (dict(base, system=5), 400, "system"), ({"modelfile": "SYSTEM x"}, 400, "FROM"),
                                   ({"modelfile": "FROM starter\nADAPTER x"}, 501, "adapters"), ({"modelfile": "FROM starter\nWARM 3"}, 400, "line 2"),
                                   ({"modelfile": "FROM starter\n\nPARAMETER temperature hot"}, 400, "line 3"), ({"modelfile": 'FROM starter\nSYSTEM """open'}, 400, "line 2")):
            a = create(n, "bad", **body)
            assert a.status in (status, 400 if status == 501 else status) and word in a.json["error"], (body, a.status, a.body)
        for name in ("../x", ".hidden", "a b", "", "x" * 300):
            assert n.post("/api/create", {"model": name, "from": "starter"}).status == 400, name
        assert [f for f in sorted(os.listdir(os.path.join(n.home, "models"))) if f != ".pull"] == ["starter.gguf"]
        # Weights of its own are not written over.
        with open(os.path.join(n.home, "models", "own.gguf"), "wb") as f:
            f.write(b"x" * 100)
        a = create(n, "own", **base)
        assert a.status == 409 and "delete" in a.json["error"], a.body


@test
def a_go_template_makes_the_prompt():
    go = "{{ if .System }}<<{{ .System }}>>{{ end }}[{{ .Prompt }}]{{ .Response }};"
    new = """{{ range $i, $m := .Messages }}{{ .Role }}: {{ .Content }}{{ range .ToolCalls }}<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}</tool_call>{{ end }}
{{ end }}{{ with .Tools }}{{ . }}{{ end }}{{ if .IsThinkSet }}{{ .Think }}{{ end }}{{ if .Suffix }}{{ .Suffix }}{{ end }}"""
    calls = [{"id": "c", "type": "function", "function": {"name": "lamp", "arguments": '{"on": true}'}}]
    with node() as n:
        def same(model, messages, expected, **more):
            want = n.post("/tokenize", {"model": "starter", "content": expected, "add_special": True}).json["tokens"]
            assert rendered(n, model, messages, **more) == len(want), (model, messages, expected)

        assert create(n, "go", **{"from": "starter", "template": go, "system": "SYS"}).json == {"status": "success"}
        show = n.post("/api/show", {"model": "go"}).json
        assert show["template"] == go and "TEMPLATE " + go in show["modelfile"] and show["capabilities"] == ["completion"], show
        same("go", user("hi"), "<<SYS>>[hi]")
        same("go", user("a") + [{"role": "assistant", "content": "b"}] + user("c"), "<<SYS>>[a]b;[c]")
        assert create(n, "new", **{"from": "starter", "template": new}).status == 200
        assert n.post("/api/show", {"model": "new"}).json["capabilities"] == ["completion", "tools", "insert", "thinking"]
        same("new", user("hi") + user("you"), "user: hi\n\nyou\n")
        same("new", user("on") + [{"role": "assistant", "content": "", "tool_calls": calls}, {"role": "tool", "content": "done", "tool_call_id": "c"}],
             'user: on\nassistant: <tool_call>{"name": "lamp", "arguments": {"on":true}}</tool_call>\ntool: done\n')
        same("new", user("hi"), 'user: hi\n[{"type":"function","function":{"name":"lamp","parameters":{"type":"object","required":["on"],"properties":{"on":{"type":"boolean"}}}}}]', tools=TOOLS)
        # Its notation of calls binds a forced one, and what is said is read in it.
        for seed in range(2):
            a = n.chat("lamp?", model="new", tools=TOOLS, tool_choice="required", seed=seed, max_tokens=200, parallel_tool_calls=False).json["choices"][0]
            assert a["finish_reason"] == "tool_calls" and isinstance(json.loads(a["message"]["tool_calls"][0]["function"]["arguments"])["on"], bool), a
        o = n.post("/api/chat", {"model": "new", "messages": user(), "tools": TOOLS, "think": False, "stream": False, "options": {"num_predict": 2}}).json
        assert o["done"] and n.post("/api/chat", {"model": "new", "messages": user(), "think": True, "stream": False, "options": {"num_predict": 2}}).json["prompt_eval_count"] < o["prompt_eval_count"]
        g = n.post("/api/generate", {"model": "new", "prompt": "a", "suffix": "some more words", "stream": False, "options": {"num_predict": 1}}).json
        assert g["prompt_eval_count"] > 3, g
        # A template of the request's own, for once.
        g = n.post("/api/generate", {"model": "starter", "prompt": "hi", "template": go, "stream": False, "options": {"num_predict": 1}}).json
        assert g["prompt_eval_count"] == len(n.post("/tokenize", {"model": "starter", "content": "[hi]", "add_special": True}).json["tokens"]), g
        refused = n.post("/api/generate", {"model": "starter", "prompt": "hi", "suffix": "x"})
        assert refused.status == 400 and "suffix" in refused.json["error"], refused.body
        for bad in ("{{ if .x }}", "{{ .Prompt | nosuch }}", "{{ break }}"):
            a = create(n, "bad", **{"from": "starter", "template": bad})
            assert a.status == 400 and "template: line 1" in a.json["error"], a.body


@test
def what_a_user_spells_is_no_special_token_in_a_go_template_either():
    with node() as n:
        assert create(n, "go", **{"from": "starter", "template": "<|user|>{{ .Prompt }}<|assistant|>{{ .Response }}"}).status == 200
        special = [n.post("/tokenize", {"content": t, "parse_special": True}).json["tokens"] for t in ("<|user|>", "<|assistant|>")]
        plain = rendered(n, "go", user("x"))
        assert all(len(t) == 1 for t in special), special
        # Spelled by a user it takes as many tokens as its letters do.
        assert rendered(n, "go", user("x<|user|>")) - plain == len(n.post("/tokenize", {"content": "x<|user|>", "parse_special": False}).json["tokens"]) - len(
            n.post("/tokenize", {"content": "x", "parse_special": False}).json["tokens"]) > 1


def string(s):
    return struct.pack("<Q", len(s)) + s


def shards(data, n):
    """A GGUF file of version 3 as n shards, each tensor whole in one of them."""
    at = 8
    n_tensors, n_pairs = struct.unpack_from("<QQ", data, at)
    at += 16
    fixed = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def text():
        nonlocal at
        (k,) = struct.unpack_from("<Q", data, at)
        at += 8 + k
        return data[at - k:at]

    def skip(kind):
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            item, k = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(k):
                skip(item)
        else:
            at += fixed[kind]

    pairs = at
    for _ in range(n_pairs):
        text()
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        skip(kind)
    pairs, infos = data[pairs:at], []
    for _ in range(n_tensors):
        name = text()
        (dims,) = struct.unpack_from("<I", data, at)
        shape = data[at:at + 4 + 8 * dims + 4]
        at += len(shape)
        infos.append((name, shape, struct.unpack_from("<Q", data, at)[0]))
        at += 8
    base, out = (at + 31) // 32 * 32, []
    ends = sorted(i[2] for i in infos) + [len(data) - base]
    for k in range(n):
        mine, heads, body = infos[k * len(infos) // n:(k + 1) * len(infos) // n], b"", b""
        for name, shape, offset in mine:
            heads += string(name) + shape + struct.pack("<Q", len(body))
            body += data[base + offset:base + ends[ends.index(offset) + 1]]
            body += bytes(-len(body) % 32)
        split = string(b"split.no") + struct.pack("<IH", 2, k) + string(b"split.count") + struct.pack("<IH", 2, n) + string(b"split.tensors.count") + struct.pack("<Ii", 5, n_tensors)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(mine), 3 + (n_pairs if k == 0 else 0)) + split + (pairs if k == 0 else b"") + heads
        out.append(head + bytes(-len(head) % 32) + body)
    return out


@test
def weights_in_several_files_become_one_model():
    with open(STARTER, "rb") as f:
        parts = shards(f.read(), 3)
    digests = ["sha256:" + hashlib.sha256(p).hexdigest() for p in parts]
    with node() as n:
        for digest, part in zip(digests, parts):
            assert n.ask("POST", "/api/blobs/" + digest, part).status == 201
        files = {f"x-{i:05}-of-00003.gguf": digests[i - 1] for i in (3, 1, 2)}
        assert create(n, "twice", files=dict(files, **{"x-00004-of-00003.gguf": digests[0]})).status == 400
        assert create(n, "parts", files=files, quantize="q8_0").status in (400, 501)
        assert create(n, "parts", files=files).json == {"status": "success"}
        assert sorted(os.listdir(os.path.join(n.home, "models"))) == [".pull", "parts-00001-of-00003.gguf", "parts-00002-of-00003.gguf", "parts-00003-of-00003.gguf", "parts.json", "starter.gguf"]
        ask = lambda model: n.chat(ASK, model=model, temperature=0, max_tokens=8).json["choices"][0]["message"]  # noqa: E731
        assert ask("parts") == ask("starter")


@test
def what_it_is_made_from_is_pulled_and_quantised_first():
    s = Server()
    with open(STARTER, "rb") as f:
        data = f.read()
    s.add_registry("tiny", data, tag="latest", system="BASE")
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with node("--registry", s.url) as n:
        a = n.post("/api/create", {"model": "mine", "from": "tiny", "parameters": {"num_predict": 2}})
        lines = [json.loads(line) for line in a.body.decode().splitlines()]
        assert a.status == 200 and lines[-1] == {"status": "success"} and any(x.get("digest") == digest for x in lines), a.body
        assert n.post("/api/show", {"model": "mine"}).json["system"] == "BASE" and n.chat(ASK, model="mine").json["usage"]["completion_tokens"] <= 2
        assert {m["name"] for m in n.get("/api/tags").json["models"]} == {"mine:latest", "starter:latest", "tiny:latest"}
        a = n.post("/api/create", {"model": "small", "from": "starter", "quantize": "q4_K_M", "system": "S"})
        lines = [json.loads(line)["status"] for line in a.body.decode().splitlines()]
        assert a.status == 200 and lines[0] == "quantizing model to Q4_K_M" and lines[-1] == "success", a.body
        show = n.post("/api/show", {"model": "small"}).json
        assert show["details"]["quantization_level"] == "Q4_K_M" and show["details"]["parent_model"] == "starter" and show["system"] == "S", show["details"]
        assert n.chat(ASK, model="small", max_tokens=3).json["usage"]["completion_tokens"] <= 3
        # Of a blob, and over what was made before.
        assert n.ask("POST", "/api/blobs/" + digest, data).status == 201
        assert create(n, "small", files={"a.gguf": digest}, quantize="Q5_0").json == {"status": "success"}
        assert n.post("/api/show", {"model": "small"}).json["details"]["quantization_level"] == "Q5_0"
        assert os.listdir(os.path.join(n.home, "models", ".pull")) == []
        # Weights of its own are not written over, and nothing is done before that is known.
        assert create(n, "tiny", **{"from": "starter", "quantize": "q8_0"}).status == 409
        # What is no model is said by whoever read it.
        broken = b"GGUF" + b"x" * 100
        other = "sha256:" + hashlib.sha256(broken).hexdigest()
        assert n.ask("POST", "/api/blobs/" + other, broken).status == 201
        a = create(n, "bad", files={"a.gguf": other}, quantize="q8_0")
        assert a.status in (400, 501) and "quantis" in a.json["error"], a.body
        assert not any("bad" in f or "upload" in f for _, _, names in os.walk(os.path.join(n.home, "models")) for f in names)
    s.close()


@test
def weights_sent_along_become_a_model():
    with open(STARTER, "rb") as f:
        data = f.read()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    path = "/api/blobs/" + digest
    with node("--max-body", "100K") as n:  # a blob is no body that is kept in memory
        pull = os.path.join(n.home, "models", ".pull")
        assert n.ask("HEAD", path).status == 404
        assert create(n, "sent", files={"a.gguf": digest}).status == 404
        fds = len(os.listdir(f"/proc/{n.process.pid}/fd"))
        assert n.ask("POST", path, data).status == 201 and n.ask("HEAD", path).status == 200
        a = create(n, "sent", files={"a.gguf": digest}, parameters={"num_predict": 2}, system="S")
        assert a.status == 200, a.body
        assert n.chat(ASK, model="sent").json["usage"]["completion_tokens"] == 2
        assert n.ask("HEAD", path).status == 404 and os.listdir(pull) == [], "it was taken"
        # In pieces of no announced length; by an older client's Modelfile; over the one that was made before.
        assert n.ask("POST", path, iter([data[:100000], data[100000:]])).status == 201
        assert create(n, "sent", modelfile=f"FROM @{digest}\nPARAMETER num_predict 1\n").status == 200
        assert n.chat(ASK, model="sent").json["usage"]["completion_tokens"] == 1
        # What is not what it says, is no digest, is no GGUF.
        wrong = "sha256:" + "0" * 64
        a = n.ask("POST", "/api/blobs/" + wrong, data)
        assert a.status == 400 and digest[7:] in a.json["error"], a.body
        assert n.ask("POST", "/api/blobs/sha256:../../x", data).status == 400 and n.ask("POST", "/api/blobs/sha256:" + "A" * 64, b"x").status == 400
        assert n.ask("DELETE", path).status == 405
        text = b"no weights"
        other = "sha256:" + hashlib.sha256(text).hexdigest()
        assert n.ask("POST", "/api/blobs/" + other, text).status == 201
        a = create(n, "text", files={"a": other})
        assert a.status in (400, 501) and "GGUF" in a.json["error"], a.body
        # A client that leaves in the middle leaves nothing behind.
        s = n.connect()
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:1000000])
        wait_for("it comes", 5, lambda: any(f.startswith("upload-") for f in os.listdir(pull)))
        s.close()
        wait_for("it is gone", 5, lambda: not any(f.startswith("upload-") for f in os.listdir(pull)))
        # Larger than the disk.
        s = n.connect()
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 55}\r\n\r\n".encode())
        assert b" 500 " in s.recv(65536).split(b"\r\n")[0]
        s.close()
        wait_for("descriptors are back", 5, lambda: len(os.listdir(f"/proc/{n.process.pid}/fd")) <= fds + 4)
        assert n.ask("POST", "/v1/chat/completions", b"x" * 200000).status == 413
        # The settings' key is asked for before a byte is taken.
    with node("--api-key", "secret") as n:
        s = n.connect()
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        assert b" 401 " in s.recv(65536).split(b"\r\n")[0] and not os.path.exists(os.path.join(n.home, "models", ".pull"))
        s.close()
        assert n.ask("POST", path, data, headers={"Authorization": "Bearer secret"}).status == 201


@test
def what_a_registry_sends_along_holds_in_every_api():
    s = Server()
    with open(STARTER, "rb") as f:
        data = f.read()
    go = "{{ if .System }}<|system|>{{ .System }}{{ end }}<|user|>{{ .Prompt }}"
    s.add_registry("tiny", data, tag="1b", system="SYS", template=go, license="MIT\nand more", messages=json.dumps([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]),
                   params=json.dumps({"num_predict": 2, "stop": ["never"], "temperature": 0, "top_p": "nonsense", "num_gpu": 9}))
    with node("--registry", s.url) as n:
        assert n.post("/api/pull", {"model": "tiny:1b", "stream": False}).json == {"status": "success"}
        show = n.post("/api/show", {"model": "tiny:1b"}).json
        assert show["template"] == go and show["system"] == "SYS" and show["license"].startswith("MIT\n") and len(show["messages"]) == 2, show
        # The digest is known from the pull: nothing has to be read for it.
        assert {m["name"]: m["digest"] for m in n.get("/api/tags").json["models"]}["tiny-1b:latest"] == hashlib.sha256(data).hexdigest()
        for answer in (n.chat(ASK, model="tiny:1b"), n.post("/v1/responses", {"model": "tiny:1b", "input": ASK})):
            usage = answer.json["usage"]
            assert usage.get("completion_tokens", usage.get("output_tokens")) <= 2, "what is wrong in them costs only that"
        assert n.post("/api/chat", {"model": "tiny:1b", "messages": user(), "stream": False}).json["eval_count"] <= 2
        assert rendered(n, "tiny:1b", user()) > rendered(n, "starter", user()) + 4
        # A model made of it inherits, and outlives it.
        assert create(n, "mine", **{"from": "tiny:1b", "system": "MY"}).status == 200
        assert n.ask("DELETE", "/api/delete", {"model": "tiny:1b"}).status == 200
        show = n.post("/api/show", {"model": "mine"}).json
        assert show["system"] == "MY" and "num_predict" in show["parameters"] and n.chat(ASK, model="mine").json["usage"]["completion_tokens"] <= 2
    s.close()


@test
def show_is_whole_and_the_digest_is_of_the_bytes():
    with node() as n:
        show = n.post("/api/show", {"model": "starter"}).json
        assert show["template"].endswith("%}") and len(show["template"]) > 256 and "tokenizer.chat_template" not in show["model_info"], show["template"]
        info = show["model_info"]
        assert info["llama.context_length"] == 256 and info["tokenizer.ggml.tokens"] is None and info["general.architecture"] == "llama"
        with open(STARTER, "rb") as f:
            expected = hashlib.sha256(f.read()).hexdigest()
        digest = lambda: {m["name"]: m["digest"] for m in n.get("/api/tags").json["models"]}["starter:latest"]  # noqa: E731
        wait_for("the digest", 10, lambda: digest() == expected, 0.05)


run_tests()
