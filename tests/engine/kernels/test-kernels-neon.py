#!/usr/bin/env python3
"""The kernel tests on 64-bit ARM: cross-compiled and run under qemu-user, with and without the dot-product instructions.
Skips where the cross compiler or qemu is missing; on an ARM machine the ordinary tests have run these rows already."""
import glob
import os
import platform
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("HEARTH_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
CC, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
RUNS = [("processor without dot products", "cortex-a53", "neon"), ("processor with dot products", "max", "neondot")]


def compile_all(folder):
    kernels = os.path.join(SOURCE, "src/engine/kernels")
    flags = ["-std=c17", "-O2", "-ffunction-sections", "-fdata-sections", "-D_GNU_SOURCE", "-DHTH_HAVE_NEON", "-I" + os.path.join(SOURCE, "src"),
             "-I" + os.path.join(SOURCE, "tests")]
    sources = [os.path.join(SOURCE, "tests/engine/kernels/test-kernels.c"), os.path.join(SOURCE, "src/base/status.c")]
    sources += sorted(glob.glob(os.path.join(SOURCE, "src/engine/quant/*.c")))
    sources += [os.path.join(kernels, f) for f in ("threads.c", "kernels.c", "acts.c", "attention.c", "cpu.c", "measure.c",
                "codes.c", "kernels-c.c", "kernels-neon.c", "kernels-neondot.c", "neon-floats.c")]
    jobs, objects = [], []
    for i, source in enumerate(s for s in sources if os.path.exists(s)):
        extra = ["-march=armv8.2-a+dotprod"] if source.endswith("kernels-neondot.c") else []
        objects.append(os.path.join(folder, f"{i}.o"))
        jobs.append((source, [CC, *flags, *extra, "-c", source, "-o", objects[-1]]))
    running = []
    for source, command in jobs:
        running.append((source, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
        if len(running) >= 2:
            finish(*running.pop(0))
    for one in running:
        finish(*one)
    program = os.path.join(folder, "test-kernels")
    # Quantising whole files needs the file reader; no kernel does, so those functions are left out.
    subprocess.run([CC, "-static", "-Wl,--gc-sections", *objects, "-o", program, "-lm", "-lpthread"], check=True)
    return program


def finish(source, process):
    _, errors = process.communicate()
    if process.returncode != 0:
        print("#", errors.replace("\n", "\n# "))
        raise RuntimeError(f"{source} does not compile for ARM")


def main():
    if shutil.which(CC) is None or shutil.which(QEMU) is None or platform.machine() == "aarch64":
        print(f"1..0 # SKIP needs {CC} and {QEMU} on a machine that is not ARM")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        program = compile_all(folder)
        for i, (what, cpu, row) in enumerate(RUNS):
            done = subprocess.run([QEMU, "-cpu", cpu, program], capture_output=True, text=True, timeout=100, check=False)
            # Every row of this processor has run; see that the best of them is the one meant.
            good = done.returncode == 0 and f"# rows: {row} is the best" in done.stdout
            failed += not good
            if not good:
                print("#", (done.stdout + done.stderr).replace("\n", "\n# "))
            print(("ok" if good else "not ok"), i + 1, f"- kernels on an ARM {what}")
    print(f"1..{len(RUNS)}")
    return failed > 0


sys.exit(main())
