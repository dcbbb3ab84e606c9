#!/usr/bin/env python3
"""run-tests.py [--only asan|tsan]: builds with sanitizers, runs every test, and ends with `N passed, N failed`.

Two builds: address and undefined behaviour for everything (build-test), and threads for the tests of suite `threads` (build-tsan).
Tests print TAP, and it is their subtests that are counted. A program that dies, or that finishes other than its plan said, counts
as one failure more; whatever a failing test printed is shown.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from build import ROOT, build, configure, say  # noqa: E402

SHOWN_MAX = 200  # lines of one failing test
# Lines are what a report of a sanitizer shows: without the variables that a debugger would, a fifth of the compiling is saved.
LINES = ["-Db_lundef=false", "-Dc_args=-g1"]


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failing = []


def read_tap(text):
    """(passed, failed, skipped, whether the plan was kept)"""
    passed = failed = skipped = 0
    plan = None
    for line in text.splitlines():
        m = re.match(r"1\.\.(\d+)", line)
        if m:
            plan = int(m.group(1))
            continue
        m = re.match(r"(not )?ok\b(.*)", line)
        if not m:
            continue
        if re.search(r"#\s*skip", m.group(2), re.IGNORECASE):
            skipped += 1
        elif m.group(1):
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped, plan == passed + failed + skipped


def log_of(folder, wrapper):
    """Meson names its log after the wrapper's program."""
    name = "testlog-" + os.path.basename(wrapper.split()[0]) if wrapper else "testlog"
    return os.path.join(ROOT, folder, "meson-logs", name + ".json")


def take_in(folder, path, count):
    """Adds what Meson's log says to count, and prints what failing tests said."""
    with open(path, encoding="utf-8", errors="replace") as f:
        tests = [json.loads(line) for line in f if line.strip()]
    for test in tests:
        out = test.get("stdout") or ""
        passed, failed, skipped, kept = read_tap(out)
        good = test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
        why = ""
        if passed + failed + skipped == 0 and good:
            passed = 1  # a test that only has an exit code
        elif failed == 0 and not good:
            failed = 1
            why = f"{test['result'].lower()}, exit status {test['returncode']}"
        elif good and not kept:
            failed += 1
            why = "it ran other than the number of tests it had planned"
        count.passed += passed
        count.failed += failed
        count.skipped += skipped
        if failed:
            name = test["name"].split(" / ")[-1]
            count.failing.append(f"{name} ({folder})" + (f": {why}" if why else ""))
            lines = (out + "\n" + (test.get("stderr") or "")).strip().splitlines()
            print(f"\n---- {name} ({folder}) {why}")
            if len(lines) > SHOWN_MAX:
                print(f"({len(lines) - SHOWN_MAX} lines before these are in {folder}/meson-logs/testlog.txt)")
            print("\n".join(lines[-SHOWN_MAX:]))


def run_suite(folder, suite, wrapper, jobs):
    """Runs them; what Meson said that is no result, or None where its log has them all."""
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--num-processes", str(jobs), "--timeout-multiplier", "4"]
    if suite:
        command += ["--suite", suite]
    if wrapper:
        command += ["--wrapper", wrapper]
    log = log_of(folder, wrapper)
    if os.path.exists(log):
        os.remove(log)
    # Meson's own lines show which tests run and how each ended.
    runner = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    said = []
    for line in runner.stdout:
        said.append(line)
        if re.match(r"\s*\d+/\d+ ", line):
            print(line.rstrip(), flush=True)
    status = runner.wait()
    return None if os.path.exists(log) else "".join(said) + f"meson test of {folder} (exit status {status}) gave no results"


def thread_tests(folder):
    """The programs of suite `threads`: nothing else needs to be built with the thread sanitizer."""
    subprocess.run(["ninja", "-C", folder, "build.ninja"], cwd=ROOT, stdout=subprocess.DEVNULL)  # what Meson knows may be old
    done = subprocess.run(["meson", "introspect", folder, "--tests"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    programs = {test["cmd"][0] for test in json.loads(done.stdout) if "threads" in [x.split(":")[-1] for x in test["suite"]]}
    return sorted(os.path.relpath(p, os.path.join(ROOT, folder)) for p in programs)


def fixed_addresses():
    """gcc 12's thread sanitizer cannot start where the kernel spreads mappings widely; setarch -R turns that off where it may."""
    setarch = shutil.which("setarch")
    if setarch and subprocess.run([setarch, "-R", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        return f"{setarch} -R"
    return None


def main():
    only = sys.argv[2] if len(sys.argv) == 3 and sys.argv[1] == "--only" else None
    if len(sys.argv) > 1 and only not in ("asan", "tsan"):
        sys.exit(__doc__)
    began = time.monotonic()
    count = Count()
    try:
        run(only, count)
    except SystemExit as e:  # the build failed: said already
        count.failed += 1
        count.failing.append(str(e))
    print()
    for name in count.failing:
        print(f"FAILED {name}")
    say(f"took {time.monotonic() - began:.0f} s")
    print(f"{count.passed} passed, {count.failed} failed" + (f", {count.skipped} skipped" if count.skipped else ""), flush=True)
    return 1 if count.failed or not count.passed else 0


def run(only, count):
    """Both suites side by side: the thread sanitizer's are few and long."""
    cores = os.cpu_count() or 1
    suites = []  # folder, suite, wrapper, jobs
    if only != "tsan":
        configure("build-test", ["-Db_sanitize=address,undefined", *LINES])
        build("build-test")
        suites.append(("build-test", None, None, cores + 2))  # tests of real nodes, which begin first, wait more than they compute
    if only != "asan":
        configure("build-tsan", ["-Db_sanitize=thread", *LINES])
        build("build-tsan", thread_tests("build-tsan"))
        suites.append(("build-tsan", "threads", fixed_addresses(), cores if only else max(1, cores // 2)))
    said = [None] * len(suites)

    def one(i):
        said[i] = run_suite(*suites[i])

    say("running the tests with the " + " and ".join({"build-test": "address and undefined behaviour sanitizers", "build-tsan": "thread sanitizer"}[s[0]] for s in suites))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(suites))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for (folder, _, wrapper, _), words in zip(suites, said):
        if words is None:
            take_in(folder, log_of(folder, wrapper), count)
        else:
            print(words)
            count.failed += 1
            count.failing.append(words.splitlines()[-1])


sys.exit(main())
