#!/usr/bin/env python3
"""The kernel tests on 64-bit ARM: cross-compiled and run under qemu-user, without the dot-product instructions, with them, and with those that multiply matrices.
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
# The last can run every row, and runs every test with each; the others are asked which row is their best, and whether it keeps to what they have.
SOME = ["best_row_of_this_processor", "many_jobs_run_as_one", "vector_operations"]
RUNS = [("processor without dot products", "cortex-a53", "neon", SOME), ("processor with dot products", "cortex-a76", "neondot", SOME),
        ("processor with products of matrices", "max", "neoni8mm", [""])]
MARCH = {"kernels-neondot.c": "-march=armv8.2-a+dotprod", "kernels-neoni8mm.c": "-march=armv8.2-a+dotprod+i8mm"}


def compile_all(folder):
    kernels = os.path.join(SOURCE, "src/engine/kernels")
    flags = ["-std=c17", "-O2", "-ffunction-sections", "-fdata-sections", "-D_GNU_SOURCE", "-DHTH_HAVE_NEON", "-I" + os.path.join(SOURCE, "src"),
             "-I" + os.path.join(SOURCE, "tests")]
    sources = [os.path.join(SOURCE, f) for f in ("tests/engine/kernels/test-kernels.c", "src/base/status.c", "src/base/mem.c")]
    sources += sorted(glob.glob(os.path.join(SOURCE, "src/engine/quant/*.c")))
    sources += [os.path.join(kernels, f) for f in ("threads.c", "kernels.c", "acts.c", "attention.c", "cpu.c", "measure.c",
                "codes.c", "kernels-c.c", "kernels-neon.c", "kernels-neondot.c", "kernels-neoni8mm.c", "neon-floats.c")]
    jobs, objects = [], []
    for i, source in enumerate(s for s in sources if os.path.exists(s)):
        extra = [MARCH[os.path.basename(source)]] if os.path.basename(source) in MARCH else []
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
        for i, (what, cpu, row, parts) in enumerate(RUNS):
            output, good = "", True
            for part in parts:
                done = subprocess.run([QEMU, "-cpu", cpu, program] + [part] * (part != ""), capture_output=True, text=True, check=False)
                output += done.stdout + done.stderr
                good = good and done.returncode == 0
            # See that the best of the rows is the one meant.
            good = good and f"# rows: {row} is the best" in output
            failed += not good
            if not good:
                print("#", output.replace("\n", "\n# "))
            print(("ok" if good else "not ok"), i + 1, f"- kernels on an ARM {what}")
    print(f"1..{len(RUNS)}")
    return failed > 0


sys.exit(main())
