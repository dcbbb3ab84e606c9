#!/usr/bin/env python3
"""pull, rm, show before pulling, key and privacy log, as a person types them."""
import json
import os
import sys

from cmdtest import SOURCE, STARTER, hearth, home, main, read, test

sys.path.insert(0, os.path.join(SOURCE, "tests", "pull"))
from modelserver import Server  # noqa: E402

server = Server()
where = dict(HEARTH_REGISTRY=server.url, HEARTH_HUGGINGFACE=server.url + "/")
model = read(STARTER, "rb")
server.repos["home/starter-GGUF"] = {"starter-Q8_0.gguf": model, "starter-F16.gguf": model + b"\0" * 1024}
server.add_registry("tiny", model, tag="5m", system="Be brief.")


@test
def show_before_pulling_tells_what_show_tells_after():
    before = hearth("show", "hf.co/home/starter-GGUF:Q8_0", "--json", **where).json
    assert sum(server.sent.values()) <= len(model)
    here = hearth("show", "starter", "--json").json
    for key in ("architecture", "type", "parameters", "file_bytes", "weight_bytes", "context", "license", "template", "memory"):
        assert before[key] == here[key], key
    assert before["name"] == "hf.co--home--starter-gguf-q8_0"
    assert hearth("show", "--remote", "tiny:5m", "--json", **where).json["parameters"] == here["parameters"]
    assert "no model" in hearth("show", "--remote", "nosuch", code=1, **where).err
    assert not [f for f in os.listdir(os.path.join(home, "models")) if f.endswith(".gguf")]


@test
def a_header_longer_than_the_first_look_is_fetched_in_steps():
    # Eight million bytes of metadata in front of the same model: the first look (4 MiB) cannot open it.
    pad = b"x" * (8 << 20)
    key = b"tokenizer.ggml.padding_for_a_test"
    kv = len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little") + len(pad).to_bytes(8, "little") + pad
    while len(kv) % 32:  # tensor data stays aligned
        pad += b"x"
        kv = len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little") + len(pad).to_bytes(8, "little") + pad
    count = int.from_bytes(model[16:24], "little") + 1
    server.plain["/long.gguf"] = model[:16] + count.to_bytes(8, "little") + kv + model[24:]
    shown = hearth("show", server.url + "/long.gguf", "--json", code=None, **where)
    assert shown.code == 0, shown.err
    assert shown.json["architecture"] == hearth("show", "starter", "--json").json["architecture"]


@test
def pull_says_what_it_is_and_brings_it():
    done = hearth("pull", "tiny:5m", **where)
    assert "tiny-5m is here" in done.out and "hearth run tiny-5m" in done.out
    assert "fits here" in done.err and "\r" not in done.err
    assert hearth("pull", "tiny:5m", "--json", **where).json["already"] is True
    assert hearth("pull", "hf.co/home/starter-GGUF", "--json", "--name", "mine", **where).json == {
        "name": "mine", "bytes": len(model), "downloaded": len(model), "already": False}
    names = [m["name"] for m in hearth("list", "--json").json["models"]]
    assert "tiny-5m" in names and "mine" in names
    a = hearth("tokenize", "tiny:5m", "Hello", "--json").json
    assert a == hearth("tokenize", "starter", "Hello", "--json").json
    hearth("pull", STARTER, "--name", "copied", "-q")
    assert "no model" in hearth("pull", "nosuch:tag", code=1, **where).err
    assert "neither" in hearth("pull", "not a name", code=1, **where).err
    assert "HF_TOKEN" in hearth("pull", "hf.co/home/starter-GGUF", "--name", "x", code=1, **where, HF_TOKEN="white space").err


@test
def what_cannot_be_used_is_not_pulled_unless_asked_for():
    at = model.index(b"llama", model.index(b"general.architecture"))
    server.plain["/mamba.gguf"] = model[:at] + b"mamba" + model[at + 5:]
    refused = hearth("pull", server.url + "/mamba.gguf", code=1, **where)
    assert '"mamba" is not one' in refused.err and "nothing was pulled" in refused.err, refused.err
    assert "mamba" not in hearth("list").out
    all_the_same = hearth("pull", server.url + "/mamba.gguf", "-q", **where)
    assert "cannot be used" in all_the_same.err and "hearth run" not in all_the_same.out
    server.plain["/cut.gguf"] = model[:3000000]
    hearth("pull", server.url + "/cut.gguf", code=1, **where)
    assert "cut short" in hearth("pull", server.url + "/cut.gguf", "--json", code=1, **where).err
    for name in ("mamba", "cut"):
        hearth("rm", name)


@test
def rm_removes_what_was_pulled_and_nothing_else():
    done = hearth("rm", "tiny:5m", "--json").json
    assert done == {"removed": True, "bytes": len(model)}
    assert "tiny" in hearth("rm", "tiny:5m", code=1).err
    assert "came with" in hearth("rm", "starter", code=1).err
    hearth("rm", "copied")
    assert os.path.getsize(STARTER) == len(model), "removing the copy removed the original"
    hearth("rm", "mine")
    assert not [f for f in os.listdir(os.path.join(home, "models")) if not f.startswith(".")]


@test
def the_log_tells_who_was_spoken_to():
    whole = hearth("privacy", "log", "--json").json
    log = whole["egress"]
    assert whole["verified"] and len(whole["head"]) == 64 and whole["head"][:16] in hearth("privacy", "log").out
    assert log and all(e["kind"] == "pull" and e["host"] == "127.0.0.1" and e["allowed"] for e in log)
    assert any("tiny:5m" in e["reason"] for e in log) and sum(e["received_bytes"] for e in log) > len(model)
    assert len(hearth("privacy", "log", "-n", "2", "--json").json["egress"]) == 2
    assert "127.0.0.1" in hearth("privacy", "log").out
    hearth("privacy", "forget", code=2)
    hearth("privacy", "log", "extra", code=2)
    hearth("privacy", code=2)


@test
def keys_are_made_listed_and_removed():
    first = hearth("key", "add", "kitchen")
    key = first.out.strip()
    assert "It is the first" in first.err
    assert key.startswith("hth-") and len(key) == 47
    other = hearth("key", "add", "robot", "--scope", "chat,admin", "--per-minute", "30", "--privacy", "neighbours", "--json").json
    assert other["name"] == "robot" and other["key"] != key
    listed = {k["name"]: k for k in hearth("key", "list", "--json").json["keys"]}
    assert listed["kitchen"]["scopes"] == ["chat", "embed"] and listed["kitchen"]["privacy"] == "private"
    assert listed["robot"]["scopes"] == ["chat", "admin"] and listed["robot"]["per_minute"] == 30 and listed["robot"]["privacy"] == "neighbours"
    text = hearth("key", "list").out
    assert "robot" in text and key not in text and key[4:] not in read(os.path.join(home, "hearth.db"), "rb").decode("latin1")
    assert "robot" in hearth("key", "add", "robot", code=1).err
    hearth("key", "rm", "robot")
    assert "robot" in hearth("key", "rm", "robot", code=1).err
    hearth("key", "rm", "kitchen", "--json")
    assert "no key" in hearth("key", "list").out
    for wrong in (["add"], ["rm"], ["list", "x"], ["add", "x", "--scope", "root"], ["add", "x", "--privacy", "secret"], ["forge", "x"], ["add", "x", "--per-minute", "-1"]):
        hearth("key", *wrong, code=2)


@test
def the_ledger_of_a_home_without_neighbours_is_empty():
    assert hearth("ledger", "--json").json == {"verified": True, "receipts": 0, "accepted": 0, "refused": 0, "open": 0, "homes": []}
    assert "No receipts" in hearth("ledger", "verify").out
    assert not os.path.exists(os.path.join(home, "identity.key"))  # nothing asked for keys, so none were made
    hearth("ledger", "burn", code=2)


@test
def privacy_explain_says_what_keeps_a_text_at_home():
    assert hearth("privacy", "explain", "Why is the sky blue?", "--json").json == {
        "class": "public", "why": "public at most: nothing was found that speaks against it", "findings": [], "more": False}
    text = "Write to anna@example.org, IBAN DE89 3704 0044 0532 0130 00, password: hunter2"
    said = hearth("privacy", "explain", text, "--json").json
    assert said["class"] == "private" and not said["more"]
    assert [f["kind"] for f in said["findings"]] == ["email", "money", "iban", "secret"], said
    iban = said["findings"][2]
    assert text[iban["offset"]:iban["offset"] + iban["length"]] == "DE89 3704 0044 0532 0130 00" and iban["what"] == "IBAN of DE"
    out = hearth("privacy", "explain", input=text).out
    assert out.startswith("private at most, because it has an e-mail address, ") and "anna@example.org" in out
    assert hearth("privacy", "explain", "How is diabetes treated?").out.startswith("neighbours at most")
    assert "\x1b" not in hearth("privacy", "explain", "password: \x1b[31mred").out
    assert hearth("privacy", "explain", "-", input="x" * (1 << 20) + "y", code=None).code in (0, 1)
    hearth("privacy", "explain", "a", "b", code=2)


main()
