"""A hub that means harm: speaks enough of NATS's protocol over TLS for nodes to connect, lets everybody in, keeps all it sees, and tampers as it is told."""
import hashlib
import io
import json
import os
import random
import select
import socket
import ssl
import subprocess
import tempfile
import threading


class Incoming(io.RawIOBase):
    """What comes over TLS, read under the lock of those who write: a connection of OpenSSL is not for two threads at once."""

    def __init__(self, s, lock):
        self.s, self.end = s, lock

    def readable(self):
        return True

    def readinto(self, into):
        while True:
            with self.end:
                try:
                    return self.s.recv_into(into)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            if not select.select([self.s], [], [], 60)[0]:
                return 0


class HostileHub:
    """mode: 'honest', 'alter' (a bit of every message), 'drop' (all), 'reorder' (five at a time), 'double', 'misdirect' (to everybody's inbox)."""

    def __init__(self, port, seed=1):
        self.port, self.mode, self.random = port, "honest", random.Random(seed)
        self.folder = tempfile.TemporaryDirectory(prefix="hearth-hub-")
        self.key, self.cert = os.path.join(self.folder.name, "k.pem"), os.path.join(self.folder.name, "c.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.cert,
                        "-days", "2", "-subj", "/CN=hub"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.cert) as f:
            der = ssl.PEM_cert_to_DER_cert(f.read())
        self.fingerprint = hashlib.sha256(der).hexdigest()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, self.key)
        self.lock = threading.Lock()
        self.seen = []        # (subject, payload), in order
        self.held = []
        self.clients = {}     # socket -> {subject: id}
        self.ends = {}        # socket -> the lock of its TLS, which one thread at a time may use
        self.logins = []      # what CONNECT said
        self.greeting = None  # instead of INFO
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # or accept() would keep it open
        self.listener.close()
        self.cut()
        self.folder.cleanup()

    def cut(self):
        """Ends every connection."""
        with self.lock:
            sockets = list(self.clients)
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, raw):
        s = raw
        try:
            raw.settimeout(60)
            if self.greeting is not None:
                raw.sendall(self.greeting)
                raw.recv(1)
                return
            raw.sendall(b"INFO " + json.dumps({"server_id": "X", "version": "2.9.10", "nonce": "abcdefghijklmno", "tls_required": True,
                                               "max_payload": 524288, "auth_required": True}).encode() + b"\r\n")
            s = self.context.wrap_socket(raw, server_side=True)
            s.setblocking(False)
            self.ends[s] = threading.Lock()
            f = io.BufferedReader(Incoming(s, self.ends[s]))
            with self.lock:
                self.clients[s] = {}
            while line := f.readline():
                words = line.split()
                if line.startswith(b"CONNECT"):
                    self.logins.append(json.loads(line[8:]))
                elif line.startswith(b"SUB"):
                    with self.lock:
                        self.clients[s][words[1].decode()] = words[-1].decode()
                elif line.startswith(b"PING"):
                    self.raw(s, b"PONG\r\n")
                elif line.startswith(b"PUB"):
                    payload = f.read(int(words[-1]))
                    f.read(2)
                    self._publish(words[1].decode(), payload)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.clients.pop(s, None)
            with self.ends.pop(s, threading.Lock()):
                s.close()

    def _publish(self, subject, payload):
        with self.lock:
            self.seen.append((subject, payload))
        if self.mode == "drop":
            return
        if self.mode == "alter" and payload:
            at = self.random.randrange(len(payload))
            payload = payload[:at] + bytes([payload[at] ^ 1 << self.random.randrange(8)]) + payload[at + 1:]
        if self.mode == "reorder":
            with self.lock:
                self.held.append((subject, payload))
                if len(self.held) < 5:
                    return
                batch, self.held = self.held, []
            self.random.shuffle(batch)
            for each in batch:
                self.send(*each)
            return
        if self.mode == "misdirect":
            with self.lock:
                everybody = {sub for subs in self.clients.values() for sub in subs}
            for sub in everybody:
                self.send(sub, payload)
            return
        self.send(subject, payload)
        if self.mode == "double":
            self.send(subject, payload)

    def send(self, subject, payload):
        """To whoever listens there; the number of them."""
        with self.lock:
            to = [(s, subs[subject]) for s, subs in self.clients.items() if subject in subs]
        for s, sid in to:
            self.raw(s, b"MSG %s %s %d\r\n%s\r\n" % (subject.encode(), sid.encode(), len(payload), payload))
        return len(to)

    def release(self):
        with self.lock:
            batch, self.held = self.held, []
        for each in batch:
            self.send(*each)

    def raw(self, s, data):
        end = self.ends.get(s)
        if end is None:
            return  # it has just left
        try:
            with end:
                while data:
                    try:
                        data = data[s.send(data):]
                    except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                        select.select([], [s], [], 1)
        except (OSError, ValueError):
            pass

    def everybody(self, data):
        with self.lock:
            sockets = list(self.clients)
        for s in sockets:
            self.raw(s, data)
        return len(sockets)
