"""A local server that behaves like the places models come from: Hugging Face, an Ollama-style registry, a plain web server.
What it has and how it misbehaves are plain attributes; what it was asked is counted."""
import hashlib
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Server:
    def __init__(self, host="127.0.0.1", tls=None):
        self.plain = {}          # path -> bytes
        self.repos = {}          # "owner/repo" -> {path: bytes}
        self.blobs = {}          # digest -> bytes
        self.manifests = {}      # "ns/name:tag" -> object
        self.want_hf_token = None
        self.want_token = None   # of the registry
        self.cut_after = []      # bytes after which the next answers with a body break off
        self.corrupt = set()     # paths that come with a wrong byte
        self.no_ranges = False
        self.no_etag = False
        self.etag = "v1"
        self.wrong_range = False
        self.lie_length = {}     # path -> announced size
        self.no_length = False
        self.redirects = {}      # path -> URL
        self.fail_first = 0      # answers 503 so often
        self.delay = 0           # seconds per 64 KiB
        self.hold_after = None   # bytes after which an answer stands still until `go` is set
        self.go = threading.Event()
        self.stall_once = False
        self.page_size = None
        self.asked = []          # (method, path, headers)
        self.sent = {}           # path -> bytes of bodies sent
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                try:
                    outer.handle(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_POST = do_HEAD = do_GET

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Quiet((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.host = f"{host}:{self.port}"
        self.url = f"http://{self.host}"
        if tls:  # an ssl.SSLContext
            self.url = f"https://{self.host}"
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()

    def paths(self, method="GET"):
        return [p for m, p, _ in self.asked if m == method]

    # --- filling it ---
    def add_registry(self, name, model, tag="latest", ns="library", **texts):
        layers = [self._layer("application/vnd.ollama.image.model", model)]
        for key, text in texts.items():
            layers.append(self._layer(f"application/vnd.ollama.image.{key}", text.encode()))
        self.manifests[f"{ns}/{name}:{tag}"] = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": layers}

    def _layer(self, kind, data):
        digest = "sha256:" + sha(data)
        self.blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    # --- answering ---
    def handle(self, h):
        path = urllib.parse.urlsplit(h.path).path
        with self.lock:
            self.asked.append((h.command, h.path, dict(h.headers)))
            if self.fail_first > 0:
                self.fail_first -= 1
                return self.reply(h, 503, b"busy")
        if path in self.redirects:
            h.send_response(302)
            h.send_header("Location", self.redirects[path])
            h.send_header("Content-Length", "0")
            h.end_headers()
            return None
        m = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", path)
        if m:
            return self.tree(h, m.group(1))
        m = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", path)
        if m:
            if self.denied(h):
                return None
            data = self.repos.get(m.group(1), {}).get(urllib.parse.unquote(m.group(2)))
            return self.file(h, path, data)
        if path == "/token":
            return self.reply(h, 200, json.dumps({"token": self.want_token}).encode())
        m = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", path)
        if m:
            if self.want_token and h.headers.get("Authorization") != "Bearer " + self.want_token:
                challenge = f'Bearer realm="{self.url}/token",service="reg & co",scope="repository:{m.group(1)}:pull"'
                return self.reply(h, 401, b"{}", {"WWW-Authenticate": challenge})
            if m.group(2) == "manifests":
                manifest = self.manifests.get(f"{m.group(1)}:{m.group(3)}")
                return self.reply(h, 200, json.dumps(manifest).encode()) if manifest else self.reply(h, 404, b"{}")
            return self.file(h, path, self.blobs.get(m.group(3)))
        return self.file(h, path, self.plain.get(path))

    def denied(self, h):
        if self.want_hf_token and h.headers.get("Authorization") != "Bearer " + self.want_hf_token:
            self.reply(h, 401, b'{"error":"gated"}')
            return True
        return False

    def tree(self, h, repo):
        if self.denied(h):
            return None
        if repo not in self.repos:
            return self.reply(h, 404, b'{"error":"Repository not found"}')
        entries = [{"type": "file", "oid": "0" * 40, "size": len(d), "path": p, "lfs": {"oid": sha(d), "size": len(d), "pointerSize": 135}}
                   for p, d in sorted(self.repos[repo].items())]
        entries.insert(0, {"type": "directory", "oid": "0" * 40, "size": 0, "path": "folder"})
        headers = {}
        if self.page_size:
            q = urllib.parse.parse_qs(urllib.parse.urlsplit(h.path).query)
            at = int(q.get("cursor", ["0"])[0])
            if at + self.page_size < len(entries):
                headers["Link"] = f'<{self.url}/api/models/{repo}/tree/main?recursive=true&cursor={at + self.page_size}>; rel="next"'
            entries = entries[at:at + self.page_size]
        return self.reply(h, 200, json.dumps(entries).encode(), headers)

    def reply(self, h, code, body, headers=None):
        h.send_response(code)
        for k, v in (headers or {}).items():
            h.send_header(k, v)
        h.send_header("Content-Type", "application/json")
        h.send_header("Content-Length", str(len(body)))
        h.end_headers()
        if h.command != "HEAD":
            h.wfile.write(body)

    def file(self, h, path, data):
        if data is None:
            return self.reply(h, 404, b'{"error":"no such file"}')
        if path in self.corrupt:
            data = data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]
        total, start, end, code = len(data), 0, len(data), 200
        asked = h.headers.get("Range")
        tag = f'"{self.etag}"'
        if asked and not self.no_ranges and h.headers.get("If-Range", tag) == tag:
            m = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            start = int(m.group(1))
            if start >= total:
                return self.reply(h, 416, b"", {"Content-Range": f"bytes */{total}"})
            end = min(int(m.group(2)) + 1, total) if m.group(2) else total
            code = 206
        h.send_response(code)
        if not self.no_etag:
            h.send_header("ETag", tag)
        if code == 206:
            h.send_header("Content-Range", f"bytes {start + (1 if self.wrong_range and start > 0 else 0)}-{end - 1}/{total}")
        if self.no_length:
            h.send_header("Connection", "close")
            h.close_connection = True
        else:
            h.send_header("Content-Length", str(self.lie_length.get(path, end - start)))
        h.end_headers()
        if h.command == "HEAD":
            return None
        body = memoryview(data)[start:end]
        cut = None
        if len(body) > 16 and self.cut_after:
            cut = self.cut_after.pop(0)
        stall = False
        if len(body) > 16 and self.stall_once:
            self.stall_once, stall = False, True
        at = 0
        while at < len(body):
            n = min(65536, len(body) - at)
            if cut is not None:
                n = min(n, cut - at)
            if n > 0:
                h.wfile.write(body[at:at + n])
                with self.lock:
                    self.sent[path] = self.sent.get(path, 0) + n
                at += n
            if self.hold_after is not None and at >= self.hold_after:
                h.wfile.flush()
                self.go.wait()
            if self.delay:
                h.wfile.flush()
                time.sleep(self.delay)
            if stall and at >= 65536:
                h.wfile.flush()
                time.sleep(6)
                cut = at
            if cut is not None and at >= cut:
                h.wfile.flush()
                h.close_connection = True
                try:
                    h.connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                return None
        if path in self.lie_length:
            h.close_connection = True
        return None
