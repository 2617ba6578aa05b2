"""What README.md and docs show of the package is copy-paste true.

The ```python blocks of a document that imports fastdata run from top to bottom, in one namespace; the texts "./warehouse" and "grpc://127.0.0.1:8815" in
them stand for the demo warehouse and for a server of it. A block that begins ```python no-run is left out.
A document that needs a partner that is not installed is skipped by name.
"""
import ast
import re
import sys
from pathlib import Path

import pytest
from support import need

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
HEAVY = {"torch", "torchdata", "ray", "metaflow"}


def blocks(text):
    """The blocks that run, each with as many empty lines before it as make an error name the document's line."""
    return ["\n" * text[: found.start(1)].count("\n") + found[1] for found in BLOCK.finditer(text)]


def imported(code):
    """The modules that a block imports, dotted names with what lies below `fastdata`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def documents():
    """Documents with a block about the package."""
    found = {}
    for path in [ROOT / "README.md", ROOT / "python/README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        codes = blocks(path.read_text())
        if any(name.split(".")[0] == "fastdata" for code in codes for name in imported(code)):
            found[str(path.relative_to(ROOT))] = codes
    return found


def test_the_readme_shows_the_package():
    assert "README.md" in documents()


def test_a_block_that_says_so_is_left_out():
    text = "```python\na\n```\n\n```python no-run\nb\n```\n\n```\nc\n```\n\n```python\nd\n```\n"
    assert [code.strip() for code in blocks(text)] == ["a", "d"]


def test_an_error_in_a_block_names_the_line_of_the_document():
    (code,) = blocks("one\ntwo\n```python\nx = 1\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile(code, "README.md", "exec"), {})
    assert raised.traceback[-1].lineno + 1 == 5


@pytest.mark.parametrize("document", documents())
def test_a_document_runs_from_top_to_bottom(document, warehouse, server, tmp_path, monkeypatch):
    codes = documents()[document]
    partners = {part for code in codes for name in imported(code) for part in name.split(".")} & HEAVY
    for partner in sorted(partners):
        need(partner)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAFLOW_USER", "tester")
    places = {"./warehouse": str(warehouse), "grpc://127.0.0.1:8815": server.url}
    namespace = {"__name__": "__main__"}
    for code in codes:
        for shown, real in places.items():
            code = code.replace(f'"{shown}"', repr(real))
        exec(compile(code, str(ROOT / document), "exec"), namespace)
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()  # what Ray started by itself
