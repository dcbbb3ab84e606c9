#!/usr/bin/env python3
"""The household's documents in a real node: kept while it runs, searched over HTTP and by the program, behind their own scope."""
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402
from papers import pdf  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "upstream"))
from fakeupstream import FakeUpstream  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"]


def cli(node, *args, code=0, key=None):
    env = {**os.environ, "HEARTH_HOME": node.home, "HEARTH_LISTEN": f"127.0.0.1:{node.port}", "NO_COLOR": "1"}
    if key:
        env["HEARTH_API_KEY"] = key
    done = subprocess.run([PROGRAM, *args], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout


class Papers:
    def __enter__(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="hearth-papers-"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def put(self, name, text):
        with open(os.path.join(self.folder, name), "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())


@test
def folders_are_read_watched_searched_and_removed():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        assert node.get("/search?q=boiler").json == {"hits": [], "ranked_by": ["words"]}
        papers.put("boiler.txt", "The boiler's pressure valve must be replaced before winter.")
        papers.put("rent.txt", "The rent of 740 euros is due on the third day of the month.")
        cli(node, "index", "add", papers.folder, "--wait")
        status = node.get("/hearth/index").json
        assert status["files"]["indexed"] == 2 and status["kept"] and status["folders"][0]["path"] == papers.folder, status
        hit = node.get("/search?q=pressure%20valves&k=3").json["hits"][0]
        assert hit["file"] == os.path.join(papers.folder, "boiler.txt") and hit["page"] is None and hit["score"] > 0
        assert [hit["snippet"][a:b] for a, b in hit["highlights"]] == ["pressure", "valve"]
        assert "rent.txt" in cli(node, "search", "rent")
        papers.put("new.txt", "A telescope was bought in autumn.")
        wait_for("a new file to be found", 30, lambda: node.get("/search?q=telescope").json["hits"], 0.1)
        os.unlink(os.path.join(papers.folder, "rent.txt"))
        wait_for("a removed file to be gone", 30, lambda: not node.get("/search?q=rent").json["hits"], 0.1)
        assert "boiler.txt" in cli(node, "ask", "When must the valve be replaced?")
        assert "Nothing" in cli(node, "ask", "What is the name of the neighbour's dog?")
        cli(node, "index", "rm", papers.folder, "--wait")
        assert node.get("/search?q=boiler").json["hits"] == []
        assert "valve" not in node.log() and "telescope" not in node.log()


@test
def wrong_searches_are_refused_with_their_field():
    with Node([PROGRAM, "serve"]) as node:
        for path, param in (("/search", "q"), ("/search?q=a&k=0", "k"), ("/search?q=a&k=many", "k"), ("/search?q=a&k=100000", "k")):
            answer = node.get(path)
            assert answer.status == 400 and answer.error()["param"] == param, (path, answer.body)
        assert node.post("/search?q=a", {}).status == 405
        assert node.ask("DELETE", "/hearth/index").headers["Allow"] == "GET, POST"
        for body in ({}, {"add": "relative"}, {"add": "/a", "remove": "/b"}, {"add": "/no/such/folder"}, {"add": node.home}):
            assert node.post("/hearth/index", body).status in (400, 404), body


@test
def papers_have_a_scope_of_their_own():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("secret.txt", "The treasure is under the apple tree.")
        cli(node, "index", "add", papers.folder, "--wait")
        chat = cli(node, "key", "add", "guest", "--scope", "chat,embed").strip()
        reader = cli(node, "key", "add", "reader", "--scope", "documents").strip()
        bearer = lambda key: {"Authorization": "Bearer " + key}
        assert node.get("/search?q=treasure").status == 401
        refused = node.get("/search?q=treasure", headers=bearer(chat))
        assert refused.status == 403 and "documents" in refused.error()["message"]
        assert len(node.get("/search?q=treasure", headers=bearer(reader)).json["hits"]) == 1
        assert node.get("/hearth/index", headers=bearer(reader)).status == 403
        # A browser has no key: links that a reader was given open without one, and nothing else does.
        papers.put("two.pdf", pdf([[(100, 100, "The treasure map, first page")], [(100, 100, "The treasure map, second page")]]))
        wait_for("the map", 60, lambda: len(node.get("/search?q=map", headers=bearer(reader)).json["hits"]) == 2, 0.1)
        hits = node.get("/search?q=map", headers=bearer(reader)).json["hits"]
        hit = next(h for h in hits if h["page"] == 1)
        link, image = hit["link"], hit["image"]
        assert "&signature=" in link and "&expires=" in link, link
        page = node.get(link)
        assert page.status == 200 and "second page" not in page.body.decode() and page.headers["Referrer-Policy"] == "no-referrer", page.body
        assert node.get(image).body.startswith(b"\x89PNG")
        inner = [html.unescape(u) for u in re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())]
        assert len(inner) == 2 and all(node.get(u).status == 200 for u in inner), inner  # the next page, and its picture
        assert "second page" in node.get(inner[0]).body.decode()
        expires = re.search(r"expires=(\d+)", link)[1]
        other = node.get("/search?q=tree", headers=bearer(reader)).json["hits"][0]["link"].split("?")[0]
        for bad in (link.split("&expires")[0], link.replace(expires, str(int(expires) + 1)), link.replace("&signature=", "&signature=0"),
                    link[:-1] + ("0" if link[-1] != "0" else "1"), other + "?" + link.split("?")[1], link.replace("/documents/", "/search?q=treasure&x="),
                    link.replace("&expires=" + expires, "")):
            assert node.get(bad).status == 401, bad
        assert node.ask("DELETE", link).status == 401
        assert "signature" not in node.log()


@test
def a_node_that_is_killed_goes_on_where_it_was():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        for i in range(40):
            papers.put(f"f{i}.txt", f"Paper with the word unique{i}x and some others.")
        cli(node, "index", "add", papers.folder)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
        # Without a node the program reads by itself.
        node.port = 9
        cli(node, "index", "add", papers.folder, "--wait")
        for i in (0, 17, 39):
            assert f"f{i}.txt" in cli(node, "search", f"unique{i}x")
        node.stop = lambda *a, **k: None


@test
def a_model_searches_them_by_itself():
    def script(body):
        last = body["messages"][-1]
        if last["role"] == "tool":
            return [({"content": "Found: " + last["content"]}, None), ({}, "stop")]
        arguments = json.dumps({"query": "apple tree" if "treasure" in last["content"] else "zeppelin"})
        return [({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "search_documents", "arguments": arguments}}]}, None), ({}, "tool_calls")]

    up = FakeUpstream()
    up.script = script
    with Papers() as papers, Node([PROGRAM, "serve"], conf=f"upstream.u = {up.url}\n") as node:
        papers.put("secret.txt", "The treasure is under the apple tree.")
        cli(node, "index", "add", papers.folder, "--wait")
        wait_for("the upstream's models", 10, lambda: "u/alpha" in [m["id"] for m in node.get("/v1/models").json["data"]])

        def ask(text, **headers):
            return node.post("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": text}]},
                             headers={"Hearth-Tools": "search_documents", **headers})

        said = ask("Where is the treasure?", **{"Hearth-Privacy": "public"}).json["choices"][0]["message"]["content"]
        assert said.startswith("Found: [1] (secret.txt)") and "under the apple tree" in said, said
        assert "privacy=private" in node.log() and "apple" not in node.log()
        assert "No document speaks of that" in ask("And the airship?").json["choices"][0]["message"]["content"]
        key = cli(node, "key", "add", "guest", "--scope", "chat").strip()
        refused = ask("Where is the treasure?", Authorization="Bearer " + key)
        assert refused.status == 403 and "documents" in refused.error()["message"], refused.body


run_tests()
