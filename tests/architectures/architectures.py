#!/usr/bin/env python3
"""Every architecture computes what the reference engine computes, on models whose random weights models.py makes.

usage: architectures.py HEARTH. Weights and the KV cache are F32, so every number agrees to about 1e-3."""
import json
import math
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import models

HERE = os.path.dirname(os.path.abspath(__file__))


def close(got, want, largest):
    """The reference reads GELU from a table of half floats, so models with large logits differ in proportion to them."""
    return abs(got - want) <= 1e-3 + 1e-4 * largest


def problems(name, got, want):
    if name in models.EMBEDDINGS:
        a, b = got["embedding"], want["embedding_l2_normalised"]
        if len(a) != len(b):
            yield f"the embedding has {len(a)} numbers, not {len(b)}"
        elif max(abs(x - y) for x, y in zip(a, b)) > 1e-3:
            yield f"the embedding is off by {max(abs(x - y) for x, y in zip(a, b)):.5f}"
        return
    for key in ("tokens", "argmax"):
        if got[key] != want[key]:
            yield f"{key} differ: {got[key][:8]} ..., not {want[key][:8]} ..."
    for key in ("logprob_next", "last_logits"):
        if len(got[key]) != len(want[key]):
            yield f"{key} has {len(got[key])} numbers, not {len(want[key])}"
            continue
        largest = max(abs(y) for y in want[key])
        bad = [(i, x, y) for i, (x, y) in enumerate(zip(got[key], want[key])) if not close(x, y, largest)]
        if bad:
            yield f"{key}: {len(bad)} of {len(want[key])} differ, first at {bad[0]}"
    if not math.isclose(got["perplexity"], want["perplexity"], rel_tol=2e-3):
        yield f"perplexity is {got['perplexity']}, not {want['perplexity']}"


def main():
    hearth = sys.argv[1]
    failed = n = 0
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text.txt")
        with open(text, "w") as f:
            f.write(models.TEXT)
        for name, model in models.build().items():
            n += 1
            path = os.path.join(folder, name + ".gguf")
            model.write(path)
            command = [hearth, "embed", path, models.TEXT, "--json"] if name in models.EMBEDDINGS else [
                hearth, "perplexity", path, text, "--json"]
            run = subprocess.run(command, capture_output=True, timeout=120)
            with open(os.path.join(HERE, "expected", name + ".json")) as f:
                want = json.load(f)
            found = list(problems(name, json.loads(run.stdout), want)) if run.returncode == 0 else [
                f"exit code {run.returncode}: {run.stderr.decode(errors='replace').strip()}"]
            for p in found:
                print("#", name + ":", p)
            failed += bool(found)
            print(f"{'not ok' if found else 'ok'} {n} - {name} computes what the reference engine does", flush=True)
            os.unlink(path)
    print(f"1..{n}")
    return failed > 0


sys.exit(main())
