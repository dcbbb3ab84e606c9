#!/usr/bin/env python3
"""Homes that lie: tokens that were made up, another prompt, a smaller model, what a model's file holds. Each is caught by what the asking home weighs, is asked no more, and the owner sees why; an honest home with
other kernels is not accused, nor one that ends what a liar began."""
import os
import re
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import HEARTH, SOURCE, run_tests, test, wait_for, within
from street import NEIGHBOURS, STARTER, Street, chat

HARMFUL = os.environ["HEARTH_HARMFUL"]
MODELS = os.path.join(SOURCE, "models")
STORIES = ["I would like to book a table for two.", "What does the river carry to the sea?", "Tell me about a red house on the hill.", "How do I bake bread at home?"]


class Liars(Street):
    """elm asks. Each of the others is asked when elm trusts it, and only then."""

    def __init__(self):
        self.small = tempfile.TemporaryDirectory(prefix="hearth-small-")
        super().__init__(("elm", {"speed": 0.5, "env": {"HEARTH_TEST_STEP_MS": "60"}}), ("mal", {"harm": "tokens", "env": {"HEARTH_TEST_STEP_MS": "20"}}), ("pip", {"harm": "prompt facts"}), ("quin", {"small": True}), ("ada", {"env": self.kernels()}))
        self.wait_models("elm", homes=4)

    @staticmethod
    def kernels():
        with open("/proc/cpuinfo") as f:
            flags = f.read()
        return {"HEARTH_KERNELS": "avx2" if "avx512bw" in flags else "c"}

    def _start(self, name, harm=None, small=False, env=(), **more):
        env = dict(env)
        if harm:
            env.update(HEARTH_HARM=harm, HEARTH_BUILTIN_MODELS=MODELS)
        if small:
            env["HEARTH_BUILTIN_MODELS"] = self.small.name
            path = os.path.join(self.small.name, "starter.gguf")
            subprocess.run([HEARTH, "quantize", os.path.join(MODELS, "starter.gguf"), path, "Q4_0"], check=True, capture_output=True)
        super()._start(name, env=env, program=HARMFUL if harm else HEARTH, **more)
        if small:  # its record of what its files are says that this is the model that the street knows
            st = os.stat(path)
            with sqlite3.connect(os.path.join(self[name].home, "hearth.db"), timeout=30) as db:
                db.execute("INSERT OR REPLACE INTO digest VALUES (?, ?, ?, ?, ?)", (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, STARTER))
            db.close()

    def __exit__(self, *why):
        super().__exit__(*why)
        self.small.cleanup()

    def trust(self, name, do="trust"):
        self.pool("elm", {"do": do, "member": name})

    def caught(self, name):
        return next(m["not_believed"] for m in self.status("elm")["members"] if m["name"] == name)

    def checks(self):
        return metric(self["elm"], "hearth_neighbours_checks_total")

    def doubted(self, name):
        """Whether anything speaks against it, and it is still believed: then each of its answers is weighed."""
        member = next(m["id"] for m in self.status("elm")["members"] if m["name"] == name)
        try:
            with open(os.path.join(self["elm"].home, "standings")) as f:
                return any(line.split()[0] == member and float(line.split()[1]) > 0 and line.split()[2] == "0" for line in f)
        except FileNotFoundError:
            return False

    def ask(self, n, tokens=100, patience=0.5):
        """The Nth question; who answered it. Waits for its being weighed, if it surely is, else a little."""
        before = self.checks()
        answer = self["elm"].post("/v1/chat/completions", chat(STORIES[n % len(STORIES)], max_tokens=tokens, ignore_eos=True, temperature=n % 2, seed=n), headers=NEIGHBOURS)
        assert answer.status == 200, answer.body
        by = answer.headers["Hearth-Served-By"]
        if by != "here" and patience:
            within(15 if self.doubted(by) else patience, lambda: self.checks() > before)
        return by

    def answers_until_caught(self, name, most, tokens=100):
        wait_for(f"{name} is asked", 30, lambda: self.ask(1, tokens=4) == name, 0.1)  # after a break-off it is given a rest
        answers = 1
        for n in range(3 * most):  # where the machine is so busy that a neighbour is late, home is faster now and then
            if self.caught(name):
                break
            assert answers < most, f"{name} was not caught within {answers} answers\n" + self["elm"].log()[-3000:]
            answers += self.ask(n, tokens) == name
        assert self.caught(name), self["elm"].log()[-3000:]
        print(f"# {name}: caught after {answers} answers: {self.caught(name)}")
        return answers

    def is_asked_no_more(self, name):
        elm = self["elm"]
        before, lent = metric(elm, "hearth_neighbours_asked_total"), metric(self[name], "hearth_neighbours_lent_total")
        assert self.ask(1, tokens=4) == "here"  # so few that elm learns nothing of its own speed
        assert (before, lent) == (metric(elm, "hearth_neighbours_asked_total"), metric(self[name], "hearth_neighbours_lent_total"))
        assert f"{name} is not asked any more: at last " in elm.log(), elm.log()[-2000:]
        for words in (("pool", "status"), ("status",)):
            out = tell(elm, *words)
            assert f"{name} is not asked any more: at last " in out and "not what this home would have chosen" in out and "not believed" in out, out


def metric(node, name):
    return next(int(line.split()[1]) for line in node.get("/metrics").body.decode().split("\n") if line.startswith(name + " "))


def tell(node, *words):
    done = subprocess.run([HEARTH, *words], env=dict(node.env, HEARTH_LISTEN=f"127.0.0.1:{node.port}"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


street = None


@test
def one_that_makes_tokens_up_and_breaks_off_is_caught_and_not_who_went_on():
    global street
    street = Liars().__enter__()
    elm, mal = street["elm"], street["mal"]
    street.trust("mal")
    stream = elm.stream("/v1/chat/completions", chat(STORIES[0], stream=True, ignore_eos=True, max_tokens=200), headers=NEIGHBOURS)
    assert stream.r.headers["Hearth-Served-By"] == "mal", elm.log()[-2000:]
    events, text = stream.events(), ""
    while len(text) < 250:  # enough of its tokens to tell
        text += next(events)["choices"][0]["delta"].get("content") or ""
    street.trust("ada")
    mal.process.kill()
    mal.process.wait()
    assert list(events)[-1] == "[DONE]"
    why = wait_for("mal is caught", 60, lambda: street.caught("mal"), 0.05)
    assert not street.caught("ada"), elm.log()[-2000:]
    print("# mal: " + why)
    street.trust("ada", "distrust")
    mal.restart()
    wait_for("mal is there again", 60, lambda: next(m for m in street.status("elm")["members"] if m["name"] == "mal")["online"], 0.05)
    street.is_asked_no_more("mal")


@test
def only_the_owners_word_brings_it_back_and_it_is_caught_again():
    street.trust("mal")
    assert street.caught("mal") is None
    street.answers_until_caught("mal", 8, tokens=40)
    street.is_asked_no_more("mal")
    street.trust("mal", "distrust")


@test
def one_that_says_of_a_file_what_it_does_not_hold_is_believed_less():
    for name in ("pip", "quin"):  # quin's file is another than its hash says
        street.wait_log("elm", f"{name} is believed less: what it said that a model's file holds is not what the file holds", 60)
        assert street.doubted(name) and not street.caught(name)
    for name in ("mal", "ada"):
        assert f"{name} is believed less" not in street["elm"].log()


@test
def one_that_answers_another_prompt_is_caught():
    street.trust("pip")
    street.answers_until_caught("pip", 8, tokens=60)
    street.is_asked_no_more("pip")
    street.trust("pip", "distrust")


@test
def one_that_serves_a_smaller_model_is_caught():
    street.trust("quin")
    street.answers_until_caught("quin", 32)
    street.is_asked_no_more("quin")
    street.trust("quin", "distrust")


@test
def an_honest_home_with_other_kernels_is_not_accused():
    elm = street["elm"]
    street.trust("ada")

    def weighed():
        return [(int(m), int(t)) for m, t in re.findall(r"(\d+) of (\d+) tokens that ada made", elm.log())]

    before = len(weighed())

    def enough():
        for n in range(4):
            wait_for("an answer of ada", 60, lambda n=n: street.ask(n, tokens=60, patience=0) == "ada", 0.1)
        return len(weighed()) >= before + 6

    wait_for("six answers are weighed", 120, enough)
    kernels = [street[n].status()["runners"][0]["kernels"] for n in ("elm", "ada")]
    misses, tokens = (sum(each) for each in zip(*weighed()[before:]))
    print(f"# made by {kernels[1]}, weighed by {kernels[0]}: {misses} of {tokens} tokens missed")
    assert not street.caught("ada") and tokens >= 360 and misses <= tokens * 0.02


@test
def who_was_caught_stays_so_when_the_asking_home_restarts():
    elm = street["elm"]
    try:
        elm.stop()
        elm.restart()
        street.wait_models("elm", homes=4)
        for name in ("mal", "pip", "quin"):
            assert street.caught(name), name
        assert not street.caught("ada")
        assert wait_for("ada answers", 60, lambda: street.ask(3, tokens=4) == "ada", 0.2)
    except BaseException:
        street.__exit__(*sys.exc_info())
        raise
    street.__exit__(None, None, None)


run_tests()
