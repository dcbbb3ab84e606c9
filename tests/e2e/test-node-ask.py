#!/usr/bin/env python3
"""Answers from the household's documents: `hearth ask`, and chats that are given passages; what is cited, what was invented."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402
from papers import PROGRAM, Papers, cli, pdf  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "upstream"))
from fakeupstream import FakeUpstream  # noqa: E402

CONTRACT = pdf([[(72, 100, "This contract is between the owner and the tenant.")], [(72, 100, "The deposit of the flat is 2400 euros.")]])


def bearer(key):
    return {"Authorization": "Bearer " + key}


def says(*pieces):
    return lambda body: [({"content": p}, None) for p in pieces] + [({}, "stop")]


class House:
    """A node with papers and an upstream that says what the test wants."""

    def __init__(self, privacy="private"):
        self.up, self.papers, self.privacy = FakeUpstream(), Papers(), privacy

    def __enter__(self):
        self.papers.__enter__()
        self.path = self.papers.put("contract.pdf", CONTRACT)
        self.papers.put("garden.txt", "Tomatoes want sun and water.")
        self.node = Node([PROGRAM, "serve"], conf=f"upstream.u = {self.up.url} privacy={self.privacy}\n").__enter__()
        cli(self.node, "index", "add", self.papers.folder, "--wait")
        wait_for("the upstream's models", 10, lambda: "u/alpha" in [m["id"] for m in self.node.get("/v1/models").json["data"]])
        return self

    def __exit__(self, *why):
        self.node.__exit__(*why)
        self.papers.__exit__(*why)

    def ask(self, question, *args):
        return json.loads(cli(self.node, "ask", question, "--with", "u/alpha", "--json", *args))

    def said_to_model(self):
        return self.up.asked[-1][1]["messages"][-1]["content"]


def unsigned(annotation):
    """Without its link's end and signature, which differ from second to second."""
    return {k: v.split("&expires=")[0] if k in ("link", "source") else v for k, v in annotation.items()}


@test
def ask_cites_the_page_that_the_model_answered_from():
    with House() as h:
        h.up.script = says("The deposit is ", "2400 euros [", "1].")
        got = h.ask("How high is the deposit of the flat?")
        assert got["answer"] == "The deposit is 2400 euros [1]." and got["found"] and got["model"] == "u/alpha" and got["invented"] == 0, got
        [cited] = got["citations"]
        assert cited["file"] == h.path and cited["page"] == 2 and len(cited["box"]) == 4 and cited["number"] == 1, cited
        assert h.node.get(cited["link"]).status == 200 and h.node.get(cited["image"]).headers["Content-Type"] == "image/png"
        assert "[1] (contract.pdf, page 2)\nThe deposit of the flat is 2400 euros." in h.said_to_model()
        assert h.said_to_model().endswith("----\n\nHow high is the deposit of the flat?")
        assert h.papers.folder not in h.said_to_model()
        words = cli(h.node, "ask", "How high is the deposit of the flat?", "--with", "u/alpha")
        assert words == f"The deposit is 2400 euros [1].\n\n[1] {h.path}, page 2\n", words
        assert "privacy=private" in h.node.log() and "deposit" not in h.node.log()


@test
def invented_citations_are_taken_out():
    with House() as h:
        h.up.script = says("It is 2400 [1, 7] euros [9]. See [contract.pdf, page 2] and [other.pdf, page 3], but `x[5]` and [a note] stay.")
        got = h.ask("How high is the deposit of the flat?")
        assert got["answer"] == "It is 2400 [1] euros. See [1] and, but `x[5]` and [a note] stay.", got["answer"]
        assert got["invented"] == 3 and [c["number"] for c in got["citations"]] == [1], got
        h.up.script = says("It is 2400 euros [4].")
        got = h.ask("How high is the deposit of the flat?")
        assert got["answer"] == "It is 2400 euros." and got["citations"] == [] and got["invented"] == 1 and len(got["passages"]) > 0
        assert "cites none" in cli(h.node, "ask", "How high is the deposit of the flat?", "--with", "u/alpha")


@test
def a_silent_or_broken_model_leaves_the_passages():
    with House() as h:
        h.up.script = says("", " \n")
        got = h.ask("How high is the deposit of the flat?")
        assert got["answer"] is None and "said nothing" in got["reason"] and got["citations"][0]["page"] == 2, got
        h.up.mode = "500"
        got = h.ask("How high is the deposit of the flat?")
        assert got["answer"] is None and "no model answered" in got["reason"] and got["citations"][0]["file"] == h.path, got


@test
def nothing_relevant_is_said_so_and_no_model_is_asked():
    with House() as h:
        got = h.ask("What is the phone number of the dentist in Lisbon?")
        assert got == {"answer": None, "found": False, "model": None, "reason": None, "citations": [], "passages": [], "invented": 0}, got
        assert [path for path, _ in h.up.asked if path.endswith("/chat/completions")] == []
        assert cli(h.node, "ask", "What is the phone number of the dentist in Lisbon?", "--with", "u/alpha") == "Nothing in the indexed documents speaks of that.\n"


@test
def the_starter_model_is_too_small_and_answers_only_when_told_to():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("a.txt", "The color of the pump is red.")
        cli(node, "index", "add", papers.folder, "--wait")
        got = json.loads(cli(node, "ask", "What color is the pump?", "--json"))
        assert got["answer"] is None and "5 million parameters" in got["reason"] and got["citations"][0]["file"].endswith("a.txt"), got
        assert got["citations"][0]["page"] is None
        out, err = cli(node, "ask", "What color is the pump?", both=True)
        assert "The color of the pump is red." in out and "--with MODEL" in err, (out, err)
        # It knows nothing, but the whole way is gone: passages, template, tokens, answer.
        got = json.loads(cli(node, "ask", "What color is the pump?", "--with", "starter", "--json"))
        assert got["answer"] and got["model"] == "starter" and got["reason"] is None, got
        # More than its 256 tokens: fewer passages do.
        long = "\n\n".join(f"Ladder number {i} is kept in a list of many words." for i in range(60))
        for i in range(4):
            papers.put(f"b{i}.txt", f"The color of the {i}th pump. " + long[i:])
        cli(node, "index", "add", papers.folder, "--wait")
        got = json.loads(cli(node, "ask", "What color is the pump?", "--with", "starter", "--json"))
        assert len(got["passages"]) > 1, got
        assert got["passages"][0]["file"].endswith("a.txt") and got["answer"], got
        chat = {"model": "starter", "messages": [{"role": "user", "content": "What color is the pump?"}], "max_tokens": 8}
        answer = node.post("/v1/chat/completions", chat, headers={"Hearth-Context": "documents"})
        assert (answer.status, answer.headers["Hearth-Passages"]) == (200, "1"), (answer.status, answer.body)
        # Not even the best one: it is refused, and `ask` has the passages.
        os.unlink(os.path.join(papers.folder, "a.txt"))
        cli(node, "index", "add", papers.folder, "--wait")
        wait_for("the short one to be gone", 30, lambda: not any(h["file"].endswith("/a.txt") for h in node.get("/search?q=pump").json["hits"]), 0.1)
        refused = node.post("/v1/chat/completions", chat, headers={"Hearth-Context": "documents"})
        assert refused.status == 400 and refused.error()["code"] == "context_length_exceeded", refused.body
        got = json.loads(cli(node, "ask", "What color is the pump?", "--with", "starter", "--json"))
        assert got["answer"] is None and "no model answered" in got["reason"] and got["passages"], got


@test
def without_a_node_the_passages_are_the_answer():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("a.txt", "The pump is red.")
        cli(node, "index", "add", papers.folder, "--wait")
        node.stop()
        got = json.loads(cli(node, "ask", "What color is the pump?", "--json"))
        assert got["answer"] is None and "no node" in got["reason"] and got["citations"][0]["snippet"] == "The pump is red.", got


@test
def a_key_with_context_gets_cited_answers_in_every_family():
    with House() as h:
        node = h.node
        key = cli(node, "key", "add", "family", "--scope", "chat,documents", "--with-documents", "--privacy", "public").strip()
        plain = cli(node, "key", "add", "guest", "--scope", "chat").strip()
        assert '"context":"documents"' in cli(node, "key", "list", "--json")
        h.up.script = says("The deposit is 2400 euros [1]", " [8].")
        question = "How high is the deposit of the flat?"
        messages = [{"role": "user", "content": question}]
        text = f"The deposit is 2400 euros [1].\n\n[1] {h.path}, page 2"

        chat = {"model": "u/alpha", "messages": messages}
        answer = node.post("/v1/chat/completions", chat, headers=bearer(key))
        assert answer.headers["Hearth-Passages"] == "1", answer.headers
        message = answer.json["choices"][0]["message"]
        [a] = message["annotations"]
        assert message["content"] == text and a["type"] == "file_citation" and a["filename"] == "contract.pdf" and a["page"] == 2, message
        assert text[a["index"]:].startswith("[1]") and node.get(a["link"]).status == 200 and node.get(a["link"].split("&expires=")[0]).status == 401
        assert question in h.said_to_model() and "[1] (contract.pdf, page 2)" in h.said_to_model()
        assert "privacy=private" in node.log() and "privacy=public" not in node.log()

        a = unsigned(a)
        events = [e for e in node.stream("/v1/chat/completions", {**chat, "stream": True}, headers=bearer(key)).events() if e != "[DONE]"]
        deltas = [c["delta"] for e in events for c in e["choices"]]
        assert "".join(d.get("content", "") for d in deltas) == text and [unsigned(x) for x in deltas[-1]["annotations"]] == [a], deltas

        response = node.post("/v1/responses", {"model": "u/alpha", "input": question}, headers=bearer(key)).json
        part = response["output"][0]["content"][0]
        assert part["text"] == text and [unsigned(x) for x in part["annotations"]] == [a], part
        events = list(node.stream("/v1/responses", {"model": "u/alpha", "input": question, "stream": True}, headers=bearer(key)).events())
        assert [unsigned(e["annotation"]) for e in events if e["type"] == "response.output_text.annotation.added"] == [a]
        assert [unsigned(x) for x in events[-1]["response"]["output"][0]["content"][0]["annotations"]] == [a]

        message = node.post("/v1/messages", {"model": "u/alpha", "max_tokens": 100, "messages": messages}, headers={"x-api-key": key}).json
        [block] = message["content"]
        [c] = [unsigned(x) for x in block["citations"]]
        assert block["text"] == text and c["type"] == "search_result_location" and c["title"] == h.path and c["page"] == 2 and c["source"] == a["link"]
        events = list(node.stream("/v1/messages", {"model": "u/alpha", "max_tokens": 100, "messages": messages, "stream": True},
                                  headers={"x-api-key": key}).events())
        assert [unsigned(e["delta"]["citation"]) for e in events if e["type"] == "content_block_delta" and e["delta"]["type"] == "citations_delta"] == [c]
        assert [e["type"] for e in events][-3:] == ["content_block_stop", "message_delta", "message_stop"]

        for path, body, words in (("/api/chat", {"messages": messages}, lambda j: j["message"]["content"]), ("/api/generate", {"prompt": question}, lambda j: j["response"])):
            got = node.post(path, {"model": "u/alpha", "stream": False, **body}, headers=bearer(key)).json
            assert words(got) == text and got["citations"][0]["file"] == h.path and got["citations"][0]["page"] == 2, got

        # Others, and calls that say so, are given nothing.
        for headers in (bearer(plain), {**bearer(key), "Hearth-Context": "none"}):
            answer = node.post("/v1/chat/completions", chat, headers=headers)
            assert h.said_to_model() == question and "Hearth-Passages" not in answer.headers, h.said_to_model()
            assert answer.json["choices"][0]["message"]["content"].endswith("[1] [8].")
        refused = node.post("/v1/chat/completions", chat, headers={**bearer(plain), "Hearth-Context": "documents"})
        assert refused.status == 403 and "documents" in refused.error()["message"]
        assert node.post("/v1/chat/completions", chat, headers={**bearer(key), "Hearth-Context": "all"}).status == 400
        refused = node.post("/v1/chat/completions", chat, headers={**bearer(key), "Hearth-Tools": "web_fetch"})
        assert refused.status == 403 and refused.error()["param"] == "Hearth-Tools"
        cli(node, "key", "add", "wrong", "--scope", "chat", "--with-documents", code=2)


@test
def a_call_asks_for_context_by_a_header():
    with House() as h:
        headers = {"Hearth-Context": "documents"}
        h.up.script = says("Nothing is said of it.")
        answer = h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "Who is the dentist in Lisbon?"}]}, headers=headers)
        assert answer.headers["Hearth-Passages"] == "0" and "nothing in them speaks of it" in h.said_to_model(), h.said_to_model()
        assert "annotations" not in answer.json["choices"][0]["message"]
        # Without a word to look for, and with a shape to keep: the answer is as it is.
        h.up.script = says("?")
        assert h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "?!"}]}, headers=headers).status == 200
        h.up.script = says('{"numbers": [1, 9]}')
        got = h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "The deposit of the flat, as JSON"}],
                                                   "response_format": {"type": "json_object"}}, headers=headers).json
        assert json.loads(got["choices"][0]["message"]["content"]) == {"numbers": [1, 9]}, got
        # Several answers, each with citations of its own.
        h.up.script = says("2400 [1]")
        got = h.node.post("/v1/chat/completions", {"model": "u/alpha", "n": 3, "messages": [{"role": "user", "content": "deposit of the flat"}]}, headers=headers).json
        assert [len(c["message"]["annotations"]) for c in got["choices"]] == [1, 1, 1], got
        # Other endpoints have nothing to do with it.
        assert h.node.post("/v1/embeddings", {"model": "u/alpha", "input": "x"}, headers=headers).status == 200


@test
def a_question_that_says_little_is_understood_with_the_one_before():
    with House() as h:
        h.up.script = says("On the first page [1].")
        talk = [{"role": "user", "content": "How high is the deposit of the flat?"}, {"role": "assistant", "content": "2400"}, {"role": "user", "content": "And where does it say so?"}]
        got = h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": talk}, headers={"Hearth-Context": "documents"})
        assert got.headers["Hearth-Passages"] == "1" and "The deposit of the flat is 2400 euros." in h.said_to_model(), h.said_to_model()
        assert h.said_to_model().endswith("----\n\nAnd where does it say so?")
        assert h.up.asked[-1][1]["messages"][0]["content"] == talk[0]["content"]
        # Nothing before it, or nothing of use: nothing.
        for talk in (talk[2:], [{"role": "user", "content": "Who is the dentist?"}] + talk[1:]):
            assert h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": talk}, headers={"Hearth-Context": "documents"}).headers["Hearth-Passages"] == "0"


@test
def passages_go_to_no_server_that_may_not_read_private_words():
    with House(privacy="public") as h:
        h.up.script = says("2400 [1]")
        chat = {"model": "u/alpha", "messages": [{"role": "user", "content": "How high is the deposit of the flat?"}]}
        public = {"Hearth-Privacy": "public"}
        assert h.node.post("/v1/chat/completions", chat, headers=public).status == 200
        asked = len(h.up.asked)
        for headers in ({"Hearth-Context": "documents"}, {"Hearth-Tools": "search_documents"}):
            refused = h.node.post("/v1/chat/completions", chat, headers={**public, **headers})
            assert refused.status == 403 and "public" in refused.error()["message"], refused.body
        got = json.loads(cli(h.node, "ask", "How high is the deposit of the flat?", "--with", "u/alpha", "--json"))
        assert got["answer"] is None and got["citations"] and "no model answered" in got["reason"], got
        assert len(h.up.asked) == asked


@test
def neighbours_are_shown_only_what_is_marked_for_them():
    with House(privacy="neighbours") as h, Papers() as marked:
        marked.put("square.txt", "The deposit for a tent is 90 euros.")
        cli(h.node, "index", "add", marked.folder, "--shared", "--wait")
        h.up.script = says("90 euros [1].")
        chat = {"model": "u/alpha", "messages": [{"role": "user", "content": "How high is the deposit for a tent or flat?"}]}
        ask = lambda **headers: h.node.post("/v1/chat/completions", chat, headers=headers)
        for words in ("private", "public"):  # it would have the flat's, and this server may not read that
            assert ask(**{"Hearth-Context": "documents", "Hearth-Privacy": words}).status == 403
        assert not h.up.asked
        got = ask(**{"Hearth-Context": "documents", "Hearth-Privacy": "neighbours"})
        assert got.status == 200 and got.headers["Hearth-Passages"] == "1", got.body
        said = json.dumps(h.up.asked)
        assert "90 euros" in said and "2400" not in said and "contract" not in said, said
        # A key's default class is no such wish.
        key = cli(h.node, "key", "add", "guest", "--scope", "chat,documents", "--privacy", "neighbours").strip()
        assert ask(**{"Hearth-Context": "documents", "Authorization": "Bearer " + key}).status == 403


@test
def passages_of_the_tool_are_cited_too():
    with House() as h:
        def script(body):
            if body["messages"][-1]["role"] == "tool":
                return [({"content": "It is 2400 euros [1][3]."}, None), ({}, "stop")]
            return [({"tool_calls": [{"index": 0, "id": "c1", "type": "function",
                                      "function": {"name": "search_documents", "arguments": "{\"query\": \"deposit flat\"}"}}]}, None), ({}, "tool_calls")]
        h.up.script = script
        got = h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "The deposit?"}]},
                          headers={"Hearth-Tools": "search_documents"}).json
        message = got["choices"][0]["message"]
        assert message["content"].startswith("It is 2400 euros [1].\n\n[1] ") and message["annotations"][0]["page"] == 2, message
        assert h.said_to_model().startswith("[1] (contract.pdf, page 2)\n")
        # With passages from the beginning, those that it searches for go on in number.
        got = h.node.post("/v1/chat/completions", {"model": "u/alpha", "messages": [{"role": "user", "content": "The deposit of the flat?"}]},
                          headers={"Hearth-Tools": "search_documents", "Hearth-Context": "documents"})
        assert h.said_to_model().startswith("[2] (contract.pdf, page 2)\n") and got.headers["Hearth-Passages"] == "2", h.said_to_model()
        assert got.json["choices"][0]["message"]["content"].startswith("It is 2400 euros [1].\n\n[1] "), got.body


run_tests()
