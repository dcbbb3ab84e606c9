"""The npm packages of the lock file, installed once in the build folder; whoever cannot have them skips."""
import fcntl
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("HEARTH_BUILD", ".")


def skip(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def install(script):
    """The folder of the packages, with a copy of `script` in it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        skip(f"node {version} is too old for these clients")
    folder = os.path.join(BUILD, "clients")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w") as mutex:  # two tests may come at once
        fcntl.flock(mutex, fcntl.LOCK_EX)
        shutil.copy(os.path.join(HERE, script), os.path.join(folder, script))
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(os.path.join(HERE, name), os.path.join(folder, name))
        stamp = os.path.join(folder, "installed")
        with open(os.path.join(HERE, "package-lock.json")) as f:
            lock = f.read()
        if os.path.exists(stamp) and open(stamp).read() == lock:
            return folder
        try:
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
        except subprocess.TimeoutExpired:
            skip("npm takes too long to install the clients")
        if done.returncode != 0:
            skip("npm cannot install the clients here: " + done.stdout.decode(errors="replace").strip().split("\n")[-1])
        with open(stamp, "w") as f:
            f.write(lock)
    return folder
