"""Random predicates that Spark and fastdata's filters (docs/filters.md) mean the same by.

Contract: a predicate is JSON and is written in either dialect by `text`. Left out, because the two differ or one lacks it: arithmetic that
can overflow (Spark's integers have the width of their type, fastdata's 64 bits), division and remainder by zero (an error in Spark, NULL
here), backslashes in text and in patterns of LIKE (an escape in Spark, a plain character here), decimals with fractions beside those of 38
digits (Spark rounds, fastdata does not) and everything below a list or a map, where filters do not reach.
"""

from columns import digits, domain, is_primitive, literal, paths, spark_name, sql_name, text_literal, through_structs

OPERATORS = ["=", "<>", "<", "<=", ">", ">="]
PATTERNS = ["a%", "%b", "%", "_", "a_c", "%a%b%", "", "ab", "%😀", "ü%", "__"]


def random_predicate(rng, fields, depth=0):
    """A predicate over fields that filters reach; None where there is none."""
    reachable = [(path, one) for path, one in paths(fields) if through_structs(fields, path)]
    if not reachable:
        return None
    if depth < 3 and rng.random() < (0.45 if depth == 0 else 0.3):
        form = rng.choice(["and", "or", "not", "and", "or"])
        if form == "not":
            return {"not": random_predicate(rng, fields, depth + 1)}
        return {form: [random_predicate(rng, fields, depth + 1) for _ in range(rng.choice([2, 2, 3]))]}
    path, one = rng.choice(reachable)
    kind = one["type"]
    of = {"path": list(path), "type": kind}
    if not is_primitive(kind) or rng.random() < 0.15:
        return {"null": rng.random() < 0.5, **of}
    return rng.choice(forms(rng, reachable, kind))(of)


def forms(rng, reachable, kind):
    """The kinds of predicate that there are over a column of this type."""
    values = domain(kind)
    found = [
        lambda of: {"compare": rng.choice(OPERATORS), "value": rng.choice(values), **of},
        lambda of: {"compare": rng.choice(OPERATORS), "value": rng.choice(values), **of},
        lambda of: {
            "in": rng.sample(values, rng.randint(1, min(4, len(values)))) + ([None] if rng.random() < 0.2 else []),
            "not_in": rng.random() < 0.3,
            **of,
        },
        lambda of: {"between": [rng.choice(values), rng.choice(values)], **of},
    ]
    same = [list(path) for path, one in reachable if one["type"] == kind]
    found.append(lambda of: {"compare": rng.choice(OPERATORS), "other": rng.choice(same), **of})
    if kind == "string":
        found.append(lambda of: {"like": rng.choice(PATTERNS), "not_like": rng.random() < 0.3, **of})
    if kind == "boolean":
        found.append(lambda of: {"truth": True, **of})
    if kind in ("int", "long"):
        found.append(lambda of: {"remainder": rng.randint(2, 5), "value": rng.randint(-1, 4), **of})
        found.append(lambda of: {"compare": rng.choice(OPERATORS), "number": f"{rng.randint(-3, 11)}.5", **of})
    if digits(kind):
        numbers = [number for number in ["0.125", "7", "-1.05", "12345678901234567890.5"] if fits(number, *digits(kind))]
        found.append(lambda of: {"compare": rng.choice(OPERATORS), "number": rng.choice(numbers), **of})
    return found


def fits(number, precision, scale):
    """Whether a decimal of 38 digits holds the values of the type and this number; where none does, Spark rounds one of the two."""
    whole, _, fraction = number.lstrip("-").partition(".")
    return max(len(whole), precision - scale) + max(len(fraction), scale) <= 38


def text(predicate, spark):
    """The predicate in SQL of Spark, or of fastdata."""
    for word in ("and", "or"):
        if word in predicate:
            return "(" + f" {word.upper()} ".join(text(one, spark) for one in predicate[word]) + ")"
    if "not" in predicate:
        return f"(NOT {text(predicate['not'], spark)})"
    name, kind = (spark_name if spark else sql_name)(predicate["path"]), predicate["type"]
    if "null" in predicate:
        return f"({name} IS {'' if predicate['null'] else 'NOT '}NULL)"
    if "truth" in predicate:
        return name
    if "in" in predicate:
        return f"({name} {'NOT ' if predicate['not_in'] else ''}IN ({', '.join(literal(kind, value, spark) for value in predicate['in'])}))"
    if "between" in predicate:
        low, high = (literal(kind, value, spark) for value in predicate["between"])
        return f"({name} BETWEEN {low} AND {high})"
    if "like" in predicate:
        return f"({name} {'NOT ' if predicate['not_like'] else ''}LIKE {text_literal(predicate['like'], spark)})"
    if "remainder" in predicate:
        return f"({name} % {predicate['remainder']} = {predicate['value']})"
    if "other" in predicate:
        right = (spark_name if spark else sql_name)(predicate["other"])
    else:
        right = predicate["number"] if "number" in predicate else literal(kind, predicate["value"], spark)
    return f"({name} {predicate['compare']} {right})"


def columns_of(predicate):
    """The paths that a predicate looks at, each with the type it was made for."""
    for word in ("and", "or"):
        if word in predicate:
            return [found for one in predicate[word] for found in columns_of(one)]
    if "not" in predicate:
        return columns_of(predicate["not"])
    found = [(predicate["path"], predicate["type"])]
    return found + ([(predicate["other"], predicate["type"])] if "other" in predicate else [])


def simpler(predicate):
    """Predicates that are parts of this one, for shrinking."""
    for word in ("and", "or"):
        if word in predicate:
            yield from predicate[word]
            for i in range(len(predicate[word])):
                rest = predicate[word][:i] + predicate[word][i + 1 :]
                if len(rest) > 1:
                    yield {word: rest}
    if "not" in predicate:
        yield predicate["not"]
