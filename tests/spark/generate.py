"""Random histories of a table: a pure function of the seed.

Contract: `history(seed)` is JSON, {"seed", "steps": [...]}. Each step has "op", what it needs, and "checks": the queries after it. Steps
name columns as they are called by then, and snapshots by a number, of which a replay takes the remainder by the snapshots there are. Not
every step need apply: a replay leaves out what the writer refuses for a reason that is listed in play.py.

A check is {"ref", "columns", "where"} and how to read: "rows" (of a batch), "order", "limit", "pieces": ref is ["current"], ["branch",
NAME], ["tag", NAME], ["snapshot", N], ["time", N] or ["range", N, M]; columns are paths, or null for all.
"""

import random

from columns import (
    GENERIC,
    PRIMITIVES,
    digits,
    domain,
    field,
    is_primitive,
    paths,
    random_type,
    random_value,
    single_value,
    through_structs,
)
from model import TIMES, Inapplicable, Model, all_paths, in_map_key, is_structs_child, promotions, struct_paths
from predicates import random_predicate

NAMES = [
    "id",
    "n",
    "Name",
    "amount",
    "day",
    "at",
    "zone",
    "x",
    "Odd name",
    "größe",
    "payload",
    "tags",
    "info",
    "z1",
    "z2",
    "z3",
    "name",
    "flag",
    "_x",
    "x-y",
]
METADATA = ["_pos", "_file", "_spec_id"]
LINEAGE = ["_row_id", "_last_updated_sequence_number"]
MODES = ["copy-on-write", "merge-on-read", "merge-on-read"]
WEIGHTS = {
    "append": 22, "delete": 12, "update": 10, "merge": 12, "equality_delete": 10, "overwrite_partitions": 2, "add_column": 9,
    "drop_column": 4, "rename_column": 5, "move_column": 4, "promote": 6, "relax": 1, "add_term": 4, "drop_term": 2, "replace_term": 3, "branch": 3, "tag": 3, "drop_ref": 1,
    "fast_forward": 1, "rollback": 3, "compact": 4, "compact_deletes": 3, "rewrite_manifests": 2, "expire": 2, "properties": 3, "upgrade": 3,
}  # fmt: skip
STEPS = 12


def history(seed):
    rng = random.Random(seed)
    model, steps = Model(), []
    take(rng, model, steps, create(rng))
    take(rng, model, steps, {"op": "append", **new_rows(rng, model, 6, 16)})
    while len(steps) < STEPS:
        op = rng.choices(list(WEIGHTS), WEIGHTS.values())[0]
        step = globals()["_" + op](rng, model)
        if step is not None:
            take(rng, model, steps, {"op": op, **step})
    steps[-1]["checks"] += last_checks(rng, model)
    return {"seed": seed, "steps": steps}


def generic_history(seed):
    """A history with the types that Spark has not, as iceberg-data writes and reads it: mostly deletes by equality, without filters."""
    rng = random.Random(seed)
    model, steps = Model(), []
    version = rng.choice([2, 3, 3])
    kinds = [kind for kind in [*GENERIC, *PRIMITIVES] if version == 3 or not kind.endswith("_ns")] + [
        kind for kind in ("uuid", "fixed[5]", "time")
    ] * 2
    fields = [field(name, rng.choice(kinds)) for name in rng.sample(NAMES, rng.randint(2, 6))]
    if rng.random() < 0.4:
        fields.append(field("nested", {"struct": [field(name, rng.choice(kinds)) for name in ("a", "b")]}))
    take_plain(rng, model, steps, {"op": "create", "version": version, "fields": fields, "terms": [], "properties": {}})
    take_plain(rng, model, steps, {"op": "append", "rows": new_rows(rng, model, 6, 16)["rows"]})
    weights = {
        "append": 4,
        "equality_delete": 8,
        "add_column": 2,
        "drop_column": 1,
        "rename_column": 1,
        "promote": 2,
        "add_term": 2,
        "drop_term": 1,
    }
    while len(steps) < STEPS:
        op = rng.choices(list(weights), weights.values())[0]
        step = {"path": [rng.choice(NAMES)], "type": rng.choice(kinds)} if op == "add_column" else globals()["_" + op](rng, model)
        if op == "add_column":
            step |= {"place": None}
        if op == "append":
            step = {"rows": step["rows"]}
        if step is not None:
            take_plain(rng, model, steps, {"op": op, **step})
    return {"seed": seed, "writer": "iceberg-data", "steps": steps}


def take_plain(rng, model, steps, step):
    """Adds a step where it applies, with checks that have no filters."""
    try:
        model.apply(step)
    except Inapplicable:
        return
    names = [list(path) for path, _ in paths(model.fields)]
    some = {"ref": ["current"], "columns": rng.sample(names, rng.randint(1, min(3, len(names)))), "where": None}
    everything = [{"ref": ref, "columns": None, "where": None} for ref in (["current"], ["snapshot", rng.randint(0, 9)])]
    steps.append({**step, "checks": [*everything, some]})


def take(rng, model, steps, step):
    """Adds a step where it applies, with its checks."""
    try:
        model.apply(step)
    except Inapplicable:
        return
    steps.append({**step, "checks": checks(rng, model, step.get("branch"))})


def create(rng):
    names = rng.sample(NAMES, rng.randint(2, 7))
    key = field("key", rng.choice(["int", "long", "string"]), rng.random() < 0.2)
    fields = [key] + [field(name, random_type(rng), rng.random() < 0.08) for name in names]
    rng.shuffle(fields)
    model = Model()
    model.fields = fields
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        term = random_term(rng, model)
        if term and model.can_add(term):
            model.terms.append(term)
    version = rng.choice([1, 2, 2, 2, 3, 3, 3])
    return {"op": "create", "version": version, "fields": fields, "terms": model.terms, "properties": properties(rng, version)}


def properties(rng, version):
    """How files and deletes are laid out. Version 1 has no deletes."""
    found = {f"write.{kind}.mode": rng.choice(MODES) if version > 1 else MODES[0] for kind in ("delete", "update", "merge")}
    found["write.spark.fanout.enabled"] = "true"
    found["write.distribution-mode"] = rng.choice(["none", "none", "hash", "range"])
    choices = [
        ("write.delete.granularity", ["file", "partition"]),
        ("write.parquet.compression-codec", ["zstd", "snappy", "gzip", "uncompressed"]),
        ("write.metadata.metrics.default", ["none", "counts", "truncate(2)", "full"]),
        ("write.metadata.compression-codec", ["gzip"]),
        ("write.parquet.page-row-limit", ["2", "5"]),
        ("write.parquet.dict-size-bytes", ["64"]),
        ("commit.manifest.min-count-to-merge", ["2"]),
        ("write.object-storage.enabled", ["true"]),
    ]
    found |= {name: rng.choice(values) for name, values in choices if rng.random() < 0.3}
    if rng.random() < 0.3:
        small = {"size-bytes": "64", "check-min-record-count": "2", "check-max-record-count": "4"}
        found |= {f"write.parquet.row-group-{name}": value for name, value in small.items()}
    return found


def random_term(rng, model):
    sources = [
        (path, one["type"]) for path, one in all_paths(model.fields) if is_primitive(one["type"]) and through_structs(model.fields, path)
    ]
    if not sources:
        return None
    path, kind = rng.choice(sources)
    # Spark reads a null struct as one of nulls where an identity term is below it.
    transform = rng.choice(transforms(kind)[len(path) > 1 :] or ["void"])
    if transform == "void":
        return None
    size = {"bucket": rng.choice([2, 4]), "truncate": rng.choice([2, 10])}
    return {"transform": transform, "path": path} | ({"n": size[transform]} if transform in size else {})


def transforms(kind):
    # Iceberg's Java library writes a partition value of fixed[n] into manifests as bytes, with a length, which no other reader of Avro takes.
    found = [] if kind.startswith("fixed") else ["identity"]
    if kind not in ("boolean", "float", "double"):
        found.append("bucket")
    if kind in ("int", "long", "string", "binary") or digits(kind):
        found.append("truncate")
    if kind == "date":
        found += TIMES[:3]
    if kind.startswith("timestamp"):
        found += TIMES
    return found


def new_rows(rng, model, least, most):
    nulls = rng.choice([0.05, 0.2, 0.5])
    rows = [{one["name"]: random_value(rng, one, nulls) for one in model.fields} for _ in range(rng.randint(least, most))]
    return {"rows": rows, "files": rng.choice([1, 2])}


def some_branch(rng, model):
    return rng.choice(model.branches) if model.branches and rng.random() < 0.35 else None


def _append(rng, model):
    return {**new_rows(rng, model, 1, 12), "branch": some_branch(rng, model)}


def _overwrite_partitions(rng, model):
    return new_rows(rng, model, 1, 4)


def _delete(rng, model):
    return {"where": random_predicate(rng, model.fields), "branch": some_branch(rng, model)}


def _update(rng, model):
    targets = [(path, one) for path, one in all_paths(model.fields) if is_primitive(one["type"]) and through_structs(model.fields, path)]
    path, one = rng.choice(targets)
    value = None if not one["required"] and rng.random() < 0.2 else rng.choice(domain(one["type"]))
    where = random_predicate(rng, model.fields) if rng.random() < 0.9 else None
    return {"path": path, "type": one["type"], "value": value, "where": where, "branch": some_branch(rng, model)}


def _merge(rng, model):
    keys = [one for one in model.fields if one["type"] in ("int", "long", "string", "date", "boolean") or digits(one["type"])]
    if not keys:
        return None
    key = rng.choice(keys)
    rows = new_rows(rng, model, 1, 6)["rows"]
    unique = list({row[key["name"]]: row for row in rows}.values())
    return {"on": [key["name"]], "rows": unique, "matched": rng.choice(["update", "update", "delete", None]), "insert": rng.random() < 0.7}


def _equality_delete(rng, model):
    if model.version < 2:
        return None
    keys = [(path, one) for path, one in all_paths(model.fields) if is_primitive(one["type"]) and through_structs(model.fields, path)]
    chosen = rng.sample(keys, min(len(keys), rng.choice([1, 1, 1, 2, 3])))
    # iceberg-data reads the keys of a type fixed[n] into one buffer: of several rows only the last is right.
    most = 1 if any(one["type"].startswith("fixed") for _, one in chosen) else 5
    rows = [[single_value(one["type"], key_value(rng, path, one)) for path, one in chosen] for _ in range(rng.randint(1, most))]
    return {"columns": [path for path, _ in chosen], "rows": rows, "scope": rng.randint(0, 9)}


def key_value(rng, path, one):
    """Null keys are of columns of the table only: a null struct has null fields in the specification (Equality Delete Files), not in Spark."""
    return random_value(rng, one, 0.25 if len(path) == 1 else 0)


def spellable(value):
    """A value that table metadata can spell as a default: JSON has no NaN and no infinity."""
    return "1.5" if value in ("NaN", "Infinity", "-Infinity") else value


def _add_column(rng, model):
    above = rng.choice(struct_paths(model.fields))
    taken = [one["name"] for one in model.parent([*above, "?"])]
    free = [name for name in NAMES if name not in taken]
    step = {"path": [*above, rng.choice(free)], "type": random_type(rng, len(above)), "place": place(rng, taken)}
    if model.version >= 3 and rng.random() < 0.6:
        step["type"] = rng.choice(PRIMITIVES)
        step["default"] = single_value(step["type"], spellable(rng.choice(domain(step["type"]))))
    return step


def place(rng, names):
    return rng.choice([None, "first", {"after": rng.choice(names)}]) if names else None


def evolving(rng, model, wanted=lambda one: True):
    """A column of the table or of a struct at any level that is not in a map's key."""
    found = [
        path
        for path, one in all_paths(model.fields)
        if is_structs_child(model.fields, path) and not in_map_key(model.fields, path) and wanted(one)
    ]
    return rng.choice(found) if found else None


def _drop_column(rng, model):
    path = evolving(rng, model)
    return path and {"path": path}


def _rename_column(rng, model):
    path = evolving(rng, model)
    return path and {"path": path, "name": rng.choice(NAMES + ["a", "b", "c"])}


def _move_column(rng, model):
    path = evolving(rng, model)
    names = [one["name"] for one in model.parent(path) if one["name"] != path[-1]]
    return {"path": path, "place": rng.choice(["first", {"after": rng.choice(names)}])} if names else None


def _promote(rng, model):
    found = [(path, one) for path, one in all_paths(model.fields) if promotions(one["type"]) and not in_map_key(model.fields, path)]
    if not found:
        return None
    path, one = rng.choice(found)
    return {"path": path, "type": rng.choice(promotions(one["type"]))}


def _relax(rng, model):
    path = evolving(rng, model, lambda one: one["required"])
    return path and {"path": path}


def _add_term(rng, model):
    term = random_term(rng, model)
    return term and {"term": term}


def _drop_term(rng, model):
    return {"term": rng.choice(model.terms)} if model.terms else None


def _replace_term(rng, model):
    term = random_term(rng, model)
    return {"old": rng.choice(model.terms), "term": term} if model.terms and term else None


def _branch(rng, model):
    return {"name": f"b{len(model.branches)}", "snapshot": rng.choice([None, rng.randint(0, 9)])}


def _tag(rng, model):
    return {"name": f"t{len(model.tags)}", "snapshot": rng.choice([None, rng.randint(0, 9)])}


def _drop_ref(rng, model):
    refs = model.branches + model.tags
    return {"name": rng.choice(refs)} if refs else None


def _fast_forward(rng, model):
    return {"branch": rng.choice(model.branches)} if model.branches else None


def _rollback(rng, model):
    return {"snapshot": rng.randint(0, 9)}


def _compact(rng, model):
    return {"options": {"rewrite-all": "true"} | ({"remove-dangling-deletes": "true"} if rng.random() < 0.3 else {})}


def _compact_deletes(rng, model):
    return {"options": {"rewrite-all": "true"}} if model.version >= 2 else None


def _rewrite_manifests(rng, model):
    return {}


def _expire(rng, model):
    return {"keep": rng.randint(1, 3)}


def _properties(rng, model):
    return {"properties": properties(rng, model.version)}


def _upgrade(rng, model):
    return {"version": model.version + 1} if model.version < 3 else None


def checks(rng, model, branch):
    """The queries after a step: mostly of what it changed, one of an earlier snapshot against what was read of it before, and one anew."""
    ref = ["branch", branch] if branch else ["current"]
    found = [{"ref": ref, "columns": None, "where": None}]
    found += [check(rng, model, ref) for _ in range(4)]
    if branch:
        found.append(check(rng, model, ["current"]))
    found.append({"ref": ["snapshot", rng.randint(0, 9)], "columns": None, "where": None})
    found.append(check(rng, model, ["snapshot", rng.randint(0, 9)], filtered=1, selected=1))
    return found


def last_checks(rng, model):
    refs = [["branch", name] for name in model.branches] + [["tag", name] for name in model.tags]
    refs += [["snapshot", n] for n in rng.sample(range(10), 2)] + [
        ["time", rng.randint(0, 9)],
        ["range", rng.randint(0, 9), rng.randint(0, 9)],
    ]
    return [one for ref in refs for one in ({"ref": ref, "columns": None, "where": None}, check(rng, model, ref), check(rng, model, ref))]


def check(rng, model, ref, filtered=0.9, selected=0.7):
    names = [list(path) for path, _ in paths(model.fields)] + [[name] for name in METADATA + (LINEAGE if model.version >= 3 else [])]
    columns = rng.sample(names, rng.randint(1, min(4, len(names)))) if rng.random() < selected else None
    where = random_predicate(rng, model.fields) if rng.random() < filtered else None
    reading = rng.choice([{}, {}, {}, {"limit": rng.randint(1, 4)}, {"pieces": rng.randint(2, 4)}])
    reading |= {"rows": rng.choice([None, None, 1, 3]), "order": rng.choice(["stable", "fast"])}
    return {"ref": ref, "columns": columns, "where": where, **reading}
