#!/usr/bin/env python3
"""Credit and receipts of real homes: who gave is served before who only takes, and nobody starves; a home that is killed at any write of a receipt leaves both sides' books good, and apart by
one total at most."""
import atexit
import http.client
import os
import shutil
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, run_tests, test, wait_for
from street import EMPTY, NEIGHBOURS, Street, chat, ledger

HARMFUL = os.environ["HEARTH_HARMFUL"]
WORDS = "I would like to book a table for two."
ONE_TOTAL = 512 + 64  # tokens: the window of unacknowledged ones, and the prompt's


def metric(node, name):
    return next(int(line.split()[1]) for line in node.get("/metrics").body.decode().split("\n") if line.startswith(name + " "))


def lent(node):
    return metric(node, "hearth_neighbours_lent_total")


def of(node, other):
    """What a home's books say of another."""
    found = [h for h in ledger(node, "verify")["homes"] if h["id"] == other]
    return found[0] if found else {"given": 0, "taken": 0, "balance": 0}


@test
def who_gave_comes_before_who_only_takes_and_nobody_starves():
    with Street(("oak", {"model": False, "settings": ("--parallel", "2")}), ("ann", {}), ("fox", {"model": False})) as street:
        oak, ann, fox = (street[n] for n in ("oak", "ann", "fox"))
        for a, b in (("oak", "ann"), ("ann", "oak"), ("fox", "oak")):
            street.pool(a, {"do": "trust", "member": b})
        street.wait_models("oak")

        # oak takes from ann: ann has credit there.
        def gave():
            answer = oak.post("/v1/chat/completions", chat(WORDS, max_tokens=200, ignore_eos=True, temperature=1, seed=3), headers=NEIGHBOURS)
            assert answer.status == 200, answer.body
            return metric(oak, "hearth_neighbours_borrowed_tokens_total") >= 2500

        ids = {m["name"]: m["id"] for m in street.status("oak")["members"]}
        wait_for("ann has given 2500 tokens", 120, gave, 0.01)
        wait_for("and has it in writing", 60, lambda: of(oak, ids["ann"])["balance"] <= -2400, 0.2)
        # From now on ann has no model of its own; oak has one, and takes its time.
        ann.stop()
        ann.env["HEARTH_BUILTIN_MODELS"] = EMPTY
        ann.restart()
        oak.stop()
        del oak.env["HEARTH_BUILTIN_MODELS"]
        oak.env["HEARTH_TEST_STEP_MS"] = "30"
        oak.restart()
        for name in ("ann", "fox"):
            street.wait_models(name)
        order, answers, before = [], {}, lent(oak)

        def ask(who, node, tokens):
            answers[who] = node.post("/v1/chat/completions", chat(WORDS, max_tokens=tokens, ignore_eos=True, temperature=1, seed=len(who)), headers=NEIGHBOURS, timeout=200)
            order.append(who)

        threads = []
        for n, (who, node, tokens) in enumerate((("first of fox", fox, 90), ("second of fox", fox, 220), ("third of fox", fox, 20), ("ann", ann, 20))):
            threads.append(threading.Thread(target=ask, args=(who, node, tokens)))
            threads[-1].start()
            # Two are being made; then one of fox waits, and only then comes ann.
            wait_for(f"{who} is there", 60, lambda n=n: lent(oak) >= before + n + 1, 0.002)
        for thread in threads:
            thread.join()
        for who, answer in answers.items():
            assert answer.status == 200 and answer.headers["Hearth-Served-By"] == "oak", (who, answer.status, answer.body)
        done = [line.split(" for ")[1].split(" done")[0] for line in oak.log().split("\n") if " for " in line and " done: " in line][-4:]
        print(f"# oak made them in this order: {done}; {order}")
        assert done[:3] == ["fox", "ann", "fox"] and done[3] == "fox", (done, oak.log()[-2000:])


@test
def a_kill_at_any_write_leaves_books_that_verify_and_differ_by_one_total_at_most():
    folder = tempfile.mkdtemp(prefix="hearth-harm-")
    atexit.register(shutil.rmtree, folder, True)
    harm = {"HEARTH_BUILTIN_MODELS": os.path.join(SOURCE, "models")}
    with Street(*((name, {"speed": speed, "env": dict(harm, HEARTH_TEST_STEP_MS=step, HEARTH_HARM=os.path.join(folder, name)), "program": HARMFUL}) for name, speed, step in
                  (("elm", 0.5, "40"), ("oak", None, "5"))), ("ash", {"model": False})) as street:
        elm, oak = street["elm"], street["oak"]
        street.pool("elm", {"do": "trust", "member": "oak"})
        ids = {m["name"]: m["id"] for m in street.status("elm")["members"]}
        body = chat(WORDS, max_tokens=200, ignore_eos=True, temperature=1, seed=5)  # a receipt after 128 tokens, and one at the end

        def agree():
            a, b = of(elm, ids["oak"]), of(oak, ids["elm"])
            return ledger(oak)["open"] == 0 and (a["taken"], a["balance"]) == (b["given"], -b["balance"]) and a["taken"]

        def answered():
            answer = elm.post("/v1/chat/completions", dict(body, max_tokens=6), headers=NEIGHBOURS)
            return answer.status == 200 and answer.headers["Hearth-Served-By"] == "oak"

        def armed(node, at):
            """Asks until the node has died of it."""
            path = node.env["HEARTH_HARM"]
            with open(path + ".new", "w") as f:
                f.write(at)
            os.rename(path + ".new", path)

            def dead():
                try:
                    stream = elm.stream("/v1/chat/completions", dict(body, stream=True), headers=NEIGHBOURS)
                    for _ in stream.lines() if stream.r.headers["Hearth-Served-By"] == "oak" else ():
                        if node.process.poll() is not None:
                            break
                    stream.close()
                except (OSError, http.client.HTTPException):
                    pass
                return node.process.poll() is not None

            wait_for(f"it is killed {at}", 60, dead, 0.1)
            assert node.process.returncode == -9
            os.remove(path)

        street.wait_models("elm")
        wait_for("an answer of oak", 60, answered, 0.2)
        for node, at in ((oak, "before:1"), (oak, "after:1"), (oak, "after:2"), (elm, "before:1"), (elm, "after:1")):
            armed(node, at)
            a, b = of(elm, ids["oak"]), of(oak, ids["elm"])
            assert abs(a["balance"] + b["balance"]) <= ONE_TOTAL and abs(a["taken"] - b["given"]) <= 1, (at, a, b)
            node.restart()
            street.wait_models("elm")
            wait_for("an answer of oak", 60, answered, 0.2)
            wait_for("both sides have the same receipts", 60, agree, 0.1)


run_tests()
