#!/usr/bin/env python3
"""Attention's inner loop on 64-bit ARM: the same test, cross-compiled and run under qemu-user. Skips where the cross compiler
or qemu is missing; on an ARM machine the ordinary test has run this row already."""
import os
import platform
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("HEARTH_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
CC, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FILES = ["src/engine/model/attend-c.c", "src/engine/model/attend-neon.c", "src/engine/model/attend.c", "src/engine/quant/halves.c",
         "src/base/status.c", "src/base/utf8.c", "tests/engine/model/test-model-attend.c"]
CHOICE = "const char *hth_kernels_name(void);\nconst char *hth_kernels_name(void) { return \"neon\"; }\n"


def main():
    if shutil.which(CC) is None or shutil.which(QEMU) is None or platform.machine() == "aarch64":
        print(f"1..0 # SKIP needs {CC} and {QEMU} on a machine that is not ARM")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        choice, program = os.path.join(folder, "choice.c"), os.path.join(folder, "test")
        with open(choice, "w", encoding="utf-8") as f:
            f.write(CHOICE)
        subprocess.run([CC, "-static", "-std=c17", "-O3", "-ffp-contract=fast", "-D_GNU_SOURCE", "-DHTH_HAVE_NEON",
                        "-I" + os.path.join(SOURCE, "src"), "-I" + os.path.join(SOURCE, "tests"), choice,
                        *[os.path.join(SOURCE, f) for f in FILES], "-lm", "-o", program], check=True)
        done = subprocess.run([QEMU, program], capture_output=True, text=True, timeout=100, check=False)
    print(done.stdout, end="")
    if "no neon here" in done.stdout:
        print("# the NEON row did not run")
        return 1
    return done.returncode


sys.exit(main())
