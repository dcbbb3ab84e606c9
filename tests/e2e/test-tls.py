#!/usr/bin/env python3
"""https to places of the owner's own, with a CA made on the spot: trusted when ca_file names it, refused in words when not; so are other names, old
certificates, and servers that speak no TLS."""
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import SOURCE, Node, run_tests, test, wait_for  # noqa: E402

sys.path[:0] = [os.path.join(SOURCE, "tests", "pull"), os.path.join(SOURCE, "tests", "upstream")]
from fakeupstream import FakeUpstream  # noqa: E402
from modelserver import Server  # noqa: E402

FAKE = os.environ["HEARTH_FAKE_NODE"]
PROGRAM = os.environ["HEARTH_PROGRAM"]
folder = tempfile.mkdtemp(prefix="hearth-tls-")


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def make_ca(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")


def context(ca, name, alt, expired=False):
    """A server's end with a certificate for `alt` of that CA."""
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    with open(os.path.join(folder, name + ".ext"), "w") as f:
        f.write(f"subjectAltName={alt}\n")
    if expired:
        # `openssl ca` alone takes dates in OpenSSL 3.0.
        with open(os.path.join(folder, "ca.conf"), "w") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        for file, text in (("index", ""), ("serial", "01\n")):
            with open(os.path.join(folder, file), "w") as f:
                f.write(text)
        openssl("ca", "-config", "ca.conf", "-batch", "-notext", "-cert", f"{ca}.pem", "-keyfile", f"{ca}.key", "-in", f"{name}.csr", "-out", f"{name}.pem",
                "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-extfile", f"{name}.ext")
    else:
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "1", "-extfile", f"{name}.ext")
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key"))
    return c


def pem(name):
    return os.path.join(folder, name + ".pem")


def gguf(n):
    return b"GGUF\x03\x00\x00\x00" + random.Random(1).randbytes(n - 8)


def pull(server, *settings):
    """`hearth pull` of a model of a registry and of a URL; what it said."""
    home = tempfile.mkdtemp(dir=folder)
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
    done = subprocess.run([PROGRAM, "pull", "tiny", "-q", "--registry", server.url, "--home", home, *settings], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode in (0, 1) and "Sanitizer" not in done.stderr, done
    there = os.path.join(home, "models", "tiny.gguf")
    return done.returncode == 0 and open(there, "rb").read(), done.stdout + done.stderr


@test
def a_ca_that_is_named_is_trusted_and_no_other():
    s = Server(tls=context("mine", "good", "IP:127.0.0.1"))
    model = gguf(300000)
    s.add_registry("tiny", model)
    got, said = pull(s, "--ca-file", pem("mine"))
    assert got == model, said
    asked = len(s.asked)
    for settings in ((), ("--ca-file", pem("other"))):
        got, said = pull(s, *settings)
        assert not got and "certificate" in said and "ca_file" in said and "127.0.0.1" in said, said
    assert len(s.asked) == asked, "nothing is asked of whom one does not trust"
    got, said = pull(s, "--ca-file", os.path.join(folder, "nosuch.pem"))
    assert not got and "ca_file" in said and "nosuch" in said, said
    s.close()


@test
def a_certificate_of_another_name_or_another_time_is_refused():
    for name, tls in (("name", context("mine", "name", "DNS:example.org")), ("old", context("mine", "old", "IP:127.0.0.1", expired=True))):
        s = Server(tls=tls)
        s.add_registry("tiny", gguf(1000))
        got, said = pull(s, "--ca-file", pem("mine"))
        assert not got and "certificate" in said and s.asked == [], (name, said)
        assert ("expired" in said) == (name == "old"), said
        s.close()


@test
def a_server_that_speaks_no_tls_is_said_so():
    s = Server()
    s.url = s.url.replace("http://", "https://")
    got, said = pull(s, "--ca-file", pem("mine"))
    assert not got and "TLS" in said and "127.0.0.1" in said, said
    s.close()


@test
def an_upstream_is_held_to_the_same():
    good, bad = FakeUpstream(tls=context("mine", "up", "IP:127.0.0.1")), FakeUpstream(tls=context("other", "stranger", "IP:127.0.0.1"))
    conf = f"upstream.good = {good.url} key=s3cret\nupstream.bad = {bad.url} key=s3cret\nca_file = {pem('mine')}\n"
    with Node([FAKE], models=[("m", None)], conf=conf) as n:
        wait_for("both are looked at", 10, lambda: all(u["state"] != "unknown" for u in n.status()["upstreams"]))
        states = {u["name"]: u for u in n.status()["upstreams"]}
        assert states["good"]["state"] == "answers" and states["bad"]["state"] == "silent" and "certificate" in states["bad"]["error"], states
        a = n.post("/v1/chat/completions", {"model": "good/alpha", "messages": [{"role": "user", "content": "hi"}]})
        assert a.json["choices"][0]["message"]["content"] == "Hello from upstream"
        a = n.post("/v1/chat/completions", {"model": "bad/alpha", "messages": [{"role": "user", "content": "hi"}]})
        assert a.status == 503 and bad.asked == [], a.body
    good.close()
    bad.close()


if shutil.which("openssl") is None:
    print("1..0 # SKIP openssl is not installed")
    sys.exit(0)
try:
    make_ca("mine")
    make_ca("other")
    run_tests()
finally:
    shutil.rmtree(folder, ignore_errors=True)
