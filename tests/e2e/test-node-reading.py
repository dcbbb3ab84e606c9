#!/usr/bin/env python3
"""How reading goes on: states with reasons, pictures later and at rest while somebody waits for an answer, progress on a terminal, mail."""
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, Skip, run_tests, test, wait_for  # noqa: E402
from papers import PROGRAM, Papers, Png, cli, pdf  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "upstream"))
from fakeupstream import FakeUpstream  # noqa: E402


def files(node, query, more=""):
    return [os.path.basename(h["file"]) for h in node.get("/search?k=50&q=" + query.replace(" ", "%20") + more).json["hits"]]


def index(node):
    return node.get("/hearth/index").json


def readers(node):
    """The node's extractors: pid, state letter, niceness."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                name, rest = f.read().rsplit(")", 1)
        except OSError:
            continue
        rest = rest.split()
        if "hearth-extract" in name and int(rest[1]) == node.process.pid:
            found.append((int(pid), rest[0], int(rest[16])))
    return found


class Held:
    """An answer that somebody waits for, for as long as the test wants."""

    def __init__(self):
        self.up, self.release = FakeUpstream(), threading.Event()

        def script(body):
            yield {"content": "Wait."}, None
            self.release.wait(120)
            yield {}, "stop"
        self.up.script = script

    def begin(self, node):
        wait_for("the upstream's models", 10, lambda: "u/alpha" in [m["id"] for m in node.get("/v1/models").json["data"]])
        self.thread = threading.Thread(target=lambda: node.chat("hello", model="u/alpha"))
        self.thread.start()
        wait_for("the answer to begin", 20, lambda: node.active() == 1)

    def end(self):
        self.release.set()
        self.thread.join()


def scans(node, papers, n):
    """Pictures of pages full of words: what this node draws of a PDF."""
    papers.put("page.pdf", pdf([[(60, 60 + 20 * i, f"Line {i} of a letter about the walnut harvest and the price of ladders.") for i in range(16)] + [(60, 700, "The zeppelin lands on Sunday.")]]))
    cli(node, "index", "add", papers.folder, "--wait")
    hit = node.get("/search?q=walnut").json["hits"][0]
    png = node.get(hit["image"].split("?")[0] + "?dpi=200").body
    os.unlink(os.path.join(papers.folder, "page.pdf"))
    wait_for("the PDF to be forgotten", 30, lambda: not files(node, "walnut"), 0.1)
    for i in range(n): # each another picture to the index
        papers.put(f"scan{i}.png", png + bytes([i]))


@test
def nothing_is_begun_while_somebody_waits_for_an_answer():
    held = Held()
    with Papers() as papers, Node([PROGRAM, "serve"], conf=f"upstream.u = {held.up.url}\n") as node:
        papers.put("old.txt", "An old paper.")
        cli(node, "index", "add", papers.folder, "--wait")
        held.begin(node)
        papers.put("new.txt", "A telescope was bought.")
        add = {"add": papers.folder}
        node.post("/hearth/index", add)
        wait_for("the new file to be seen", 30, lambda: index(node)["files"]["waiting"] == 1, 0.05)
        # A look that finds it unchanged comes in a turn after the one that saw it and might have begun it.
        node.post("/hearth/index", add)
        wait_for("another turn", 30, lambda: index(node)["files"]["unchanged"] == 2, 0.05)
        status = index(node)
        assert status["paused"] and not status["idle"] and status["files"]["waiting"] == 1 and status["extracted"] == 1, status
        assert "rests" in cli(node, "index", "status")
        assert files(node, "old") == ["old.txt"] # searching goes on
        held.end()
        wait_for("the file to be read", 30, lambda: files(node, "telescope") == ["new.txt"], 0.05)
        assert not index(node)["paused"]


@test
def ocr_has_low_priority_and_stands_still_while_somebody_waits():
    if not any(os.path.exists(f"/usr/share/tesseract-ocr/{v}/tessdata/eng.traineddata") for v in ("4.00", "5")):
        raise Skip("no Tesseract language is installed")
    held = Held()
    with Papers() as papers, Node([PROGRAM, "serve"], conf=f"upstream.u = {held.up.url}\n") as node:
        scans(node, papers, 8) # so many that the last still waits when the text is found
        papers.put("text.txt", "Text comes first.")
        before = index(node)
        node.post("/hearth/index", {"add": papers.folder})
        # What is text is found while pictures still wait.
        wait_for("the text", 60, lambda: files(node, "comes first") == ["text.txt"], 0.02)
        wait_for("the pictures to be seen", 60, lambda: index(node)["files"]["waiting_ocr"] > 0, 0.02)
        # The one that reads pictures is nicer than all others.
        working = wait_for("OCR to begin", 60, lambda: [r for r in readers(node) if r[1] == "R" and r[2] >= 15], 0.02)
        held.begin(node)
        wait_for("OCR to stand still", 30, lambda: [r for r in readers(node) if r[0] == working[0][0] and r[1] == "T"], 0.02)
        status = index(node)
        assert status["paused"] and status["files"]["waiting_ocr"] > 0, status
        # It stays so, however often the keeper comes round.
        for _ in range(2):
            node.post("/hearth/index", {"add": papers.folder})
        papers.put("late.txt", "Seen while it rests.")
        wait_for("a turn", 30, lambda: index(node)["files"]["waiting"] == 1, 0.05)
        assert [r[1] for r in readers(node) if r[0] == working[0][0]] == ["T"], readers(node)
        # What it had read before it was stopped may have been on its way still.
        assert status["files"]["waiting_ocr"] - 1 <= index(node)["files"]["waiting_ocr"] <= status["files"]["waiting_ocr"], (status, index(node))
        held.end()
        wait_for("the pictures to be read", 240, lambda: index(node)["files"]["waiting_ocr"] == 0 and index(node)["idle"], 0.2)
        hits = node.get("/search?q=walnut%20harvest&k=50").json["hits"]
        # The same page eight times is one hit.
        assert hits[0]["type"] == "image" and hits[0]["page"] == 1 and hits[0]["copies"] == 7 and len(hits[0]["box"]) == 4, hits
        assert node.get(hits[0]["image"]).headers["Content-Type"] == "image/png"
        # Of a scan, too, only what has the words is marked: the paragraph at the foot of the page, not the passage.
        hit = node.get("/search?q=zeppelin").json["hits"][0]
        png = Png(node.get(hit["image"] + "&dpi=60").body)
        assert hit["box"][1] < 0.3 and png.share_of_yellow(0.1, 0.85, 0.4, 0.9) > 0.3 and png.share_of_yellow(0, 0, 1, 0.6) == 0, hit
        after = index(node)
        assert after["ocr_files_per_s"] > 0 and after["seconds_left"] is None, after
        assert after["cost"]["pages_read"] == before["cost"]["pages_read"] + 10 and after["cost"]["watt_hours"] > before["cost"]["watt_hours"], after["cost"]


@test
def a_reader_that_is_stopped_ends_with_its_daemon():
    # What starts it stands for the daemon: it waits for the first frame, stops the reader and dies.
    daemon = """
import os, signal, socket, subprocess, sys
ours, theirs = socket.socketpair()
ours = ours.dup()  # not 3, which is the reader's
os.dup2(theirs.fileno(), 3)
reader = subprocess.Popen([sys.argv[1], "2", "text", "1073741824", "", "0"], pass_fds=[3], stdout=subprocess.DEVNULL)
assert ours.recv(1)
os.kill(reader.pid, signal.SIGSTOP)
while open(f"/proc/{reader.pid}/stat").read().rsplit(")", 1)[1].split()[0] != "T":
    pass
print(reader.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    program = os.path.join(os.path.dirname(PROGRAM), "hearth-extract")
    pid = int(subprocess.run([sys.executable, "-c", daemon, program], stdout=subprocess.PIPE, timeout=60).stdout)
    # Who takes in orphans here may leave them as they are.
    wait_for("the reader to be gone", 30, lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] in "ZX", 0.02)


@test
def every_file_has_a_state_with_a_reason():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("good.txt", "A good one.")
        papers.put("broken.pdf", b"%PDF-1.4\nnothing more")
        papers.put("song.mp3", b"ID3\x03" + bytes(500))
        papers.put(".hidden", "not looked at")
        cli(node, "index", "add", papers.folder, "--wait")
        status = index(node)
        counts = {k: v for k, v in status["files"].items() if v}
        assert counts == {"indexed": 1, "unreadable": 1, "excluded": 1, "skipped": 1}, counts
        [bad] = status["unreadable"]
        assert bad["file"].endswith("/broken.pdf") and bad["reason"], bad
        said = cli(node, "index", "status")
        assert re.search(r"^ +1  indexed$", said, re.M) and f"broken.pdf: {bad['reason']}" in said and "Wh spent (by " in said, said
        assert status["cost"]["cloud"] > 0 and status["cost"]["prices"]["page_1000"]["date"], status["cost"]
        node.post("/hearth/index", {"add": papers.folder})
        wait_for("a second look", 30, lambda: index(node)["files"]["unchanged"] == 3, 0.05)
        # A name that would look like two on a terminal, or steer it, is shown without that.
        papers.put("one\ntwo\x1b[2J.txt", "Nothing but a quokka.")
        wait_for("the odd name", 30, lambda: node.get("/search?q=quokka").json["hits"], 0.1)
        assert cli(node, "search", "quokka").split("\n")[0].endswith("/one?two?[2J.txt"), cli(node, "search", "quokka")


@test
def waiting_shows_progress_on_a_terminal():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        for i in range(30):
            papers.put(f"f{i}.txt", f"Paper number {i}.")
        env = {**os.environ, "HEARTH_HOME": node.home, "HEARTH_LISTEN": f"127.0.0.1:{node.port}", "TERM": "xterm"}
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, [PROGRAM, "index", "add", papers.folder, "--wait"], env)
        shown = b""
        while True:
            try:
                more = os.read(fd, 4096)
            except OSError:
                break
            if not more:
                break
            shown += more
        assert os.waitpid(pid, 0)[1] == 0, shown
        assert b"\r\x1b[K30 indexed, 0 waiting, 0 waiting for OCR, 0 unreadable\r\n" in shown, shown
        # Not on a pipe.
        assert cli(node, "index", "add", papers.folder, "--wait", both=True)[1] == ""


PHOTO = ("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n{text}\n--b\nContent-Type: text/plain; name=\"{name}\"\n"
         "Content-Disposition: attachment; filename=\"{name}\"\n\n{attached}\n--b--\n")


def mail(sender, date, subject, text, attachment=None):
    head = f"From: {sender}\nTo: me@example.org\nDate: {date}\nSubject: {subject}\nMessage-ID: <{abs(hash(subject))}@example.org>\nMIME-Version: 1.0\n"
    return head + (PHOTO.format(text=text, name=attachment[0], attached=attachment[1]) if attachment else f"Content-Type: text/plain\n\n{text}\n")


ANN = mail("Ann Miller <ann@example.org>", "Fri, 01 Mar 2024 10:00:00 +0000", "The boiler", "The plumber comes on Tuesday.", ("quote.txt", "The quote is 740 euros."))
BOB = mail("Bob <bob@example.com>", "Sat, 02 Mar 2024 10:00:00 +0000", "Walnuts", "From now on the walnuts are ripe, and the plumber likes them.")


@test
def messages_of_an_mbox_are_found_one_by_one():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        box = papers.put("archive.mbox", "From a@b Fri Mar  1 10:00:00 2024\n" + ANN + "\nFrom a@b Sat Mar  2 10:00:00 2024\n" + BOB.replace("\nFrom now", "\n>From now"))
        cli(node, "index", "add", box, "--wait") # a single file is a folder, too
        hits = node.get("/search?q=plumber").json["hits"]
        by = {h["author"]: h for h in hits}
        assert set(by) == {"Ann Miller <ann@example.org>", "Bob <bob@example.com>"}, hits
        ann, bob = by["Ann Miller <ann@example.org>"], by["Bob <bob@example.com>"]
        assert ann["title"] == "The boiler" and ann["date"] == 1709287200 and ann["type"] == "mail" and ann["page"] is None, ann
        assert bob["title"] == "Walnuts" and bob["date"] == 1709373600 and ann["link"] != bob["link"]
        # Sender and date are filters; an attachment has its message's.
        assert [h["author"] for h in json.loads(cli(node, "search", "plumber", "--from", "miller", "--json"))["hits"]] == ["Ann Miller <ann@example.org>"]
        [quote] = json.loads(cli(node, "search", "quote euros", "--from", "ann@example.org", "--json"))["hits"]
        assert quote["part"] == "quote.txt" and quote["date"] == 1709287200 and quote["author"].startswith("Ann"), quote
        assert json.loads(cli(node, "search", "quote euros", "--from", "bob", "--json"))["hits"] == []
        assert [h["title"] for h in json.loads(cli(node, "search", "plumber", "--after", "2024-03-02", "--json"))["hits"]] == ["Walnuts"]
        assert [h["title"] for h in node.get("/search?q=subject%20walnuts&type=mail").json["hits"]][:1] == ["Walnuts"] # the subject's words count
        html = node.get(bob["link"]).body.decode()
        assert "<h1>Walnuts</h1>" in html and "Bob &#60;bob@example.com&#62;" in html and "<mark>plumber</mark>" in html and "Tuesday" not in html, html
        # One more message: it is found, and those that were there still are.
        with open(box, "a") as f:
            f.write("\nFrom a@b Sun Mar  3 10:00:00 2024\n" + mail("Eve <eve@example.net>", "Sun, 03 Mar 2024 10:00:00 +0000", "Ladder", "The ladder is back."))
        wait_for("the new message", 30, lambda: [h["author"] for h in node.get("/search?q=ladder").json["hits"]] == ["Eve <eve@example.net>"], 0.1)
        assert len(node.get("/search?q=plumber").json["hits"]) == 2
        # Only what was appended is read: the passages of the others are the same. Attachments and pages of new messages are found by their place in the whole.
        passage = lambda h: re.search(r"passage=(\d+)", h["link"])[1]
        pages = index(node)["cost"]["pages_read"]
        with open(box, "a") as f:
            f.write("\nFrom a@b Mon Mar  4 10:00:00 2024\n" + mail("Dan <dan@example.net>", "Mon, 04 Mar 2024 10:00:00 +0000", "Gutter", "The gutter leaks.", ("bill.txt", "The bill for the gutter is 90 euros.")))
        wait_for("the next message", 30, lambda: len(node.get("/search?q=gutter").json["hits"]) >= 2 and index(node)["idle"], 0.1)
        assert {h["author"]: passage(h) for h in node.get("/search?q=plumber").json["hits"]} == {h["author"]: passage(h) for h in hits}
        assert index(node)["cost"]["pages_read"] == pages + 2 # the message and its attachment
        bill = next(h for h in node.get("/search?q=bill%20euros").json["hits"] if h.get("part") == "bill.txt")
        assert bill["author"].startswith("Dan") and "for the gutter is 90" in node.get(bill["link"]).body.decode(), bill
        assert " is back" in node.get(node.get("/search?q=ladder").json["hits"][0]["link"]).body.decode()
        # What was changed at its beginning, or goes on in the middle of a message, is read whole.
        with open(box) as f:
            whole = f.read()
        with open(box, "w") as f:
            f.write(whole[whole.index("From a@b Sat"):] + "\nFrom a@b Tue Mar  5 10:00:00 2024\n" + mail("Fay <fay@example.net>", "Tue, 05 Mar 2024 10:00:00 +0000", "Stairs", "It drips."))
        wait_for("the beginning to be gone", 30, lambda: [h["author"] for h in node.get("/search?q=plumber").json["hits"]] == ["Bob <bob@example.com>"] and index(node)["idle"], 0.1)
        with open(box, "a") as f:
            f.write("And a line about parsnips.\n")
        wait_for("the last message's end", 30, lambda: node.get("/search?q=parsnips").json["hits"] and index(node)["idle"], 0.1)
        assert len({passage(h) for h in node.get("/search?q=gutter").json["hits"]}) == len(node.get("/search?q=gutter").json["hits"])
        assert index(node)["files"]["indexed"] == 1 and index(node)["documents"] == 1


@test
def a_maildirs_flags_and_moves_cost_no_reading():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        for sub in ("cur", "new", "tmp", ".Archive/cur", ".Archive/new", ".Archive/tmp"):
            os.makedirs(os.path.join(papers.folder, sub))
        new = papers.put("new/1709287200.M1P1.host", ANN)
        cur = papers.put("cur/1709373600.M2P1.host:2,", BOB)
        papers.put("tmp/1709373601.M3P1.host", "From: x\n\nhalf a message")
        cli(node, "index", "add", papers.folder, "--wait")
        assert sorted(h["author"] for h in node.get("/search?q=plumber").json["hits"]) == ["Ann Miller <ann@example.org>", "Bob <bob@example.com>"]
        assert files(node, "half message") == [] and files(node, "host") == [], node.get("/search?q=host").json
        read = index(node)["extracted"]
        # Seen, answered, filed: names change, nothing is read.
        os.rename(new, os.path.join(papers.folder, "cur", "1709287200.M1P1.host:2,S"))
        os.rename(cur, os.path.join(papers.folder, "cur", "1709373600.M2P1.host:2,RS"))
        seen = lambda name: any(h["file"].endswith(name) for h in node.get("/search?q=plumber").json["hits"])
        wait_for("both to be known by their new names", 30, lambda: seen("cur/1709287200.M1P1.host:2,S") and seen("cur/1709373600.M2P1.host:2,RS"), 0.1)
        os.rename(os.path.join(papers.folder, "cur", "1709287200.M1P1.host:2,S"), os.path.join(papers.folder, ".Archive", "cur", "1709287200.M1P1.host:2,S"))
        wait_for("the filed one", 30, lambda: seen(".Archive/cur/1709287200.M1P1.host:2,S"), 0.1)
        assert index(node)["extracted"] == read, index(node)
        # The same message in two folders is one document.
        shutil.copy(os.path.join(papers.folder, ".Archive", "cur", "1709287200.M1P1.host:2,S"), os.path.join(papers.folder, "cur", "1709287200.M9P1.host:2,S"))
        wait_for("the copy", 30, lambda: [h["copies"] for h in node.get("/search?q=tuesday").json["hits"]] == [1], 0.1)
        assert index(node)["extracted"] == read
        os.unlink(os.path.join(papers.folder, "cur", "1709373600.M2P1.host:2,RS"))
        wait_for("the deleted one to be gone", 30, lambda: not seen("M2P1.host:2,RS"), 0.1)


run_tests()
