"""TAP for the tests in Python: a test is a function decorated with @test; it fails by an assertion (or any exception) and skips by raising Skip."""
import sys
import time
import traceback

_tests = []


def test(fn):
    _tests.append(fn)
    return fn


class Skip(Exception):
    pass


def run_tests():
    """Runs them (those whose name has the first argument in it) and ends the program."""
    bad = 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [t for t in _tests if wanted in t.__name__]
    for i, fn in enumerate(chosen, 1):
        start = time.monotonic()
        try:
            fn()
            line = f"ok {i} - {fn.__name__}"
        except Skip as e:
            line = f"ok {i} - {fn.__name__} # SKIP {e}"
        except Exception:
            bad += 1
            for text in traceback.format_exc().rstrip().split("\n"):
                print("#", text)
            line = f"not ok {i} - {fn.__name__}"
        print(f"# {time.monotonic() - start:.1f} s")
        print(line)
        sys.stdout.flush()
    print(f"1..{len(chosen)}")
    sys.exit(1 if bad else 0)
