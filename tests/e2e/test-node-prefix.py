#!/usr/bin/env python3
"""What a node need not compute again: a conversation's earlier turns, and, with `spill`, those that memory had no room for."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"].split()
STARTER = os.path.join(SOURCE, "models", "starter.gguf")


def node(*settings):
    return Node(PROGRAM, ("--model", "starter") + settings, models=[("starter", STARTER)])


def complete(n, prompt, max_tokens=8):
    a = n.post("/v1/completions", {"prompt": prompt, "temperature": 0, "max_tokens": max_tokens, "ignore_eos": True})
    assert a.status == 200, a.body
    usage = a.json["usage"]
    return a.json["choices"][0]["text"], usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]


def tale(k, words=200):
    names = ["river", "window", "table", "garden", "letter", "morning", "paper", "winter", "kitchen", "road", "stone"]
    return " ".join(names[(k * 31 + i * i + i // 7 * k) % len(names)] + str((k * 7 + i) % 10) for i in range(words))


@test
def a_conversations_next_turn_computes_only_what_is_new():
    with node() as n:
        turns = [{"role": "user", "content": "Tell me about " + tale(1, 40)}]
        said, before = None, 0
        for question in ("And then?", "Why is that?", "Thank you."):
            a = n.post("/v1/chat/completions", {"messages": turns, "temperature": 0, "max_tokens": 24}).json
            usage = a["usage"]
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            # All but the newest words and the marks around them; the last two tokens of what was there may be computed again.
            assert said is None or cached >= before - 2, (usage, before)
            before = usage["prompt_tokens"]
            said = a["choices"][0]["message"]["content"]
            turns += [{"role": "assistant", "content": said}, {"role": "user", "content": question}]


def run_through(*settings):
    """A prompt, a dozen others through memory for three, and the first again: its answers, and what was cached of it."""
    with node("--context", "1024", "--parallel", "1", *settings) as n:
        first, tokens, cached = complete(n, tale(1))
        assert cached == 0 and 500 < tokens < 1000, (tokens, cached)
        files = []
        for k in range(2, 9):
            complete(n, tale(k))
        for pid in (p for p in os.listdir("/proc") if p.isdigit()):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                if parent == n.process.pid:
                    files += [(f"/proc/{pid}/fd/{fd}", os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{pid}/fd")]
            except (OSError, ValueError):
                pass
        names = [name for _, name in files if n.home in name and not name.endswith("/log")]
        listed = [name for _, _, found in os.walk(n.home) for name in found]
        again, _, cached = complete(n, tale(1))
        return first, again, tokens, cached, names, listed


@test
def what_memory_had_no_room_for_comes_back_from_disk():
    first, again, tokens, cached, names, listed = run_through()
    assert again == first
    assert not names, names
    lost = cached
    first, again, tokens, cached, names, listed = run_through("--spill", "64M")
    assert again == first
    assert cached >= tokens - 2 - 32 > lost, (tokens, cached, lost)
    # A sandboxed runner's descriptors show only to root.
    assert all("(deleted)" in name for name in names) and (names or os.geteuid() != 0), names
    assert not any("spill" in name or name.startswith("#") for name in listed), listed


@test
def a_spill_of_a_silly_size_is_no_harm():
    with node("--context", "512", "--parallel", "1", "--spill", "1") as n:
        for k in range(3):
            complete(n, tale(k, 60))
    with node("--context", "512", "--parallel", "1", "--spill", "300K") as n:
        for k in range(6):
            complete(n, tale(k % 3, 60))


run_tests()
