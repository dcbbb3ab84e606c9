"""What the end-to-end tests share: a node as a process, HTTP over raw sockets, and TAP."""
import atexit
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from taptests import Skip, run_tests, test  # noqa: E402, F401 (handed on)

BUILD = os.environ.get("HEARTH_BUILD", ".")
SOURCE = os.environ.get("HEARTH_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
HEARTH = os.path.join(BUILD, "hearth")
# Sanitizers make everything slower, and so do the tests beside this one: what a test waits for either comes, or hangs for so long.
SLACK = float(os.environ.get("HEARTH_TEST_SLACK", "1"))
HANG = 60 * SLACK

def wait_for(what, seconds, condition, step=0.02):
    """Waits until condition() is true and returns it; fails saying what did not come. That it comes is what a test shows; how soon is for the benches, so
    `seconds` only ever makes the wait longer than a minute."""
    seconds = max(seconds * SLACK, HANG)
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(step)


def need_hub():
    if shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") is None:
        raise Skip("nats-server is not installed")


def within(seconds, condition, step=0.02):
    """Whether it came in that time: for what need not come."""
    end = time.monotonic() + seconds * SLACK
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


_leases = []  # sockets whose names say which ports are taken, as long as this process lives


def free_port():
    """A port for this process until it ends; the one after it is free, too: a hub's second is for its cluster.

    It lies below those that the kernel gives to outgoing connections and to port 0, so nobody else gets it before it is bound, or between a node and its successor;
    other tests that run beside this one are told by a name (abstract: it goes with the process and belongs to the network namespace, as ports do)."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first = int(f.read().split()[0])
    ports = range(10000, first - 1, 2) if first > 12000 else range(61000, 65000, 2)
    for port in random.sample(ports, len(ports)):
        lease = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            lease.bind(f"\0hearth-test-port-{port}")
            for each in (port, port + 1):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", each))
        except OSError:
            lease.close()
            continue
        _leases.append(lease)
        return port
    raise AssertionError("no port is free")


def children_of(pid, word):
    """The ids of a process's children whose command line has the word: from /proc, since a minimal Debian has no ps."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{name}/cmdline", "rb") as f:
                if parent == pid and word.encode() in f.read():
                    found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended
    return found


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json["error"]


class Node:
    """A node of its own, with its own home, on a free port. Used as a context, it must end well: exit code 0, no sanitizer report."""

    def __init__(self, command, settings=(), env=(), models=(), expect_start=True, conf=None, files=()):
        self.home = tempfile.mkdtemp(prefix="hearth-e2e-")
        atexit.register(shutil.rmtree, self.home, True)  # also of one that was not to start
        os.mkdir(os.path.join(self.home, "models"))
        for name, text in files:
            with open(os.path.join(self.home, name), "w") as f:
                f.write(text)
        if conf is not None:
            with open(os.path.join(self.home, "hearth.conf"), "w") as f:
                f.write(conf)
        for name, path in models:
            target = os.path.join(self.home, "models", name + ".gguf")
            if path is None:
                with open(target, "wb") as f:
                    f.truncate(1000)
            else:
                os.symlink(os.path.abspath(path), target)
        full_env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_") or k in ("HEARTH_SOURCE", "HEARTH_BUILD")}
        full_env.update({"HEARTH_HOME": self.home, **dict(env)})
        self.log_path = os.path.join(self.home, "log")
        self.log_file = open(self.log_path, "w+b")
        args = list(command)
        if not any(s.startswith("--listen") for s in settings):
            args += ["--listen", "127.0.0.1:0"]
        self.command, self.env = args + list(settings), full_env
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log_file, env=full_env)
        self.port = None
        atexit.register(self._end)
        if expect_start:
            self._wait_ready()

    def _end(self):
        """What a test that failed has left running ends with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _wait_ready(self):
        line = self.process.stdout.readline().decode()
        if not line:
            self.process.wait()
            raise AssertionError("the node did not start: " + self.log())
        # Both "ready HOST:PORT" and "hearth: answering at http://HOST:PORT (...)".
        where = next(w for w in line.replace("http://", "").replace(",", " ").split() if ":" in w and w.rsplit(":", 1)[1].isdigit())
        self.port = int(where.rsplit(":", 1)[1])

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        try:
            if kind is None:
                self.stop()
            elif self.process.poll() is None:
                self.process.kill()
        finally:
            self.process.wait()
            if kind is not None:
                print("# --- the node's log:")
                for line in self.log().split("\n")[-30:]:
                    print("#", line)
            self.close()

    def close(self):
        """Once it has ended."""
        self.process.stdout.close()
        self.log_file.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def restart(self):
        """Once it has ended: another one of the same home."""
        self.process.stdout.close()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log_file, env=self.env)
        self._wait_ready()

    def stop(self, sig=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(HANG)
        log = self.log()
        assert code == 0, f"the node ended with {code}: {log[-3000:]}"
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "left a handle open"):
            assert word not in log, log[-5000:]

    # --- asking ---
    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=HANG)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def ask(self, method, path, body=None, headers=(), timeout=60):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * SLACK)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            c.request(method, path, body, dict(headers))
            r = c.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            c.close()

    def get(self, path, **kw):
        return self.ask("GET", path, **kw)

    def post(self, path, body, **kw):
        return self.ask("POST", path, body, **kw)

    def status(self):
        return self.get("/hearth/status").json

    def active(self):
        return self.status()["requests"]["active"]

    def chat(self, text="hello", **more):
        return self.post("/v1/chat/completions", dict({"messages": [{"role": "user", "content": text}]}, **more))

    def stream(self, path, body, headers=(), timeout=60):
        return Stream(self, path, body, headers, timeout)


class Stream:
    """A streamed answer, read as it comes; close() leaves in the middle."""

    def __init__(self, node, path, body, headers=(), timeout=60):
        self.c = http.client.HTTPConnection("127.0.0.1", node.port, timeout=timeout * SLACK)
        self.c.request("POST", path, json.dumps(body), dict(headers))
        self.sent = time.monotonic()
        self.r = self.c.getresponse()
        self.status = self.r.status

    def lines(self):
        while True:
            line = self.r.readline()
            if not line:
                return
            yield line.decode()

    def events(self):
        """The data of each server-sent event; JSON where it is JSON."""
        for line in self.lines():
            if line.startswith("data: "):
                text = line[6:].rstrip("\n")
                yield json.loads(text) if text != "[DONE]" else text

    def close(self):
        # http.client keeps the socket open as long as the response lives.
        self.r.close()
        if self.c.sock is not None:
            self.c.sock.close()
        self.c.close()


def in_parallel(n, fn):
    """fn(i) in n threads; their results in order; the first exception is raised."""
    results, errors = [None] * n, []

    def one(i):
        try:
            results[i] = fn(i)
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
