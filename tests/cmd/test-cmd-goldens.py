#!/usr/bin/env python3
"""The reference answers of ../shared/goldens, through the command line. The engine's own tests go deeper; these show that the
commands hand the numbers on. In a sanitizer's build only some of the tokenizers' cases run, for time."""
import glob
import json
import math
import os
import tempfile

from cmdtest import SANITIZED, Skip, hearth, main, read, shared, test


def goldens(kind):
    folder = shared("goldens", "engine")
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        want = json.loads(read(path))
        if kind in want:
            yield os.path.basename(path)[:-5], path[:-5] + ".gguf", want


def relative_l2(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b))


@test
def perplexity_of_every_reference_model():
    n = 0
    for name, model, want in goldens("perplexity"):
        got = hearth("perplexity", model, shared("goldens", "engine", "text.txt"), "--limit", str(len(want["tokens"])), "--json").json
        n_tokens = len(want["tokens"])
        assert got["tokens"] == want["tokens"], name
        assert len(got["argmax"]) == n_tokens and len(got["logprob_next"]) == n_tokens - 1 and len(got["last_logits"]) == want["n_vocab"], name
        off = sum(abs(x - y) for x, y in zip(got["logprob_next"], want["logprob_next"])) / (n_tokens - 1)
        l2 = relative_l2(got["last_logits"], want["last_logits"])
        agree = sum(x == y for x, y in zip(got["argmax"], want["argmax"])) / n_tokens
        assert abs(got["perplexity"] - math.exp(-sum(got["logprob_next"]) / (n_tokens - 1))) < 1e-3 * got["perplexity"], name
        print(f"# {name}: mean |d logprob| {off:.5f}, relative L2 of the last logits {l2:.5f}, same argmax {agree:.3f}")
        if "mxfp4" in name:
            assert off < 0.055 and agree >= 0.9, name
        elif "-micro-" in name:
            assert off < 0.023 and l2 < 0.030 and agree >= 0.93, name
        else:
            assert off < 1e-3 and l2 < 1e-3 and agree == 1, name
        n += 1
    assert n >= 13, n


@test
def embeddings_of_the_reference_models():
    n = 0
    for name, model, want in goldens("embedding_l2_normalised"):
        got = hearth("embed", model, "--file", shared("goldens", "engine", "text.txt"), "--json").json["embedding"]
        want = want["embedding_l2_normalised"]
        assert len(got) == len(want) and abs(sum(x * x for x in got) - 1) < 1e-4, name
        cosine = sum(x * y for x, y in zip(got, want))
        print(f"# {name}: cosine {cosine:.6f}")
        assert cosine > 0.9999, name
        n += 1
    assert n >= 2, n


@test
def tokens_of_the_reference_vocabularies():
    cases = read(shared("goldens", "tokenizers", "input.txt"), "rb").split(b"\n__ggml_vocab_test__\n")
    n = 0
    for model in sorted(glob.glob(os.path.join(shared("goldens", "tokenizers"), "*.gguf"))):
        lines = read(model + ".out").split("\n")
        step = 11 if SANITIZED else 3
        for i in range(0, len(cases), step):
            with tempfile.NamedTemporaryFile() as f:
                f.write(cases[i])
                f.flush()
                got = hearth("tokenize", model, "--file", f.name, "--json").json
            assert got["tokens"] == [int(t) for t in lines[i].split()], f"{os.path.basename(model)}, case {i}"
            assert len(got["pieces"]) == len(got["tokens"])
            n += 1
    assert n > 15, n


@test
def every_template_renders_as_the_reference_does():
    cases = json.loads(read(shared("goldens", "templates", "cases.json")))
    n = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as f:
                json.dump(case, f)
        for path in sorted(glob.glob(os.path.join(shared("goldens", "templates"), "*.jinja"))):
            want = json.loads(read(path[:-6] + ".json"))["cases"]
            for name in cases:
                if name not in want:
                    continue
                done = hearth("render", path, os.path.join(folder, name + ".json"), code=None)
                where = f"{os.path.basename(path)}, {name}"
                if "text" in want[name]:
                    assert done.code == 0 and done.out == want[name]["text"], f"{where}:\n{done.out}\n{done.err}"
                else:
                    assert done.code == 1 and done.out == "" and len(done.err) > 20, f"{where}: {done}"
                n += 1
            if n == len(want):  # the same through --case, once
                assert hearth("render", path, shared("goldens", "templates", "cases.json"), "--case", "user").out == want["user"]["text"]
    assert n > 100, n


if not os.path.isdir(os.environ.get("HEARTH_SHARED", "")):
    @test
    def nothing_to_compare_with():
        raise Skip("../shared is not here")

main()
