#!/usr/bin/env python3
"""How well the share of a question's words that a passage has tells questions that the documents answer from others.

Indexes one test set (its documents as files), asks its own questions and those of another set, which speak of other things, and prints for each
threshold how many of its own still find a document that is judged to answer them, and how many foreign ones are told that nothing is there.

Usage: bench-ask.py BUILD SETS_FOLDER
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

BUILD, SETS = sys.argv[1:3]
PASSAGES = 6


def rows(name, kind):
    with open(os.path.join(SETS, name, kind + ".tsv"), encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f]


def measure(own, foreign):
    home, papers = tempfile.mkdtemp(prefix="hearth-ask-"), tempfile.mkdtemp(prefix="hearth-papers-")
    env = {**os.environ, "HEARTH_HOME": home}
    for number, *words in rows(own, "docs"):
        with open(os.path.join(papers, number + ".txt"), "w", encoding="utf-8") as f:
            f.write("\n".join(words))
    node = None
    try:
        node = subprocess.Popen([os.path.join(BUILD, "hearth"), "serve", "--listen", "127.0.0.1:0"], env=env, stdout=subprocess.PIPE, text=True)
        address = next(w for w in node.stdout.readline().split() if w.startswith("http://"))
        subprocess.run([os.path.join(BUILD, "hearth"), "index", "add", papers, "--wait"], check=True, stdout=subprocess.DEVNULL,
                       env={**env, "HEARTH_LISTEN": address[len("http://"):].rstrip("/,")})

        def ask(text):
            url = address.rstrip("/,") + "/search?" + urllib.parse.urlencode({"q": text[:1500], "k": 50})
            hits = json.load(urllib.request.urlopen(url))["hits"]
            return [(os.path.basename(h["file"])[:-4], h["share"]) for h in hits]

        judged = {}
        for question, document, *_ in rows(own, "qrels"):
            judged.setdefault(question, set()).add(document)
        ours = [(judged[q], ask(text)) for q, text in rows(own, "queries") if q in judged]
        theirs = [ask(text) for _, text in rows(foreign, "queries")]
    finally:
        if node is not None:
            node.terminate()
            node.wait()
        shutil.rmtree(home)
        shutil.rmtree(papers)
    for percent in range(20, 65, 5):
        kept = [[d for d, share in hits if share * 100 >= percent][:PASSAGES] for _, hits in ours]
        answered = sum(any(d in good for d in found) for (good, _), found in zip(ours, kept))
        silent = sum(not found for found in kept)
        refused = sum(not any(share * 100 >= percent for _, share in hits) for hits in theirs)
        print(f"| {own} | {foreign} | {percent} % | {answered / len(ours):.0%} | {silent / len(ours):.0%} | {refused / len(theirs):.0%} |", flush=True)


print("| documents | foreign questions of | threshold | own: a judged answer among the six best | own: told nothing is there | foreign: told nothing is there |")
print("|---|---|---|---|---|---|")
measure("cranfield", "cisi")
measure("cisi", "cranfield")
