"""What the extractor reads beside what is known to be there: expected Markdown by words, OCR's ground truth by characters. Shared by
test-documents.py, which holds the figures to floors, and scripts/bench-documents, which prints them."""
import collections
import html
import json
import os
import re
import subprocess
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("HEARTH_BUILD", os.path.join(HERE, "..", "..", "build")))
SHARED = os.environ.get("HEARTH_SHARED", os.path.join(HERE, "..", "..", "..", "shared"))
CORPUS = os.path.join(SHARED, "material", "documents")


def extract(files, *options):
    """file -> events; files are named from the corpus's top."""
    out = subprocess.run([os.path.join(BUILD, "hearth"), "extract", "--json", "--seconds", "10", *options, "--", *files], cwd=CORPUS,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=1500)
    got = [json.loads(line) for line in out.stdout.decode("utf-8").splitlines()]
    assert len(got) == len(files), out.stderr[-500:]
    return {g["file"]: g["events"] for g in got}


def text_of(events, role=None):
    return "\n".join(e["text"] for e in events if "block" in e and role in (None, e["role"]))


# ---- by words ----

def words(text):
    text = unicodedata.normalize("NFKC", re.sub(r"[\u0640]", "", text)).lower()
    return collections.Counter(re.findall(r"\w+", text))


def from_markdown(text):
    text = re.sub(r"<!--.*?-->", " ", text, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\]\([^)]*\)", "] ", text)
    text = re.sub(r"data:image/\S+", " ", text)
    return html.unescape(re.sub(r"[\\*#|`_~\[\]]", lambda m: " " if m.group() in "|#" else "", re.sub(r"</?[a-z][^>]*>", " ", text)))


def golden_pairs():
    """(kind, source, path of what is expected of it), of docling_golden."""
    pairs = []
    for kind in "csv docx html jats md odf pdf pptx xlsx".split():
        base = os.path.join(CORPUS, "docling_golden", kind)
        for source in sorted(os.listdir(os.path.join(base, "sources"))) if os.path.isdir(base) else []:
            for name in (source + ".md", os.path.splitext(source)[0] + ".md"):
                if os.path.exists(os.path.join(base, "groundtruth", name)):
                    pairs.append((kind, os.path.join("docling_golden", kind, "sources", source), os.path.join(base, "groundtruth", name)))
                    break
    return pairs


def golden_words():
    """[(share of the expected words found, share of the found ones expected, kind, source)]"""
    pairs = golden_pairs()
    got = extract([p[1] for p in pairs]) if pairs else {}
    rows = []
    for kind, source, golden in pairs:
        with open(golden, encoding="utf-8") as f:
            want = words(from_markdown(f.read()))
        have = words(text_of(got[source]))
        both = sum((want & have).values())
        rows.append((both / max(1, sum(want.values())), both / max(1, sum(have.values())), kind, source))
    return rows


# ---- OCR, by characters ----

def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def flat(text):
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def page_errors(picture, truth, *options):
    """(wrong characters, characters) of one page."""
    want = flat(read_text(os.path.join(CORPUS, truth)))
    return distance(want, flat(text_of(extract([picture], "--ocr", *options)[picture], "ocr"))), len(want)


def receipts():
    base = os.path.join(CORPUS, "ocr", "sroie_receipts")
    names = sorted(f[:-4] for f in os.listdir(os.path.join(base, "box"))) if os.path.isdir(base) else []
    return [n for n in names if os.path.exists(os.path.join(base, "img", n + ".jpg"))]


def receipt_errors(names, *options):
    """(words found, words, words told, wrong characters, characters), of photographed shop receipts. Their lines are compared in the order of their
    ground truth, from top to bottom: a column told after another costs characters here, though a search would not mind."""
    got = extract([f"ocr/sroie_receipts/img/{n}.jpg" for n in names], "--ocr", "--languages", "eng", *options)
    found = total = told = wrong = characters = 0
    for n in names:
        lines = read_text(os.path.join(CORPUS, "ocr", "sroie_receipts", "box", n + ".csv")).splitlines()
        truth = "\n".join(line.split(",", 8)[8] for line in lines if line.count(",") >= 8)
        text = text_of(got[f"ocr/sroie_receipts/img/{n}.jpg"], "ocr")
        want, have = words(truth), words(text)
        found += sum((want & have).values())
        total += sum(want.values())
        told += sum(have.values())
        wrong += distance(flat(truth).lower(), flat(text).lower())
        characters += len(flat(truth))
    return found, total, told, wrong, characters


def gothic_lines():
    base = os.path.join(CORPUS, "ocr", "ocrd_lines", "data", "ground-truth")
    return sorted(f[:-4] for f in os.listdir(base) if f.endswith(".tif") and os.path.exists(os.path.join(base, f[:-4] + ".gt.txt"))) if os.path.isdir(base) else []


def line_errors(names, *options):
    """(wrong characters, characters) of single lines of Gothic print."""
    base = "ocr/ocrd_lines/data/ground-truth"
    got = extract([f"{base}/{n}.tif" for n in names], "--ocr", "--languages", "deu", *options)
    wrong = total = 0
    for n in names:
        want = flat(read_text(os.path.join(CORPUS, base, n + ".gt.txt")))
        wrong += distance(want, flat(text_of(got[f"{base}/{n}.tif"], "ocr")))
        total += len(want)
    return wrong, total
