#!/usr/bin/env python3
"""The word index on test sets with judgements: at least as good as plain BM25 as it was published with them."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
SETS = os.path.join(os.environ["HEARTH_SHARED"], "material", "ir")
PUBLISHED = {"cranfield": 0.343, "cisi": 0.302, "npl_vaswani": 0.367}

bad = 0
for i, (name, least) in enumerate(PUBLISHED.items(), 1):
    if not os.path.isdir(os.path.join(SETS, name)):
        print(f"ok {i} - {name} # SKIP ../shared is not here")
        continue
    folder = tempfile.mkdtemp(prefix="hearth-ir-")
    try:
        m = json.loads(subprocess.run([PROGRAM, "ir", os.path.join(SETS, name), folder], check=True, stdout=subprocess.PIPE).stdout)
    finally:
        shutil.rmtree(folder)
    print(f"# {name}: nDCG@10 {m['ndcg_10']} (published {least}), recall@100 {m['recall_100']}")
    print(f"# widened: nDCG@10 {m['wide_ndcg_10']}, recall@100 {m['wide_recall_100']}")
    good = m["ndcg_10"] >= least and m["recall_100"] > 0.3 and m["wide_ndcg_10"] > m["ndcg_10"] and m["wide_recall_100"] > m["recall_100"]
    bad += not good
    print(f"{'ok' if good else 'not ok'} {i} - {name} is answered at least as well as published")
print(f"1..{len(PUBLISHED)}")
sys.exit(bad > 0)
