#!/usr/bin/env python3
"""Neighbourhoods of real nodes with the real nats-server: making, inviting, joining, leaving, removing, losing power, losing the hub."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from e2e import HANG, Skip, alive, free_port, in_parallel, need_hub, run_tests, test, wait_for
from homes import PROGRAM, TOOL, Street, found, refused


@test
def two_homes_join_and_see_each_other():
    need_hub()
    with Street("ann", "ben") as (ann, ben):
        assert ann.status()["name"] is None and json.loads(ann.pool("status", "--json")) == {"name": None, "members": []}
        assert "no neighbourhood" in refused(ann.pool, "invite")
        hub = f"127.0.0.1:{free_port()}"
        ann.pool("create", "Elm Street", "--listen", hub)
        assert "already" in refused(ann.pool, "create", "Oak Street")
        line = ann.pool("invite")
        assert re.fullmatch(r"hearth1\.[A-Za-z0-9_-]+", line), line
        begin = time.monotonic()
        out = ben.pool("join", line)
        print(f"# joined in {time.monotonic() - begin:.2f} s")
        assert "Elm Street, 2 homes, connected" in out and "ann" in out, out
        status = json.loads(ben.pool("status", "--json"))
        assert set(status) == {"name", "members"} and status["name"] == "Elm Street"
        assert all(set(m) == {"id", "name", "self", "online", "trusted", "models"} for m in status["members"]), status
        assert {(m["name"], m["self"], m["online"], m["trusted"]) for m in status["members"]} == {("ann", False, True, False), ("ben", True, True, True)}
        wait_for("ann sees ben", 30, lambda: ann.sees("ben"), 0.1)
        assert 0 < wait_for("a round trip", 30, lambda: ben.member("ann")["rtt_ms"], 0.1) < 10000
        ben.pool("trust", "ann")
        assert ben.member("ann")["trusted"] and not ann.member("ben")["trusted"]
        ben.pool("distrust", ann.own_id()[:8])
        assert not ben.member("ann")["trusted"]
        assert "no member" in refused(ben.pool, "trust", "zoe")
        # What the other home's node says of itself stays where it belongs: the invitation's secret is in no log and not on disk.
        for h in (ann, ben):
            assert line not in h.log() and line[40:80] not in h.log()
        with open(os.path.join(ann.folder, "street", "state"), "rb") as f:
            assert line.encode()[8:] not in f.read()
        assert os.stat(os.path.join(ann.folder, "street", "state")).st_mode & 0o077 == 0
        ben.stop()  # its connection's row is written at its end, at the latest
        rows = json.loads(ben.run("privacy", "log", "--json").stdout)["egress"]
        assert any(r["kind"] == "pool" and r["host"] == hub and r["sent_bytes"] > 0 and r["class"] == "" for r in rows), rows


@test
def an_invitation_lets_in_one_home_once_and_until_it_expires():
    need_hub()
    with Street("ann", "ben", "cleo") as (ann, ben, cleo):
        ann.pool("create", "Elm Street", "--listen", f"127.0.0.1:{free_port()}")
        line = ann.pool("invite")
        altered = line[:60] + ("A" if line[60] != "A" else "B") + line[61:]
        assert "altered" in refused(ben.pool, "join", altered)
        assert "not whole" in refused(ben.pool, "join", line[:-9]) or "altered" in refused(ben.pool, "join", line[:-9])
        assert "not an invitation" in refused(ben.pool, "join", "hello")
        ben.pool("join", "-", stdin=line + "\n")
        message = refused(cleo.pool, "join", line)
        assert "used" in message and "new one" in message, message
        assert ann.names() == ["ann", "ben"]
        short = ann.pool("invite", "--expires", "1")
        time.sleep(1.1)
        assert "expired" in refused(cleo.pool, "join", short)
        late = ann.pool("invite")
        ann.pool("revoke")
        message = refused(cleo.pool, "join", late)
        assert "not good any more" in message, message
        assert cleo.status()["name"] is None and ann.names() == ["ann", "ben"]
        cleo.pool("join", ann.pool("invite"))
        wait_for("three see each other", 30, lambda: ann.sees("ben", "cleo") and ben.sees("ann", "cleo") and cleo.sees("ann", "ben"), 0.1)


@test
def who_is_removed_or_leaves_has_no_access_from_then_on():
    need_hub()
    with Street("ann", "ben", "cleo") as (ann, ben, cleo):
        ann.pool("create", "Elm Street", "--listen", f"127.0.0.1:{free_port()}")
        line = ann.pool("invite")
        ben.pool("join", line)
        cleo.pool("join", ann.pool("invite"))
        wait_for("all see each other", 30, lambda: ann.sees("ben", "cleo") and cleo.sees("ann", "ben"), 0.1)
        assert "waits" in ben.pool("remove", "cleo"), "ben is no keeper"
        assert ann.names() == ["ann", "ben", "cleo"]
        wait_for("the change waits at ann's", 30, lambda: ann.status()["proposals"], 0.1)
        ann.pool("remove", "ben")
        wait_for("ben is out", 30, lambda: ben.status()["name"] is None, 0.1)
        assert ann.names() == ["ann", "cleo"]
        wait_for("cleo knows", 30, lambda: cleo.names() == ["ann", "cleo"], 0.1)
        assert "new one" in refused(ben.pool, "join", line), "what let it in once lets it in no more"
        ben.pool("join", ann.pool("invite"))
        wait_for("ben is back", 30, lambda: cleo.sees("ann", "ben"), 0.1)
        assert "told" in cleo.pool("leave")
        assert cleo.status()["name"] is None and not os.path.exists(os.path.join(cleo.folder, "street", "state"))
        wait_for("the others know", 30, lambda: ann.names() == ["ann", "ben"] and ben.names() == ["ann", "ben"], 0.1)
        assert "keeper" in refused(ann.pool, "leave"), "the only keeper"
        ann.pool("keeper", "ben")
        wait_for("ben is a keeper", 30, lambda: ben.member("ben")["keeper"], 0.1)


@test
def a_member_that_is_no_keeper_invites_and_a_keeper_agrees():
    need_hub()
    with Street("ann", "ben", "cleo") as (ann, ben, cleo):
        found(ann, ben)
        line = ben.pool("invite")
        joining = subprocess.Popen([PROGRAM, "pool", "join", line], env=cleo.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        proposal = wait_for("the application waits", 30, lambda: ann.status()["proposals"], 0.1)[0]
        assert proposal["what"] == "admits cleo"
        ann.pool("approve", proposal["hash"][:8])
        out, err = joining.communicate(timeout=HANG)
        assert joining.returncode == 0 and "3 homes" in out, (out, err)
        wait_for("all see each other", 30, lambda: ann.sees("ben", "cleo") and ben.sees("ann", "cleo"), 0.1)


@test
def two_homes_let_in_at_the_same_time_by_two_keepers_are_both_in():
    need_hub()
    with Street("ann", "ben", "cleo", "dora") as (ann, ben, cleo, dora):
        found(ann, ben)
        ann.pool("keeper", "ben")
        wait_for("ben is a keeper", 30, lambda: ben.member("ben")["keeper"], 0.1)
        lines = [ann.pool("invite"), ben.pool("invite")]
        in_parallel(2, lambda i: (cleo, dora)[i].pool("join", lines[i]))
        for h in (ann, ben, cleo, dora):
            wait_for(f"{h.name} sees all", 30, lambda h=h: h.names() == ["ann", "ben", "cleo", "dora"] and all(m["online"] for m in h.status()["members"]), 0.1)
        wait_for("one version", 30, lambda: len({h.status()["version"] for h in (ann, ben, cleo, dora)}) == 1, 0.1)


@test
def what_was_agreed_outlives_restarts_and_power_cuts():
    need_hub()
    with Street("ann", "ben") as (ann, ben):
        found(ann, ben)
        ann.pool("trust", "ben")
        line = ann.pool("invite")
        server = ann.hub_pid()
        ann.kill()
        wait_for("the hub dies with its node", 20, lambda: not alive(server), 0.05)
        ben.stop()
        ann.start()
        ben.start()
        wait_for("they find each other", 60, lambda: ann.sees("ben") and ben.sees("ann"), 0.1)
        assert ann.member("ben")["trusted"] and ann.status()["invitations"] == 1
        # A port that somebody else has when the node starts is waited for.
        port = int(ann.status()["hub"].rsplit(":", 1)[1])
        ann.stop()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            ann.start()
            assert "in use" in wait_for("ann says so", 30, lambda: ann.status()["trouble"], 0.1)
        wait_for("they find each other", 60, lambda: ann.sees("ben") and ben.sees("ann"), 0.1)
        with Street("cleo") as (cleo,):
            cleo.pool("join", line)
            wait_for("cleo is in", 30, lambda: ann.sees("ben", "cleo"), 0.1)
            cleo.pool("leave")
            wait_for("cleo is out", 30, lambda: ann.names() == ["ann", "ben"], 0.1)


@test
def a_hub_that_dies_comes_back_and_so_does_everybody():
    need_hub()
    with Street("ann", "ben") as (ann, ben):
        found(ann, ben)
        server = ann.hub_pid()
        os.kill(server, signal.SIGKILL)
        wait_for("ben notices", 30, lambda: "no connection to the neighbourhood's hub" in ben.log(), 0.05)
        wait_for("they find each other", 60, lambda: ann.sees("ben") and ben.sees("ann"), 0.1)
        assert ann.hub_pid() != server


@test
def two_hubs_and_the_loss_of_one():
    need_hub()
    with Street("ann", "ben", "cleo") as (ann, ben, cleo):
        found(ann, ben, cleo)
        second = f"127.0.0.1:{free_port()}"
        assert "keeper" in refused(ben.pool, "hub", "--listen", second)
        ann.pool("keeper", "ben")
        wait_for("ben is a keeper", 30, lambda: ben.member("ben")["keeper"], 0.1)
        ben.pool("hub", "--listen", second)
        for h in (ann, cleo):
            wait_for(f"{h.name} knows both hubs", 30, lambda h=h: len(h.status()["hubs"]) == 2, 0.1)
        wait_for("ben is at its own hub, and all see each other", 60,
                 lambda: ben.status()["hub"] == second and ann.sees("ben", "cleo") and ben.sees("ann", "cleo") and cleo.sees("ann", "ben"), 0.1)
        ann.kill()  # the home, its hub and all
        wait_for("cleo goes on at ben's hub", 60, lambda: cleo.status()["hub"] == second and cleo.member("ben")["online"], 0.1)
        wait_for("and ben hears it", 60, lambda: ben.member("cleo")["online"], 0.1)
        ann.start()
        wait_for("ann is back, and all see each other", 60, lambda: ann.sees("ben", "cleo") and cleo.sees("ann", "ben"), 0.1)
        assert "only hub" not in ben.pool("hub", "--off")
        wait_for("one hub is left", 60, lambda: len(cleo.status()["hubs"]) == 1 and cleo.sees("ann", "ben"), 0.1)
        assert "only hub" in refused(ann.pool, "hub", "--off")


@test
def what_cannot_be_is_said_clearly():
    need_hub()
    with Street("ann") as (ann,), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        message = refused(ann.pool, "create", "Elm Street", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert "in use" in message and "--listen" in message, message
        assert ann.status()["name"] is None
        assert "HOST:PORT" in refused(ann.pool, "create", "Elm Street", "--listen", "nonsense")
        assert "fingerprint" in refused(ann.pool, "create", "Elm Street", "--hub", "127.0.0.1:4222")
        assert ann.run("pool", "dance").returncode == 2 and ann.run("pool", "create").returncode == 2 and ann.run("pool", "invite", "--expires", "x").returncode == 2
        ann.stop()
        assert "hearth serve" in refused(ann.pool, "status")
        ann.start()


@test
def a_hub_that_the_owner_runs_does_as_well():
    need_hub()
    if shutil.which("openssl") is None:
        raise Skip("openssl is not installed")
    with Street("ann", "ben") as (ann, ben), tempfile.TemporaryDirectory() as own:
        key, cert, conf = (os.path.join(own, n) for n in ("k.pem", "c.pem", "nats.conf"))
        port = free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                        "-subj", "/CN=hub"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        fingerprint = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", cert], check=True, stdout=subprocess.PIPE, text=True).stdout
        out = ann.pool("create", "Elm Street", "--hub", f"127.0.0.1:{port}", "--fingerprint", fingerprint.strip().split("=")[1])
        include = re.search(r'include "(.*)"', out).group(1)
        with open(conf, "w") as f:
            f.write(f'listen: "127.0.0.1:{port}"\ntls {{cert_file: "{cert}", key_file: "{key}"}}\nmax_payload: 524288\ninclude "{include}"\n')
        server = subprocess.Popen(["nats-server", "-c", conf], env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin"), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            wait_for("ann is at it", 30, lambda: ann.status()["connected"], 0.1)
            line = ann.pool("invite")
            server.send_signal(signal.SIGHUP)
            joining = subprocess.Popen([PROGRAM, "pool", "join", line], env=ben.env(), stdout=subprocess.PIPE, text=True)
            wait_for("ben is let in", 30, lambda: ann.names() == ["ann", "ben"], 0.1)
            # Its owner has it read the list again, which may be a moment before the list is written.
            wait_for("ben is in", 60, lambda: (server.send_signal(signal.SIGHUP), joining.poll() is not None)[1], 0.5)
            assert "2 homes" in joining.communicate()[0]
            wait_for("they see each other", 60, lambda: ann.sees("ben") and ben.sees("ann"), 0.1)
            assert "must read it again" in ann.log()
        finally:
            server.terminate()
            server.wait()


@test
def a_member_that_means_harm_is_not_believed_and_hurts_nobody():
    need_hub()
    with Street("ann", "ben", "mal") as (ann, ben, mal):
        found(ann, ben, mal)
        target = ann.own_id()
        version = ann.status()["version"]
        mal.stop()
        for mode in ("garbage", "letters", "large", "flood"):
            before = ann.status()["rejected"]
            tool = subprocess.Popen([TOOL, mode, mal.folder, target, "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            slowest = 0.0
            while tool.poll() is None:
                begin = time.monotonic()
                ann.status()
                slowest = max(slowest, time.monotonic() - begin)
                time.sleep(0.05)
            out, err = tool.communicate()
            assert tool.returncode == 0, (mode, out, err)
            print(f"# {mode}: {out.strip()} messages sent; the node's slowest answer meanwhile {slowest * 1000:.0f} ms")
            if mode == "garbage":
                wait_for("garbage is not believed", 30, lambda: ann.status()["rejected"] > before, 0.1)
            assert ann.status()["version"] == version and ann.names() == ["ann", "ben", "mal"]
            wait_for(f"after {mode} they hear each other", 30, lambda: ann.member("ben")["online"] and ben.member("ann")["online"], 0.1)
        ann.pool("remove", "mal")
        wait_for("mal is out", 30, lambda: ben.names() == ["ann", "ben"], 0.1)
        done = subprocess.run([TOOL, "garbage", mal.folder, target, "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=HANG)
        assert done.returncode == 1 and "does not know" in done.stderr, done.stderr
        mal.start()


run_tests()
