#!/usr/bin/env python3
"""The household's documents found by vectors too, in a real node: which embedding model makes them, that searches use them and say so, that another
model makes them again, that a killed node goes on where it was. The model is a random one (there is no trained one here), so what is asked of it is
what any model gives: a text is nearest to itself."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402
from papers import Papers, cli  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "architectures"))
import models  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"]
N = 40


def bert(folder, arch="nomic-bert", seed=31):
    path = os.path.join(folder, f"{arch}-{seed}.gguf")
    models.bert(arch, seed).write(path)
    return path


def text_of(i):
    kinds = ("ladders", "curtains", "telescopes", "bicycles", "violins", "lanterns", "saddles", "kettles")
    return f"{kinds[i % 8]} and {kinds[(i // 8 + i + 3) % 8]}, sheet {i} " + "xyzwvut"[i % 7] * (i + 2)


def put_papers(papers):
    for i in range(N):
        papers.put(f"paper-{i}.txt", text_of(i))


def status(node):
    return node.get("/hearth/index").json


def wait_for_vectors(node, n, model=None):
    def there():
        s = status(node)
        return s["idle"] and s["vectors"] == n and s["passages"] == n and (model is None or s["vector_model"] == model) and s
    return wait_for(f"{n} vectors", 90, there, 0.1)


def search(node, text, **more):
    query = "&".join(f"{k}={v}" for k, v in {"q": text.replace(" ", "%20").replace(",", "%2C"), **more}.items())
    answer = node.get("/search?" + query)
    assert answer.status == 200, answer.body
    return answer.json


@test
def the_one_embedding_model_that_is_here_makes_vectors_and_searches_use_them():
    with Papers() as papers, Papers() as made:
        put_papers(papers)
        with Node([PROGRAM, "serve"], models=[("some-nomic", bert(made.folder))]) as node:
            cli(node, "index", "add", papers.folder, "--wait")
            s = wait_for_vectors(node, N)
            assert s["vector_model"] == "some-nomic" and s["embed_model"] == "some-nomic" and s["vector_bytes"] > N * 48, s
            assert "40 of 40 passages have a vector of some-nomic" in cli(node, "index", "status")
            for i in (3, 17, 39):
                found = wait_for("a search by vectors", 60, lambda i=i: (lambda f: f["ranked_by"] == ["words", "vectors"] and f)(search(node, text_of(i), k=3)), 0.2)
                best = found["hits"][0]
                assert best["file"].endswith(f"/paper-{i}.txt") and best["similarity"] > 0.9, found
            assert all(h["similarity"] <= best["similarity"] for h in found["hits"]), found
            assert search(node, "ladders", folder="/elsewhere")["hits"] == []
            # Removal leaves no vector.
            for i in range(10):
                os.unlink(os.path.join(papers.folder, f"paper-{i}.txt"))
            wait_for_vectors(node, N - 10)
            assert "ladders" not in node.log() and "sheet" not in node.log()
            cli(node, "index", "rm", papers.folder, "--wait")
            wait_for("no vector", 60, lambda: status(node)["vector_bytes"] == 0, 0.1)


@test
def a_node_that_was_killed_goes_on_and_another_model_begins_again():
    with Papers() as papers, Papers() as made:
        put_papers(papers)
        node = Node([PROGRAM, "serve"], models=[("first", bert(made.folder, "bert", 21))])
        with node:
            cli(node, "index", "add", papers.folder, "--wait")
            wait_for_vectors(node, N, "first")
            node.process.send_signal(signal.SIGKILL)
            node.process.wait()
            node.restart()
            papers.put("late.txt", "A late sheet about harps.")
            wait_for_vectors(node, N + 1, "first")
            # Another file under the same name is another model.
            os.unlink(os.path.join(node.home, "models", "first.gguf"))
            os.symlink(bert(made.folder, "nomic-bert", 77), os.path.join(node.home, "models", "second.gguf"))
            wait_for_vectors(node, N + 1, "second")
            found = wait_for("a search by vectors", 60, lambda: (lambda f: len(f["ranked_by"]) == 2 and f)(search(node, text_of(5), k=2)), 0.2)
            assert found["hits"][0]["file"].endswith("/paper-5.txt"), found


@test
def with_several_models_the_setting_decides_and_without_one_words_do():
    with Papers() as papers, Papers() as made:
        papers.put("one.txt", text_of(1))
        both = [("m-one", bert(made.folder, "bert", 1)), ("m-two", bert(made.folder, "bert", 2))]
        with Node([PROGRAM, "serve"], models=both) as node:
            cli(node, "index", "add", papers.folder, "--wait")
            wait_for("the node to say so", 60, lambda: "embed_model" in node.log(), 0.1)
            assert status(node)["embed_model"] == "" and status(node)["vectors"] == 0
            assert search(node, "curtains")["ranked_by"] == ["words"]
        with Node([PROGRAM, "serve"], settings=["--embed-model", "m-two"], models=both) as node:
            cli(node, "index", "add", papers.folder, "--wait")
            wait_for_vectors(node, 1, "m-two")
        with Node([PROGRAM, "serve"], settings=["--embed-model", "off"], models=both[:1]) as node:
            cli(node, "index", "add", papers.folder, "--wait")
            assert status(node)["embed_model"] == "" and search(node, "curtains")["ranked_by"] == ["words"]


@test
def a_store_s_files_get_vectors_too():
    with Papers() as papers, Papers() as made:
        for i in range(100):
            papers.put(f"paper-{i}.txt", text_of(i) + f" number {i * 7}")
        with Node([PROGRAM, "serve"], models=[("some-nomic", bert(made.folder))]) as node:
            body = (b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--x\r\nContent-Disposition: form-data; name="file"; '
                    b'filename="a.txt"\r\n\r\nMarmots whistle in the evening.\r\n--x--\r\n')
            sent = node.post("/v1/files", body, headers={"Content-Type": "multipart/form-data; boundary=x"}).json
            store = node.post("/v1/vector_stores", {"file_ids": [sent["id"]]}).json["id"]

            def by_vectors():
                page = node.post(f"/v1/vector_stores/{store}/search", {"query": "Marmots whistle in the evening."}).json
                return page["ranked_by"] == ["words", "vectors"] and page["data"]
            hits = wait_for("the store to be searched by vectors", 60, by_vectors, 0.2)
            assert [h["filename"] for h in hits] == ["a.txt"] and hits[0]["score"] > 0.9, hits
            assert node.post(f"/v1/vector_stores/{store}/search", {"query": "zyx"}).json["data"][0]["filename"] == "a.txt"  # nearest, whatever it is
            cli(node, "index", "add", papers.folder, "--wait")
            wait_for("vectors for all", 120, lambda: status(node)["vectors"] == 101, 0.2)


run_tests()
