#!/usr/bin/env python3
"""`hearth run` in all its ways, with a runner of its own and through a node; and the commands that ask the node."""
import http.server
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import threading
import time

from cmdtest import HEARTH, SANITIZED, STARTER, Skip, env, hearth, home, main, test

QUESTION = "I would like to book a table for two."


class Node:
    """A node of our own on a free port, for the commands that ask one."""

    def __init__(self, *args, before=None):
        self.process = subprocess.Popen([HEARTH, "serve", "--listen", "127.0.0.1:0", *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=before)
        line = self.process.stdout.readline()
        found = re.search(r"http://([0-9.]+:\d+)", line)
        assert found, line + self.process.stderr.read()
        self.address = found.group(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, said
        assert "Sanitizer" not in said and "runtime error" not in said, said

    def run(self, *args, **more):
        return hearth(*args, HEARTH_LISTEN=self.address, **more)


class Terminal:
    """The program on a terminal of its own: what is typed, and what is seen."""

    def __init__(self, *args, **more):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(HEARTH, [HEARTH, *args], {**env, "TERM": "xterm", **more})
        self.seen = ""

    def until(self, pattern, timeout=240):
        """Reads until the pattern is there; returns what came up to its end, which is then forgotten."""
        end = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.seen)
            if found:
                text, self.seen = self.seen[:found.end()], self.seen[found.end():]
                return text
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no {pattern!r} in {self.seen!r}"
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, f"it ended without {pattern!r}: {self.seen!r}"
            self.seen += data.decode("utf-8", "replace")

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, timeout=240):
        """The exit code; the terminal's last words are in self.seen."""
        limit = time.monotonic() + timeout
        while True:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                assert "Sanitizer" not in self.seen, self.seen
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > limit:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"it does not end: {self.seen!r}")


class FakeNode(http.server.ThreadingHTTPServer):
    """A node whose answers the test writes: each POST calls answer(handler, number), numbers from 0."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send("application/json", b'{"object":"list","data":[{"id":"starter"}]}')

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.server.asked += 1
                answer(self, self.server.asked - 1)

            def send(self, kind, body, whole=True):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                if whole:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def say(self, text, whole=True):
                chunk = json.dumps({"choices": [{"delta": {"content": text}}]})
                self.send("text/event-stream", f"data: {chunk}\n\n{'data: [DONE]' if whole else ''}\n\n".encode(), whole)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0
        self.address = f"127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


@test
def one_answer_and_nothing_else():
    done = hearth("run", "starter", QUESTION, "--temp", "0", "-n", "24")
    assert len(done.out) > 10 and done.out.endswith("\n") and done.err == "", done.err
    assert hearth("run", QUESTION, "--temp", "0", "-n", "24").out == done.out  # the model is the setting's
    assert hearth("run", "--temp", "0", "-n", "24", input=QUESTION + "\n").out == done.out
    assert hearth("run", "starter", "--temp", "0", "-n", "24", input=QUESTION + "\n").out == done.out
    assert hearth("run", STARTER, QUESTION, "--temp", "0", "-n", "24").out == done.out
    assert hearth("run", "-", "--temp", "0", "-n", "24", input=QUESTION).out == done.out
    joined = hearth("run", "starter", "Hello.", "-", "--temp", "0", "-n", "24", input=QUESTION)
    assert joined.out == hearth("run", "starter", "Hello.\n\n" + QUESTION, "--temp", "0", "-n", "24").out and joined.err == ""
    unread = hearth("run", "starter", QUESTION, "--temp", "0", "-n", "24", input="more")
    assert unread.out == done.out and "not read" in unread.err
    assert "tokens" in hearth("run", QUESTION, "--temp", "0", "-n", "24", "-v").err


@test
def a_seed_repeats_the_answer():
    a, b, c = (hearth("run", "starter", QUESTION, "--temp", "1.2", "-n", "24", "--seed", s).out for s in ("7", "7", "8"))
    assert a == b and a != c


@test
def raw_text_is_continued():
    out = hearth("run", "starter", "--raw", "<s><|user|>Hello", "-n", "8", "--temp", "0").out
    assert len(out) > 1


@test
def what_cannot_be_answered_is_said():
    for args, says in [(["", ], "empty"), (["starter", "x\udcff"], "UTF-8")]:
        assert says in hearth("run", *args, code=2).err
    assert "empty" in hearth("run", "starter", code=2, input="").err
    assert "no model 'startr'" in hearth("run", "startr", code=1, input="A letter.").err
    done = hearth("run", "starter", "word " * 2000, code=1)
    assert "256" in done.err and re.search(r"\d{4}", done.err), done.err


@test
def a_stricter_limit_of_memory_than_ours_stays():
    if SANITIZED:
        raise Skip("a sanitizer's shadow is larger than any such limit")
    with Node(before=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))) as node:
        assert node.run("run", "starter", QUESTION, "-n", "4").out


@test
def the_node_answers_the_same():
    alone = hearth("run", "starter", QUESTION, "--temp", "0", "-n", "24").out
    with Node() as node:
        assert node.run("run", "starter", QUESTION, "--temp", "0", "-n", "24").out == alone
        assert node.run("run", "--temp", "0", "-n", "24", input=QUESTION).out == alone
        status = node.run("status", "--json").json
        assert status["requests"]["done"] == 2 and status["runners"][0]["model"] == "starter", status
        assert status["address"] == node.address and status["pid"] == node.process.pid
        assert "answers at http://" + node.address in node.run("status").out
        loaded = node.run("ps", "--json").json["models"]
        assert len(loaded) == 1 and loaded[0]["model"] == "starter" and loaded[0]["pid"] > 0
        assert "starter" in node.run("ps").out
        assert "256" in node.run("run", "starter", "word " * 2000, code=1).err
        assert "there is no model" in node.run("run", "nosuchmodel", "hi", code=1).err
        assert node.run("stop", "starter", "--json").json["stopped"] is True
        for _ in range(100):
            if node.run("ps", "--json").json["models"] == []:
                break
            time.sleep(0.1)
        assert node.run("ps", "--json").json["models"] == []
        assert "No model is loaded" in node.run("ps").out
        assert node.run("stop", "starter", code=1).err
        # a file is this person's own affair: it is opened here, not by the node
        assert node.run("run", STARTER, QUESTION, "--temp", "0", "-n", "24").out == alone
        assert node.run("ps", "--json").json["models"] == []


@test
def a_node_with_a_key_wants_it():
    with Node("--api-key", "hunter2") as node:
        guest = {"HEARTH_HOME": os.path.join(home, "guest")}
        assert "key" in node.run("status", code=1, **guest).err
        assert "keeps another home" in node.run("key", "add", "lost", **guest).err
        assert "another home" not in node.run("key", "add", "kept").err
        node.run("key", "rm", "kept")
        assert "key" in node.run("run", "starter", "hi", code=1, **guest).err
        assert node.run("status", "--json", HEARTH_API_KEY="hunter2", **guest).json["default_model"] == "starter"
        assert len(node.run("run", "starter", "hi", "-n", "4", HEARTH_API_KEY="hunter2", **guest).out) > 1


@test
def a_taken_port_is_said():
    with Node() as node:
        done = hearth("serve", "--listen", node.address, code=1, HEARTH_HOME=os.path.join(home, "guest"))
        assert node.address.split(":")[1] in done.err and "hearth serve: " in done.err, done.err


@test
def interrupting_one_answer_ends_it():
    child = subprocess.Popen([HEARTH, "run", "starter", "--temp", "1", "--raw", "Tell", "-n", "100000"], env=env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True)
    os.read(child.stdout.fileno(), 1)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=240)
    assert child.returncode in (130, 0), (child.returncode, err)  # 0: the context was full before


@test
def a_chat_on_a_terminal():
    t = Terminal("run", "starter", "--temp", "0", "-n", "24")
    t.until("/help lists")
    t.until(">>> ")
    t.type(QUESTION + "\r")
    first = t.until(r"\[\d+ tokens.*\]")
    assert "tokens/s" in first or " 1 tokens" in first, first
    t.until(">>> ")
    t.type("/info\r")
    assert "2 messages" in t.until("so far")
    t.type("/hepl\r")
    t.until("did you mean /help")
    t.type("/help\r")
    t.until("/clear")
    t.until("Ctrl-C stops")
    t.type("/set temperature 5x\r")
    t.until("is a number")
    t.type("/set seed 4\r")
    t.until("seed is 4 from now on")
    t.type("/system Be brief.\r")
    t.until("is set")
    t.type("/clear\r")
    t.until("forgotten")
    t.type("/info\r")
    t.until("0 messages")
    path = os.path.join(home, "saved.json")
    t.type('"""first line\r')
    t.until(r"\.\.\. ")
    t.type('second line"""\r')
    t.until(r"\[\d+ tokens.*\]")
    t.type("one line\\\r")
    t.until(r"\.\.\. ")
    t.type("and another\r")
    t.until(r"\[\d+ tokens.*\]")
    t.type("/save " + path + "\r")
    t.until("are in")
    with open(path, encoding="utf-8") as f:
        saved = json.load(f)
    assert [m["role"] for m in saved] == ["system", "user", "assistant", "user", "assistant"], saved
    assert saved[1]["content"] == "first line\nsecond line" and saved[3]["content"] == "one line\nand another"
    assert os.stat(path).st_mode & 0o777 == 0o600
    t.type("/bye\r")
    assert t.end() == 0
    for folder, _, names in os.walk(home):  # nothing else of what was said is on the disk
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                assert (b"first line" in f.read()) == (name == "saved.json"), name
    os.remove(path)


@test
def ctrl_c_in_a_chat_stops_the_answer_only():
    left = threading.Event()

    def answer(handler, number):
        if number > 0:
            return handler.say("a whole answer")
        handler.say("half an ans", whole=False)  # and then nothing, until the client leaves
        if handler.connection.recv(1) == b"":
            left.set()

    with FakeNode(answer) as node:
        t = Terminal("run", "starter", HEARTH_LISTEN=node.address)
        t.until(">>> ")
        t.type("not sent")
        t.type("\x03")
        t.until("Ctrl-D or /bye leaves")
        t.until(">>> ")
        t.type(QUESTION + "\r")
        t.until("half an ans")
        t.type("\x03")
        t.until(r"\(stopped\)")
        t.until(">>> ")
        assert left.wait(30), "the node is not told that nobody listens"
        t.type("/clear\r")
        t.until(">>> ")
        t.type("Hello\r")
        t.until("a whole answer")
        t.until(">>> ")
        t.type("\x04")
        assert t.end() == 0


@test
def a_long_chat_says_what_it_forgets():
    t = Terminal("run", "starter", "--temp", "0", "-n", "16")
    t.until(">>> ")
    for i in range(12):
        t.type(f"I want to book a table for two people at seven in the evening on day {i}, please.\r")
        if "forgotten" in t.until(r"\[\d+ tokens.*\]"):
            break
    else:
        raise AssertionError("the context never filled")
    t.until(">>> ")
    t.type("\x04")
    assert t.end() == 0


@test
def a_model_cannot_steer_the_terminal():
    # the words of a node that lies: an escape sequence, a bell, a C1 control
    with FakeNode(lambda handler, _: handler.say("A\x1b[31mB\x07C\u009b2JD\tE\nF")) as node:
        t = Terminal("run", "starter", "hi", HEARTH_LISTEN=node.address)
        assert t.end() == 0
        assert "A[31mBC2JD" in t.seen and "\x1b" not in t.seen and "\x07" not in t.seen, repr(t.seen)
        assert "\x1b[31m" in hearth("run", "starter", "hi", HEARTH_LISTEN=node.address).out  # a pipe gets the bytes as they are


@test
def a_broken_node_is_said():
    with FakeNode(lambda handler, _: handler.say("half", whole=False)) as node:
        done = hearth("run", "starter", "hi", code=1, HEARTH_LISTEN=node.address)
        assert "broke off" in done.err and done.out == "half\n", (done.out, done.err)


main()
