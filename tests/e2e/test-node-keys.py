#!/usr/bin/env python3
"""Named keys at the door: scopes, rates, removal while the node runs, and what stays open without one."""
import json
import os
import subprocess
import tempfile

from e2e import HANG, Node, run_tests, test, wait_for

FAKE = os.environ["HEARTH_FAKE_NODE"]
HEARTH = os.environ["HEARTH_PROGRAM"]


def node(*settings, **kw):
    return Node([FAKE], settings, models=[("m", None)], **kw)


def cli(n, *args, code=0, said=None, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
    env.update({"HEARTH_HOME": n.home if hasattr(n, "home") else n, "HEARTH_LISTEN": "127.0.0.1:9", **more})
    done = subprocess.run([HEARTH, *args], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done
    assert "Sanitizer" not in done.stderr and (said is None or said in done.stderr), done.stderr
    return done.stdout.strip()


def bearer(key):
    return {"Authorization": "Bearer " + key}


def chat(n, key=None, **headers):
    return n.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, headers={**(bearer(key) if key else {}), **headers})


@test
def without_keys_all_may_ask_and_with_one_nobody_else():
    with node() as n:
        assert chat(n).status == 200
        key = cli(n, "key", "add", "kitchen")
        a = chat(n)
        assert a.status == 401 and a.headers["WWW-Authenticate"] == "Bearer" and a.error()["code"] == "invalid_api_key"
        assert chat(n, key).status == 200
        assert chat(n, **{"x-api-key": key}).status == 200
        assert chat(n, "wrong", **{"x-api-key": key}).status == 200
        assert chat(n, key[:-1] + ("a" if key[-1] != "a" else "b")).status == 401 and chat(n, "").status == 401 and chat(n, "x" * 5000).status == 401
        assert n.get("/health").status == 200 and n.get("/").status == 200
        cli(n, "key", "rm", "kitchen")
        assert chat(n, key).status == 200, "no key is left, so none is asked for"


@test
def the_owner_comes_in_without_a_key():
    with node() as n:
        at = {"HEARTH_LISTEN": f"127.0.0.1:{n.port}"}
        cli(n, "key", "add", "guest", "--scope", "chat")
        assert chat(n).status == 401
        cli(n, "status", **at)
        lock = os.path.join(n.home, "node.lock")
        assert os.stat(lock).st_mode & 0o777 == 0o600
        kept = open(lock)
        port, owner = kept.read().split()
        assert int(port) == n.port and n.get("/metrics", headers=bearer(owner)).status == 200
        assert n.get("/metrics", headers=bearer(owner[:-1])).status == 401
        with tempfile.TemporaryDirectory() as other:
            cli(other, "status", code=1, said="wants a key: set api_key", **at)
        assert cli(n, "serve", code=1, said="another node runs on the home", HEARTH_LISTEN="127.0.0.1:0") == ""
    with kept:
        assert os.fstat(kept.fileno()).st_size == 0, "the key outlived its node"


@test
def scopes_hold():
    with node() as n:
        chat_key = cli(n, "key", "add", "c", "--scope", "chat")
        embed_key = cli(n, "key", "add", "e", "--scope", "embed")
        admin_key = cli(n, "key", "add", "a", "--scope", "admin")
        assert chat(n, chat_key).status == 200
        for key in (embed_key, admin_key):
            a = chat(n, key)
            assert a.status == 403 and "scope 'chat'" in a.error()["message"], a.body
        embed = {"model": "m", "input": "x"}
        assert n.post("/v1/embeddings", embed, headers=bearer(chat_key)).status == 403
        assert n.post("/v1/embeddings", embed, headers=bearer(embed_key)).status == 200
        for path in ("/hearth/status", "/metrics"):
            assert n.get(path, headers=bearer(admin_key)).status == 200
            assert n.get(path, headers=bearer(chat_key)).status == 403
        assert n.post("/hearth/stop", {"model": "m"}, headers=bearer(chat_key)).status == 403
        assert n.ask("DELETE", "/api/delete", {"model": "m"}, headers=bearer(chat_key)).status == 403
        for key in (chat_key, embed_key, admin_key):
            assert n.get("/v1/models", headers=bearer(key)).status == 200


@test
def a_rate_is_kept_and_said():
    with node() as n:
        key = cli(n, "key", "add", "slow", "--per-minute", "3")
        free = cli(n, "key", "add", "free")
        assert [chat(n, key).status for _ in range(3)] == [200, 200, 200]
        a = chat(n, key)
        assert a.status == 429 and 1 <= int(a.headers["Retry-After"]) <= 21, a.headers
        assert a.error()["type"] == "rate_limit_error" and a.error()["code"] == "rate_limit_exceeded"
        assert chat(n, free).status == 200
        quick = cli(n, "key", "add", "quick", "--per-minute", "600")
        answers = [chat(n, quick) for _ in range(5)]
        assert [a.status for a in answers] == [200] * 5, answers[-1].body


@test
def a_bucket_fills_again():
    with node() as n:
        key = cli(n, "key", "add", "k", "--per-minute", "60")
        first = 0
        while chat(n, key).status == 200:  # one a second comes back meanwhile
            first += 1
        assert first >= 60, first
        wait_for("there is one again", 60, lambda: chat(n, key).status == 200, 0.1)


@test
def the_settings_key_stays_a_key_for_everything():
    with node("--api-key", "master") as n:
        key = cli(n, "key", "add", "c", "--scope", "chat")
        assert chat(n, "master").status == 200 and chat(n, key).status == 200 and chat(n).status == 401
        assert n.get("/metrics", headers=bearer("master")).status == 200 and n.get("/metrics", headers=bearer(key)).status == 403


@test
def beyond_loopback_any_key_will_do():
    n = node("--listen", "0.0.0.0:0", expect_start=False)
    assert n.process.wait(HANG) == 1 and "key add" in n.log()
    n.process.stdout.close()
    n.log_file.close()
    key = cli(n, "key", "add", "k")
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
    env["HEARTH_HOME"] = n.home
    p = subprocess.Popen([FAKE, "--listen", "0.0.0.0:0"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        n.port = int(p.stdout.readline().decode().rsplit(":", 1)[1].split()[0].strip("),"))
        assert chat(n, key).status == 200 and chat(n).status == 401
        cli(n, "key", "rm", "k")
        assert chat(n).status == 401, "the last key's removal opened the node to the street"
    finally:
        p.terminate()
        p.wait(HANG)
        p.stdout.close()


@test
def a_keys_class_must_be_one():
    with node() as n:
        key = cli(n, "key", "add", "k", "--privacy", "neighbours")
        assert chat(n, key).status == 200
        assert chat(n, key, **{"Hearth-Privacy": "private"}).status == 200
        assert chat(n, key, **{"Hearth-Privacy": "everybody"}).status == 400


run_tests()
