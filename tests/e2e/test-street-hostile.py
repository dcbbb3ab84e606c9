#!/usr/bin/env python3
"""Real nodes at a hub that records, replays, reorders, drops, alters and forges: nothing is read, believed or crashed."""
import random
import shutil
import time

from e2e import Skip, free_port, run_tests, test, wait_for
from homes import Street, refused
from hostilehub import HostileHub

NAMES = ("annabel-of-the-mill", "benedict-next-door")


def open_hub():
    if shutil.which("openssl") is None:
        raise Skip("openssl is not installed")
    return HostileHub(free_port())


def settle(ann, ben):
    wait_for("they hear each other", 60, lambda: ann.sees(ben.name) and ben.sees(ann.name), 0.1)


def at(hub, ann, *others):
    ann.pool("create", "Elm Street of Secrets", "--hub", f"127.0.0.1:{hub.port}", "--fingerprint", hub.fingerprint)
    wait_for("ann is at the hub", 60, lambda: ann.status()["connected"], 0.05)
    lines = []
    for other in others:
        lines.append(ann.pool("invite"))
        other.pool("join", lines[-1])
        settle(ann, other)
    return lines


def unchanged(*homes):
    for h in homes:
        assert h.names() == sorted(NAMES) and h.status()["version"] == 2, h.status()


@test
def it_reads_nothing_and_learns_only_who_and_how_much():
    hub = open_hub()
    with Street(*NAMES) as (ann, ben):
        line = at(hub, ann, ben)[0]
        ids = [bytes.fromhex(h.own_id()) for h in (ann, ben)]
        seen = list(hub.seen)
        assert len(seen) > 5
        secrets = [n.encode() for n in NAMES] + [b"Elm Street", line.encode()[8:40]] + ids
        for subject, payload in seen:
            assert payload[0] == 1 and not any(s in payload for s in secrets)
            assert subject.split(".")[0] == "hearth" and subject.split(".")[2] in ("to", "door", "guest"), subject
        assert not any(s in str(hub.logins).encode() for s in secrets[:4])
        sizes = {len(p) for _, p in seen}
        print(f"# sizes on the wire: {sorted(sizes)}")
        assert len(sizes) < len(seen) / 2, "lengths are rounded up"
    hub.close()


@test
def what_it_replays_reorders_doubles_and_misdirects_is_believed_once_at_most():
    hub = open_hub()
    with Street(*NAMES) as (ann, ben):
        at(hub, ann, ben)
        for mode in ("double", "misdirect"):
            before = ann.status()["rejected"] + ben.status()["rejected"]
            hub.mode = mode
            wait_for(f"{mode}: copies are refused", 60, lambda: ann.status()["rejected"] + ben.status()["rejected"] > before, 0.1)
            unchanged(ann, ben)
        hub.mode = "reorder"
        count = len(hub.seen)
        wait_for("some letters went in another order", 60, lambda: len(hub.seen) >= count + 6, 0.1)
        hub.mode = "honest"
        hub.release()
        settle(ann, ben)
        rejected = ann.status()["rejected"] + ben.status()["rejected"]
        old = list(hub.seen)
        sent = sum(hub.send(*m) for m in old if ".to." in m[0])
        wait_for("every copy is refused", 20, lambda: ann.status()["rejected"] + ben.status()["rejected"] >= rejected + sent * 0.9, 0.1)
        unchanged(ann, ben)
        # A home that restarts has forgotten what it saw, and is not fooled by it either.
        ben.stop()
        ben.start()
        wait_for("ben is back", 60, lambda: ben.status()["connected"], 0.05)
        for m in old:
            hub.send(*m)
        settle(ann, ben)
        unchanged(ann, ben)
    hub.close()


@test
def what_it_alters_or_forges_is_not_believed():
    hub = open_hub()
    with Street(*NAMES) as (ann, ben):
        at(hub, ann, ben)
        hub.mode = "alter"
        before = ben.status()["rejected"]
        wait_for("altered letters are refused", 60, lambda: ben.status()["rejected"] >= before + 2, 0.1)
        hub.mode = "honest"
        rng = random.Random(5)
        subjects = sorted({s for s, _ in hub.seen})
        for _ in range(300):
            subject, (_, like) = rng.choice(subjects), rng.choice(hub.seen)
            hub.send(subject, rng.choice([rng.randbytes(rng.randrange(2000)), b"\x01" + rng.randbytes(rng.randrange(3000)), like[:rng.randrange(len(like))],
                                          like + b"\0" * rng.randrange(100), b""]))
        hub.send(subjects[0], b"\x01" + rng.randbytes(524287))
        settle(ann, ben)
        unchanged(ann, ben)
    hub.close()


@test
def a_hub_that_lets_everybody_in_admits_nobody():
    hub = open_hub()
    with Street(*NAMES, "carl-the-stranger") as (ann, ben, carl):
        line = at(hub, ann, ben)[0]
        message = refused(carl.pool, "join", line)
        assert "used already" in message, message
        unchanged(ann, ben)
        # Ben is removed. The hub still carries whatever it likes, and replays the application with which ben came.
        ann.pool("remove", NAMES[1])
        wait_for("ben is out", 60, lambda: ben.status()["name"] is None, 0.1)
        for m in [m for m in hub.seen if ".door." in m[0]]:
            hub.send(*m)
        time.sleep(0.5)
        assert ann.names() == [NAMES[0]]
        assert "new one" in refused(ben.pool, "join", line)
        assert ann.names() == [NAMES[0]]
    hub.close()


@test
def what_is_no_protocol_costs_the_connection_and_no_more():
    hub = open_hub()
    with Street(*NAMES) as (ann, ben):
        at(hub, ann, ben)
        nonsense = [b"\x00" * 5000 + b"\r\n", b"A" * 100000, b"MSG\r\n", b"MSG a 1 99999999999\r\n", b"MSG x 1 600000\r\n" + b"y" * 600000 + b"\r\n", b"INFO {{{\r\nHMSG a 1 5 5\r\n",
                    b"-ERR '" + b"\xff%s%n" * 1000 + b"'\r\n", b"MSG a 1 4\r\nabcdefgh\r\n", b"PING\n", b"+OK\r\n" * 50000 + b"?\r\n", b"INFO " + b"[" * 30000 + b"\r\n?\r\n"]
        for data in nonsense:
            assert wait_for("somebody is connected", 60, lambda: len(hub.clients) == 2, 0.05)
            hub.everybody(data)
            hub.cut()
        settle(ann, ben)
        unchanged(ann, ben)
        for greeting in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 70000, b"INFO {}\r\n", b"INFO {\"nonce\":\"" + b"A" * 64 + b"\",\"tls_required\":true}\r\n",
                         b"INFO {\"nonce\":\"abcdefghijklmno\",\"tls_required\":true}\r\nMSG a 1 1\r\nx\r\n", b"INFO {\"nonce\":\"abcdefghijklmno\"}\r\n", b""):
            hub.greeting = greeting
            hub.cut()
            wait_for("they try again and fail", 60, lambda: not ann.status()["connected"] and not ben.status()["connected"], 0.02)
            wait_for("the owner is told", 60, lambda: ann.status()["trouble"], 0.02)
        hub.greeting = None
        settle(ann, ben)
        unchanged(ann, ben)
    hub.close()


@test
def another_certificate_is_another_hub():
    hub = open_hub()
    with Street(*NAMES) as (ann, ben):
        at(hub, ann, ben)
        port = hub.port
        hub.close()
        wait_for("they lose it", 60, lambda: not ann.status()["connected"], 0.05)
        impostor = HostileHub(port, seed=2)
        wait_for("they see another certificate", 60, lambda: "certificate" in ann.status()["trouble"] and "certificate" in ben.status()["trouble"], 0.05)
        assert impostor.logins == [] and impostor.seen == [], "nothing is said to it, not even a name"
        impostor.close()


run_tests()
