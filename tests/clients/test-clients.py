#!/usr/bin/env python3
"""The official clients from npm against a real node with the starter model (clients.mjs). Skipped where node or the packages are not to be had."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from e2e import SOURCE, Node, wait_for  # noqa: E402

sys.path.insert(0, os.path.join(HERE, "..", "upstream"))
from fakeupstream import FakeUpstream  # noqa: E402
from npm import install  # noqa: E402


def main():
    folder = install("clients.mjs")
    starter = os.path.join(SOURCE, "models", "starter.gguf")
    # What cites: a model that always says the same, and one paper.
    citing = FakeUpstream()
    citing.script = lambda body: [({"content": "The deposit is 2400 euros ["}, None), ({"content": "1] [7]."}, None), ({}, "stop")]
    with tempfile.TemporaryDirectory(prefix="hearth-papers-") as papers, \
            Node(os.environ["HEARTH_PROGRAM"].split(), ("--model", "starter"), models=[("starter", starter)], conf=f"upstream.u = {citing.url}\n") as n:
        paper = os.path.join(os.path.realpath(papers), "lease.txt")
        with open(paper, "w") as f:
            f.write("The deposit of the flat is 2400 euros.")
        n.post("/hearth/index", {"add": os.path.realpath(papers)})
        wait_for("the paper and the model", 60, lambda: n.get("/search?q=deposit").json["hits"] and "u/alpha" in [m["id"] for m in n.get("/v1/models").json["data"]], 0.1)
        done = subprocess.run(["node", "clients.mjs", f"http://127.0.0.1:{n.port}", paper], cwd=folder, stdin=subprocess.DEVNULL, timeout=480)
    sys.exit(done.returncode)


main()
