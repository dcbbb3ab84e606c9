#!/usr/bin/env python3
"""What the line to the hub, and the hub's owner, can do and see: nothing of a private request, sealed bytes of others; a line that is slow, or cut in the middle of an answer, costs no word."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import HEARTH, run_tests, test, wait_for
from hubs import HubStreet, needles
from street import NEIGHBOURS, PUBLIC, chat, ledger

QUESTION = "I would like to book a table for two at the window."
LONG = " ".join(f"The {what} of the old house on the hill is mine alone." for what in ("garden", "kitchen", "attic", "cellar", "roof", "stable"))
street = None


def metric(node, name):
    return next(int(line.split()[1]) for line in node.get("/metrics").body.decode().split("\n") if line.startswith(name + " "))


def pieces(stream, events, n=None):
    text, parts = "", 0
    for event in events:
        if event == "[DONE]":
            return text
        assert "error" not in event, event
        more = event["choices"][0]["delta"].get("content") or ""
        text += more
        parts += more != ""
        if n is not None and parts >= n:
            return text
    raise AssertionError("the stream ended without its end")


def tokens(node, text):
    return node.post("/tokenize", {"content": text, "model": "starter"}).json["tokens"]


def stays_unseen(texts, since):
    """No form of the words, or of their tokens, in anything that the hub carried."""
    look = set()
    for text in texts:
        look |= needles(text, tokens(street["elm"], text))
    heard = street.own.messages()[since:]
    for subject, payload in heard:
        for needle in look:
            assert needle not in payload and needle not in subject.encode(), (needle, subject)
    return heard


def undisturbed(n=1):
    return street["oak"].post("/v1/chat/completions", chat(QUESTION, ignore_eos=True, temperature=1, seed=n), headers={"Hearth-Privacy": "private"}).json["choices"][0]["message"]["content"]


def begin(n=1, by="ash"):
    """A stream from next door, and the first words of it."""

    def once():
        stream = street["elm"].stream("/v1/chat/completions", chat(QUESTION, stream=True, ignore_eos=True, temperature=1, seed=n), headers=NEIGHBOURS)
        assert stream.status == 200, stream.r.read()
        if stream.r.headers["Hearth-Served-By"] == by:
            return stream
        stream.close()

    stream = wait_for(f"an answer of {by}", 90, once, 0.3)
    events = stream.events()
    return events, pieces(stream, events, 4)


@test
def a_private_request_is_nowhere_on_the_line_whatever_made_it_private():
    global street
    street = HubStreet(("elm", {"speed": 0.5, "env": {"HEARTH_TEST_STEP_MS": "60"}, "conf": "default_privacy = public\nprivacy.starter = private\n"}), ("oak", {"conf": "pool_lend = off\n"}),
                       ("ash", {"env": {"HEARTH_TEST_STEP_MS": "30"}}))
    street.trust_all()
    for name in ("elm", "oak"):
        street.wait_models(name, homes=2)
    elm = street["elm"]
    keys = {}
    for name, more in (("kitchen", ()), ("porch", ("--privacy", "neighbours"))):
        done = subprocess.run([HEARTH, "key", "add", name, *more, "--json"], env=elm.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        keys[name] = {"Authorization": "Bearer " + json.loads(done.stdout)["key"]}
    since, words = len(street.own.messages()), []

    def ask(why, home, headers, text, by):
        answer = street[home].post("/v1/chat/completions", chat(text, max_tokens=6, ignore_eos=True), headers=headers)
        assert answer.status == 200 and answer.headers["Hearth-Served-By"] == by, (why, answer.status, str(answer.headers), answer.body)
        words.extend((text, answer.json["choices"][0]["message"]["content"]))

    ask("the key's default", "elm", keys["kitchen"], LONG, "here")
    assert street.egress("elm", "neighbour") == []
    wait_for("another key's goes to ash", 60, lambda: elm.post("/v1/chat/completions", chat(QUESTION, max_tokens=6, ignore_eos=True), headers=keys["porch"]).headers["Hearth-Served-By"] == "ash", 0.3)
    assert len(street.egress("elm", "neighbour")) >= 1
    for name in keys:
        subprocess.run([HEARTH, "key", "rm", name], env=elm.env, check=True, capture_output=True)
    counts = lambda: (metric(elm, "hearth_neighbours_asked_total"), metric(street["oak"], "hearth_neighbours_asked_total"), metric(street["ash"], "hearth_neighbours_lent_total"),
                      len(street.egress("elm", "neighbour")), len(street.egress("oak", "neighbour")))
    before = counts()
    ask("the header", "elm", {"Hearth-Privacy": "private"}, LONG, "here")
    ask("the model's default", "elm", {}, LONG, "here")
    ask("the words", "elm", PUBLIC, LONG + " Write to anna.schmidt@example.org, or pay to DE89370400440532013000.", "here")
    ask("the home's default", "oak", {}, LONG, "here")
    stays_unseen(words, since)
    assert counts() == before and before[1] == before[4] == 0, (before, counts())
    out = subprocess.run([HEARTH, "privacy", "log"], env=street["oak"].env, capture_output=True, text=True)
    assert out.returncode == 0 and "neighbour" not in out.stdout, out.stdout + out.stderr


@test
def of_others_the_hub_sees_sealed_bytes_alone():
    elm, ids = street["elm"], {m["name"]: m["id"] for m in street.status("elm")["members"]}
    for headers in (NEIGHBOURS, PUBLIC):
        since = len(street.own.messages())

        def by_ash():
            answer = elm.post("/v1/chat/completions", chat(LONG, max_tokens=30, ignore_eos=True), headers=headers)
            return answer if answer.headers["Hearth-Served-By"] == "ash" else None

        answer = wait_for("an answer of ash", 60, by_ash, 0.2)
        heard = stays_unseen((LONG, answer.json["choices"][0]["message"]["content"]), since)
        there = [p for s, p in heard if s.endswith(".to." + ids["ash"])]
        back = [p for s, p in heard if s.endswith(".to." + ids["elm"])]
        assert any(len(p) > len(LONG) for p in there) and len(back) > 5, "it did go over this hub"
        # Each is as long as others of its kind, and looks like nothing.
        for payload in there + back:
            assert payload[0] == 1 and len(set(payload)) > min(200, len(payload) / 4), payload[:64]


def cut_within(name, seed):
    """Cuts a home off in the middle of an answer of ash's, until it was the middle: the answer has every word, and its end is home's."""
    whole = undisturbed(seed)

    def once():
        events, text = begin(seed)
        street.cut(name)
        text += pieces(None, events)
        assert text == whole, (text, whole)
        if street["elm"].status()["routes"][0]["by"] != "ash":
            return True
        street.heal(name)  # ash had made all of it already

    wait_for("a cut in the middle", 90, once, 0.1)


@test
def the_asked_home_is_cut_off_and_the_answer_has_every_word():
    cut_within("ash", 1)
    street.heal("ash")
    events, text = begin(2)
    assert text + pieces(None, events) == undisturbed(2)


@test
def the_asking_home_is_cut_off_and_comes_back_by_itself():
    cut_within("elm", 3)
    wait_for("elm notices", 90, lambda: not street.status("elm")["connected"], 0.1)
    street.heal("elm")
    wait_for("elm is back", 90, lambda: street.status("elm")["connected"], 0.1)
    events, text = begin(4)
    assert text + pieces(None, events) == undisturbed(4)


@test
def a_long_and_lossy_line_changes_no_word_and_receipts_agree():
    whole = [undisturbed(n) for n in (5, 6)]

    def away():
        return next(h["rtt_ms"] for h in street["elm"].status()["neighbours"]["homes"] if h["name"] == "ash")

    before = away()
    street.own.wire.delay, street.own.wire.stalls = 0.02, 0.03  # 80 ms there and back, and what is lost comes 200 ms late
    for n in (0, 1):
        events, text = begin(5 + n)
        assert text + pieces(None, events) == whole[n]
    # It is an average, and may still be long from the cuts before: then it stays so.
    assert away() > min(before + 5, 60), (before, away())
    ids = {m["name"]: m["id"] for m in street.status("elm")["members"]}

    def agree():
        mine, theirs = ledger(street["elm"], "verify"), ledger(street["ash"], "verify")
        a = [h for h in mine["homes"] if h["id"] == ids["ash"]]
        b = [h for h in theirs["homes"] if h["id"] == ids["elm"]]
        return a and b and theirs["open"] == 0 and (a[0]["taken"], a[0]["balance"]) == (b[0]["given"], -b[0]["balance"])

    try:
        wait_for("both sides have the same receipts", 100, agree, 0.3)
    except BaseException:
        street.__exit__(*sys.exc_info())
        raise
    street.__exit__(None, None, None)


run_tests()
