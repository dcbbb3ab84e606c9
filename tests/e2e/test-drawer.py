#!/usr/bin/env python3
"""The drawer's promises, kept by a real node: kills at any moment, a full disk, disks that are unplugged, files that change while they are read,
moves that cost no reading, removals that leave no trace, and trees that are strange. What the record holds is read from its database."""
import os
import random
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, Skip, children_of, run_tests, test, wait_for  # noqa: E402

sys.path.insert(0, os.path.join(SOURCE, "tests", "extract"))
import compound  # noqa: E402
from papers import pdf  # noqa: E402

PROGRAM = os.environ["HEARTH_PROGRAM"]
SEED = int(os.environ.get("HEARTH_SEED", "6"))


def cli(node, *args, code=0):
    env = {**os.environ, "HEARTH_HOME": node.home, "HEARTH_LISTEN": f"127.0.0.1:{node.port}", "NO_COLOR": "1"}
    done = subprocess.run([PROGRAM, *args], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout


class Papers:
    def __enter__(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="hearth-drawer-"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def at(self, name):
        return os.path.join(self.folder, name)

    def put(self, name, text):
        os.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
        with open(self.at(name), "w") as f:
            f.write(text)


def index_status(node):
    return node.get("/hearth/index").json


def settled(node, what="the index to be idle"):
    """Waits for the index to have looked at what was changed before the call: it is not idle from the moment of a change on."""
    return wait_for(what, 120, lambda: (s := index_status(node))["idle"] and s, 0.05)


def found(node, query, k=50):
    return sorted(h["file"] for h in node.get(f"/search?q={query}&k={k}").json["hits"])


def record(home):
    return sqlite3.connect(os.path.join(home, "index", "record.db"), timeout=30)


def traces(home, word):
    return subprocess.run(["grep", "-rlai", word, os.path.join(home, "index")], capture_output=True, text=True).stdout.split()


# ---- kills ----

PIECES = 3


def letter(name):
    """Three passages of their own, each with a mark."""
    return "\n\n".join(" ".join([f"mark{name}p{p}x"] + [f"filler{(i * 37 + p) % 500}" for i in range(110)]) for p in range(PIECES))


def check_record(home, texts, before):
    """What the record calls indexed is there as a whole. Returns path -> (document, name)."""
    names = {}
    with record(home) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert db.execute("SELECT count(*) FROM passage WHERE document NOT IN (SELECT id FROM document)").fetchone()[0] == 0
        assert db.execute("SELECT count(*) FROM document WHERE id NOT IN (SELECT document FROM file WHERE document IS NOT NULL)").fetchone()[0] == 0
        for path, state, document in db.execute("SELECT path, state, document FROM file"):
            if state != 1:
                continue
            marks = set(re.findall(r"mark(\w+?)p(\d)x", " ".join(r[0] for r in db.execute("SELECT text FROM passage WHERE document = ?", (document,)))))
            assert len(marks) == PIECES and len({m[0] for m in marks}) == 1, f"{path} is half indexed: {marks}"
            names[path] = (document, marks.pop()[0])
    for path, was in before.items():
        if texts.get(path) == was[1]:  # it has not been touched since
            assert names.get(path) == was, f"{path} was indexed and is not: {was} {names.get(path)}"
    return names


@test
def kills_at_any_moment_lose_no_document_and_leave_none_half():
    rng = random.Random(SEED)
    serial = iter(range(10000))
    texts = {}  # path -> the name in its marks
    with Papers() as papers, tempfile.TemporaryDirectory(prefix="hearth-drawer-home-") as home:

        def write(path):
            texts[path] = f"n{next(serial)}"
            papers.put(path, letter(texts[path]))

        for i in range(2000):
            write(f"d{i % 7}/f{i}.txt")
        names = {}
        counts = []
        env = {**os.environ, "HEARTH_HOME": home, "NO_COLOR": "1"}
        subprocess.run([PROGRAM, "index", "add", papers.folder], env={**env, "HEARTH_LISTEN": "127.0.0.1:9"}, check=True, stdout=subprocess.DEVNULL)
        for turn in range(8):
            node = Node([PROGRAM, "serve"], env={"HEARTH_HOME": home})
            time.sleep(rng.uniform(0.0, 0.4))
            # While it reads: some are written anew, some go, some move.
            for path in rng.sample(sorted(texts), 12):
                write(path)
            for path in rng.sample(sorted(texts), 3):
                os.unlink(papers.at(path))
                del texts[path]
            for path in rng.sample(sorted(texts), 3):
                to = f"d{rng.randrange(7)}/m{next(serial)}.txt"
                os.rename(papers.at(path), papers.at(to))
                texts[to] = texts.pop(path)
            for i in range(5):
                write(f"new/n{next(serial)}.txt")
            if turn % 4 == 3:  # most die early, some when more is stored than before
                wait_for("it gets further", 60, lambda: index_status(node)["files"]["indexed"] > len(names), 0.02)
            time.sleep(rng.uniform(0.0, 0.5))
            node.process.kill()
            node.process.wait()
            node.close()
            names = check_record(home, texts, names)
            counts.append(len(names))
        print(f"# seed {SEED}: indexed when it was killed: {counts} of {len(texts)}")
        assert 0 < counts[-1]
        with Node([PROGRAM, "serve"], env={"HEARTH_HOME": home}) as node:
            status = settled(node)
            assert status["files"]["indexed"] == len(texts) == status["documents"], status
            names = check_record(home, texts, names)
            assert {p: n for p, (_, n) in names.items()} == texts
            # The word index agrees with the record: every passage is found, by one file, and nothing that is gone is.
            for path, name in rng.sample(sorted(texts.items()), 60):
                for p in range(PIECES):
                    assert found(node, f"mark{name}p{p}x") == [papers.at(path)], (path, name, p)
            gone = [f"n{i}" for i in range(next(serial)) if f"n{i}" not in texts.values()]
            for name in rng.sample(gone, min(30, len(gone))):
                assert found(node, f"mark{name}p0x") == [], name


# ---- disks ----

def in_namespace(script):
    """Runs the node where it may mount: its own disks, seen through /proc/PID/root."""
    probe = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    if not shutil.which("unshare") or not shutil.which("nsenter") or subprocess.run(probe, stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("no mounting in a namespace here")
    return ["unshare", "-Urm", "sh", "-c", script + ' && exec "$0" "$@"', PROGRAM, "serve"]


def inside(node, command):
    done = subprocess.run(["nsenter", "-t", str(node.process.pid), "-U", "-m", "--preserve-credentials", "sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


@test
def a_full_disk_loses_nothing_and_goes_on_when_there_is_room():
    command = in_namespace('mkdir -p "$HEARTH_HOME/index" && mount -t tmpfs -o size=1500k tmpfs "$HEARTH_HOME/index"')
    with Papers() as papers, Node(command) as node:
        rng = random.Random(SEED)
        papers.put("first.txt", "The deed of the house lies in the bank.")
        assert node.post("/hearth/index", {"add": papers.folder}).status == 200
        wait_for("the first paper", 60, lambda: found(node, "deed"), 0.1)
        for i in range(8):
            papers.put(f"big{i}.txt", "\n".join(" ".join(f"w{rng.randrange(10**9)}" for _ in range(12)) for _ in range(3000)) + f"\nlastword{i}z\n")
        wait_for("the full disk to be said", 90, lambda: "full" in node.log() or "No space" in node.log(), 0.1)
        assert node.get("/hearth/index").status == 200
        assert found(node, "deed") == [papers.at("first.txt")]
        assert "lastword" not in node.log()
        inside(node, f"mount -o remount,size=200m {node.home}/index")
        node.post("/hearth/index", {"add": papers.folder})  # what a person does who does not want to wait for the next try
        wait_for("the rest to be read", 120, lambda: (s := index_status(node))["idle"] and s["files"]["indexed"] == 9, 0.1)
        for i in range(8):
            assert found(node, f"lastword{i}z") == [papers.at(f"big{i}.txt")]
        node.stop()


@test
def an_unplugged_disk_keeps_what_it_said_and_comes_back_without_reading():
    # tmpfs gives each mount another device number, as a stick in another port would have.
    with Papers() as papers:
        usb, keep = papers.at("usb"), papers.at("keep")
        command = in_namespace(f'mkdir -p {usb} {keep} {papers.at("real")} && mount -t tmpfs tmpfs {usb} && mount -t tmpfs tmpfs {keep}')
        with Node(command) as node:
            def put(path, text):
                inside(node, f"mkdir -p $(dirname {path}) && echo '{text}' > {path} && cp -a {path} {keep}/$(basename {path})")

            put(f"{usb}/will.txt", "The testament names a lighthouse.")
            put(f"{usb}/deep/er.txt", "The orchard belongs to nobody.")
            assert node.post("/hearth/index", {"add": usb}).status == 200
            settled(node)
            assert found(node, "testament") == [f"{usb}/will.txt"]
            before = index_status(node)
            inside(node, f"umount {usb}")
            wait_for("the disk to be missed", 60, lambda: index_status(node)["folders"][0]["missing"], 0.1)
            assert found(node, "testament") and found(node, "orchard"), "what was on an unplugged disk is forgotten"
            assert "not there now, what it said is kept" in cli(node, "index", "status")
            assert index_status(node)["documents"] == before["documents"]
            # It is plugged in again: the same files by size and time, on another device, with other inodes. One went meanwhile.
            inside(node, f"mount -t tmpfs tmpfs {usb} && cp -a {keep}/will.txt {usb}/will.txt")
            assert node.post("/hearth/index", {"add": usb}).status == 200  # what a person does who does not want to wait for the next look
            wait_for("what was removed elsewhere to be gone", 60, lambda: not found(node, "orchard"), 0.1)
            status = settled(node)
            assert not status["folders"][0]["missing"] and found(node, "testament") == [f"{usb}/will.txt"]
            assert status["extracted"] == before["extracted"] and status["opened"] == before["opened"], (before, status)
            node.stop()


@test
def a_disk_that_was_mounted_within_a_folder_keeps_its_papers_too():
    with Papers() as papers:
        disk = papers.at("home/disk")
        command = in_namespace(f"mkdir -p {disk} && mount -t tmpfs tmpfs {disk}")
        with Node(command) as node:
            inside(node, f"echo 'The glider needs a new rudder.' > {disk}/a.txt; echo 'The kite has a tail.' > {disk}/b.txt")
            papers.put("home/own.txt", "The cellar is dry.")
            assert node.post("/hearth/index", {"add": papers.at("home")}).status == 200
            settled(node)
            inside(node, f"rm {disk}/b.txt")
            wait_for("a removed file to be gone", 60, lambda: not found(node, "kite"), 0.1)
            inside(node, f"umount {disk}")
            wait_for("the disk to be missed", 60, lambda: index_status(node)["folders"][0]["away"] == 1, 0.1)
            assert found(node, "glider") == [f"{disk}/a.txt"] and not index_status(node)["folders"][0]["missing"]
            assert "1 of them on a disk that is not there now" in cli(node, "index", "status")
            os.unlink(papers.at("home/own.txt"))  # the folder's own files still follow
            wait_for("a removed file to be gone", 60, lambda: not found(node, "cellar"), 0.1)
            assert found(node, "glider")
            node.stop()


# ---- changes ----

@test
def a_file_that_grows_while_it_is_read_ends_as_it_is():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("log.txt", "beginning\n")
        stop = threading.Event()
        lines = [0]

        def grow():
            with open(papers.at("log.txt"), "a", buffering=1) as f:
                while not stop.is_set():
                    f.write(f"line number{lines[0]} " + "word " * 200 + "\n")
                    lines[0] += 1
                    stop.wait(0.002 * 1.02 ** lines[0])  # however slow its reader is, some pause is longer than a reading
                f.write("finalword\n")

        writer = threading.Thread(target=grow)
        writer.start()
        try:
            cli(node, "index", "add", papers.folder)
            wait_for("it to be read while it grows", 60, lambda: index_status(node)["extracted"] >= 1, 0.05)
        finally:
            stop.set()
            writer.join()
        wait_for("the last line", 60, lambda: found(node, "finalword"), 0.1)
        status = settled(node)
        assert status["documents"] == 1 and status["files"]["indexed"] == 1, status
        assert found(node, f"number{lines[0] - 1}") == [papers.at("log.txt")]


@test
def moves_of_files_and_folders_cost_no_reading():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        for i in range(60):
            papers.put(f"a/b{i % 4}/f{i}.txt", f"A paper with the word unique{i}u and others.")
        papers.put("c/keep.txt", "Stays where it is.")
        cli(node, "index", "add", papers.folder, "--wait")
        before = index_status(node)
        assert before["extracted"] == 61 and before["opened"] == 61, before
        os.rename(papers.at("a/b0/f0.txt"), papers.at("c/renamed.txt"))
        os.rename(papers.at("a/b1"), papers.at("c/whole"))
        wait_for("the moved file", 60, lambda: found(node, "unique0u") == [papers.at("c/renamed.txt")], 0.1)
        wait_for("the moved folder", 60, lambda: found(node, "unique1u") == [papers.at("c/whole/f1.txt")], 0.1)
        assert (status := settled(node))["opened"] == 61 == status["extracted"], status
        # Names change places; a folder moves while nobody looks.
        for a, b in (("a/b2/f2.txt", "x"), ("a/b2/f6.txt", "a/b2/f2.txt"), ("x", "a/b2/f6.txt")):
            os.rename(papers.at(a), papers.at(b))
        wait_for("the changed places", 60, lambda: found(node, "unique2u") == [papers.at("a/b2/f6.txt")] and found(node, "unique6u") == [papers.at("a/b2/f2.txt")], 0.1)
        status = settled(node)
        # Only names that changed places cost anything: each is looked into, and one read again.
        assert status["opened"] <= before["opened"] + 2 and status["extracted"] <= 62, (before, status)
        node.stop()
        os.rename(papers.at("a"), papers.at("elsewhere"))
        again = Node([PROGRAM, "serve"], env={"HEARTH_HOME": node.home})
        with again:
            wait_for("the moved folder", 60, lambda: found(again, "unique3u") == [papers.at("elsewhere/b3/f3.txt")], 0.1)
            now = settled(again)
            assert now["extracted"] == status["extracted"] and now["opened"] == status["opened"] and now["documents"] == 61, (status, now)


@test
def what_is_removed_leaves_no_trace():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("stay.txt", "Something that stays, and is long enough to be a passage of its own.")
        papers.put("zyzzyvaname.txt", "The quokkaburra sings at night.")
        papers.put("letter.eml", "From: Xanthippus <x@example.org>\nTo: me@example.org\nSubject: Ombrometer readings\nDate: Mon, 3 Jun 2024 10:00:00 +0000\n"
                   "Content-Type: text/plain\n\nThe theodolite is broken.\n")
        cli(node, "index", "add", papers.folder, "--wait")
        words = ("quokkaburra", "zyzzyvaname", "xanthippus", "ombrometer", "theodolit")
        assert all(traces(node.home, w) for w in words), [w for w in words if not traces(node.home, w)]
        os.unlink(papers.at("zyzzyvaname.txt"))
        papers.put("letter.eml", "From: Other <o@example.org>\nTo: me@example.org\nSubject: Nothing\nDate: Mon, 3 Jun 2024 10:00:00 +0000\n\nNothing.\n")
        wait_for("all traces to go", 60, lambda: not any(traces(node.home, w) for w in words), 0.3)
        assert found(node, "stays") == [papers.at("stay.txt")]


@test
def what_could_not_be_read_is_tried_again_when_more_is_known():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("good.txt", "A paper that was read.")
        with open(papers.at("odd.xyz"), "wb") as f:
            f.write(bytes(range(256)) * 40)
        cli(node, "index", "add", papers.folder, "--wait")
        before = index_status(node)
        assert before["files"]["excluded"] == 1 and before["extracted"] == 2, before
        node.stop()
        with record(node.home) as db:  # as one that knew less has left it
            db.execute("UPDATE total SET value = 1 WHERE name = 'reads'")
        with Node([PROGRAM, "serve"], env={"HEARTH_HOME": node.home}) as again:
            status = settled(again)
            assert status["extracted"] == 3 and status["files"]["excluded"] == 1 and status["files"]["indexed"] == 1, status
            assert found(again, "paper") == [papers.at("good.txt")]


# ---- bombs ----

def readers_of(node):
    """The children that read documents."""
    return set(children_of(node.process.pid, "hearth-extract"))


@test
def bombs_and_killed_readers_cost_nothing_else_and_are_said():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("a-first.txt", "The anchor holds.")
        with zipfile.ZipFile(papers.at("zeros.zip"), "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("note.txt", "The bellows leak.")
            for i in range(3):
                z.writestr(f"zeros{i}", b"\0" * (40 << 20))
        header = struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0)
        with open(papers.at("vast.png"), "wb") as f:
            f.write(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + b"\0" * 3000)
        with open(papers.at("locked.doc"), "wb") as f:
            f.write(compound.compound(compound.word(["Nobody reads this.\r"], flags=0x100)))
        for i in range(200):
            papers.put(f"many/f{i}.txt", f"Sheet with the word unique{i}k and others.")
        cli(node, "index", "add", papers.folder)
        killed = 0
        while killed < 6 and not index_status(node)["idle"]:  # as the kernel does when memory is short; who reads is then replaced
            reader = next(iter(readers_of(node)), None)
            if reader is None:
                time.sleep(0.02)
                continue
            try:
                os.kill(reader, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass  # it had just ended
            time.sleep(0.15)
        status = settled(node)
        print(f"# {killed} readers killed")
        assert status["files"]["waiting"] == 0, status
        reasons = {os.path.basename(f["file"]): f["reason"] for f in status["unreadable"]}
        # Only a file whose readers were killed twice is given up, whichever it is; with six kills that is seldom one, and it is said.
        given_up = {name for name, why in reasons.items() if "killed twice" in why}
        assert set(reasons) == {"vast.png", "locked.doc"} | given_up and len(given_up) <= 3, reasons
        said = cli(node, "index", "status")
        assert "Unreadable:" in said and all(f"{name}: its reader was killed twice" in said for name in given_up), said
        for name in given_up:  # put there again, it gets another chance
            path = papers.at(name if os.path.exists(papers.at(name)) else f"many/{name}")
            shutil.copy(path, path + ".part")
            os.replace(path + ".part", path)
        status = settled(node)
        reasons = {os.path.basename(f["file"]): f["reason"] for f in status["unreadable"]}
        assert set(reasons) == {"vast.png", "locked.doc"}, reasons
        assert "too large" in reasons["vast.png"] and "password" in reasons["locked.doc"], reasons
        said = cli(node, "index", "status")
        assert "Unreadable:" in said and "vast.png: too large" in said and "locked.doc: encrypted" in said, said
        for i in range(0, 200, 7):
            assert found(node, f"unique{i}k"), i
        assert found(node, "anchor") and found(node, "bellows") == [papers.at("zeros.zip")]


@test
def a_file_whose_readers_were_killed_is_read_when_it_is_put_again_and_at_the_next_start():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        lines = [(60, 60 + 16 * i, "The same long letter about nothing, again and again.") for i in range(40)]
        long = pdf([lines] * 3000 + [[(60, 60, "The heron came last.")]])
        papers.put("short.txt", "The anchor holds.")

        def who_reads_it():
            for pid in readers_of(node):
                try:
                    if papers.at("long.pdf") in (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")):
                        return pid
                except FileNotFoundError:
                    pass  # it has just ended, or closed one
            return None

        def put_and_kill_twice(path):
            before = None
            with open(path, "wb") as f:
                f.write(long)
            for _ in range(2):
                before = wait_for("the letter to be read", 60, lambda: (pid := who_reads_it()) != before and pid, 0.002)
                os.kill(before, signal.SIGKILL)
            settled(node)
            with record(node.home) as db:
                reasons = db.execute("SELECT file.reason FROM file JOIN document ON document.id = document WHERE killed = 1").fetchall()
            assert len(reasons) == 1 and "its reader was killed twice" in reasons[0][0] and "when Hearth starts" in reasons[0][0], reasons
            assert found(node, "anchor") == [papers.at("short.txt")] and not found(node, "heron")

        cli(node, "index", "add", papers.folder, "--wait")
        put_and_kill_twice(papers.at("long.pdf"))
        with open(papers.at("copy.pdf"), "wb") as f:  # what was not read of one says nothing of the other
            f.write(long)
        assert settled(node)["files"]["indexed"] == 3 and len(found(node, "heron")) == 1
        with record(node.home) as db:  # and the first is read with it
            assert db.execute("SELECT count(*) FROM file WHERE reason = '' AND document IS NOT NULL").fetchone()[0] == 3
        os.unlink(papers.at("copy.pdf"))
        os.unlink(papers.at("long.pdf"))
        settled(node)
        put_and_kill_twice(papers.at("long.pdf"))
        node.stop()
        with record(node.home) as db:  # as one that could not be opened is left; tests may run as root, who can open all
            db.execute("UPDATE file SET state = 3, reason = 'cannot be opened: Permission denied', document = NULL WHERE path = 'short.txt'")
        with Node([PROGRAM, "serve"], env={"HEARTH_HOME": node.home}) as again:
            status = settled(again)
            assert status["files"]["indexed"] == 2 and not status["unreadable"], status
            assert found(again, "heron") == [papers.at("long.pdf")] and found(again, "anchor") == [papers.at("short.txt")]


# ---- strange trees ----

@test
def links_depth_and_odd_names_harm_nothing():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("good.txt", "needle in the open")
        papers.put("sub/.hearthignore", "*.bak\nprivate/\n")
        papers.put("sub/x.bak", "needle ignored, the older one")
        papers.put("sub/private/y.txt", "nobody shall know that a needle is ignored")
        papers.put("sub/z.txt", "needle below")
        papers.put(".hidden/h.txt", "needle hidden")
        os.symlink("..", papers.at("sub/loop"))
        os.symlink("loop2", papers.at("loop2"))
        os.symlink("/etc/passwd", papers.at("outside.txt"))
        os.mkfifo(papers.at("pipe.txt"))
        with open(os.fsencode(papers.folder) + b"/latin-\xe9\xff.txt", "w") as f:
            f.write("needle with an odd name")
        papers.put("new\nline.txt", "needle with a new line")
        papers.put("n" * 250 + ".txt", "needle with a long name")
        # Far deeper than any path may be long: made and removed step by step.
        at = os.open(papers.folder, os.O_RDONLY)
        for depth in range(60):
            os.mkdir("deep-folder-" + "d" * 80, dir_fd=at)
            below = os.open("deep-folder-" + "d" * 80, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
            with open(os.open("f.txt", os.O_CREAT | os.O_WRONLY, dir_fd=at), "w") as f:
                f.write(f"abyss at depth {depth}")
        os.close(at)
        cli(node, "index", "add", papers.folder, "--wait")
        hits = found(node, "needle")
        assert len(hits) == 5 and not [h for h in hits if "ignored" in h or "hidden" in h or "loop" in h], hits
        assert "root:" not in "".join(h["snippet"] for h in node.get("/search?q=root").json["hits"])
        with record(node.home) as db:
            deepest = db.execute("SELECT max(length(path)) FROM file").fetchone()[0]
            waiting = db.execute("SELECT count(*) FROM file WHERE state = 0").fetchone()[0]
        assert 3500 < deepest < 4096 and waiting == 0, (deepest, waiting)
        os.unlink(papers.at("sub/.hearthignore"))  # the rules are gone: what they hid is read
        wait_for("what was ignored", 60, lambda: len(found(node, "ignored")) == 2, 0.1)
        papers.put("sub/.hearthignore", "z.txt\n")
        wait_for("what is ignored now to go", 60, lambda: not found(node, "below"), 0.1)


run_tests()
