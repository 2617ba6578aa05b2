"""Columns of random tables: their types in every spelling that is needed, and values for them.

Contract: a type is JSON. Primitive types have Iceberg's names ("int", "decimal(9,2)", "timestamptz"); {"struct": [field...]}, {"list":
field} and {"map": [field, field]} nest, where a field is {"name", "type", "required"}. A value is JSON too: numbers, text, lists, {"name":
value} for structs, lists of pairs for maps; floats are texts ("NaN", "-0.0", "1.5"), decimals texts, binary hexadecimal, dates days and
timestamps microseconds since 1970. So a history prints, replays and shrinks without loss. Everything random comes from the generator that
is passed in.
"""

import datetime
import decimal
import json
import math

import pyarrow as pa

SPARK = {
    "boolean": "BOOLEAN", "int": "INT", "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "date": "DATE",
    "timestamp": "TIMESTAMP_NTZ", "timestamptz": "TIMESTAMP", "string": "STRING", "binary": "BINARY",
}  # fmt: skip
ARROW = {
    "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"), "string": pa.string(), "binary": pa.binary(),
}  # fmt: skip
# What Spark has not: written and read by GenericTables.java.
GENERIC = {
    "uuid": pa.binary(16), "fixed[5]": pa.binary(5), "time": pa.time64("us"), "timestamp_ns": pa.timestamp("ns"),
    "timestamptz_ns": pa.timestamp("ns", "UTC"),
}  # fmt: skip
DECIMALS = ["decimal(4,2)", "decimal(9,0)", "decimal(18,6)", "decimal(38,10)"]
PRIMITIVES = [*SPARK, *DECIMALS]
MICROS_A_DAY = 86_400_000_000
EPOCH = datetime.date(1970, 1, 1)


def iceberg_schema(fields):
    """The fields as a schema in Iceberg's JSON, with ids from 1 on."""
    ids = iter(range(1, 1000))

    def of(one):
        kind = one["type"]
        return {
            "id": next(ids), "name": one["name"], "required": one["required"],
            "type": kind if is_primitive(kind) else {"type": "struct", "fields": [of(child) for child in kind["struct"]]},
        }  # fmt: skip

    return {"type": "struct", "schema-id": 0, "fields": [of(one) for one in fields]}


def field(name, kind, required=False):
    return {"name": name, "type": kind, "required": required}


def is_primitive(kind):
    return isinstance(kind, str)


def digits(kind):
    """Precision and scale of a decimal type; None of another."""
    if not is_primitive(kind) or not kind.startswith("decimal("):
        return None
    precision, scale = kind[len("decimal(") : -1].split(",")
    return int(precision), int(scale)


def children(kind):
    """The fields below a nested type, by the names that paths have for them."""
    if is_primitive(kind):
        return []
    if "struct" in kind:
        return [(child["name"], child) for child in kind["struct"]]
    if "list" in kind:
        return [("element", kind["list"])]
    return [("key", kind["map"][0]), ("value", kind["map"][1])]


def paths(fields, below=()):
    """Every field with its path, parents first."""
    for one in fields:
        path = (*below, one["name"])
        yield path, one
        yield from nested_paths(one["type"], path)


def nested_paths(kind, path):
    for name, child in children(kind):
        yield (*path, name), child
        yield from nested_paths(child["type"], (*path, name))


def find(fields, path):
    """The field at a path, or None."""
    at = next((one for one in fields if one["name"] == path[0]), None)
    for name in path[1:]:
        at = at and dict(children(at["type"])).get(name)
    return at


def through_structs(fields, path):
    """Whether a path reaches its field through structs only, as filters must."""
    return all("struct" in find(fields, path[:length])["type"] for length in range(1, len(path)))


def spark_name(path):
    return ".".join("`" + part.replace("`", "``") + "`" for part in path)


def sql_name(path):
    return ".".join('"' + part.replace('"', '""') + '"' for part in path)


def spark_type(kind):
    if is_primitive(kind):
        return SPARK.get(kind, kind.upper())
    if "struct" in kind:
        members = [f"{spark_name([child['name']])}: {spark_type(child['type'])}{spark_null(child)}" for child in kind["struct"]]
        return f"STRUCT<{', '.join(members)}>"
    if "list" in kind:
        return f"ARRAY<{spark_type(kind['list']['type'])}>"
    return f"MAP<{spark_type(kind['map'][0]['type'])}, {spark_type(kind['map'][1]['type'])}>"


def spark_null(one):
    return " NOT NULL" if one["required"] else ""


def arrow_type(kind):
    if is_primitive(kind):
        return ARROW[kind] if kind in ARROW else pa.decimal128(*digits(kind))
    if "struct" in kind:
        return pa.struct([arrow_field(child) for child in kind["struct"]])
    if "list" in kind:
        return pa.list_(arrow_field({**kind["list"], "name": "element"}))
    return pa.map_(arrow_type(kind["map"][0]["type"]), arrow_field({**kind["map"][1], "name": "value"}))


def arrow_field(one):
    return pa.field(one["name"], arrow_type(one["type"]))


def arrow_table(fields, rows):
    """Rows as a table of these fields, which allows nulls everywhere. What a row lacks is null, or a plain value."""
    schema = pa.schema([arrow_field(one) for one in fields])
    return pa.table(
        [pa.array([python_of(one, row.get(one["name"])) for row in rows], arrow_type(one["type"])) for one in fields], schema=schema
    )


def python_of(one, value):
    """A JSON value as pyarrow takes it."""
    kind = one["type"]
    if value is None:
        return python_of(one, least_value(kind)) if one["required"] else None
    if is_primitive(kind):
        if kind in ("float", "double"):
            return float(value)
        if kind == "binary":
            return bytes.fromhex(value)
        return decimal.Decimal(value) if digits(kind) else value
    if "struct" in kind:
        return {child["name"]: python_of(child, value.get(child["name"])) for child in kind["struct"]}
    if "list" in kind:
        return [python_of(kind["list"], item) for item in value]
    return [(python_of(kind["map"][0], key), python_of(kind["map"][1], item)) for key, item in value]


def least_value(kind):
    """A plain value, for a column that allows no null."""
    if is_primitive(kind):
        plain = {"boolean": False, "float": "0.0", "double": "0.0", "string": "", "binary": ""}
        return "0" if digits(kind) else plain.get(kind, 0)
    if "struct" in kind:
        return {child["name"]: None for child in kind["struct"]}
    return []


def random_type(rng, depth=0):
    """Mostly primitive; nested up to three levels."""
    if depth >= 3 or rng.random() < 0.68 + 0.12 * depth:
        return rng.choice(PRIMITIVES)
    form = rng.choice(["struct", "struct", "list", "map"])
    if form == "struct":
        names = rng.sample(["a", "b", "c", "Odd name", "d"], rng.randint(1, 3))
        return {"struct": [field(name, random_type(rng, depth + 1), rng.random() < 0.1) for name in names]}
    if form == "list":
        return {"list": field("element", random_type(rng, depth + 1))}
    key = rng.choice(["int", "long", "string", "date", "decimal(9,0)", "boolean", {"struct": [field("a", "int"), field("b", "string")]}])
    return {"map": [field("key", key, True), field("value", random_type(rng, depth + 1))]}


def random_value(rng, one, nulls=0.15):
    """A value of few, so that predicates and keys meet some; extremes among them."""
    if not one["required"] and rng.random() < nulls:
        return None
    kind = one["type"]
    if is_primitive(kind):
        return rng.choice(domain(kind))
    if "struct" in kind:
        return {child["name"]: random_value(rng, child, nulls) for child in kind["struct"]}
    if "list" in kind:
        return [random_value(rng, kind["list"], nulls) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    pairs = [[random_value(rng, kind["map"][0], 0), random_value(rng, kind["map"][1], nulls)] for _ in range(rng.choice([0, 1, 2, 3]))]
    return list({json.dumps(key): [key, value] for key, value in pairs}.values())


def domain(kind):
    """The values that a primitive type is tried with."""
    if kind == "boolean":
        return [True, False]
    if kind == "int":
        return [*range(-3, 12), 1000, 2**31 - 1, -(2**31)]
    if kind == "long":
        return [*range(-3, 12), 1000, 2**31, 2**63 - 1, -(2**63)]
    if kind == "float":
        return ["0.0", "-0.0", "1.5", "-1.5", "0.25", "3.0", "NaN", "Infinity", "-Infinity", "1e+30"]
    if kind == "double":
        return ["0.0", "-0.0", "1.5", "-1.5", "0.1", "3.0", "NaN", "Infinity", "-Infinity", "1e+300"]
    if kind == "date":
        return [0, -1, 1, 365, 18000, 18001, 19723, -719162, 2932896]
    if kind in ("timestamp", "timestamptz"):
        return [
            0,
            -1,
            1,
            MICROS_A_DAY,
            MICROS_A_DAY - 1,
            18000 * MICROS_A_DAY + 1,
            18000 * MICROS_A_DAY + 3_600_000_000,
            -62_135_596_800_000_000,
            253_402_300_799_999_999,
        ]
    if kind == "string":
        return ["", "a", "b", "ab", "abc", "abd", "B", "it's", "100%", "a_c", "ünï", "😀", "x" * 40, "\u0000"]
    if kind == "uuid":
        # Halves of positive signed numbers: Iceberg in Java compares bounds signed, Parquet's are unsigned, and deletes are lost there.
        return [f"{high}-0000-0000-{low}-000000000001" for high in ("00000000", "00000001", "7fffffff") for low in ("0000", "7fff")]
    if kind == "fixed[5]":
        return ["0000000000", "00000000ff", "ff00000000", "6162636465"]
    if kind == "time":
        return [0, 1, 3_600_000_000, MICROS_A_DAY - 1]
    if kind in ("timestamp_ns", "timestamptz_ns"):
        return [0, -1, 1, 1000, MICROS_A_DAY * 1000 - 1, 18000 * MICROS_A_DAY * 1000 + 123_456_789, -5_000_000_000_000_000_001]
    if kind == "binary":
        return ["", "00", "ff", "00ff", "616263", "80"]
    precision, scale = digits(kind)
    most = decimal.Decimal("9" * precision).scaleb(-scale, decimal.Context(prec=50))
    small = ["0", "1", "-1", "10", "0.5"] if scale else ["0", "1", "-1", "10", "7"]
    return [format(decimal.Decimal(text).quantize(decimal.Decimal(1).scaleb(-scale)), "f") for text in small] + [
        format(most, "f"),
        "-" + format(most, "f"),
    ]


def literal(kind, value, spark):
    """A value of a primitive type as a literal of Spark or of fastdata's filters."""
    if value is None:
        return "NULL"
    if kind == "boolean":
        return str(value).upper()
    if kind in ("float", "double"):
        number = float(value)
        return value if math.isfinite(number) else f"CAST('{value}' AS {kind.upper()})"
    if kind == "date":
        return f"DATE '{date_text(value)}'"
    if kind in ("timestamp", "timestamptz"):
        name = "TIMESTAMP_NTZ" if spark and kind == "timestamp" else "TIMESTAMP"
        return f"{name} '{timestamp_text(value)}'"
    if kind == "string":
        return text_literal(value, spark)
    if kind == "binary":
        return f"X'{value}'"
    return str(value)


def text_literal(text, spark):
    if not spark:
        return "'" + text.replace("'", "''") + "'"
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\u0000", "\\u0000")
    return f"'{escaped}'"


def date_text(days):
    return (EPOCH + datetime.timedelta(days=days)).isoformat()


def timestamp_text(micros, between=" "):
    days, rest = divmod(micros, MICROS_A_DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    return f"{date_text(days)}{between}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"


def single_value(kind, value):
    """A value in the JSON serialization of single values of the Iceberg specification, but floats as text: JSON has no NaN."""
    if value is None:
        return None
    if is_primitive(kind):
        if kind == "date":
            return date_text(value)
        if kind in ("timestamp", "timestamptz"):
            return timestamp_text(value, "T") + ("+00:00" if kind == "timestamptz" else "")
        if kind in ("timestamp_ns", "timestamptz_ns"):
            return f"{timestamp_text(value // 1000, 'T')}{value % 1000:03}" + ("+00:00" if kind == "timestamptz_ns" else "")
        if kind == "time":
            return timestamp_text(value, "T").partition("T")[2]
        return value
    if "struct" in kind:
        return {child["name"]: single_value(child["type"], value.get(child["name"])) for child in kind["struct"]}
    raise ValueError(f"no single value of {kind}")
