"""What the tests of the command line share: running the program in a home of its own, and TAP."""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from taptests import Skip, run_tests, test  # noqa: E402, F401 (handed on)

SOURCE = os.environ.get("HEARTH_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("HEARTH_BUILD", os.path.join(SOURCE, "build"))
SHARED = os.environ.get("HEARTH_SHARED", os.path.join(SOURCE, "..", "shared"))
SANITIZED = os.environ.get("HEARTH_SANITIZED", "0") == "1"
HEARTH = os.path.join(BUILD, "hearth")
STARTER = os.path.join(SOURCE, "models", "starter.gguf")

home = tempfile.mkdtemp(prefix="hearth-cmd-")
env = {k: v for k, v in os.environ.items() if not k.startswith("HEARTH_")}
# A port where nobody answers, so that no node of this machine's owner is asked.
env.update(HEARTH_HOME=home, HEARTH_LISTEN="127.0.0.1:9", HEARTH_BUILTIN_MODELS=os.path.join(SOURCE, "models"), NO_COLOR="1")

class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


def hearth(*args, code=0, input=None, timeout=240, cwd=None, **more):
    """Runs the program, checks its exit code, and that no sanitizer complained. Output is text."""
    done = subprocess.run([HEARTH, *args], input=input if input is not None else "", env={**env, **more}, capture_output=True, text=True,
                          encoding="utf-8", errors="surrogateescape", timeout=timeout, cwd=cwd)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    assert code is None or done.returncode == code, f"exit code {done.returncode}, not {code}: {args}\n{done.stdout[:2000]}{done.stderr[:2000]}"
    return Done(done.returncode, done.stdout, done.stderr)


def shared(*path):
    whole = os.path.join(SHARED, *path)
    if not os.path.exists(whole):
        raise Skip("../shared is not here")
    return whole


def read(path, mode="r"):
    with open(path, mode, **({} if "b" in mode else {"encoding": "utf-8"})) as f:
        return f.read()


def main():
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    run_tests()
