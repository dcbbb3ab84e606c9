#!/usr/bin/env python3
"""build.py DIR [MESON OPTION...] [-- TARGET...]: configures DIR once (again when the options change), builds it, and says how far it is.

Also the module through which run-tests.py builds. A failing compiler's output is printed whole; a build that goes well takes a few lines.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(text):
    print("hearth: " + text, flush=True)


def configure(folder, options, env=None):
    path = os.path.join(ROOT, folder)
    stamp = os.path.join(path, "hearth-options")
    wanted = " ".join(options)
    try:
        with open(stamp, encoding="utf-8") as f:
            if f.read() == wanted and os.path.exists(os.path.join(path, "build.ninja")):
                return
    except OSError:
        pass
    say(f"configuring {folder}")
    shutil.rmtree(path, ignore_errors=True)
    done = subprocess.run(["meson", "setup", folder, *options], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        sys.stdout.write(done.stdout)
        sys.exit("hearth: configuring failed; what Meson said is above")
    with open(stamp, "w", encoding="utf-8") as f:
        f.write(wanted)


def build(folder, targets=()):
    """Runs ninja; on a terminal the progress stays on one line, elsewhere it is a line for each fifth of the way."""
    terminal = sys.stdout.isatty()
    env = dict(os.environ, NINJA_STATUS="[%f/%t] ")
    ninja = subprocess.Popen(["ninja", "-C", folder, *targets], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
    shown = 0
    other = []
    for line in ninja.stdout:
        step = re.match(r"\[(\d+)/(\d+)\] ", line)
        if not step:
            if not line.startswith(("ninja: Entering directory", "ninja: no work to do")):
                other.append(line)
                if terminal:
                    sys.stdout.write("\r\033[K")
                sys.stdout.write(line)
            continue
        n, total = int(step.group(1)), int(step.group(2))
        if terminal:
            sys.stdout.write(f"\r\033[Khearth: building {folder} {n}/{total}")
            sys.stdout.flush()
        elif total > 5 and n * 5 // total > shown:
            shown = n * 5 // total
            say(f"building {folder}, {n} of {total} steps")
    if terminal:
        sys.stdout.write("\r\033[K")
    if ninja.wait() != 0:
        sys.exit(f"hearth: building {folder} failed; what the compiler said is above")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    options, targets = sys.argv[2:], []
    if "--" in options:
        at = options.index("--")
        options, targets = options[:at], options[at + 1:]
    configure(sys.argv[1], options)
    build(sys.argv[1], targets)


if __name__ == "__main__":
    main()
