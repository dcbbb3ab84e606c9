#!/usr/bin/env python3
"""What is private cannot be handed to pool/: the programs that would do it do not compile."""
import os
import subprocess

SOURCE = os.environ["HEARTH_SOURCE"]
HEAD = """
#include "pool/pool.h"
#include "privacy/privacy.h"
hth_status send(hth_pool *pool, const hth_request *request, hth_sealed_permit *sealed, hth_neighbour_permit *permit, const char *words);
hth_status send(hth_pool *pool, const hth_request *request, hth_sealed_permit *sealed, hth_neighbour_permit *permit, const char *words)
{
	hth_error err;
	hth_pool_ask_options o = {.ask = 1};
	(void)request; (void)sealed; (void)permit; (void)words;
	%s
}
"""
CASES = [
    ("a permit is taken", "return hth_pool_ask(pool, permit, &o, 0, &err);", True),
    ("a request itself is not", "return hth_pool_ask(pool, request, &o, 0, &err);", False),
    ("its words are not", "return hth_pool_ask(pool, words, &o, 0, &err);", False),
    ("a permit for servers that may read everything is not", "return hth_pool_ask(pool, sealed, &o, 0, &err);", False),
    ("nobody else can make one", "hth_neighbour_permit mine = {0}; return hth_pool_ask(pool, &mine, &o, 0, &err);", False),
    ("there is no audience that is private", "return hth_pool_would_leave(pool, HTH_AUDIENCE_PRIVATE, &o, 0) ? HTH_OK : HTH_BUSY;", False),
]


def compiles(body):
    done = subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-D_GNU_SOURCE", "-Werror=incompatible-pointer-types", "-Werror=discarded-qualifiers",
                           "-fsyntax-only", "-I", os.path.join(SOURCE, "src"), "-x", "c", "-"], input=HEAD % body, capture_output=True, text=True)
    return done.returncode == 0, done.stderr


failed = 0
for i, (name, body, good) in enumerate(CASES):
    ok, err = compiles(body)
    if ok != good:
        failed += 1
        print("# it", "compiles" if ok else "does not compile:", err.replace("\n", "\n# "))
    print("ok" if ok == good else "not ok", i + 1, "-", name)
print(f"1..{len(CASES)}")
raise SystemExit(failed > 0)
