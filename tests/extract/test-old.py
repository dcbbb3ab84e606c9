#!/usr/bin/env python3
"""Word, Excel and PowerPoint before 2007, and Outlook's messages: what is written in them is told, what was removed is not, and broken ones harm
nothing. The files are made here (compound.py). Prints TAP."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compound as c  # noqa: E402

BUILD = os.environ.get("HEARTH_BUILD", "build")
n_tests = n_bad = 0


def extract(*files):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, data in files:
            paths.append(os.path.join(folder, name))
            with open(paths[-1], "wb") as f:
                f.write(data)
        out = subprocess.run([os.path.join(BUILD, "hearth"), "extract", "--json", "--", *paths], stdout=subprocess.PIPE, timeout=240).stdout
    return [json.loads(line)["events"] for line in out.decode().splitlines()]


def blocks(events):
    return [(e["role"], e.get("page", 0), e["text"]) for e in events if "block" in e]


def meta(events, part=0):
    return next(e for e in events if e.get("meta") == part)


def check(name, good, *why):
    global n_tests, n_bad
    n_tests += 1
    n_bad += not good
    for w in why if not good else ():
        print("#", str(w)[:1500])
    print(f"{'ok' if good else 'not ok'} {n_tests} - {name}", flush=True)


def test_word():
    text = ["First paragraph \u2013 with a dash and \u4f60\u597d.\r", b"Eight bits: \x93quoted\x94 caf\xe9.\r", "See \x13 HYPERLINK \"http://hidden.example\" \x14the link\x15 here.\r",
            "one\x07two\x07\x07", "three\x07four\rmore\x07\x07", "soft\x1fhyphen, non\x1ebreaking\x0bline\x0cnext page\r"]
    ev, locked, broken, russian = extract(("a.doc", c.compound(c.word(text))), ("b.doc", c.compound(c.word(text, flags=0x100))),
                                          ("c.doc", c.compound({**c.word(text), "1Table": b"\2" * 40})),
                                          ("d.doc", c.compound(c.word_95("\u041f\u0440\u0438\u0432\u0435\u0442\r".encode("cp1251"), 0x419))))
    want = [("body", 0, "First paragraph \u2013 with a dash and \u4f60\u597d."), ("body", 0, "Eight bits: \u201cquoted\u201d caf\u00e9."), ("body", 0, "See the link here."),
            ("row", 0, "one\ttwo"), ("row", 0, "three\tfour more"), ("body", 0, "softhyphen, non-breaking\nline"), ("body", 0, "next page")]
    check("Word: paragraphs, tables, results of fields", blocks(ev) == want, blocks(ev))
    check("Word: facts", meta(ev) == {"meta": 0, "kind": "doc", "date": 1717410000, "title": "A title", "author": "An author"}, meta(ev))
    check("Word: locked", locked[-1]["state"] == "unreadable" and locked[-1]["reason"].startswith("encrypted"), locked[-1])
    check("Word: without its table it is damaged", broken[-1].get("reason", "").startswith("damaged: not a whole Word"), broken[-1])
    check("Word 95: in the code page of its language", blocks(russian) == [("body", 0, "\u041f\u0440\u0438\u0432\u0435\u0442")], blocks(russian))


def test_excel():
    strings = ["plain", "w\u012bde \u65e5\u672c", "cut in the middle of this string"]
    cell = c.cell
    one = (c.record(0xFD, cell(0, 0) + struct.pack("<I", 0)) + c.record(0xFD, cell(0, 1) + struct.pack("<I", 1)) + c.record(0x203, cell(1, 0) + struct.pack("<d", 1234567890123456)) +
           c.record(0x27E, cell(1, 1) + struct.pack("<I", 12345 << 2 | 3)) + c.record(0x203, cell(2, 0, 1) + struct.pack("<d", 45446)) +
           c.record(0x203, cell(2, 1, 2) + struct.pack("<d", 2.5)) + c.record(0xBD, struct.pack("<HH", 3, 0) + struct.pack("<HI", 0, 7 << 2 | 2) + struct.pack("<HI", 3, 45446 << 2 | 2) + struct.pack("<H", 1)) +
           c.record(0x06, cell(4, 0) + b"\0\0\0\0\0\0\xff\xff" + b"\0" * 8) + c.record(0x207, c.excel_string("a formula's text")) +
           c.record(0x1B6, b"\0" * 10 + struct.pack("<H", 9) + b"\0" * 6) + c.record(0x3C, b"\0a comment"))
    two = c.record(0xFD, cell(0, 0) + struct.pack("<I", 2)) + c.record(0x204, cell(0, 1) + c.excel_string("label"))
    cut_at = 8 + sum(len(c.excel_string(s)) for s in strings[:2]) + 3 + 7  # within the third string's characters
    book = c.excel([("One", one), ("Two", two)], strings)
    # The rest of a cut string begins with how wide it is.
    whole = c.excel([("One", one), ("Two", two)], strings, ())["Workbook"]
    table = struct.pack("<II", 3, 3) + b"".join(c.excel_string(s) for s in strings)
    at = whole.index(c.record(0xFC, table))
    cut = whole[:at] + c.record(0xFC, table[:cut_at]) + c.record(0x3C, b"\0" + table[cut_at:]) + whole[at + 4 + len(table):]
    for n, place in enumerate(i for i in range(len(cut)) if cut[i:i + 2] == b"\x85\0" and i < at):
        old = struct.unpack_from("<I", cut, place + 4)[0]
        cut = cut[:place + 4] + struct.pack("<I", old + 5) + cut[place + 8:]
    ev, ev_cut, locked, old = extract(("a.xls", c.compound(book)), ("b.xls", c.compound({"Workbook": cut})),
                                      ("c.xls", c.compound(c.excel([("One", one)], strings, flags=c.record(0x2F, b"\0" * 6)))),
                                      ("d.xls", c.compound({"Book": c.record(0x409, b"\0" * 6)})))
    want = [("heading", 1, "One"), ("row", 1, "plain\tw\u012bde \u65e5\u672c"), ("row", 1, "1234567890123456\t123.45"), ("row", 1, "2024-06-03\t2.5"), ("row", 1, "7\t2024-06-03"),
            ("row", 1, "a formula's text"), ("body", 1, "a comment"), ("heading", 2, "Two"), ("row", 2, "cut in the middle of this string\tlabel")]
    check("Excel: strings, numbers, dates, formulas, comments", blocks(ev) == want and meta(ev)["kind"] == "xls" and meta(ev)["pages"] == 2, blocks(ev), meta(ev))
    check("Excel: a string that goes on in the next record", blocks(ev_cut) == want, blocks(ev_cut))
    check("Excel: locked", locked[-1].get("reason", "").startswith("encrypted"), locked[-1])
    check("Excel 4 says that it is too old", "Excel before 5" in old[-1].get("reason", ""), old[-1])


def test_slides():
    tree = c.slides([("A title", "A box \u2013 wide"), ("Second", "Other\rLines")], "the removed secret", {1: "notes of the second"})
    ev, locked, lost = extract(("a.ppt", c.compound(tree)), ("b.ppt", c.compound({**tree, "Current User": c.atom(0x0FF6, struct.pack("<III", 20, 0xF3D1C4DF, 0) + b"\0" * 8)})),
                               ("c.ppt", c.compound({**tree, "Current User": c.atom(0x0FF6, struct.pack("<III", 20, 0xE391C05F, 5) + b"\0" * 8)})))
    want = [("heading", 1, "A title"), ("body", 1, "A box \u2013 wide"), ("heading", 2, "Second"), ("body", 2, "Other"), ("body", 2, "Lines"), ("body", 2, "notes of the second")]
    check("PowerPoint: outline, boxes and notes by slide; what was removed is not told", blocks(ev) == want and meta(ev)["pages"] == 2, blocks(ev))
    check("PowerPoint: locked", locked[-1].get("reason", "").startswith("encrypted"), locked[-1])
    check("PowerPoint: without its directory all text counts, as a part", lost[-1].get("partial") and "A title" in str(blocks(lost)), lost[-1])


def test_outlook():
    inner = c.message(top=False, p0037="Inner subject", p1000="Inner words.")
    html = b"<html><body><p>Only <b>marked</b> up</p></body></html>"
    rtf = rb"{\rtf1\ansi Compressed caf\'e9 words.\par}"
    mail = c.message(sent=1717410000, p0037="The subject", p1000="Body text.\r\n", p0C1A="Anna Smith", p5D01="anna@example.org", p1035="<id@example.org>",
                     recipients=[("Bob", "bob@example.org"), ("", "carol@example.org")],
                     attachments=[("note.txt", b"words of the attachment"), ("Inner subject", inner)])
    ev, marked, packed, eight = extract(("a.msg", c.compound(mail)), ("b.msg", c.compound(c.message(p0037="x", r1013=html))),
                                        ("c.msg", c.compound(c.message(p0037="x", r1009=c.lzfu(rtf)))),
                                        ("d.msg", c.compound(c.message(p0037="Gr\u00fc\u00dfe".encode("cp1252"), p1000=b"Tsch\xfcs\0"))))
    want = {"meta": 0, "kind": "mail", "date": 1717410000, "title": "The subject", "author": "Anna Smith <anna@example.org>",
            "recipients": "Bob <bob@example.org>, carol@example.org", "mail_id": "id@example.org"}
    check("Outlook: facts of a message", meta(ev) == want, meta(ev))
    check("Outlook: body, attachment, message within", [b[2] for b in blocks(ev)] == ["Body text.", "words of the attachment", "Inner words."], blocks(ev))
    check("Outlook: their names and kinds", [e.get("name", "") for e in ev if "part" in e][1:] == ["note.txt", "Inner subject"] and meta(ev, 2)["title"] == "Inner subject", ev)
    check("Outlook: HTML where there is no text", [b[2] for b in blocks(marked)] == ["Only marked up"], blocks(marked))
    check("Outlook: compressed RTF where there is nothing else", [b[2] for b in blocks(packed)] == ["Compressed caf\u00e9 words."], blocks(packed))
    check("Outlook: 8-bit text", meta(eight)["title"] == "Gr\u00fc\u00dfe" and blocks(eight)[0][2] == "Tsch\u00fcs", meta(eight), blocks(eight))


def test_broken():
    """Cut, flipped and looped: each ends, and the file after it is read."""
    rng = random.Random(4)
    good = [c.compound(c.word(["Words in a document.\r"] * 40)), c.compound(c.excel([("S", c.record(0xFD, c.cell(0, 0) + struct.pack("<I", 0)))], ["text"] * 300)),
            c.compound(c.slides([("T", "B")] * 5, "gone", {0: "n"})), c.compound(c.message(p0037="s", p1000="b" * 5000, attachments=[("a.txt", b"x" * 9000)]))]
    files = []
    for i in range(120):
        data = bytearray(good[i % 4])
        for _ in range(rng.randrange(1, 12)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 255, rng.randrange(256)))
        if i % 5 == 0:
            del data[rng.randrange(8, len(data)):]
        files.append((f"f{i}.bin", bytes(data)))
    # Every chain a loop; a folder within itself.
    loop = bytearray(good[0])
    fat = (struct.unpack_from("<I", loop, 0x4C)[0] + 1) * 512
    loop[fat:fat + 512] = struct.pack("<128I", *[0] * 128)
    files += [("loop.doc", bytes(loop)), ("last.doc", good[0])]
    got = extract(*files)
    ended = [ev for ev in got if "end" in ev[-1] and (ev[-1]["state"] == "text" or ev[-1].get("reason"))]
    crashed = [f[0] for f, ev in zip(files, got) if "reader" in ev[-1].get("reason", "") or "longer" in ev[-1].get("reason", "")]
    check("broken files end in a state with a reason", len(ended) == len(files) and not crashed, crashed, [ev[-1] for ev in got if ev not in ended])
    check("and the file after them is read", len(blocks(got[-1])) == 40, got[-1])


for test in (test_word, test_excel, test_slides, test_outlook, test_broken):
    test()
print(f"1..{n_tests}")
sys.exit(n_bad > 0)
