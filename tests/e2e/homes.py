"""Homes of a neighbourhood as processes: a node each, with its own folder, asked by the command line."""
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from e2e import BUILD, HANG, free_port, wait_for

PROGRAM = os.environ.get("HEARTH_PROGRAM", os.path.join(BUILD, "hearth")).split()[0]
TOOL = os.path.join(BUILD, "tests", "street", "street-tool")


class Refused(Exception):
    pass


class Home:
    def __init__(self, name, models=(), settings=(), prefix=()):
        self.name, self.prefix = name, list(prefix)  # prefix: of each command, such as nsenter's
        self.folder = tempfile.mkdtemp(prefix=f"hearth-{name}-")
        os.mkdir(os.path.join(self.folder, "models"))
        for model, path in models:
            os.symlink(os.path.abspath(path), os.path.join(self.folder, "models", model + ".gguf"))
        self.settings, self.port, self.process, self.id = list(settings), free_port(), None, None

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
        env.update(HEARTH_HOME=self.folder, HEARTH_LISTEN=f"127.0.0.1:{self.port}", HEARTH_HOME_NAME=self.name)
        return env

    def start(self):
        self.log_file = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(self.prefix + [PROGRAM, "serve", "--log-level", "debug"] + self.settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log_file, env=self.env())
        atexit.register(self.process.kill)  # where a test fails before its end
        if not self.process.stdout.readline():
            self.process.wait()
            raise AssertionError("the node did not start: " + self.log())
        return self

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(HANG)
        self._closed()
        log = self.log()
        assert code == 0, f"{self.name} ended with {code}: {log[-3000:]}"
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "left a handle open"):
            assert word not in log, log[-5000:]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._closed()

    def _closed(self):
        self.process.stdout.close()
        self.log_file.close()
        self.process = None

    def remove(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            return f.read()

    def run(self, *args, stdin=None):
        return subprocess.run(self.prefix + [PROGRAM] + list(args), input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env(), timeout=HANG, text=True)

    def pool(self, *args, stdin=None):
        """`hearth pool ...`: its output; raises Refused with the message when it fails."""
        done = self.run("pool", *args, stdin=stdin)
        if done.returncode != 0:
            raise Refused(done.stderr.strip())
        return done.stdout.strip()

    def status(self):
        """GET /hearth/pool: all there is, for tests."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=HANG) as s:
            s.sendall(b"GET /hearth/pool HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        return json.loads(data.split(b"\r\n\r\n", 1)[1])

    def names(self):
        return sorted(m["name"] for m in self.status()["members"])

    def sees(self, *others):
        """Whether exactly these are members beside this home, and all of them online."""
        return {m["name"] for m in self.status()["members"] if not m["self"]} == set(others) and all(m["online"] for m in self.status()["members"])

    def member(self, name):
        return next(m for m in self.status()["members"] if m["name"] == name)

    def own_id(self):
        return next(m["id"] for m in self.status()["members"] if m["self"])

    def hub_pid(self):
        return next((int(p) for p in os.listdir("/proc") if p.isdigit() and self._is_hub(p)), None)

    def _is_hub(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return b"nats-server" in (line := f.read()) and self.folder.encode() in line
        except OSError:
            return False


class Street:
    """Homes that are taken down whatever happens: with Street("ann", "ben") as (ann, ben): ..."""

    def __init__(self, *names, **more):
        self.homes = [Home(n, **more) for n in names]

    def __enter__(self):
        for h in self.homes:
            h.start()
        return self.homes

    def __exit__(self, kind, value, tb):
        try:
            if kind is None:
                for h in self.homes:
                    h.stop()
            else:
                for h in self.homes:
                    print(f"# --- {h.name}:")
                    for line in h.log().split("\n")[-70:]:
                        print("#", line)
        finally:
            for h in self.homes:
                h.remove()


def found(first, *others, name="Elm Street"):
    """first makes a neighbourhood and lets the others in; its hub's address."""
    hub = f"127.0.0.1:{free_port()}"
    first.pool("create", name, "--listen", hub)
    for other in others:
        other.pool("join", first.pool("invite"))
    for h in (first,) + others:
        wait_for(f"{h.name} sees everybody", 40, lambda h=h: h.sees(*[o.name for o in (first,) + others if o is not h]), 0.1)
    return hub


def refused(fn, *args, **more):
    """The message with which it was refused."""
    try:
        out = fn(*args, **more)
    except Refused as e:
        return str(e)
    raise AssertionError(f"it was not refused: {out}")
