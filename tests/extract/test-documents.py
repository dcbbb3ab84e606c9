#!/usr/bin/env python3
"""The shared corpus of documents through `hearth extract`: every file ends in the state that states.tsv gives, text agrees with what another
reader found (docling's expected Markdown, by words), and OCR with what people read in the same pictures (character errors).
Without arguments a sample, for `make test`; --all the whole corpus, for `make documents`. Prints TAP and the figures."""
import collections
import fnmatch
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from reading import CORPUS, HERE, extract, golden_words, gothic_lines, line_errors, page_errors, receipt_errors, receipts  # noqa: E402

ALL = "--all" in sys.argv
EVERY = 1 if ALL else int(os.environ.get("HEARTH_DOCUMENTS_EVERY", "16"))
n_tests = n_bad = 0


def say(good, name, why=()):
    global n_tests, n_bad
    n_tests += 1
    n_bad += not good
    for line in why:
        print("#", line)
    print(f"{'ok' if good else 'not ok'} {n_tests} - {name}", flush=True)


# ---- states ----

def rules():
    rows = []
    for line in open(os.path.join(HERE, "states.tsv"), encoding="utf-8"):
        if not line.startswith("#"):
            rows.append((line.rstrip("\n").split("\t") + [""])[:4])
    return rows


def corpus():
    found = []
    for top, _, files in os.walk(CORPUS):
        found += [os.path.relpath(os.path.join(top, f), CORPUS) for f in files if f != "SOURCES.txt"]
    return sorted(found)


def well_formed(events):
    """Parts nest, boxes are on the page, every part ends once."""
    open_parts, known = [], set()
    for e in events:
        if "part" in e:
            assert e["part"] not in known and (not open_parts or e["parent"] == open_parts[-1])
            known.add(e["part"])
            open_parts.append(e["part"])
        elif "end" in e:
            assert open_parts.pop() == e["end"]
            assert e["state"] == "text" and not e.get("partial") or e.get("reason") or e["state"] == "needs-ocr"
        elif "block" in e:
            assert e["block"] == open_parts[-1] and e["text"].strip() and "\0" not in e["text"]
            box = e.get("box", [0, 0, 1, 1])
            assert 0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1
    assert not open_parts and len(known) >= 1


def check_states():
    files = corpus()[::EVERY] if not ALL else corpus()
    rows = rules()
    got = extract(files)
    problems, counts = [], collections.Counter()
    for f in files:
        events = got[f]
        end = events[-1]
        kind = next((e.get("kind") for e in events if e.get("meta") == 0), "unknown")
        state = end["state"] + ("+partial" if end.get("partial") else "")
        counts[f"{kind} {state}"] += 1
        want = [r for r in rows if fnmatch.fnmatchcase(f, r[0])]
        if not want:
            problems.append(f"{f}: no line in states.tsv; it is {kind} {state} {end.get('reason', '')}")
        elif (kind, state) != tuple(want[-1][1:3]) or not end.get("reason", "").startswith(want[-1][3]):
            problems.append(f"{f}: {kind} {state} {end.get('reason', '')!r}, not {want[-1][1:]}")
        # A file that is killed half way has parts that did not end: that is told by its end alone.
        if "took longer" not in end.get("reason", "") and "reader" not in end.get("reason", ""):
            try:
                well_formed(events)
            except AssertionError:
                problems.append(f"{f}: its events make no sense")
    say(not problems, f"{len(files)} files end in their states", problems[:40] + [f"{n} {k}" for k, n in sorted(counts.items())])
    if ALL:
        stale = [r[0] for r in rows if not any(fnmatch.fnmatchcase(f, r[0]) for f in files)]
        say(not stale, "every line of states.tsv is about a file", stale[:20])


# ---- text by words, OCR by characters ----

def check_words():
    rows = sorted(golden_words())
    if not rows:
        return say(True, "text agrees by words # SKIP no golden files")
    mean = sum(r[0] for r in rows) / len(rows)
    mean_precision = sum(r[1] for r in rows) / len(rows)
    figures = [f"{len(rows)} documents: {mean:.3f} of the expected words found, {mean_precision:.3f} of the found ones expected"]
    figures += [f"{r:.3f} {p:.3f} {s}" for r, p, _, s in rows[:8]]
    say(mean > 0.925 and mean_precision > 0.935, "text agrees with another reader's by words", figures)


def check_ocr_page(picture, truth, bound, options=()):
    wrong, total = page_errors(picture, truth, *options)
    say(wrong / total <= bound, f"OCR of {os.path.basename(picture)}", [f"character error {wrong / total:.4f} over {total} characters (at most {bound})"])


def check_ocr_receipts():
    names = receipts() if ALL else receipts()[:3]
    found, total, *_ = receipt_errors(names)
    say(found / total > 0.70, "OCR of photographed receipts", [f"{found / total:.3f} of {total} words in {len(names)} receipts found"])


def check_ocr_lines():
    names = gothic_lines()
    wrong, total = line_errors(names)
    say(wrong / total < 0.35, "OCR of single lines of Gothic print", [f"character error {wrong / total:.3f} over {total} characters in {len(names)} lines"])


def main():
    if not os.path.isdir(CORPUS):
        print("1..0 # SKIP no documents in ../shared")
        return 0
    check_states()
    check_words()
    check_ocr_page("ocr/tesseract_test/phototest.tif", "ocr/tesseract_test/phototest.gold.txt", 0.02)
    check_ocr_receipts()
    if ALL:
        check_ocr_page("ocr/tesseract_test/8087_054.3B.tif", "ocr/tesseract_test/8087_054.3B.txt", 0.10)
        check_ocr_lines()
    print(f"1..{n_tests}")
    return n_bad > 0


sys.exit(main())
