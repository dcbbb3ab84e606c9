#!/usr/bin/env python3
"""/v1/files and /v1/vector_stores of a real node: what is sent is read, found through its store alone, filtered by its attributes, and gone when it is
deleted; the household's folders are stores that nobody changes; hostile bodies harm nothing. (The official client: tests/clients.)"""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import Node, run_tests, test, wait_for  # noqa: E402
from papers import Papers, cli, pdf  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "upstream"))
from fakeupstream import FakeUpstream  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"]


def form(name, content, purpose="assistants", boundary="xyzzy"):
    content = content.encode() if isinstance(content, str) else content
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n').encode()
    return body + content + f"\r\n--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def send(node, name, content, **more):
    body, headers = form(name, content, **more)
    return node.post("/v1/files", body, headers=headers)


def upload(node, name, content):
    answer = send(node, name, content)
    assert answer.status == 200, answer.body
    return answer.json


def post(node, path, body):
    answer = node.post(path, body)
    assert answer.status == 200, (path, answer.body)
    return answer.json


def wait_until_read(node, store, n):
    def read():
        s = node.get(f"/v1/vector_stores/{store}").json
        return s["status"] == "completed" and s["file_counts"]["total"] == n and s
    return wait_for("files to be read", 60, read, 0.1)


def found(node, store, query, **more):
    page = post(node, f"/v1/vector_stores/{store}/search", {"query": query, **more})
    assert page["object"] == "vector_store.search_results.page" and page["has_more"] is False and page["next_page"] is None, page
    return [(d["filename"], d) for d in page["data"]]


@test
def what_is_sent_is_found_through_its_store_alone_and_goes_when_deleted():
    with Node([PROGRAM, "serve"]) as node:
        one = upload(node, "boiler manual.txt", "The boiler's pressure valve must be replaced before winter.")
        assert one["object"] == "file" and one["filename"] == "boiler manual.txt" and one["bytes"] == 59 and one["purpose"] == "assistants", one
        two = upload(node, "scan.pdf", pdf([[(100, 100, "The tenancy of the mill ends")], [(100, 100, "a pressure gauge on page two")]]))
        broken = upload(node, "broken.pdf", b"%PDF-1.4 and nothing")
        store = post(node, "/v1/vector_stores", {"name": "papers", "metadata": {"who": "anna"}, "file_ids": [one["id"]]})
        assert store["object"] == "vector_store" and store["name"] == "papers" and store["metadata"] == {"who": "anna"}, store
        other = post(node, "/v1/vector_stores", {})
        link = post(node, f"/v1/vector_stores/{store['id']}/files", {"file_id": two["id"], "attributes": {"year": 2024, "kind": "lease", "signed": True}})
        assert link["object"] == "vector_store.file" and link["status"] in ("in_progress", "completed") and link["last_error"] is None, link
        post(node, f"/v1/vector_stores/{other['id']}/files", {"file_id": two["id"]})
        post(node, f"/v1/vector_stores/{store['id']}/files", {"file_id": broken["id"]})
        counts = wait_until_read(node, store["id"], 3)["file_counts"]
        assert counts == {"in_progress": 0, "completed": 2, "failed": 1, "cancelled": 0, "total": 3}, counts
        wait_until_read(node, other["id"], 1)
        failed = node.get(f"/v1/vector_stores/{store['id']}/files/{broken['id']}").json
        assert failed["status"] == "failed" and failed["last_error"]["message"], failed
        index = node.get("/hearth/index").json
        assert index["store_files"]["unreadable"] == 1 and index["store_files"]["indexed"] == 3, index
        assert index["files"]["unreadable"] == index["files"]["indexed"] == 0 and index["unreadable"] == [], index

        hits = found(node, store["id"], "pressure valve")
        assert [h[0] for h in hits] == ["boiler manual.txt", "scan.pdf"], hits
        assert hits[0][1]["file_id"] == one["id"] and "pressure valve" in hits[0][1]["content"][0]["text"] and 0.9 < hits[0][1]["score"] <= 1
        assert hits[1][1]["attributes"] == {"year": 2024, "kind": "lease", "signed": True}
        assert [h[0] for h in found(node, other["id"], "pressure")] == ["scan.pdf"]
        assert node.get("/search?q=pressure").json["hits"] == []
        assert found(node, "vs_documents", "pressure") == []

        # Filters, thresholds, several queries.
        kinds = {"type": "eq", "key": "kind", "value": "lease"}
        for f, n in ((kinds, 1), ({"type": "ne", "key": "kind", "value": "lease"}, 1), ({"type": "gte", "key": "year", "value": 2024}, 1),
                     ({"type": "gt", "key": "year", "value": 2024}, 0), ({"type": "in", "key": "kind", "value": ["x", "lease"]}, 1),
                     ({"type": "and", "filters": [kinds, {"type": "lt", "key": "year", "value": 2000}]}, 0),
                     ({"type": "or", "filters": [kinds, {"type": "nin", "key": "kind", "value": ["lease"]}]}, 2), ({"type": "eq", "key": "signed", "value": True}, 1)):
            assert len(found(node, store["id"], "pressure", filters=f)) == n, f
        assert [h[0] for h in found(node, store["id"], "pressure valve", ranking_options={"score_threshold": 0.9})] == ["boiler manual.txt"]
        assert {h[0] for h in found(node, store["id"], ["valve", "tenancy"], rewrite_query=True)} == {"boiler manual.txt", "scan.pdf"}
        assert len(found(node, store["id"], "pressure", max_num_results=1)) == 1

        # Changed, listed, taken out, deleted.
        assert post(node, f"/v1/vector_stores/{store['id']}", {"name": "more papers"})["metadata"] == {"who": "anna"}
        assert post(node, f"/v1/vector_stores/{store['id']}/files/{two['id']}", {"attributes": {"kind": "none"}})["attributes"] == {"kind": "none"}
        assert found(node, store["id"], "pressure", filters=kinds) == []
        names = [s["id"] for s in node.get("/v1/vector_stores?order=asc").json["data"]]
        assert names == [store["id"], other["id"], "vs_documents"], names
        page = node.get("/v1/files?limit=2&order=asc").json
        assert [f["id"] for f in page["data"]] == [one["id"], two["id"]] and page["has_more"] and page["last_id"] == two["id"]
        assert [f["id"] for f in node.get(f"/v1/files?limit=2&order=asc&after={page['last_id']}").json["data"]] == [broken["id"]]
        assert node.get(f"/v1/files/{one['id']}/content").body.decode() == "The boiler's pressure valve must be replaced before winter."
        assert node.ask("DELETE", f"/v1/vector_stores/{store['id']}/files/{two['id']}").json["deleted"] is True
        assert [h[0] for h in found(node, store["id"], "pressure")] == ["boiler manual.txt"]
        assert node.ask("DELETE", f"/v1/files/{one['id']}").json == {"id": one["id"], "object": "file", "deleted": True}
        assert found(node, store["id"], "pressure") == [] and node.get(f"/v1/files/{one['id']}").status == 404
        assert node.ask("DELETE", f"/v1/vector_stores/{other['id']}").json["deleted"] is True
        assert node.get(f"/v1/vector_stores/{other['id']}").status == 404
        wait_for("all traces to go", 60, lambda: node.get("/hearth/index").json["passages"] == 0 and node.get("/hearth/index").json["idle"], 0.1)
        assert "pressure" not in node.log() and "boiler" not in node.log() and "tenancy" not in node.log()
        for top, _, files in os.walk(os.path.join(node.home, "stores")):
            assert all(two["id"] not in f and one["id"] not in f for f in files), files
        assert os.listdir(os.path.join(node.home, "files")) != [] and os.stat(os.path.join(node.home, "files")).st_mode & 0o77 == 0


@test
def batches_count_their_files_and_a_restart_keeps_all():
    node = Node([PROGRAM, "serve"])
    with node:
        ids = [upload(node, f"note-{i}.md", f"# Note {i}\n\nA sentence about harbours, the {i}th.")["id"] for i in range(5)]
        store = post(node, "/v1/vector_stores", {"name": "notes"})["id"]
        batch = post(node, f"/v1/vector_stores/{store}/file_batches", {"file_ids": ids[:4], "attributes": {"set": "a"}})
        assert batch["object"] == "vector_store.files_batch" and batch["file_counts"]["total"] == 4, batch
        wait_for("the batch", 60, lambda: node.get(f"/v1/vector_stores/{store}/file_batches/{batch['id']}").json["status"] == "completed", 0.1)
        files = node.get(f"/v1/vector_stores/{store}/file_batches/{batch['id']}/files?order=asc&limit=3").json
        assert [f["id"] for f in files["data"]] == ids[:3] and files["has_more"] and files["data"][0]["attributes"] == {"set": "a"}
        post(node, f"/v1/vector_stores/{store}/files", {"file_id": ids[4]})
        wait_until_read(node, store, 5)
        assert len(found(node, store, "harbours")) == 5
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
        # What a crash between row and link leaves, and a stranger.
        folder = os.path.join(node.home, "stores", store)
        os.unlink(os.path.join(folder, ids[0] + ".md"))
        with open(os.path.join(folder, "file-stranger.md"), "w") as f:
            f.write("harbours of strangers")
        node.restart()
        wait_until_read(node, store, 5)
        wait_for("the link to be mended", 60, lambda: len(found(node, store, "harbours")) == 5, 0.1)
        assert all("strangers" not in d["content"][0]["text"] for _, d in found(node, store, "harbours"))


@test
def the_household_s_folders_are_stores_that_nobody_changes():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("rent.txt", "The rent of 740 euros is due on the third day of the month.")
        cli(node, "index", "add", papers.folder, "--wait")
        stores = node.get("/v1/vector_stores").json["data"]
        assert [s["id"] for s in stores] == ["vs_folder_1", "vs_documents"] and stores[0]["name"] == papers.folder, stores
        for store in ("vs_folder_1", "vs_documents"):
            hits = found(node, store, "when is the rent due")
            assert hits[0][0] == "rent.txt" and hits[0][1]["attributes"]["path"].endswith("/rent.txt") and hits[0][1]["file_id"], hits
            assert found(node, store, "rent", filters={"type": "eq", "key": "type", "value": "pdf"}) == []
            assert len(found(node, store, "rent", filters={"type": "eq", "key": "type", "value": "plain"})) == 1
            assert node.get(f"/v1/vector_stores/{store}/files").json["data"][0]["status"] == "completed"
            file = upload(node, "x.txt", "rent")["id"]
            for answer in (node.ask("DELETE", f"/v1/vector_stores/{store}"), node.post(f"/v1/vector_stores/{store}", {"name": "mine"}),
                           node.post(f"/v1/vector_stores/{store}/files", {"file_id": file})):
                assert answer.status == 403, (store, answer.body)
        assert os.path.exists(os.path.join(papers.folder, "rent.txt"))
        # What programs sent is no business of the household's search, nor of its folders.
        store = post(node, "/v1/vector_stores", {"file_ids": [file]})["id"]
        wait_until_read(node, store, 1)
        assert len(node.get("/search?q=rent").json["hits"]) == 1
        status = cli(node, "index", "status")
        assert "         1  indexed\n" in status and "         1  in vector stores\n" in status and f"{node.home}/stores" not in status, status


@test
def wrong_calls_are_refused_with_their_field():
    with Node([PROGRAM, "serve"]) as node:
        store = post(node, "/v1/vector_stores", {})["id"]
        search = f"/v1/vector_stores/{store}/search"
        deep = {"type": "eq", "key": "a", "value": 1}
        for _ in range(20):
            deep = {"type": "and", "filters": [deep]}
        for path, body, status, param in (
                (search, {}, 400, "query"), (search, {"query": []}, 400, "query"), (search, {"query": "a" * 3000}, 400, "query"),
                (search, {"query": "a", "max_num_results": 51}, 400, "max_num_results"), (search, {"query": "a", "filters": {"type": "like"}}, 400, "filters"),
                (search, {"query": "a", "filters": deep}, 400, "filters"), (search, {"query": "a", "ranking_options": {"score_threshold": 7}}, 400, "score_threshold"),
                ("/v1/vector_stores", {"name": "x" * 300}, 400, "name"), ("/v1/vector_stores", {"metadata": {"a": {}}}, 400, "metadata"),
                ("/v1/vector_stores", {"expires_after": {"anchor": "last_active_at", "days": 0}}, 400, "expires_after"),
                ("/v1/vector_stores", {"expires_after": {"anchor": "created_at", "days": 1}}, 400, "expires_after"),
                ("/v1/vector_stores", {"file_ids": ["file-none"]}, 404, "file_id"), (f"/v1/vector_stores/{store}/files", {}, 400, "file_id"),
                (f"/v1/vector_stores/{store}/file_batches", {"file_ids": []}, 400, "file_ids"), ("/v1/vector_stores/vs_none/search", {"query": "a"}, 404, "vector_store_id"),
                ("/v1/vector_stores/vs_folder_1%20OR%201/search", {"query": "a"}, 404, "vector_store_id"), ("/v1/files", {"purpose": "assistants"}, 400, "file")):
            answer = node.post(path, body)
            assert (status is None or answer.status == status) and answer.error()["param"] == param, (path, body, answer.status, answer.body)
        assert [s["id"] for s in node.get("/v1/vector_stores").json["data"]] == ["vs_documents", store]  # no half-made one stays
        assert send(node, "a.txt", "x", purpose="fun").error()["param"] == "purpose"
        assert send(node, "n" * 300, "x").error()["param"] == "file"
        for name in ("../../etc/passwd", "/etc/passwd", "..", 'a\\"b.txt', ".hidden"):
            assert upload(node, name, "harmless")["filename"].find("/") < 0
        body, headers = form("a.txt", "x")
        for broken in (b"", b"--xyzzy", b"--xyzzy--\r\n", body[:-12], body[:60], body.replace(b"name=", b"nome="), b"\r\n--xyzzy\r\n" * 200, b"x" * 100000):
            answer = node.post("/v1/files", broken, headers=headers)
            assert answer.status == 400 and answer.error()["message"], (broken[:40], answer.status, answer.body)
        assert node.post("/v1/files", body, headers={"Content-Type": "text/plain"}).status == 400
        assert node.ask("POST", "/v1/files", body, headers={**headers, "Content-Length": str(1 << 40)}, timeout=20).error()["param"] == "file"
        for path in ("/v1/files//content", "/v1/vector_stores/a/b", "/v1/vector_stores/a/files/b/c/d"):
            assert node.get(path).status == 404, path
        assert node.ask("DELETE", "/v1/vector_stores").headers["Allow"] == "GET, POST"
        assert node.get("/v1/files?limit=0").error()["param"] == "limit" and node.get("/v1/vector_stores?order=up").error()["param"] == "order"
        assert sorted(f for f in os.listdir(os.path.join(node.home, "files")) if f.startswith(".")) == []


@test
def responses_search_files_before_they_are_answered():
    asked = []
    citing = FakeUpstream()

    def script(body):
        asked.append(body)
        return [({"content": "The valve goes before winter [1] [9]."}, None), ({}, "stop")]
    citing.script = script
    with Papers() as papers, Node([PROGRAM, "serve"], conf=f"upstream.u = {citing.url}\n") as node:
        papers.put("rent.txt", "The rent of 740 euros is due on the third day of the month.")
        cli(node, "index", "add", papers.folder, "--wait")
        one = upload(node, "boiler.txt", "The boiler's pressure valve must be replaced before winter.")
        store = post(node, "/v1/vector_stores", {"expires_after": {"anchor": "last_active_at", "days": 7}})
        assert store["expires_after"] == {"anchor": "last_active_at", "days": 7} and store["expires_at"] == store["last_active_at"] + 7 * 86400, store
        post(node, f"/v1/vector_stores/{store['id']}/files", {"file_id": one["id"], "attributes": {"year": 2023}})
        wait_until_read(node, store["id"], 1)
        wait_for("the model", 60, lambda: "u/alpha" in [m["id"] for m in node.get("/v1/models").json["data"]], 0.1)

        def ask(question, ids=(store["id"],), **more):
            tool = {"type": "file_search", "vector_store_ids": list(ids), **more.pop("tool", {})}
            return node.post("/v1/responses", {"model": "u/alpha", "input": question, "tools": [tool], **more})
        whole = ask("When is the valve replaced?", include=["file_search_call.results"]).json
        call, message = whole["output"]
        assert call["type"] == "file_search_call" and call["status"] == "completed" and call["queries"] == ["When is the valve replaced?"], call
        result = call["results"][0]
        assert (result["file_id"], result["filename"], result["attributes"]) == (one["id"], "boiler.txt", {"year": 2023}) and "pressure valve" in result["text"], result
        part = message["content"][0]
        assert part["text"] == "The valve goes before winter [1].\n\n[1] boiler.txt", part
        assert [(a["type"], a["file_id"], a["filename"], a["index"]) for a in part["annotations"]] == [("file_citation", one["id"], "boiler.txt", 29)], part
        assert "pressure valve" in json.dumps(asked[-1]) and "740 euros" not in json.dumps(asked[-1]), asked[-1]
        # Without `include` no results; what is played back as input is taken; several stores, the household's among them.
        again = ask([{"role": "user", "content": "When is the valve replaced?"}, call, *[{k: m[k] for k in ("type", "role", "content")} for m in [message]],
                     {"role": "user", "content": "And when is the rent due?"}], ids=(store["id"], "vs_documents")).json
        assert again["output"][0]["results"] is None and "740 euros" in json.dumps(asked[-1]), again
        assert again["output"][1]["content"][0]["annotations"][0]["filename"] == "rent.txt", again
        nothing = ask("Who discovered the telescope?", include=["file_search_call.results"]).json
        assert nothing["output"][0]["results"] == [] and nothing["output"][1]["content"][0]["annotations"] == [], nothing
        filtered = ask("When is the valve replaced?", include=["file_search_call.results"], tool={"filters": {"type": "lt", "key": "year", "value": 2000}}).json
        assert filtered["output"][0]["results"] == [], filtered
        assert [o["type"] for o in ask("When is the valve replaced?", tool_choice="none").json["output"]] == ["message"]
        assert ask("When is the valve replaced?", tool_choice={"type": "file_search"}).json["output"][0]["type"] == "file_search_call"
        for bad, status, param in (({"ids": ()}, 400, "tools"), ({"ids": (7,)}, 400, "tools"), ({"ids": ("vs_none",)}, 404, "vector_store_id"),
                                   ({"tool": {"filters": {"type": "like"}}}, 400, "filters"), ({"tool": {"max_num_results": 0}}, 400, "max_num_results")):
            answer = ask("a valve", **bad)
            assert (answer.status, answer.error()["param"]) == (status, param), (bad, answer.body)
        key = next(w for w in cli(node, "key", "add", "talker", "--scope", "chat").split() if len(w) > 30)
        answer = node.post("/v1/responses", {"model": "u/alpha", "input": "a", "tools": [{"type": "file_search", "vector_store_ids": [store["id"]]}]},
                           headers={"Authorization": f"Bearer {key}"})
        assert answer.status == 403 and answer.error()["param"] == "tools", answer.body
        assert "valve" not in node.log() and "boiler" not in node.log()
    citing.close()


@test
def a_key_needs_the_scope_documents():
    with Node([PROGRAM, "serve"]) as node:
        chat = cli(node, "key", "add", "talker", "--scope", "chat").split()
        papers = cli(node, "key", "add", "reader", "--scope", "documents").split()
        chat, papers = (next(w for w in words if len(w) > 30) for words in (chat, papers))
        body, headers = form("a.txt", "x")
        for key, status in ((chat, 403), (papers, 200), ("nonsense", 401)):
            auth = {"Authorization": f"Bearer {key}"}
            assert node.get("/v1/vector_stores", headers=auth).status == status
            assert node.post("/v1/files", body, headers={**headers, **auth}).status == status


run_tests()
