#!/usr/bin/env python3
"""Answers from next door: the same as at home, only for whom they may be, on record, paid for, weighed, and never in the way of a home's own."""
import json
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, run_tests, test, wait_for
from street import HEARTH, NEIGHBOURS, PUBLIC, Street, chat, ledger

HARMFUL = os.environ["HEARTH_HARMFUL"]
WORDS = "I would like to book a table for two."


class Meter:
    """A processor's meter, as Linux shows one, which this program drives."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hearth-meter-")
        self.joules = 0
        os.mkdir(os.path.join(self.folder.name, "intel-rapl:0"))
        self.use(1)

    def use(self, joules):
        self.joules += joules
        with open(os.path.join(self.folder.name, "intel-rapl:0", "energy_uj"), "w") as f:
            f.write(f"{self.joules * 1000000}\n")


METER = Meter()
LIES = os.path.join(METER.folder.name, "lies")  # what elm does to others: nothing, until a test writes it there


class Homes:
    """oak has the model and lends it to who trusts it; fir has none, and asks whatever others say that they take; elm has it and is slow."""

    street, trusting = None, False

    def __init__(self, last=False, trust=True):
        self.last, self.trust = last, trust

    def __enter__(self):
        if Homes.street is None:
            Homes.trusting = False
            Homes.street = Street(("oak", {"slow": True, "env": {"HEARTH_TEST_POWERCAP": METER.folder.name}, "conf": "pool_lend = neighbours\n"}),
                                  ("fir", {"model": False, "env": {"HEARTH_HARM": "classes"}, "program": HARMFUL}),
                                  ("elm", {"speed": 0.2, "slow": True, "env": {"HEARTH_HARM": LIES, "HEARTH_BUILTIN_MODELS": os.path.join(SOURCE, "models")}, "program": HARMFUL}))
        if self.trust and not Homes.trusting:
            Homes.trusting = True
            Homes.street.trust_all()
            Homes.street.wait_models("fir", homes=2)
            Homes.street.wait_models("elm")
        return Homes.street

    def __exit__(self, kind, value, tb):
        if self.last or kind is not None:
            street, Homes.street = Homes.street, None
            street.__exit__(kind, value, tb)


def metric(node, name):
    for line in node.get("/metrics").body.decode().split("\n"):
        if line.startswith(name + " "):
            return int(line.split()[1])
    raise AssertionError(name)


def egress(node):
    done = subprocess.run([HEARTH, "privacy", "log", "--json"], env=node.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [e for e in json.loads(done.stdout)["egress"] if e["kind"] == "neighbour"]


@test
def class_neighbours_goes_to_nobody_who_is_not_trusted_and_public_does():
    with Homes(trust=False) as street:
        fir = street["fir"]
        street.wait_models("fir", homes=2)
        for headers, status in (({}, 403), (NEIGHBOURS, 503), (PUBLIC, 200)):
            answer = fir.post("/v1/chat/completions", chat(WORDS), headers=headers)
            assert answer.status == status, (headers, answer.status, answer.body)
        assert answer.headers["Hearth-Served-By"] == "elm", str(answer.headers)
        # A public wish does not make a public request: the words decide, too.
        answer = fir.post("/v1/chat/completions", chat("Pay to DE89370400440532013000, please."), headers=PUBLIC)
        assert answer.status == 403 and b"private" in answer.body, answer.body
        log = egress(fir)
        assert len(log) == metric(fir, "hearth_neighbours_asked_total") >= 1 and all(e["class"] == "public" for e in log), log
        # oak takes no public ones: a home that asks all the same is refused, and one that is honest does not ask.
        assert [e["host"].split()[0] for e in log] == ["elm", "oak"], log
        assert metric(fir, "hearth_neighbours_refused_total") >= 1 and metric(street["oak"], "hearth_neighbours_lent_total") == 0
        assert "it refused" in street["fir"].log()
        answer = street["elm"].post("/v1/chat/completions", chat(WORDS, max_tokens=4), headers=PUBLIC)
        assert answer.headers["Hearth-Served-By"] == "here" and metric(street["elm"], "hearth_neighbours_asked_total") == 0
        member = next(m for m in street.status("fir")["members"] if m["name"] == log[0]["host"].split()[0])
        assert log[0]["host"] == f"{member['name']} ({member['id']})" and log[0]["sent_bytes"] > 50 and log[0]["reason"].startswith("req-"), log


@test
def a_model_from_next_door_is_listed_with_its_owner_and_class():
    with Homes() as street:
        fir = street["fir"]
        models = fir.get("/v1/models").json["data"]
        assert [(m["id"], m["privacy"]) for m in models] == [("starter", "neighbours")] and models[0]["owned_by"] in ("oak", "elm"), models
        tags = fir.get("/api/tags").json["models"]
        assert [m["name"].split(":")[0] for m in tags] == ["starter"], tags
        assert all(m["owned_by"] == "hearth" for m in street["oak"].get("/v1/models").json["data"])


@test
def an_answer_from_next_door_equals_the_one_at_home():
    with Homes() as street:
        ways = [
            {"temperature": 0},
            {"temperature": 1, "seed": 7},
            {"temperature": 1, "seed": 7, "stop": ["time", " you"]},
            {"temperature": 0.8, "seed": 3, "frequency_penalty": 0.7, "max_tokens": 20, "ignore_eos": True},
            {"temperature": 1, "seed": 5, "response_format": {"type": "json_schema", "json_schema": {"name": "t", "schema": {
                "type": "object", "properties": {"size": {"enum": ["small", "\u00e9norme"]}, "n": {"type": "integer"}}, "required": ["size", "n"], "additionalProperties": False}}}},
            {"temperature": 1, "seed": 4, "tool_choice": "required", "tools": [{"type": "function", "function": {"name": "book", "parameters": {
                "type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}}}]},
        ]
        for way in ways:
            there = street["fir"].post("/v1/chat/completions", chat(WORDS, **way), headers=NEIGHBOURS)
            here = street["oak"].post("/v1/chat/completions", chat(WORDS, **way))
            assert there.status == here.status == 200, (there.body, here.body)
            assert there.headers["Hearth-Served-By"] in ("oak", "elm") and here.headers["Hearth-Served-By"] == "here"
            a, b = there.json["choices"][0], here.json["choices"][0]
            for x in (a, b):
                for call in x["message"].get("tool_calls") or []:
                    call["id"] = ""
            assert a == b, (way, a, b)
            for key in ("prompt_tokens", "completion_tokens"):
                assert there.json["usage"][key] == here.json["usage"][key], (way, there.json["usage"], here.json["usage"])


@test
def status_says_where_and_why():
    with Homes() as street:
        by = street["fir"].post("/v1/chat/completions", chat(WORDS), headers=NEIGHBOURS).headers["Hearth-Served-By"]
        route = street["fir"].status()["routes"][0]
        assert route["by"] == by and "next door" in route["why"], route
        done = subprocess.run([HEARTH, "status", "--listen", f"127.0.0.1:{street['fir'].port}"], env=street["fir"].env, capture_output=True, text=True)
        assert done.returncode == 0 and f"{by} next door" in done.stdout and "neighbour" in done.stdout, done.stdout + done.stderr


@test
def a_name_next_door_goes_on_with_other_weights():
    with Homes() as street:
        fir, oak = street["fir"], street["oak"]
        path = os.path.join(oak.home, "models", "cellar.gguf")
        sizes = []
        for kind in ("Q4_0", "Q8_0"):
            subprocess.run([HEARTH, "quantize", os.path.join(SOURCE, "models", "starter.gguf"), path + ".part", kind], check=True, capture_output=True)
            os.rename(path + ".part", path)

            def offered():
                found = [m for m in fir.get("/api/tags").json["models"] if m["name"].startswith("cellar")]
                return found and found[0]["size"] not in sizes and found[0]["size"]
            sizes.append(wait_for("the model next door", 60, offered, step=0.1))
            answer = fir.post("/v1/chat/completions", chat(WORDS, model="cellar", temperature=0), headers=NEIGHBOURS)
            assert answer.status == 200 and answer.headers["Hearth-Served-By"] == "oak", (kind, answer.body)
        assert 1e9 < [m for m in fir.get("/v1/models").json["data"] if m["id"] == "cellar"][0]["created"]
        os.remove(path)


@test
def what_no_neighbour_does_says_so():
    with Homes() as street:
        answer = street["fir"].post("/v1/chat/completions", chat(WORDS, logprobs=True), headers=NEIGHBOURS)
        assert answer.status == 501 or answer.status == 400, answer.body
        assert b"logprobs" in answer.body, answer.body
        answer = street["elm"].post("/v1/chat/completions", chat(WORDS, logprobs=True), headers=NEIGHBOURS)
        assert answer.status == 200 and answer.headers["Hearth-Served-By"] == "here", answer.body


@test
def private_words_never_leave():
    with Homes() as street:
        before = metric(street["elm"], "hearth_neighbours_asked_total")
        lines = len(egress(street["elm"]))
        for headers in ({}, {"Hearth-Privacy": "private"}):
            answer = street["elm"].post("/v1/chat/completions", chat(WORDS), headers=headers)
            assert answer.status == 200 and answer.headers["Hearth-Served-By"] == "here"
        assert before == metric(street["elm"], "hearth_neighbours_asked_total")
        assert len(egress(street["elm"])) == lines


@test
def a_homes_own_work_comes_first():
    with Homes() as street:
        oak, fir = street["oak"], street["fir"]
        os.kill(street["elm"].process.pid, signal.SIGSTOP)  # so that there is only oak to ask
        try:
            whole = None

            def long_answer():
                nonlocal whole
                stream = fir.stream("/v1/chat/completions", chat(WORDS, stream=True, ignore_eos=True, max_tokens=120), headers=NEIGHBOURS)
                if stream.status != 200 or stream.r.headers["Hearth-Served-By"] != "oak":
                    stream.close()
                    return None
                return stream

            stream = wait_for("an answer from oak", 60, long_answer, 0.5)
            events = stream.events()
            text = ""
            while len(text) < 30:
                text += next(events)["choices"][0]["delta"].get("content") or ""
            # oak's own, which takes longer than a moment: the neighbour's rests, then gives way, and goes on when oak is idle again.
            before = metric(oak, "hearth_neighbours_preempted_total")
            # (Sampled, because a text that repeats itself is guessed ahead and soon done.)
            own = oak.post("/v1/chat/completions", chat(WORDS, ignore_eos=True, max_tokens=120, temperature=1, seed=9))
            assert own.status == 200
            assert metric(oak, "hearth_neighbours_preempted_total") > before, (before, text, oak.log()[-1500:], fir.log()[-1500:])
            for event in events:
                if event != "[DONE]":
                    text += event["choices"][0]["delta"].get("content") or ""
            whole = oak.post("/v1/chat/completions", chat(WORDS, ignore_eos=True, max_tokens=120)).json["choices"][0]["message"]["content"]
            assert text == whole, (text, whole)
        finally:
            os.kill(street["elm"].process.pid, signal.SIGCONT)


@test
def answers_are_weighed_and_an_honest_home_stays_in_good_standing():
    with Homes() as street:
        elm = street["elm"]

        def weighed():
            for seed in range(3):
                elm.post("/v1/chat/completions", chat(WORDS, temperature=1, seed=seed), headers=NEIGHBOURS)
            return metric(elm, "hearth_neighbours_checks_total") >= 2

        wait_for("two answers are weighed", 60, weighed, 0.5)
        assert metric(elm, "hearth_neighbours_misses_total") == 0, elm.log()[-2000:]
        assert not any(h["caught"] for h in elm.status()["neighbours"]["homes"])


@test
def receipts_survive_a_power_cut_of_either_side():
    with Homes() as street:
        fir, oak = street["fir"], street["oak"]
        fir.post("/v1/chat/completions", chat(WORDS), headers=NEIGHBOURS)
        for node in (oak, fir):
            stream = fir.stream("/v1/chat/completions", chat(WORDS, stream=True, ignore_eos=True, max_tokens=100), headers=NEIGHBOURS)
            assert stream.status == 200, stream.r.read()
            next(stream.events())
            node.process.kill()
            node.process.wait()
            ledger(node, "verify")
            node.restart()
            stream.close()
        street.wait_models("fir")

        def settled():
            fir.post("/v1/chat/completions", chat(WORDS), headers=NEIGHBOURS)
            ids = {m["name"]: m["id"] for m in street.status("fir")["members"]}
            mine = ledger(fir, "verify")
            for name in ("oak", "elm"):
                theirs = ledger(street[name], "verify")
                a = [h for h in mine["homes"] if h["id"] == ids[name]]
                b = [h for h in theirs["homes"] if h["id"] == ids["fir"]]
                if theirs["open"] != 0 or (a or b) and (not a or not b or (a[0]["taken"], a[0]["balance"]) != (b[0]["given"], -b[0]["balance"])):
                    return False
            return True

        wait_for("both sides have the same receipts", 100, settled, 0.5)

        def metered():
            stream = fir.stream("/v1/chat/completions", chat(WORDS, stream=True, ignore_eos=True, max_tokens=30), headers=NEIGHBOURS)
            for i, _ in enumerate(stream.events()):
                METER.use(1 if i < 20 else 0)
            took = sum(h["taken_joules"] for h in ledger(fir)["homes"])
            gave = sum(h["given_joules"] for h in ledger(oak)["homes"])
            assert took == 0 or took <= METER.joules
            return took > 0 and gave > 0

        wait_for("receipts say what it took", 60, metered, 0.5)


@test
def homes_that_differ_about_what_a_model_is_are_not_believed_but_for_the_one_that_is_trusted():
    with Homes(last=True) as street:
        fir = street["fir"]
        with open(LIES, "w") as f:
            f.write("facts")
        fir.stop()
        fir.restart()  # what it was told before is forgotten
        street.wait_log("fir", "neighbours differ about what the model starter is", 60)
        assert fir.get("/v1/models").json["data"] == []
        answer = fir.post("/v1/chat/completions", chat(WORDS), headers=NEIGHBOURS)
        assert answer.status == 404, (answer.status, answer.body)
        street.pool("fir", {"do": "distrust", "member": "elm"})
        believed = wait_for("the owner's word decides", 60, lambda: fir.get("/v1/models").json["data"], 0.1)
        assert [(m["id"], m["owned_by"]) for m in believed] == [("starter", "oak")], believed
        answer = fir.post("/v1/chat/completions", chat(WORDS), headers=NEIGHBOURS)
        assert answer.status == 200 and answer.headers["Hearth-Served-By"] == "oak", answer.body


run_tests()
