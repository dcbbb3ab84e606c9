#!/usr/bin/env python3
"""analyze.py [--all] [PATH...]: clang-tidy's bug finders over the sources under PATH (src), which must find nothing.

A file that was clean is not read again until something that it is made of changes: its text, a header of ours, its compiler's line, or what
is asked for here. So a run after an edit takes seconds, the first one half an hour. --all forgets what was clean.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
STAMPS = os.path.join(BUILD, "analyzed.json")
MODEL = os.path.join(ROOT, "scripts", "analyzer.h")
CHECKS = [
    "-*", "bugprone-*", "clang-analyzer-*",
    # Matters of taste, or what the compiler's own warnings say better.
    "-bugprone-easily-swappable-parameters", "-bugprone-reserved-identifier", "-bugprone-narrowing-conversions",
    "-bugprone-implicit-widening-of-multiplication-result", "-bugprone-assignment-in-if-condition", "-bugprone-macro-parentheses",
    "-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling", "-clang-analyzer-security.insecureAPI.strcpy",
    "-clang-analyzer-optin.performance.Padding",
    # What this version of the analyzer gets wrong here: it does not know the cleanup attribute (so all that it owns "leaks"; the sanitizers'
    # tests watch that), nor va_start; sizeof *p of a pointer to pointers is meant.
    "-clang-analyzer-unix.Malloc", "-clang-analyzer-valist.Uninitialized", "-bugprone-sizeof-expression",
]
# An int8_t is a number, not a character.
CONFIG = json.dumps({"Checks": ",".join(CHECKS), "WarningsAsErrors": "*",
                     "CheckOptions": [{"key": "bugprone-signed-char-misuse.CharTypdefsToIgnore", "value": "int8_t"}]})


def dependencies():
    """Object file -> the files of the tree that it was made of, as ninja knows them from the build."""
    told = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found, here = {}, []
    for line in told.stdout.splitlines():
        if line.startswith("    "):
            if not line.startswith("    /usr"):
                here.append(os.path.normpath(os.path.join(BUILD, line.strip())))
        elif ": #deps" in line:
            here = found.setdefault(line.split(":")[0], [])
    return found


def digests(wanted):
    """Source -> a hash of all that decides what the analyzer will say of it."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    made_of, texts, sums = dependencies(), {}, {}
    for command in commands:
        source = os.path.relpath(os.path.join(BUILD, command["file"]), ROOT)
        if not source.endswith(".c") or not any(source == p or source.startswith(p.rstrip("/") + "/") for p in wanted):
            continue
        told = sums.setdefault(source, hashlib.sha256((version + CONFIG).encode()))
        told.update(command["command"].encode())
        for path in [MODEL, os.path.join(ROOT, source), *sorted(made_of.get(command["output"], []))]:
            if path not in texts:
                with open(path, "rb") as f:
                    texts[path] = hashlib.sha256(f.read()).digest()
            told.update(texts[path])
    return {source: told.hexdigest() for source, told in sums.items()}


def analyze(source):
    """What clang-tidy has to say about SOURCE: "" if nothing."""
    # status.c is where the functions are made that analyzer.h describes.
    model = [] if source == "src/base/status.c" else ["--extra-arg=-include", "--extra-arg=" + MODEL]
    done = subprocess.run(["clang-tidy", "-p", BUILD, "--quiet", "--config=" + CONFIG, *model, source],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode == 0:
        return ""
    return re.sub(re.escape(BUILD) + r"/\.\./|" + re.escape(ROOT) + "/", "", done.stdout) or done.stderr


def main():
    forget = "--all" in sys.argv[1:]
    wanted = [os.path.relpath(os.path.abspath(a), ROOT) for a in sys.argv[1:] if a != "--all"] or ["src"]
    sums = digests(wanted)
    if not sums:
        sys.exit("hearth: no source of build/ lies under " + ", ".join(wanted))
    try:
        with open(STAMPS, encoding="utf-8") as f:
            clean = json.load(f)
    except (OSError, ValueError):
        clean = {}
    todo = [s for s in sorted(sums) if forget or clean.get(s) != sums[s]]
    print(f"hearth: static analysis: {len(todo)} of {len(sums)} files changed since they were clean", flush=True)
    todo.reverse()
    lock, failed = threading.Lock(), []

    def work():
        while True:
            with lock:
                if not todo:
                    return
                source = todo.pop()
            said = analyze(source)
            with lock:
                if said:
                    failed.append(source)
                    clean.pop(source, None)
                    print(said, flush=True)
                else:
                    clean[source] = sums[source]
                    with open(STAMPS + ".new", "w", encoding="utf-8") as f:
                        json.dump(clean, f, indent=0, sort_keys=True)
                    os.replace(STAMPS + ".new", STAMPS)

    workers = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        sys.exit("hearth: findings in " + ", ".join(sorted(failed)))


if __name__ == "__main__":
    main()
