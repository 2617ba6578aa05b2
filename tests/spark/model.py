"""What a table looks like after the steps of a history, as far as later steps and queries depend on it: columns, partition terms, branches and
tags.

Contract: `apply` changes the model as a step changes the table, or raises Inapplicable and changes nothing. The generator asks it what can
come next, and a replay asks it which steps of a shrunk history still make sense, so that no step has to be repaired when an earlier one
goes.
"""

import copy

from columns import digits, find, is_primitive, paths
from predicates import columns_of

TIMES = ["year", "month", "day", "hour"]


class Inapplicable(Exception):
    """A step, or a query, that makes no sense for the table as it is."""


class Model:
    def __init__(self):
        self.fields = []
        self.terms = []
        self.version = 0
        self.upgraded = False
        self.branches = []
        self.tags = []

    def copy(self):
        return copy.deepcopy(self)

    def apply(self, step):
        after = self.copy()
        getattr(after, "_" + step["op"], after._rows)(step)
        self.__dict__ = after.__dict__

    def fits(self, predicate):
        """Whether the columns of a predicate are there, with the types that it was made for or ones that they are promoted from or to."""
        found = [(find(self.fields, path), kind) for path, kind in columns_of(predicate)] if predicate else []
        return all(one is not None and related(one["type"], kind) for one, kind in found)

    def parent(self, path):
        """The list of fields that the field at a path stands in."""
        if len(path) == 1:
            return self.fields
        above = find(self.fields, path[:-1])
        require(above is not None and not is_primitive(above["type"]) and "struct" in above["type"], f"no struct at {path[:-1]}")
        return above["type"]["struct"]

    def named(self, path):
        one = find(self.fields, path)
        require(one is not None, f"no column {path}")
        return one

    def in_terms(self, path):
        """Whether a partition term uses this column or one below it."""
        return any(term["path"][: len(path)] == list(path) for term in self.terms)

    def _rows(self, step):
        """A step that changes rows, files or properties and no more."""
        require(self.fields or step["op"] == "create", "no table")
        require(step.get("branch") is None or step["branch"] in self.branches, "no such branch")
        require(self.fits(step.get("where")), "no such columns")
        for path in step.get("columns", []):
            require(is_primitive(self.named(path)["type"]), "a key is primitive")

    def _create(self, step):
        require(not self.fields and step["fields"], "one table a history, with columns")
        self.fields, self.version = step["fields"], step["version"]
        self.terms = [term for term in step["terms"] if find(self.fields, term["path"])]

    def _merge(self, step):
        self._rows(step)
        require(is_primitive(self.named(step["on"])["type"]), "no key")

    def _update(self, step):
        self._rows(step)
        one = self.named(step["path"])
        require(related(one["type"], step["type"]), "another type")
        require(not (one["required"] and step["value"] is None), "required")

    def _upgrade(self, step):
        require(self.version < step["version"], "no upgrade")
        self.version, self.upgraded = step["version"], True

    def _add_column(self, step):
        siblings = self.parent(step["path"])
        require(all(one["name"] != step["path"][-1] for one in siblings), "the name is taken")
        require("default" not in step or self.version >= 3, "defaults come with version 3")
        added = {"name": step["path"][-1], "type": step["type"], "required": False}
        place(siblings, added | ({"default": True} if "default" in step else {}), step["place"])
        self.require_first(siblings)

    def _drop_column(self, step):
        siblings = self.parent(step["path"])
        self.named(step["path"])
        require(len(siblings) > 1 and not self.in_terms(step["path"]), "the last column, or one that partitions")
        siblings[:] = [one for one in siblings if one["name"] != step["path"][-1]]
        self.require_first(siblings)

    def require_first(self, siblings):
        """Spark reads a null struct as one that is not null where its first field is a constant, such as a default of files without it."""
        require(siblings is self.fields or not siblings[0].get("default"), "a default first in a struct")

    def _rename_column(self, step):
        one, siblings = self.named(step["path"]), self.parent(step["path"])
        require(all(other["name"] != step["name"] for other in siblings), "the name is taken")
        for term in self.terms:
            if term["path"][: len(step["path"])] == step["path"]:
                term["path"][len(step["path"]) - 1] = step["name"]
        one["name"] = step["name"]

    def _move_column(self, step):
        one, siblings = self.named(step["path"]), self.parent(step["path"])
        rest = [other for other in siblings if other is not one]
        place(rest, one, step["place"])
        siblings[:] = rest
        self.require_first(siblings)

    def _promote(self, step):
        one = self.named(step["path"])
        require(step["type"] in promotions(one["type"]), "no promotion")
        require(
            not any(term["path"] == step["path"] and term["transform"] == "bucket" for term in self.terms) or one["type"] != "float",
            "buckets",
        )
        one["type"] = step["type"]

    def _relax(self, step):
        one = self.named(step["path"])
        require(one["required"], "optional already")
        one["required"] = False

    def _add_term(self, step):
        self.named(step["term"]["path"])
        require(self.can_add(step["term"]), "redundant")
        self.terms.append(step["term"])

    def can_add(self, term):
        """At most one term of time for a column, and one of each other transform."""
        same = [other for other in self.terms if other["path"] == term["path"]]
        return all(
            other["transform"] != term["transform"] and not (other["transform"] in TIMES and term["transform"] in TIMES) for other in same
        )

    def _drop_term(self, step):
        require(step["term"] in self.terms, "no such term")
        self.terms.remove(step["term"])

    def _replace_term(self, step):
        self._drop_term({"term": step["old"]})
        self._add_term(step)

    def _branch(self, step):
        require(step["name"] not in self.branches + self.tags, "the name is taken")
        self.branches.append(step["name"])

    def _tag(self, step):
        require(step["name"] not in self.branches + self.tags, "the name is taken")
        self.tags.append(step["name"])

    def _drop_ref(self, step):
        require(step["name"] in self.branches + self.tags, "no such ref")
        self.branches = [name for name in self.branches if name != step["name"]]
        self.tags = [name for name in self.tags if name != step["name"]]

    def _fast_forward(self, step):
        require(step["branch"] in self.branches, "no such branch")


def require(holds, why):
    if not holds:
        raise Inapplicable(why)


def place(siblings, one, where):
    """Puts a field first, after the one of a name, or last."""
    if where == "first":
        siblings.insert(0, one)
    elif where is None:
        siblings.append(one)
    else:
        at = next((i for i, other in enumerate(siblings) if other["name"] == where["after"]), None)
        require(at is not None, "nothing to put it after")
        siblings.insert(at + 1, one)


def promotions(kind):
    """The types that Iceberg promotes this one to."""
    if kind == "int":
        return ["long"]
    if kind == "float":
        return ["double"]
    if digits(kind):
        precision, scale = digits(kind)
        return [f"decimal({wider},{scale})" for wider in (precision + 1, 18, 20, 38) if precision < wider <= 38]
    return []


def related(a, b):
    """Whether two types are the same or one is a promotion of the other; nested types count as one."""
    if not is_primitive(a) or not is_primitive(b):
        return not is_primitive(a) and not is_primitive(b)
    return a == b or a in promotions(b) or b in promotions(a) or (bool(digits(a)) and bool(digits(b)) and digits(a)[1] == digits(b)[1])


def all_paths(fields):
    return [(list(path), one) for path, one in paths(fields)]


def in_map_key(fields, path):
    """Whether a path leads through the key of a map, which does not evolve."""
    return any(
        "map" in find(fields, path[:i])["type"] and path[i] == "key"
        for i in range(1, len(path))
        if not is_primitive(find(fields, path[:i])["type"])
    )


def struct_paths(fields):
    """The paths of every struct, the table itself first: where columns can be added."""
    return [[]] + [
        path
        for path, one in all_paths(fields)
        if not is_primitive(one["type"]) and "struct" in one["type"] and not in_map_key(fields, path)
    ]


def is_structs_child(fields, path):
    """Whether a path names a column of the table or of a struct, not an element, key or value."""
    return len(path) == 1 or "struct" in find(fields, path[:-1])["type"]
