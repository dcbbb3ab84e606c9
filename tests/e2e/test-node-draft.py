#!/usr/bin/env python3
"""A smaller model that guesses ahead (draft.MODEL in hearth.conf): the same answers, and clear words where it cannot be used."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import HANG, SOURCE, Node, in_parallel, run_tests, test  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"].split()
STARTER = os.path.join(SOURCE, "models", "starter.gguf")
OTHER = os.path.join(SOURCE, "tests", "corpus", "model", "llama.gguf")
ASKS = ["I would like to book a table for two.", "Where is the station?", "My order has not come.", "Tell me a story about a river."]


def node(conf, small=STARTER, *settings):
    return Node(PROGRAM, ("--model", "starter") + settings, models=[("starter", STARTER), ("small", small)], conf=conf)


def answers(n):
    """Greedy and seeded ones, alone and together."""
    def one(i):
        return n.chat(ASKS[i % 4], max_tokens=60, **({"temperature": 0} if i % 2 else {"temperature": 1.2, "seed": i})).json["choices"][0]["message"]["content"]
    return [one(i) for i in range(8)] + in_parallel(8, one)


@test
def answers_are_the_same_with_a_draft():
    with node(None) as n:
        plain = answers(n)
        alone = n.status()["runners"][0]["planned_bytes"]
    with tempfile.TemporaryDirectory() as folder:
        small = os.path.join(folder, "small.gguf")
        subprocess.run([PROGRAM[0], "quantize", STARTER, small, "Q4_0"], check=True, stdout=subprocess.DEVNULL)
        for model in (small, STARTER):
            with node("draft.starter = small\n", model) as n:
                drafted = answers(n)
                assert drafted[:8] == plain[:8], [(a, b) for a, b in zip(plain, drafted) if a != b]
                assert all(drafted[8:]), drafted
                assert n.status()["runners"][0]["planned_bytes"] > alone
                free = n.chat(ASKS[0], max_tokens=60, temperature=0.8).json["choices"][0]["message"]["content"]
                assert free


@test
def a_draft_that_does_not_fit_is_named():
    with node("draft.starter = small\n", OTHER) as n:
        a = n.chat(ASKS[0], max_tokens=4)
        assert a.status >= 500 and "vocabulary" in a.error()["message"], a.body
    with node("draft.starter = nowhere\n") as n:
        assert n.chat(ASKS[0], max_tokens=4).status == 200
        assert "nowhere" in n.log()
    with Node(PROGRAM, ("--model", "starter"), expect_start=False, conf="draft. = small\n") as n:
        assert n.process.wait(HANG) != 0 and "draft.MODEL = SMALLER" in n.log(), n.log()
        n.stop = lambda: None


run_tests()
