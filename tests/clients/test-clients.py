#!/usr/bin/env python3
"""The official clients from npm against a real node with the starter model (clients.mjs). Skipped where node or the packages are not to be had."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from e2e import BUILD, SOURCE, Node, wait_for  # noqa: E402

sys.path.insert(0, os.path.join(HERE, "..", "upstream"))
from fakeupstream import FakeUpstream  # noqa: E402


def skip(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def installed():
    """The packages of the lock file, in the build folder; installed once."""
    folder = os.path.join(BUILD, "clients")
    os.makedirs(folder, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc", "clients.mjs"):
        shutil.copy(os.path.join(HERE, name), os.path.join(folder, name))
    stamp = os.path.join(folder, "installed")
    with open(os.path.join(HERE, "package-lock.json")) as f:
        lock = f.read()
    if os.path.exists(stamp) and open(stamp).read() == lock:
        return folder
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
    if done.returncode != 0:
        skip("npm cannot install the clients here: " + done.stdout.decode(errors="replace").strip().split("\n")[-1])
    with open(stamp, "w") as f:
        f.write(lock)
    return folder


def main():
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        skip(f"node {version} is too old for these clients")
    try:
        folder = installed()
    except subprocess.TimeoutExpired:
        skip("npm takes too long to install the clients")
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
        done = subprocess.run(["node", "clients.mjs", f"http://127.0.0.1:{n.port}", paper], cwd=folder, stdin=subprocess.DEVNULL, timeout=120)
    sys.exit(done.returncode)


main()
