"""Cuts a failing history down: fewer steps, queries, rows and columns, simpler predicates, as long as it fails.

Contract: `shrink(history, fails, seconds)` returns the smallest history found for which `fails` returns a failure, and that failure.
`fails` returns None where it passes, and where it cannot be played. A shrunk history may fail in another way than the first one did: any
failure is worth a look.
"""

import copy
import time

from predicates import simpler


def shrink(history, failure, fails, seconds):
    end = time.monotonic() + seconds
    best = cut_at(history, failure)
    again = fails(best)
    best, failure = (best, again) if again else (history, failure)
    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for candidate in candidates(best):
            if time.monotonic() >= end:
                break
            found = fails(candidate)
            if found:
                best, failure, progress = candidate, found, True
                break
    return best, failure


def cut_at(history, failure):
    """The history up to the step that failed, with the query that failed and no other."""
    steps = [{**step, "checks": []} for step in history["steps"][: failure["step"] + 1]]
    if "check" in failure:
        steps[-1]["checks"] = [failure["check"]]
    return {**history, "steps": steps}


def candidates(history):
    """Smaller histories, those first that leave out the most."""
    steps = history["steps"]
    for length in (4, 2, 1):
        for at in range(len(steps) - length, 0, -1):
            # The last step keeps the query that fails, even where the step goes.
            left = steps[:at] + steps[at + length :]
            if at + length == len(steps):
                left = [*left[:-1], {**left[-1], "checks": left[-1]["checks"] + steps[-1]["checks"]}]
            yield {**history, "steps": left}
    for i, step in enumerate(steps):
        yield from ({**history, "steps": [*steps[:i], smaller, *steps[i + 1 :]]} for smaller in smaller_steps(step))


def smaller_steps(step):
    for rows in fewer(step.get("rows", [])):
        yield {**step, "rows": rows}
    if step["op"] == "create":
        for fields in fewer(step["fields"]):
            yield {**step, "fields": fields}
        for terms in fewer(step["terms"], least=0):
            yield {**step, "terms": terms}
        yield from ({**step, "properties": {k: v for k, v in step["properties"].items() if k != name}} for name in step["properties"])
    if step.get("where"):
        if step["op"] != "delete":
            yield {**step, "where": None}
        yield from ({**step, "where": where} for where in simpler(step["where"]))
    if step.get("branch"):
        yield {**step, "branch": None}
    for i, check in enumerate(step["checks"]):
        yield from ({**step, "checks": [*step["checks"][:i], smaller, *step["checks"][i + 1 :]]} for smaller in smaller_checks(check))


def smaller_checks(check):
    if check["where"]:
        yield {**check, "where": None}
        yield from ({**check, "where": where} for where in simpler(check["where"]))
    if check["columns"]:
        yield {**check, "columns": None}
        yield from ({**check, "columns": columns} for columns in fewer(check["columns"]))
    if check.keys() - {"ref", "columns", "where"}:
        yield {name: check[name] for name in ("ref", "columns", "where")}
    if check["ref"] != ["current"]:
        yield {**check, "ref": ["current"]}


def fewer(items, least=1):
    """Without one half, then without one each."""
    half = len(items) // 2
    for left in ([items[:half], items[half:]] if half > 1 else []) + [items[:i] + items[i + 1 :] for i in range(len(items))]:
        if least <= len(left) < len(items):
            yield copy.deepcopy(left)
