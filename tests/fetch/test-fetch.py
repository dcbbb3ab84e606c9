#!/usr/bin/env python3
"""What web_fetch brings and what it refuses: hosts, addresses, redirects, sizes, times, and the log of all of it."""
import atexit
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from taptests import run_tests, test  # noqa: E402

TOOL = os.environ["HEARTH_FETCH_TOOL"]
pages = {"/": (200, "text/html; charset=utf-8", b"<p>hello</p>"), "/bad": (200, "text/plain", b"a\xff\xfeb\0c\xe2\x82"), "/json": (200, "application/json", b'{"a":1}'),
         "/png": (200, "image/png", b"\x89PNG" + b"x" * 100000), "/big": (200, "text/plain", "é".encode() * 500000), "/404": (404, "text/plain", b"none"),
         "/none": (200, None, b"plain"),
         "/html": (200, "text/html", "<title>Caf&eacute;</title><script>x</script><h1>Menu</h1><p>Soup &amp; bread, 4 \u20ac. <a href='/more?a=1&amp;b=2'>More</a>"
                                     "<a href='mailto:x@y'></a><a href='javascript:x'></a>".encode()),
         "/deep/er/page": (200, "text/html", b"<a href='../x'>up</a> <a href='y'>here</a> <a href='ftp://h/'>no</a>"),
         "/latin": (200, "text/plain; charset=ISO-8859-1", b"na\xefve \x80"), "/meta": (200, "text/html", b"<meta charset='windows-1252'>na\xefve")}
redirects = {}
asked = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        asked.append((self.headers["Host"], self.path, dict(self.headers)))
        try:
            if self.path in redirects:
                self.send_response(302)
                self.send_header("Location", redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif self.path == "/slow":
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", "100000")
                self.end_headers()
                for _ in range(100):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.1)
            else:
                code, kind, body = pages.get(self.path, pages["/404"])
                self.send_response(code)
                if kind:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass


server = Quiet(("0.0.0.0", 0), Handler)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
home = tempfile.mkdtemp(prefix="hearth-fetch-")
HOST = f"127.0.0.1:{port}"
def run(hosts, url, *args):
    done = subprocess.run([TOOL, home, hosts, url, *args], capture_output=True, text=True, timeout=240)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    assert done.returncode in (0, 1), done
    return json.loads(done.stdout)


def log():
    db = sqlite3.connect(os.path.join(home, "hearth.db"))
    rows = db.execute("SELECT kind, host, reason, allowed, received FROM egress ORDER BY id").fetchall()
    db.close()
    return rows


@test
def a_page_of_a_listed_host_comes_as_text():
    got = run(HOST, f"http://{HOST}/")
    assert got == {"code": 200, "type": "text/html; charset=utf-8", "text": "hello", "cut": False, "url": f"http://{HOST}/", "title": None, "links": []}, got
    assert run(HOST, f"http://{HOST}/json")["text"] == '{"a":1}'
    assert run(HOST, f"http://{HOST}/404")["code"] == 404
    assert run(HOST, f"http://{HOST}/none")["text"] == "plain"
    assert run(HOST, f"http://{HOST}/bad")["text"] == "a\ufffd\ufffdb\ufffdc\ufffd\ufffd"
    assert not {"Cookie", "Authorization", "Referer"} & set(asked[-1][2])
    assert log()[0][:4] == ("fetch", "127.0.0.1", "web_fetch for a test", 1)


@test
def html_becomes_its_words_title_and_links():
    got = run(HOST, f"http://{HOST}/html")
    assert got["title"] == "Caf\u00e9" and got["text"] == "# Menu\n\nSoup & bread, 4 \u20ac. More", got
    base = f"http://{HOST}"
    assert got["links"] == [[f"{base}/more?a=1&b=2", "More"]], got
    redirects["/moved"] = "/deep/er/page"
    got = run(HOST, f"http://{HOST}/moved")
    assert got["url"] == f"{base}/deep/er/page" and got["links"] == [[f"{base}/deep/x", "up"], [f"{base}/deep/er/y", "here"]], got
    assert run(HOST, f"http://{HOST}/latin")["text"] == "na\u00efve \u20ac"
    assert run(HOST, f"http://{HOST}/meta")["text"] == "na\u00efve"


@test
def what_is_not_listed_is_refused_and_logged():
    before, n = len(asked), len(log())
    for hosts in ("", " , ", "example.org", f"127.0.0.1:{port + 1}", "127.0.0.1", f".0.0.1:{port}x", f"27.0.0.1:{port}"):
        got = run(hosts, f"http://{HOST}/")
        assert got["status"] == "denied", (hosts, got)
    for url in (f"ftp://{HOST}/", "file:///etc/passwd", f"gopher://{HOST}/", "x", f"http://evil@{HOST[:-1]}/"):
        assert run(HOST, url)["status"] in ("invalid", "denied"), url
    assert len(asked) == before
    assert [r[3] for r in log()[n:]].count(0) >= 5 and all(r[3] == 0 for r in log()[n:])


@test
def names_below_a_host_are_listed_with_a_dot():
    # localhost resolves without a network; ".localhost" also means what is below it.
    assert run(f"localhost:{port}", f"http://localhost:{port}/")["code"] == 200
    assert run(f".localhost:{port}", f"http://localhost:{port}/")["code"] == 200
    assert run(f".localhost:{port}", f"http://a.localhost:{port}/")["code"] == 200
    assert run(f"localhost:{port}", f"http://a.localhost:{port}/")["status"] == "denied"
    assert run(f".localhost:{port}", f"http://notlocalhost:{port}/")["status"] == "denied"
    assert run(f"localhost:{port}", f"http://LOCALHOST.:{port}/").get("status") in (None, "gone")


@test
def an_address_of_this_house_is_refused_whatever_its_name():
    before = len(asked)
    got = run(f"localhost:{port}", f"http://localhost:{port}/", "public")
    assert got["status"] == "denied" and "address" in got["message"], got
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0.0.0.0"):
        got = run(f"{host}:{port},127.0.0.1:{port},0.0.0.0:{port}", f"http://{host}:{port}/", "public")
        assert got["status"] == "denied", (host, got)
    assert run(f"[::1]:{port},::1", f"http://[::1]:{port}/", "public")["status"] == "denied"
    assert len(asked) == before and log()[-1][3] == 0


@test
def redirects_are_held_to_the_same_rules():
    redirects.update({"/a": f"http://127.0.0.2:{port}/", "/b": f"http://localhost:{port}/", "/c": "/", "/d": "http://example.org/", "/e": "/e", "/f": "file:///etc/passwd"})
    assert run(f"{HOST},127.0.0.2:{port}", f"http://{HOST}/a")["status"] == "denied", "an address that is not allowed"
    assert run(f"{HOST},localhost:{port}", f"http://{HOST}/b")["code"] == 200
    assert run(HOST, f"http://{HOST}/b")["status"] == "denied"
    assert run(HOST, f"http://{HOST}/c")["text"] == "hello"
    assert "example.org" in run(HOST, f"http://{HOST}/d")["message"]
    assert run(HOST, f"http://{HOST}/e")["status"] == "denied" and run(HOST, f"http://{HOST}/f")["status"] == "denied"
    assert any(r[1] == "example.org" and r[3] == 0 for r in log())


@test
def sizes_types_and_times_have_ends():
    got = run(HOST, f"http://{HOST}/big", "max=1001")
    assert got["cut"] and got["text"] == "é" * 500 + "\ufffd", len(got["text"])
    assert log()[-1][4] < 1000000
    got = run(HOST, f"http://{HOST}/png")
    assert got["status"] == "unsupported" and "image/png" in got["message"]
    assert run(HOST, f"http://{HOST}/slow", "ms=600")["status"] == "timeout"


@test
def addresses_are_told_apart():
    private = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1",
               "192.0.2.5", "203.0.113.9", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
               "2002:7f00:1::", "2002:c0a8:101::1", "2001:db8::1", "2001::1", "100::1", "::127.0.0.1", "3fff::1", "5f00::1", "not an address", ""]
    public = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
    done = subprocess.run([TOOL, "address", *private], capture_output=True, text=True)
    assert done.stdout.strip() == "0" * len(private), list(zip(private, done.stdout))
    done = subprocess.run([TOOL, "address", *public], capture_output=True, text=True)
    assert done.stdout.strip() == "1" * len(public), list(zip(public, done.stdout))


atexit.register(shutil.rmtree, home, ignore_errors=True)
run_tests()
