"""What the histories of a short run have to try, and the seeds that do.

Contract: `tried(steps)` names what the steps try: each operation, each partition transform that rows are written under, and where an
operation means more than one thing, which. `SEEDS` are histories that try all of `WANTED` together; test_parts.py holds them to it, and a
run holds what Spark did to it. Where a change of the generator loses something, `python coverage.py` prints seeds that have it.
"""

import sys

import generate
from columns import find
from model import Inapplicable, Model

MODES = ("files in version 2", "positions in version 2", "positions in version 3")
TRANSFORMS = ["identity", "bucket", "truncate", "year", "month", "day", "hour"]
WRITES = ("append", "merge", "overwrite_partitions", "update")
COMMITS = (*WRITES, "delete", "equality_delete", "compact", "compact_deletes", "rewrite_manifests", "rollback")

WANTED = frozenset(
    ["create", *generate.WEIGHTS]
    + [f"rows written by {transform}" for transform in TRANSFORMS]
    + [f"a table of version {version}" for version in (1, 2, 3)]
    + [f"{op} in a struct" for op in ("add_column", "drop_column", "rename_column", "move_column", "promote")]
    + [f"{op} in a {kind}" for kind in ("list", "map") for op in ("add_column", "rename_column", "promote")]
    + ["a default", "a default in a struct", "upgrade to 2", "upgrade to 3"]
    + [f"{op} by {how}" for op in ("delete", "update", "merge") for how in MODES]
    + [f"{op} of a branch" for op in ("append", "delete", "update")]
    + [f"{op} after an equality delete" for op in ("compact", "upgrade", "drop_column", "rename_column", "promote")]
    + ["compact_deletes after positions", "rollback before an append", "equality_delete of several columns"]
    + ["equality_delete in a struct", "equality_delete of null"]
)  # fmt: skip

# Chosen by `python coverage.py`. Every fifth seed is one of iceberg-data.
SEEDS = (118, 782, 1247, 1372, 1478, 1708, 1992, 2161, 2286, 3769, 5, 10)


def tried(steps):
    model, found, before, modes = Model(), set(), set(), {}
    # Branches that main is an ancestor of, and whether anything was written to them: Spark refuses to fast-forward to others.
    ahead = {}
    for step in steps:
        op, path, branch = step["op"], step.get("path", []), step.get("branch")
        above = {next(iter(find(model.fields, path[:length])["type"])) for length in range(1, len(path)) if find(model.fields, path[:length])}
        try:
            model.apply(step)
        except Inapplicable:
            continue
        if op != "fast_forward" or ahead.get(branch):
            found.add(op)
        if op == "branch" and step["snapshot"] is None:
            ahead[step["name"]] = False
        elif op in COMMITS and branch in ahead:
            ahead[branch] = True
        elif op in COMMITS and not branch:
            ahead.clear()
        modes.update(step.get("properties", {}))
        if op == "create":
            found.add(f"a table of version {model.version}")
        if op == "upgrade":
            found.add(f"upgrade to {model.version}")
        if op in WRITES:
            found |= {f"rows written by {term['transform']}" for term in model.terms}
        found |= {f"{op} in a {kind}" for kind in above}
        if "default" in step:
            found.add("a default in a struct" if len(path) > 1 else "a default")
        if op in ("delete", "update", "merge"):
            how = "positions" if modes.get(f"write.{op}.mode") == "merge-on-read" else "files"
            found.add(f"{op} by {how} in version {model.version}")
            before.add(how)
        if branch:
            found.add(f"{op} of a branch")
        if op == "equality_delete":
            found |= {"equality_delete of several columns"} if len(step["columns"]) > 1 else set()
            found |= {"equality_delete of null"} if any(None in row for row in step["rows"]) else set()
            found |= {"equality_delete in a struct"} if any(len(one) > 1 for one in step["columns"]) else set()
        found |= {f"{op} after an equality delete"} if "equality_delete" in before else set()
        found |= {"compact_deletes after positions"} if op == "compact_deletes" and "positions" in before else set()
        found |= {"rollback before an append"} if op == "append" and "rollback" in before else set()
        before.add(op)
    return found


def chosen(count, among):
    """Seeds that together try all that is wanted, each the one that adds most; then those that try most, up to the count."""
    tries = {seed: tried(generate.history(seed)["steps"]) & WANTED for seed in among if seed % 5}
    left, seeds = set(WANTED), []
    while len(seeds) < count:
        best = max(tries, key=lambda seed: (len(tries[seed] & left), len(tries[seed]), -seed))
        left -= tries.pop(best)
        seeds.append(best)
    return sorted(seeds), left


if __name__ == "__main__":
    seeds, lacking = chosen(int(sys.argv[1]) if len(sys.argv) > 1 else 10, range(1, 4001))
    print(", ".join(map(str, seeds)))
    print(f"lacking: {', '.join(sorted(lacking)) or 'nothing'}")
