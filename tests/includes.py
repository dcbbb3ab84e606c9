#!/usr/bin/env python3
"""The direction of includes: a folder may include only itself and folders of lower tiers, and each third-party header
belongs to the folders named here. ARCHITECTURE.md draws the same picture."""
import os
import re
import sys

SOURCE = os.environ.get("HEARTH_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
TIERS = [
    ["base"],
    ["engine", "loop", "json", "sandbox", "seal"],
    ["request", "http", "config", "schema", "catalog", "client", "charter", "store", "link"],
    ["privacy", "ledger", "runner", "extract", "pull", "fetch", "street"],
    ["api", "route", "upstream", "index", "pool", "blocks"],
    ["node"],
    ["cmd"],
]
# Folders of one tier may not include each other, except these.
ALSO = set()
# The engine takes nothing but base, and inside it the same rule holds between its parts.
ENGINE_TIERS = [["gguf", "quant", "kernels"], ["tokenizer", "sampling", "jinja"], ["grammar", "gotemplate"], ["model"]]
ENGINE_ALSO = {("quant", "gguf"), ("gguf", "quant"), ("kernels", "quant")}
OWNERS = {
    "uv.h": {"loop"},
    "microhttpd.h": {"http"},
    "jansson.h": {"json"},
    "pcre2.h": {"engine/tokenizer"},
    "seccomp.h": {"sandbox"},
    "sodium.h": {"link", "street", "request", "node", "store", "pull", "seal", "charter", "index"},
    "sqlite3.h": {"store", "index"},
    "libstemmer.h": {"index"},
    "curl/curl.h": {"client"},
    "histedit.h": {"cmd"}, "qrencode.h": {"cmd"},
    "openssl/ssl.h": {"link"}, "openssl/x509.h": {"link"}, "openssl/x509v3.h": {"link"}, "openssl/evp.h": {"link"}, "openssl/pem.h": {"link"},
    "openssl/err.h": {"link"}, "openssl/rand.h": {"link"},
    "poppler.h": {"extract"}, "cairo.h": {"extract"}, "tesseract/capi.h": {"extract"}, "leptonica/allheaders.h": {"extract"}, "libheif/heif.h": {"extract"},
    "gmime/gmime.h": {"extract"}, "archive.h": {"extract"}, "libxml/xmlreader.h": {"extract"}, "libxml/HTMLparser.h": {"extract"}, "magic.h": {"extract"},
    "sys/socket.h": {"link", "runner", "extract", "http", "node", "client", "loop", "sandbox", "cmd"},
}


def tier(folder, tiers):
    for i, row in enumerate(tiers):
        if folder in row:
            return i
    return None


def main():
    problems = []
    n = 0
    names = {}
    src = os.path.join(SOURCE, "src")
    for top, _, files in os.walk(src):
        rel = os.path.relpath(top, src).split(os.sep)
        folder = rel[0]
        for f in files:
            if not f.endswith((".c", ".h", ".inc")):
                continue
            n += 1
            where = os.path.join(*rel, f)
            if f in names:
                problems.append(f"{where}: the file name {f} is also {names[f]}; names are unique in the tree")
            names[f] = where
            if folder == ".":
                continue
            if tier(folder, TIERS) is None:
                problems.append(f"{where}: folder {folder} has no tier in tests/includes.py")
                continue
            for line in open(os.path.join(top, f), encoding="utf-8"):
                m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if m:
                    to = m.group(1).split("/")
                    if len(to) == 1:
                        problems.append(f'{where}: include "{m.group(1)}" with its folder')
                        continue
                    if not os.path.exists(os.path.join(src, m.group(1))):
                        continue  # generated or public header of a library, not ours
                    if folder == "pool" and (to[0] == "request" or (to[0] == "privacy" and to[1] != "permit.h")):
                        problems.append(f"{where}: pool sees no request and makes no permit: of those it may include privacy/permit.h alone")
                    if to[0] != folder and (folder, to[0]) not in ALSO and tier(to[0], TIERS) >= tier(folder, TIERS):
                        problems.append(f"{where}: {folder} may not include {to[0]}")
                    if folder == "engine" and to[0] == "engine" and len(rel) > 1 and len(to) > 2 and to[1] != rel[1]:
                        mine, theirs = tier(rel[1], ENGINE_TIERS), tier(to[1], ENGINE_TIERS)
                        if (rel[1], to[1]) not in ENGINE_ALSO and (mine is None or theirs is None or theirs >= mine):
                            problems.append(f"{where}: engine/{rel[1]} may not include engine/{to[1]}")
                m = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
                if m and m.group(1) in OWNERS:
                    mine = "/".join(rel)
                    if not any(mine == o or mine.startswith(o + "/") for o in OWNERS[m.group(1)]):
                        problems.append(f"{where}: <{m.group(1)}> belongs to {', '.join(sorted(OWNERS[m.group(1)]))}")
    for p in problems:
        print("#", p)
    print(("not ok" if problems else "ok"), f"1 - the includes of {n} files go one way")
    print("1..1")
    return 1 if problems else 0


sys.exit(main())
