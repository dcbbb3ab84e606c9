"""A street whose hub is a nats-server that its owner runs: with full rights they record all that it carries, and the line to it is the test's to delay, to stall and to cut."""
import atexit
import base64
import hashlib
import json
import os
import queue
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from e2e import Skip, free_port, wait_for
from street import Street

SERVER = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def owner_of(port):
    """The process at the other end of a connection from this loopback port; None: it is gone."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    inode = next((r[9] for r in rows if r[1].endswith(f":{port:04X}") and r[3] in ("01", "02")), None)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if inode and os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                    return int(pid)
        except OSError:
            pass
    return None


class Wire:
    """Carries TCP connections from one port to another. Each home's can be cut: nothing goes either way and nothing is closed, as when a cable is pulled; what was on its way comes when it
    heals. delay: seconds in each direction; stalls: the share of what is carried that comes 200 ms late, as a lost packet's repetition does."""

    def __init__(self, port, target):
        self.target, self.delay, self.stalls = target, 0.0, 0.0
        self.random, self.lock, self.held = random.Random(4), threading.Lock(), {}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, pid):
        with self.lock:
            self.held.setdefault(pid, threading.Event()).clear()

    def heal(self, pid):
        with self.lock:
            self.held.setdefault(pid, threading.Event()).set()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for event in self.held.values():
            event.set()

    def _passes(self, pid):
        with self.lock:
            event = self.held.get(pid)
        if event is not None:
            event.wait()

    def _accept(self):
        while True:
            try:
                s, (_, port) = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s, port), daemon=True).start()

    def _serve(self, near, port):
        pid = owner_of(port)
        self._passes(pid)
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=30)
        except OSError:
            near.close()
            return
        for s in (near, far):
            s.settimeout(None)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for a, b in ((near, far), (far, near)):
            line = queue.Queue()
            threading.Thread(target=self._read, args=(pid, a, line), daemon=True).start()
            threading.Thread(target=self._write, args=(pid, b, line), daemon=True).start()

    def _read(self, pid, s, line):
        data = b"?"
        while data:
            try:
                data = s.recv(65536)
            except OSError:
                data = b""
            late = 0.2 if self.stalls and self.random.random() < self.stalls else 0
            line.put((time.monotonic() + self.delay + late, data))

    def _write(self, pid, s, line):
        while True:
            when, data = line.get()
            time.sleep(max(0.0, when - time.monotonic()))
            self._passes(pid)
            try:
                if not data:
                    s.shutdown(socket.SHUT_WR)
                    return
                s.sendall(data)
            except OSError:
                return


class OwnHub:
    def __init__(self):
        if SERVER is None or shutil.which("openssl") is None:
            raise Skip("nats-server and openssl are not installed")
        self.port = free_port()  # the wire's; the server's own is the next one
        self.folder = tempfile.TemporaryDirectory(prefix="hearth-own-hub-")
        self.key, self.cert, self.conf = (os.path.join(self.folder.name, n) for n in ("k.pem", "c.pem", "nats.conf"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", "/CN=hub"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.cert) as f:
            self.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()
        self.process, self.closing, self.lock, self.heard = None, False, threading.Lock(), []
        self.wire = Wire(self.port, self.port + 1)

    def start(self, users):
        """users: the file that hearth writes. It is followed, as its message asks for."""
        self.users = users
        self._write(self._read())
        self.process = subprocess.Popen([SERVER, "-c", self.conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)  # where a test fails before its end
        wait_for("the hub", 30, self._answers, 0.02)
        threading.Thread(target=self._follow, daemon=True).start()
        self._listen()

    def close(self):
        self.closing = True
        self.wire.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def messages(self):
        with self.lock:
            return list(self.heard)

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port + 1), timeout=5).close()
            return True
        except OSError:
            return False

    def _read(self):
        with open(self.users) as f:
            return f.read()

    def _write(self, users):
        users = users.replace("users: [", 'users: [\n    {user: "owner", password: "owner", permissions: {publish: ">", subscribe: ">"}}', 1)
        with open(self.conf + ".new", "w") as f:
            f.write(f'listen: "127.0.0.1:{self.port + 1}"\ntls {{cert_file: "{self.cert}", key_file: "{self.key}", timeout: 20}}\nmax_payload: 524288\nping_interval: "15s"\n{users}')
        os.rename(self.conf + ".new", self.conf)

    def _follow(self):
        known = self._read()
        while not self.closing:
            time.sleep(0.05)
            try:
                users = self._read()
            except OSError:
                continue
            if users != known and not self.closing:
                known = users
                self._write(users)
                self.process.send_signal(1)  # SIGHUP: it reads again

    def _listen(self):
        """The owner's own client, with the right to everything: whatever any home says."""
        raw = socket.create_connection(("127.0.0.1", self.port + 1), timeout=60)
        raw.recv(4096)  # INFO
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        s = context.wrap_socket(raw)
        s.sendall(b'CONNECT {"user":"owner","pass":"owner","verbose":false,"pedantic":false,"lang":"python","version":"1"}\r\nSUB > 1\r\nPING\r\n')
        f = s.makefile("rb")
        assert f.readline().startswith(b"PONG"), "the owner gets in"

        def loop():
            s.settimeout(None)
            try:
                for line in f:
                    words = line.split()
                    if line.startswith(b"PING"):
                        s.sendall(b"PONG\r\n")
                    elif line.startswith(b"MSG"):
                        payload = f.read(int(words[-1]))
                        f.read(2)
                        with self.lock:
                            self.heard.append((words[1].decode(), payload))
            except (OSError, ValueError):
                pass

        threading.Thread(target=loop, daemon=True).start()


class HubStreet(Street):
    """A street at a hub of its owner's own."""

    def __init__(self, *homes):
        self.own = OwnHub()
        try:
            super().__init__(*homes)
        except BaseException:
            self.own.close()
            raise

    def pool(self, name, body):
        if body["do"] != "create":
            return super().pool(name, body)
        answer = super().pool(name, {"do": "create", "name": body["name"], "hub": f"127.0.0.1:{self.own.port}", "fingerprint": self.own.fingerprint})
        self.own.start(answer["include"])
        wait_for("it is at its hub", 60, lambda: self.status(name)["connected"], 0.02)
        return answer

    def cut(self, name):
        self.own.wire.cut(self[name].process.pid)

    def heal(self, name):
        self.own.wire.heal(self[name].process.pid)

    def __exit__(self, *why):
        for node in self.nodes.values():
            self.own.wire.heal(node.process.pid)
        try:
            super().__exit__(*why)
        finally:
            self.own.close()


def needles(text, ids=()):
    """Every form in which words, or the numbers of tokens, could be found in bytes: pieces of it, plain and in the usual encodings."""
    found = set()
    raw = text.encode()
    for at in range(0, max(1, len(raw) - 11), 3):
        piece = raw[at:at + 12]
        found.update((piece, piece.hex().encode(), piece.hex().upper().encode(), piece.decode(errors="ignore").encode("utf-16-le"), piece.decode(errors="ignore").encode("utf-16-be"), piece[::-1]))
    for shift in range(3):
        whole = base64.b64encode(raw[shift:])
        found.update(whole[at:at + 16] for at in range(0, len(whole) - 20, 8))
        found.update(piece.translate(bytes.maketrans(b"+/", b"-_")) for piece in list(found) if len(piece) == 16)
    for at in range(0, max(0, len(ids) - 3)):
        four = ids[at:at + 4]
        for width in (2, 4, 8):
            for order in ("little", "big"):
                found.add(b"".join(i.to_bytes(width, order) for i in four))
        found.add(json.dumps(four).encode()[1:-1])
        found.add(json.dumps(four, separators=(",", ":")).encode()[1:-1])
    return {n for n in found if len(n) >= 8}
