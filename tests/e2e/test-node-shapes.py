#!/usr/bin/env python3
"""Answers whose shape is asked for, with the real node and the starter model, which knows nothing: forced tool calls through each API, schemas,
grammars. Whatever the model would rather say, each answer has its shape."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"].split()
STARTER = os.path.join(SOURCE, "models", "starter.gguf")
CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "Will it rain?"}]
SCHEMA = {"type": "object", "properties": {"place": {"type": "string", "enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9},
                                           "when": {"type": "string", "format": "date"}},
          "required": ["place", "days"], "additionalProperties": False}
OTHER = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}},
         {"type": "function", "function": {"name": "lamp", "parameters": OTHER}}]
FLAT = [dict(t["function"], type="function") for t in TOOLS]
BLOCKS = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in TOOLS]
# One of each way to write a call that the starter's tokens can spell.
TEMPLATES = {"hermes": "<tool_call>", "thinks": "<tool_call><think></think>", "coder": "<function=<parameter=", "llama": "<|python_tag|>", "mistral": "[TOOL_CALLS][ARGS]",
             "gptoss": "<|channel|><|message|>", "kimi": "<|tool_calls_section_begin|>", "glm": "<arg_key>"}


def node(*settings):
    return Node(PROGRAM, ("--model", "starter") + settings, models=[("starter", STARTER)])


def fits(name, arguments):
    if name == "lamp":
        return set(arguments) == {"on"} and isinstance(arguments["on"], bool)
    return name == "weather" and {"place", "days"} <= set(arguments) <= {"place", "days", "when"} and arguments["place"] in ("Oslo", "Rome") and arguments["days"] in range(1, 10)


def check_calls(calls):
    assert len(calls) >= 1
    for name, arguments in calls:
        assert fits(name, arguments), (name, arguments)


@test
def a_required_call_is_valid_through_every_api():
    with node() as n:
        for seed in range(3):
            more = {"seed": seed, "temperature": 1}
            a = n.post(CHAT, dict(more, messages=USER, tools=TOOLS, tool_choice="required", max_tokens=400))
            assert a.status == 200, a.body
            choice = a.json["choices"][0]
            assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None, a.body
            check_calls([(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in choice["message"]["tool_calls"]])
            r = n.post("/v1/responses", dict(more, input="Will it rain?", tools=FLAT, tool_choice="required", max_output_tokens=400)).json
            assert r["status"] == "completed" and all(i["type"] == "function_call" for i in r["output"]), r
            check_calls([(i["name"], json.loads(i["arguments"])) for i in r["output"]])
            m = n.post("/v1/messages", dict(more, messages=USER, tools=BLOCKS, tool_choice={"type": "any"}, max_tokens=400)).json
            assert m["stop_reason"] == "tool_use" and all(b["type"] == "tool_use" for b in m["content"]), m
            check_calls([(b["name"], b["input"]) for b in m["content"]])


@test
def a_named_call_streams_as_its_parts():
    with node() as n:
        events = list(n.stream(CHAT, {"messages": USER, "tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "lamp"}}, "stream": True, "seed": 1}).events())
        assert events.pop() == "[DONE]"
        calls = [c for e in events for c in e["choices"][0]["delta"].get("tool_calls", [])]
        assert calls[0]["function"]["name"] == "lamp" and calls[0]["id"] and len(calls) > 1
        assert fits("lamp", json.loads("".join(c["function"]["arguments"] for c in calls)))
        assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert not any(e["choices"][0]["delta"].get("content") for e in events)


@test
def every_notation_can_be_forced():
    with node() as n:
        body = "{%- for m in messages %}{{ m.content }}{%- endfor %}{%- if false %}MARKS{%- endif %}"
        for name, marks in TEMPLATES.items():
            made = n.post("/api/create", {"model": name, "from": "starter", "template": body.replace("MARKS", marks), "stream": False})
            assert made.status == 200, made.body
            a = n.post(CHAT, {"model": name, "messages": USER, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False, "seed": 1, "max_tokens": 450})
            assert a.status == 200, (name, a.body)
            choice = a.json["choices"][0]
            if choice["finish_reason"] == "length" and choice["message"].get("reasoning_content"):
                continue  # it thinks for ever: that is its right
            assert choice["finish_reason"] == "tool_calls" and len(choice["message"]["tool_calls"]) == 1, (name, a.body)
            check_calls([(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in choice["message"]["tool_calls"]])


@test
def what_is_asked_for_follows_the_reasoning_that_the_prompt_opened():
    with node() as n:
        template = "{% for m in messages %}<|user|>{{ m.content }}\n{% endfor %}<|assistant|><think>{% if false %}<tool_call></think>{% endif %}"
        assert n.post("/api/create", {"model": "thinks", "from": "starter", "template": template, "stream": False}).status == 200
        body = {"model": "thinks", "messages": [{"role": "user", "content": "I want a table"}], "seed": 1, "max_tokens": 80}
        a = n.post(CHAT, dict(body, tools=TOOLS[1:], tool_choice="required", parallel_tool_calls=False)).json["choices"][0]
        assert a["finish_reason"] == "tool_calls" and a["message"]["reasoning_content"] and a["message"]["content"] is None, a
        check_calls([(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in a["message"]["tool_calls"]])
        a = n.post(CHAT, dict(body, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": OTHER}})).json["choices"][0]
        assert a["message"]["reasoning_content"] and fits("lamp", json.loads(a["message"]["content"])), a


@test
def a_schema_binds_the_text_of_every_api():
    with node() as n:
        wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}
        for seed in (1,):
            texts = [n.post(CHAT, {"messages": USER, "response_format": wanted, "seed": seed}).json["choices"][0]["message"]["content"],
                     n.post("/v1/responses", {"input": "x", "text": {"format": dict(wanted["json_schema"], type="json_schema")}, "seed": seed}).json["output"][0]["content"][0]["text"],
                     n.post("/api/chat", {"model": "starter", "messages": USER, "stream": False, "format": SCHEMA, "options": {"seed": seed}}).json["message"]["content"],
                     n.post("/api/generate", {"model": "starter", "prompt": "x", "stream": False, "format": SCHEMA, "options": {"seed": seed}}).json["response"],
                     n.post("/v1/messages", {"messages": USER, "max_tokens": 300, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}).json["content"][0]["text"],
                     n.post("/v1/completions", {"prompt": "x", "json_schema": SCHEMA, "max_tokens": 300, "seed": seed}).json["choices"][0]["text"]]
            for text in texts:
                assert fits("weather", json.loads(text)), text
        a = n.post(CHAT, {"messages": USER, "response_format": {"type": "json_object"}, "max_tokens": 30}).json["choices"][0]["message"]["content"]
        assert isinstance(json.loads(a), dict), a


@test
def what_has_no_limit_is_ended_in_time():
    # Strings and lists without end, as most people write their schemas: the context, or max_tokens, would cut them somewhere.
    loose = {"type": "object", "properties": {"text": {"type": "string"}, "items": {"type": "array", "items": {"type": "string"}}}, "required": ["text", "items"]}
    tools = [{"type": "function", "function": {"name": "note", "parameters": loose}}]
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": loose}}
    with node() as n:
        for seed in range(6):
            more = {"messages": USER, "seed": seed, "temperature": 1, **({"max_tokens": 60} if seed % 2 else {})}
            choice = n.post(CHAT, dict(more, tools=tools, tool_choice="required")).json["choices"][0]
            assert choice["finish_reason"] == "tool_calls", choice
            for call in choice["message"]["tool_calls"]:
                assert {"text", "items"} <= set(json.loads(call["function"]["arguments"])), choice
            a = n.post(CHAT, dict(more, response_format=wanted)).json
            assert a["choices"][0]["finish_reason"] == "stop" and {"text", "items"} <= set(json.loads(a["choices"][0]["message"]["content"])), a
            assert a["usage"]["completion_tokens"] <= more.get("max_tokens", 256), a
        # Four tokens hold no such object: that is said.
        assert n.post(CHAT, {"messages": USER, "response_format": wanted, "max_tokens": 4}).json["choices"][0]["finish_reason"] == "length"


@test
def a_grammar_is_obeyed_and_a_wrong_one_named():
    with node() as n:
        for path, body in ((CHAT, {"messages": USER}), ("/v1/completions", {"prompt": "x"})):
            a = n.post(path, dict(body, grammar='root ::= ("yes" | "no") " sir"', temperature=1)).json["choices"][0]
            assert a.get("text", a.get("message", {}).get("content")) in ("yes sir", "no sir") and a["finish_reason"] == "stop", a
            wrong = n.post(path, dict(body, grammar='root ::= yes'))
            assert wrong.status == 400 and wrong.error()["param"] == "grammar" and "yes" in wrong.error()["message"], wrong.body


@test
def what_docs_api_md_says_of_fields_is_so():
    with node() as n:
        picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
        works = [
            (CHAT, dict(messages=USER, max_tokens=1, user="u", metadata={"a": "b"}, store=True, service_tier="auto", prediction={"type": "content"}, verbosity="low", n_predict=1, typical_p=0.9,
                        mirostat=0, repeat_last_n=3, keep_alive="1m", chat_template_kwargs={"a": 1}, reasoning_effort="low", modalities=["text"], safety_identifier="s", prompt_cache_key="k")),
            ("/v1/completions", dict(prompt=[[1, 2], [3]], max_tokens=1, n=2, logprobs=1, best_of=2)),
            ("/v1/completions", dict(prompt="x", max_tokens=1, echo=True)),
            ("/v1/responses", dict(input="x", max_output_tokens=2, truncation="auto", max_tool_calls=3, metadata={"a": "b"}, user="u", include=["reasoning.encrypted_content"], reasoning={"summary": "auto"})),
            ("/v1/messages", dict(messages=[{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}], max_tokens=2, metadata={"user_id": "u"},
                                  service_tier="auto", thinking={"type": "enabled", "budget_tokens": 1024}, top_k=3)),
            ("/v1/messages/count_tokens", dict(messages=USER, system="s", tools=BLOCKS[1:])),
            ("/api/generate", dict(model="starter", prompt="x", stream=False, context=[1], options={"num_predict": 1, "num_gpu": 1, "num_thread": 2, "use_mmap": True})),
            ("/api/embed", dict(model="starter", input=["a"], truncate=True)),
            ("/tokenize", dict(messages=USER)),
            ("/v1/embeddings", dict(input=[[1, 2]], dimensions=8, encoding_format="base64"))]
        for path, body in works:
            a = n.post(path, body)
            assert a.status == 200, (path, a.body)
        function = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
        a = n.post("/v1/responses", dict(input="x", max_output_tokens=2, tools=[{"type": "web_search"}, function, {"type": "custom", "name": "c"}]))
        assert a.status == 200 and [t["name"] for t in a.json["tools"]] == ["f"], a.body
        a = n.post("/v1/messages", dict(messages=USER, max_tokens=2, context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}))
        assert a.status == 200, a.body
        refused = [
            (CHAT, dict(messages=USER, audio={"voice": "x"}), "audio"), (CHAT, dict(messages=picture), "messages[0].content"), ("/v1/completions", dict(prompt="x", suffix="y"), "suffix"),
            ("/v1/completions", dict(prompt="x", best_of=3), "best_of"),
            ("/v1/responses", dict(input="x", conversation="c"), "conversation"), ("/v1/responses", dict(input="x", tools=[{"type": "web_search"}]), "tools"),
            ("/api/generate", dict(model="starter", prompt="x", images=["aa"]), None), ("/api/generate", dict(model="starter", prompt="x", suffix="s"), None),
            ("/v1/messages", dict(messages=USER, max_tokens=1, tools=[{"type": "web_search_20250305", "name": "web_search"}]), None)]
        for path, body, param in refused:
            a = n.post(path, body)
            assert a.status == 400 and (param is None or a.error()["param"] == param), (path, a.body)


run_tests()
