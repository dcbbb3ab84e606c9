#!/usr/bin/env python3
"""Documents that want to do harm: bombs, endless ones, deep ones, locked ones, ones that lie. Each ends in a state with a reason, soon,
and the file after it is read. Made here, so that none lies in the tree."""
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib

BUILD = os.environ.get("HEARTH_BUILD", "build")
n_tests = n_bad = 0


def extract(path, *options, code=None):
    out = subprocess.run([os.path.join(BUILD, "hearth"), "extract", "--json", *options, "--", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         timeout=240)
    return json.loads(out.stdout)["events"]


def run(name, data, check, *options):
    global n_tests, n_bad
    n_tests += 1
    path = os.path.join(DIR, name)
    with open(path, "wb") as f:
        f.write(data)
    begin = time.time()
    events = extract(path, *options)
    end = events[-1]
    try:
        good = check(events, end)
    except Exception as e:
        good = False
        print("#", repr(e))
    if not good:
        n_bad += 1
        print("#", json.dumps(events)[-1500:])
    print(f"{'ok' if good else 'not ok'} {n_tests} - {name}: {end['state']} {end.get('reason', '')} ({time.time() - begin:.1f} s)", flush=True)
    os.unlink(path)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", method) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return b.getvalue()


def docx(body, doctype=""):
    ns = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    return zipped({"[Content_Types].xml": "<Types/>",
                   "word/document.xml": f'<?xml version="1.0"?>{doctype}<w:document xmlns:w="{ns}"><w:body>{body}</w:body></w:document>'})


def para(text):
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def text(events):
    return "\n".join(e["text"] for e in events if "block" in e)


def parts(events):
    return [e for e in events if "part" in e]


def reasons(events):
    return "; ".join(e.get("reason", "") for e in events if "end" in e)


def main():
    zeros = zipped({"zeros": b"\0" * (60 << 20)})
    run("zeros.zip", zeros, lambda ev, end: "too large" in reasons(ev) and end["reason"])
    nested = zeros
    for i in range(14):
        nested = zipped({f"level{i}.zip": nested, "note.txt": f"level {i}"}, zipfile.ZIP_STORED)
    run("nested.zip", nested, lambda ev, end: "nested more than" in reasons(ev) and "level 13" in text(ev) and len(parts(ev)) < 40)
    many = zipped({f"{i:03}.gz": zlib.compress(b"", 9) for i in range(300)})
    run("many.zip", many, lambda ev, end: len(parts(ev)) == 301 and end["state"] == "text")
    quine = b"\x1f\x8b\x08\x00" + b"\xff" * 2000
    run("broken.gz", quine, lambda ev, end: end["state"] in ("unreadable", "text") and "damaged" in reasons(ev))

    entities = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY {chr(98 + i)} '{('&' + chr(97 + i) + ';') * 10}'>" for i in range(12)) + "]>"
    run("laughs.docx", docx(para("before") + para("&m;") + para("after"), entities),
        lambda ev, end: end["state"] in ("text", "unreadable") and len(text(ev)) < 100000)
    run("outside.docx", docx(para("&x;") + para("inside"), '<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        lambda ev, end: "root:" not in text(ev) and "inside" in text(ev))
    run("laughs.xml", f"<?xml version='1.0'?>{entities}<a>&m;<b>words</b></a>".encode(), lambda ev, end: len(text(ev)) < 100000)
    run("deep.html", b"<html><body>" + b"<div><b><i>" * 40000 + b"deep words", lambda ev, end: end["state"] in ("text", "unreadable"))
    run("deep.xml", b"<?xml version='1.0'?>" + b"<a>" * 200000 + b"words", lambda ev, end: end["state"] == "text")
    run("deep.rtf", b"{\\rtf1 first\\par " + b"{" * 200000 + b"deep" + b"}" * 200000 + b" last}", lambda ev, end: "first" in text(ev) and "last" in text(ev))
    run("bin.rtf", b"{\\rtf1 first\\par {\\pict\\bin2000000000 x}", lambda ev, end: "first" in text(ev) and end.get("partial"))

    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 1000000000/Kids[2 0 R 2 0 R]>>endobj\ntrailer<</Root 1 0 R>>\n"
    run("endless.pdf", pdf, lambda ev, end: end["state"] == "unreadable" and end["reason"], "--seconds", "4")
    page = b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 1e9 1e9]/Contents 4 0 R>>endobj 4 0 obj<</Length 9>>stream\n0 0 9 9 re f\nendstream endobj\n"
    run("vast.pdf", b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj\n" + page +
        b"trailer<</Root 1 0 R>>\n", lambda ev, end: end["state"] in ("text", "needs-ocr"))
    if os.path.isdir("/usr/share/poppler/cMap"):  # Debian's poppler-data
        chinese = b"BT /F 20 Tf 50 700 Td <4F60597D4E16754C> Tj ET"
        objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
                   b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
                   b"<</Length %d>>stream\n%s\nendstream" % (len(chinese), chinese),
                   b"<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[6 0 R]>>",
                   b"<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>>>"]
        run("chinese.pdf", b"%PDF-1.4\n" + b"".join(b"%d 0 obj %s endobj\n" % (i, o) for i, o in enumerate(objects, 1)) + b"trailer<</Root 1 0 R>>\n",
            lambda ev, end: text(ev) == "\u4f60\u597d\u4e16\u754c")
    run("cut.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Cat", lambda ev, end: end["state"] == "unreadable" and "damaged" in end["reason"])

    def png(width, height):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0" * 9999)) + chunk(b"IEND", b"")
    run("vast.png", png(100000, 100000), lambda ev, end: end["state"] == "unreadable" and "too large" in end["reason"])
    run("lying.png", png(3000, 3000), lambda ev, end: end["state"] in ("unreadable", "text", "needs-ocr"), "--ocr")
    run("endless.mail.eml", b"From: a@b\nTo: c@d\nSubject: x\nMIME-Version: 1.0\n" +
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(3000)) + b"Content-Type: text/plain\n\nwords\n",
        lambda ev, end: end["state"] in ("text", "unreadable"))
    loop = b"words"
    for i in range(30):
        loop = b"From: a@b\nTo: c@d\nSubject: level %d\nMIME-Version: 1.0\nContent-Type: message/rfc822\n\n" % i + loop
    run("mail-in-mail.eml", loop, lambda ev, end: "nested more than" in reasons(ev) and len(parts(ev)) <= 10)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        for name in ("../../../etc/cron.d/evil", "/etc/passwd", "ok.txt"):
            info = tarfile.TarInfo(name)
            info.size = 5
            t.addfile(info, io.BytesIO(b"harm\n"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        t.addfile(link)
    run("paths.tar", tar.getvalue(), lambda ev, end: len(parts(ev)) == 4 and "root:" not in text(ev) and end["state"] == "text")
    run("locked.odt", zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": b"\x8a\x9b" * 50,
                              "META-INF/manifest.xml": "<manifest:manifest><manifest:encryption-data/></manifest:manifest>"}, zipfile.ZIP_STORED),
        lambda ev, end: end["state"] == "unreadable" and "password" in end["reason"])
    run("bomb.docx", docx(para("a" * (62 << 20))), lambda ev, end: end["state"] in ("text", "unreadable"))
    run("script.html", b"<html><script>document.write('no')</script><body onload='x()'>yes<iframe src='http://127.0.0.1:1/'></iframe></body></html>",
        lambda ev, end: text(ev) == "yes")
    print(f"1..{n_tests}")
    return n_bad > 0


with tempfile.TemporaryDirectory() as DIR:
    code = main()
sys.exit(code)
