#!/usr/bin/env python3
"""NATS's own client from npm, with a member's credentials, at a real neighbourhood's hub (nats.mjs): the lists of what is allowed hold."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from e2e import Skip, need_hub  # noqa: E402
from homes import TOOL, Street, found  # noqa: E402
from npm import install, skip  # noqa: E402


def main():
    try:
        need_hub()
    except Skip as e:
        skip(str(e))
    folder = install("nats.mjs")
    with Street("ann-at-the-corner", "ben-with-the-dog", "mal-of-number-nine") as (ann, ben, mal):
        hub = found(ann, ben, mal)
        mal.stop()  # its credentials are somebody else's now
        facts = json.loads(subprocess.run([TOOL, "seed", mal.folder], stdout=subprocess.PIPE, check=True).stdout)
        facts.update(hub=hub, ca=os.path.join(ann.folder, "street", "hub", "hub.crt"), names=[h.name for h in (ann, ben, mal)] + ["Elm Street"])
        before, version = ann.status()["rejected"], ann.status()["version"]
        done = subprocess.run(["node", "nats.mjs", json.dumps(facts)], cwd=folder, stdin=subprocess.DEVNULL, timeout=300)
        now = ann.status()
        assert now["rejected"] > before and now["version"] == version, now
        assert ann.names() == sorted(facts["names"][:3]) and ann.member(ben.name)["online"] and ben.member(ann.name)["online"]
        mal.start()
    sys.exit(done.returncode)


main()
