#!/usr/bin/env python3
"""Commands on model files: show, tokenize, perplexity, quantize and bench with the starter model, and what they do with bad files."""
import json
import os
import shutil
import signal
import subprocess
import time

from cmdtest import HEARTH, SOURCE, STARTER, env, hearth, home, main, shared, test


@test
def show_tells_what_the_starter_model_is():
    got = hearth("show", "starter", "--json").json
    assert got["architecture"] == "llama" and got["type"] == "Q8_0" and got["context"] == 256 and got["layers"] == 5 and got["vocabulary"] == 3072
    assert 4_700_000 < got["parameters"] < 4_800_000 and got["file_bytes"] == os.path.getsize(STARTER)
    assert got["template"] is not None and got["memory"]["fits"] is True
    assert got["memory"]["needed_bytes"] < got["memory"]["budget_bytes"]
    assert hearth("show", "starter", "--json", "--memory", "1M").json["memory"]["fits"] is False
    text = hearth("show", STARTER).out
    assert "4.7 M" in text and "256 tokens" in text and "fits here" in text
    assert "llama.context_length" in hearth("show", "starter", "--metadata").out
    assert hearth("show", "starter", "--metadata", "--json").json["metadata"]["llama.context_length"] == "256"


@test
def a_template_in_gos_language_is_rendered_too():
    folder = os.path.join(home, "go")
    os.makedirs(folder)
    template, case = os.path.join(folder, "t.gotmpl"), os.path.join(folder, "case.json")
    with open(template, "w", encoding="utf-8") as f:
        f.write("{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }} {{ currentDate }}")
    with open(case, "w", encoding="utf-8") as f:
        json.dump({"now": "2026-01-02T03:04:05", "messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "you"}]}, f)
    assert hearth("render", template, case).out == "<user>Hi\n\nyou 2026-01-02"
    with open(template, "w", encoding="utf-8") as f:
        f.write("{{ .System }}\n{{ if }}")
    assert "line 2" in hearth("render", template, case, code=1).err


@test
def a_made_model_is_listed_shown_and_run_as_it_was_made():
    models = os.path.join(home, "made", "models")
    os.makedirs(models)
    shutil.copy(STARTER, os.path.join(models, "base.gguf"))
    os.link(os.path.join(models, "base.gguf"), os.path.join(models, "short.gguf"))
    with open(os.path.join(models, "short.json"), "w") as f:
        json.dump({"from": "base", "created_unix": 1, "license": "\nHousehold licence\x1b\nof many lines", "system": "Be\x1b[31m brief.", "params": {"num_predict": 2, "temperature": 0, "seed": 1},
                   "template": "<|user|>{{ .Prompt }}\n<|assistant|>{{ .Response }}"}, f)
    flags = {"HEARTH_HOME": os.path.join(home, "made")}
    listed = {m["name"]: m for m in hearth("list", "--json", **flags).json["models"]}
    assert listed["short"]["from"] == "base" and listed["base"]["from"] is None and "made of base" in hearth("list", **flags).out
    shown = hearth("show", "short", **flags).out
    assert "made of" in shown and "num_predict 2" in shown and "Go's language" in shown and "Household licence? ..." in shown and "\x1b" not in shown, shown
    got = hearth("show", "short", "--json", **flags).json["made"]
    assert got["from"] == "base" and got["params"]["num_predict"] == 2 and hearth("show", "base", "--json", **flags).json["made"] is None
    two = hearth("run", "short", "I would like to book a table for two.", "--own", **flags).out
    assert two.strip() and two.strip() == hearth("run", "short", "I would like to book a table for two.", "--own", "-n", "2", **flags).out.strip()
    more = hearth("run", "short", "I would like to book a table for two.", "--own", "-n", "4", **flags).out
    assert len(more) > len(two), (two, more)
    freed = hearth("rm", "short", "--json", **flags).json
    assert freed == {"removed": True, "bytes": 0} and os.path.exists(os.path.join(models, "base.gguf")), freed
    assert sorted(os.listdir(models))[0] == "base.gguf"


@test
def the_doctor_names_what_is_wrong_and_what_to_do():
    sick = os.path.join(home, "sick")
    os.makedirs(os.path.join(sick, "models"))
    with open(STARTER, "rb") as f, open(os.path.join(sick, "models", "cut.gguf"), "wb") as out:
        out.write(f.read(3_000_000))
    flags = ["--listen", "127.0.0.1:1"]

    def checks(got, state):
        return [c for c in got["checks"] if c["state"] == state]
    got = hearth("doctor", "--json", *flags, HEARTH_HOME=sick, code=1).json
    assert [c["subject"] for c in checks(got, "problem")] == ["model"] and got["problems"] == 1
    assert "cut short" in checks(got, "problem")[0]["what"] and "hearth rm" in checks(got, "problem")[0]["advice"]
    assert any(c["subject"] == "sandbox" and "seccomp" in c["what"] for c in checks(got, "ok") + checks(got, "note"))
    os.remove(os.path.join(sick, "models", "cut.gguf"))
    got = hearth("doctor", "--json", *flags, HEARTH_HOME=sick).json
    assert got["problems"] == 0 and [c["subject"] for c in checks(got, "note") if c["subject"] == "node"] == ["node"]
    assert any(c["subject"] == "model" and c["what"].startswith("starter: 4.7 M") for c in checks(got, "ok"))
    got = hearth("doctor", "--json", "--model", "nope", "--listen", "0.0.0.0:1", HEARTH_HOME=sick, code=1).json
    assert sorted(c["subject"] for c in checks(got, "problem")) == ["address", "models"]
    hearth("key", "add", "guest", HEARTH_HOME=sick)
    parts = os.path.join(sick, "models", "half-00001-of-00002.gguf")
    os.symlink(STARTER, parts)
    got = hearth("doctor", "--json", "--listen", "0.0.0.0:1", HEARTH_HOME=sick).json
    assert any("half-00002-of-00002.gguf" in c["what"] for c in checks(got, "note")), got
    assert "1 file of" in hearth("list", HEARTH_HOME=sick).err
    os.remove(parts)
    with open(os.path.join(sick, "hearth.db"), "wb") as f:
        f.write(b"no database" * 1000)
    got = hearth("doctor", "--json", *flags, HEARTH_HOME=sick, code=1).json
    assert [c["subject"] for c in checks(got, "problem")] == ["record"] and "damaged" in checks(got, "problem")[0]["what"], got
    os.chmod(sick, 0o777)
    assert "chmod go-w" in hearth("doctor", *flags, HEARTH_HOME=sick, code=1).out


@test
def special_tokens_only_where_asked():
    plain = hearth("tokenize", "starter", "<|user|>Hi", "--json").json
    special = hearth("tokenize", "starter", "<|user|>Hi", "--json", "--special").json
    assert 3 not in plain["tokens"] and 1 not in plain["tokens"]
    assert special["tokens"][0] == 1 and 3 in special["tokens"] and "<|user|>" in special["pieces"]
    assert "".join(plain["pieces"]).lstrip() == "<|user|>Hi"
    assert hearth("tokenize", "starter", "--json", input="<|user|>Hi").json == plain
    assert hearth("tokenize", "starter", "", "--json").json["tokens"] == []
    lines = hearth("tokenize", "starter", "<|user|>Hi").out.splitlines()
    assert [int(line.split()[0]) for line in lines] == plain["tokens"]


@test
def any_bytes_can_be_tokenized():
    path = os.path.join(home, "bytes")
    with open(path, "wb") as f:
        f.write(bytes(range(256)) * 4)
    got = hearth("tokenize", "starter", "--file", path, "--json").json
    assert len(got["tokens"]) == len(got["pieces"]) > 256


@test
def quantizing_keeps_what_the_model_says():
    out = os.path.join(home, "small.gguf")
    text = os.path.join(home, "text")
    with open(text, "w") as f:
        f.write("I would like to book a table for two at an Italian restaurant in San Jose, please. What time would you like the reservation?")
    before = hearth("perplexity", "starter", text, "--json").json
    for kind, most in [("Q8_0", 1.02), ("Q5_1", 1.25), ("f16", 1.02), ("Q4_K_M", 1.5)]:
        hearth("quantize", STARTER, out, kind)
        assert not os.path.exists(out + ".partial")
        after = hearth("perplexity", out, text, "--json").json
        assert after["tokens"] == before["tokens"]
        ratio = after["perplexity"] / before["perplexity"]
        print(f"# {kind}: {os.path.getsize(out)} bytes, perplexity {after['perplexity']:.3f} of {before['perplexity']:.3f}")
        assert 0.8 < ratio < most, (kind, ratio)
    assert os.path.getsize(out) < 0.75 * os.path.getsize(STARTER)
    assert hearth("show", out, "--json").json["parameters"] == hearth("show", "starter", "--json").json["parameters"]
    os.remove(out)


@test
def quantize_leaves_no_half_a_file():
    bad = os.path.join(home, "cut.gguf")
    with open(STARTER, "rb") as f, open(bad, "wb") as g:
        g.write(f.read()[:200000])
    out = os.path.join(home, "out.gguf")
    done = hearth("quantize", bad, out, "Q4_0", code=1)
    assert not os.path.exists(out) and not os.path.exists(out + ".partial") and done.err.strip()
    hearth("quantize", STARTER, STARTER, "Q4_0", code=1)
    hearth("quantize", STARTER, os.path.join(home, "no", "such", "folder"), "Q4_0", code=1)
    full = hearth("quantize", STARTER, "/dev/full", "Q4_0", code=1)
    assert "/dev/full" in full.err
    os.remove(bad)


@test
def perplexity_is_cut_only_where_asked():
    text = os.path.join(home, "text")
    with open(text, "w") as f:
        f.write("Hello there. ")
    got = hearth("perplexity", "starter", text, "--limit", "2", "--json").json
    assert len(got["tokens"]) == 2 and got["tokens"][0] == 1 and len(got["last_logits"]) == 3072
    assert "perplexity" in hearth("perplexity", "starter", text).out
    with open(text, "w") as f:
        f.write("")
    assert "tokens" in hearth("perplexity", "starter", text, code=1).err
    with open(text, "w") as f:
        f.write("book a table for two, please. " * 100)  # more than the context holds: goes on in a fresh one
    assert len(hearth("perplexity", "starter", text, "--json").json["tokens"]) > 256


@test
def bench_answers_with_every_field():
    got = hearth("bench", "starter", "-p", "32", "-g", "8", "-t", "1", "-b", "2", "--json").json
    for key in "model type threads prefill_tok_s decode_tok_s batch_tok_s read_gb_s decode_share mac_peak_g prefill_share bound_cost mask_us".split():
        assert key in got, key
    assert got["model"] == "starter" and got["type"] == "Q8_0" and got["threads"] == 1
    for key in "prefill_tok_s decode_tok_s batch_tok_s read_gb_s decode_share mac_peak_g prefill_share mask_us".split():
        assert got[key] > 0, (key, got[key])
    # Of one token the median share and the speed over all are the same.
    got = hearth("bench", "starter", "-p", "0", "-g", "1", "-b", "0", "-t", "1", "--json").json
    assert abs(got["decode_share"] - got["decode_tok_s"] * got["read_bytes_per_token"] / got["read_gb_s"] / 1e9) < 1e-6
    assert "both" in hearth("bench", "starter", "-p", "300", code=1).err or "256" in hearth("bench", "starter", "-p", "300", code=1).err
    assert "prefill" in hearth("bench", "starter", "-p", "16", "-g", "4").out


@test
def bad_files_are_refused_by_every_command():
    text = os.path.join(home, "text")
    with open(text, "w") as f:
        f.write("Hello there")
    with open(STARTER, "rb") as f:
        whole = f.read()
    cases = {"empty": b"", "magic": b"GGUX" + whole[4:], "half": whole[:100000], "text": b"hello world " * 1000,
             "counts": whole[:8] + b"\xff" * 16 + whole[24:], "folder": None}
    for name, data in cases.items():
        path = os.path.join(home, name + ".gguf")
        if data is None:
            os.mkdir(path)
        else:
            with open(path, "wb") as f:
                f.write(data)
        for args in [["show", path], ["tokenize", path, "x"], ["perplexity", path, text], ["embed", path, "x"], ["bench", path],
                     ["quantize", path, os.path.join(home, "o.gguf"), "Q4_0"], ["run", "--own", path, "hi"]]:
            if name == "half" and args[0] == "tokenize":
                continue  # the vocabulary may be whole
            done = hearth(*args, code=1)
            assert name in done.err and len(done.err) > 30, (args, done.err)


@test
def an_embedding_model_says_what_it_is():
    bert = shared("goldens", "engine", "bert.gguf")
    assert "hearth embed" in hearth("perplexity", bert, bert, code=1).err
    got = hearth("bench", bert, "-p", "16", "--json").json
    assert got["prefill_tok_s"] > 0 and got["decode_tok_s"] is None
    assert abs(sum(x * x for x in hearth("embed", bert, "hello").json) - 1) < 1e-3
    assert "512" in hearth("embed", bert, "word " * 3000, code=1).err


@test
def interrupting_quantize_takes_its_file_away():
    out = os.path.join(home, "stopped.gguf")
    child = subprocess.Popen([HEARTH, "quantize", STARTER, out, "IQ4_XS"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             start_new_session=True)
    for _ in range(20000):
        if os.path.exists(out + ".partial") or child.poll() is not None:
            break
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=240)
    assert not os.path.exists(out + ".partial")
    assert child.returncode in (0, 1)  # 0: it was quicker than we
    assert os.path.exists(out) == (child.returncode == 0)


@test
def the_program_needs_nothing_but_its_file():
    assert "came with hearth" in hearth("list", cwd="/").out
    assert os.path.realpath(hearth("list", "--json").json["models"][0]["files"][0]) == os.path.realpath(os.path.join(SOURCE, "models", "starter.gguf"))


main()
