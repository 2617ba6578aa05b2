"""Columns as NumPy arrays and torch tensors: values, NULLs, shapes, and whose memory it is."""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal
from typing import Any

import pytest

import fastdata as fd
from support import need

np = need("numpy")


@pytest.fixture
def types(lake: fd.Lake) -> fd.Scan:
    return lake["py.types"].scan()


@pytest.fixture
def nested(lake: fd.Lake) -> fd.Scan:
    return lake["py.nested"].scan()


def rows(value: Any) -> Any:
    """Nested Python lists of an array, a tensor or a Ragged; None where it is masked."""
    if hasattr(value, "offsets"):
        return [rows(value.row(index)) for index in range(len(value.offsets) - 1)]
    return value.tolist()


def test_arrays_hold_the_values_of_the_rows(types: fd.Scan) -> None:
    arrays = types.to_numpy()
    for batch in types.batches():
        for name, values in batch.to_pydict().items():
            array = arrays[name]
            assert len(array) == 3
            found = array.tolist()
            if name == "at":
                values = [None if value is None else dt.datetime.combine(dt.date.min, value) - dt.datetime.min for value in values]
            if name == "tz":
                values = [None if value is None else value.replace(tzinfo=None) for value in values]
            assert found == values, name
    kinds = {name: array.dtype.str for name, array in arrays.items()}
    assert kinds == {
        "b": "|b1", "i": "<i4", "l": "<i8", "f": "<f4", "d": "<f8", "dec": "|O", "day": "<M8[D]", "at": "<m8[us]", "ts": "<M8[us]", "tz": "<M8[us]",
        "s": "|O", "bin": "|O", "id": "<i8", "fixed": "|O", "u": "|O",
    }  # fmt: skip


def test_numbers_without_nulls_are_the_memory_of_the_batch(lake: fd.Lake) -> None:
    batch = next(iter(lake["py.many"].scan(columns=["id"]).batches()))
    one, two = batch.to_numpy()["id"], batch.to_numpy()["id"]
    assert one.ctypes.data == two.ctypes.data and not one.flags.writeable
    mine = batch.to_numpy(writable=True)["id"]
    assert mine.flags.writeable and mine.ctypes.data != one.ctypes.data
    before = one[0]
    mine[0] = before + 1
    assert one[0] == before
    del batch
    assert (two == one).all()


def test_nulls_are_as_the_caller_chose(types: fd.Scan) -> None:
    columns = ["b", "i", "l", "f", "d", "day", "at", "ts"]
    scan = types.lake["py.types"].scan(columns=columns)
    masked = scan.to_numpy()
    assert all(isinstance(array, np.ma.MaskedArray) and array.mask.tolist() == [False, False, True] for array in masked.values())
    beside = scan.to_numpy(nulls="mask")
    assert list(beside) == [name for column in columns for name in (column, f"{column}__valid")]
    assert all(beside[f"{column}__valid"].tolist() == [True, True, False] and not beside[column][2].astype(int) for column in columns)
    with pytest.raises(fd.InvalidRequest, match=r"column 'b' \(Boolean\) has 1 NULL.*\n.*nulls=\{'b'"):
        scan.to_numpy(nulls="error")
    chosen = {"b": True, "i": -7, "l": 2**62, "f": "nan", "d": 0.5, "day": dt.date(2000, 1, 1), "at": "nan", "ts": np.datetime64("2001-01-01")}
    filled = scan.to_numpy(nulls=chosen)
    assert [filled[name][2] for name in ("b", "i", "l", "d")] == [True, -7, 2**62, 0.5]
    assert np.isnan(filled["f"][2]) and np.isnat(filled["at"][2])
    assert filled["day"][2] == np.datetime64("2000-01-01") and filled["ts"][2] == np.datetime64("2001-01-01")
    assert [filled[name].dtype for name in columns] == [masked[name].dtype for name in columns]
    # A dict leaves the others at the default.
    assert isinstance(scan.to_numpy(nulls={"i": 0})["l"], np.ma.MaskedArray)


@pytest.mark.parametrize(
    ("column", "choice"), [("i", "nan"), ("b", "nan"), ("i", 0.5), ("i", 2**40), ("b", 5), ("i", "x"), ("i", float("nan")), ("s", "nan")]
)
def test_a_fill_value_that_does_not_fit_is_refused_by_name(types: fd.Scan, column: str, choice: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(fd.InvalidRequest, match=f"column '{column}'"):
            types.lake["py.types"].scan(columns=[column]).to_numpy(nulls=choice)


@pytest.mark.parametrize("encoding", ["utf8", "utf8_view", "dictionary"])
def test_texts_are_as_the_caller_chose_in_every_encoding(lake: fd.Lake, encoding: Any) -> None:
    scan = lake["py.types"].scan(columns=["s"], strings=encoding)
    assert scan.to_numpy()["s"].tolist() == ["ä", "", None]
    fixed = scan.to_numpy(strings="fixed")["s"]
    assert fixed.dtype.kind == "U" and fixed.tolist() == ["ä", "", None]
    assert scan.to_numpy(strings="fixed", nulls="unknown")["s"].tolist() == ["ä", "", "unknown"]
    ragged = scan.to_numpy(strings="bytes")
    assert [bytes(row) for row in rows(ragged["s"])] == ["ä".encode(), b"", b""] and ragged["s__valid"].tolist() == [True, True, False]
    codes = scan.to_numpy(strings="codes", nulls="mask")
    assert [codes["s__words"][code] for code in codes["s"][:2]] == ["ä", ""] and codes["s"].dtype == np.int64
    assert codes["s__valid"].tolist() == [True, True, False]
    known = scan.to_numpy(strings=["x", "", "ä"], nulls=-1)["s"]
    assert known.tolist() == [2, 1, -1]
    with pytest.raises(fd.InvalidRequest, match="column 's' holds 'ä', which is not in the list"):
        scan.to_numpy(strings={"s": [""]}, nulls=0)
    assert scan.to_numpy(strings="drop") == {}


def test_binary_of_one_length_has_rows_of_it(lake: fd.Lake) -> None:
    scan = lake["py.types"].scan(columns=["fixed", "u"])
    arrays = scan.to_numpy(strings="bytes", nulls="mask")
    assert arrays["fixed"].shape == (3, 4) and arrays["u"].shape == (3, 16)
    assert bytes(arrays["fixed"][2]) == b"\x00\x01\x02\x03" and not arrays["fixed"][1].any()
    assert scan.to_numpy(strings="fixed")["fixed"].tolist() == [b"abcd", None, b"\x00\x01\x02\x03"]
    with pytest.raises(fd.Unsupported, match="column 'bin' is .*no fixed length"):
        lake["py.types"].scan(columns=["bin"]).to_numpy(strings="fixed")


def test_decimals_are_exact_or_floats(lake: fd.Lake) -> None:
    scan = lake["py.types"].scan(columns=["dec"])
    assert scan.to_numpy()["dec"].tolist() == [Decimal("12.34"), Decimal("-0.01"), None]
    floats = scan.to_numpy(decimals="float64", nulls="nan")["dec"]
    assert floats[:2].tolist() == [12.34, -0.01] and np.isnan(floats[2])
    with pytest.raises(fd.Unsupported, match="column 'dec' is Decimal"):
        scan.to_numpy(decimals="error")


def test_structs_lists_and_maps_are_flat_entries(nested: fd.Scan) -> None:
    arrays = nested.to_numpy()
    assert arrays["user.city"].tolist() == ["Oslo", None, None, "<b>Rome</b>"]
    assert arrays["user__valid"].tolist() == [True, True, False, True]
    assert arrays["user.geo.lon"].tolist() == [10.7, None, None, 0.0]
    assert rows(arrays["tags"]) == [["a", None, "b"], [], [], ["c"]]
    assert arrays["tags__valid"].tolist() == [True, True, False, True]
    assert rows(arrays["events.price"]) == [[1.5, None], [], [], [0.0]]
    assert rows(arrays["grid"]) == [[[1, 2], [], [], [3]], [], [], [[None]]]
    assert rows(arrays["grid__values__valid"]) == [[True, True, False, True], [], [], [True]]
    assert rows(arrays["attrs.key"]) == [["x", "y"], [], [], ["z"]] and rows(arrays["attrs.value"]) == [[1, None], [], [], [9]]


def test_choices_reach_into_structs_and_lists(nested: fd.Scan) -> None:
    scan = nested.lake["py.nested"].scan(columns=["user", "grid"])
    arrays = scan.to_numpy(nulls={"user": -1.0, "user.city": "nowhere", "grid": "mask"}, strings="object")
    assert arrays["user.city"].tolist() == ["Oslo", "nowhere", "nowhere", "<b>Rome</b>"]
    assert arrays["user.geo.lat"].tolist() == [59.9, -1.0, -1.0, -1.0]
    assert rows(arrays["grid__values__values__valid"]) == [[[True, True], [], [], [True]], [], [], [[False]]]
    with pytest.raises(fd.InvalidRequest, match="column 'user'"):
        scan.to_numpy(nulls="error")
    with pytest.raises(fd.NotFound, match="nulls names 'user.town'.*\n.*user"):
        scan.to_numpy(nulls={"user.town": 0})


def test_lists_of_one_length_are_rows_of_an_array(lake: fd.Lake) -> None:
    scan = lake["py.nested"].scan(columns=["id", "tags"], where="id in (2, 3)")
    arrays = scan.to_numpy(lists={"tags": 1})
    assert arrays["tags"].shape == (2, 1) and arrays["tags"][1].tolist() == ["c"]
    arrays = scan.to_numpy(lists={"tags": 1}, strings="codes", nulls={"tags": -1})
    assert arrays["tags"].tolist() == [[-1], [0]] and arrays["tags__words"] == ["c"]
    arrays = scan.to_numpy(lists={"tags": 1}, strings="codes", nulls="mask")
    assert arrays["tags__valid"].tolist() == [False, True] and arrays["tags__values__valid"].tolist() == [[False], [True]]
    with pytest.raises(fd.InvalidRequest, match="column 'tags' was said to hold lists of 2, and row 1 of this batch has 1"):
        scan.to_numpy(lists={"tags": 2})
    # The length is that of the lists at every level.
    assert lake["py.nested"].scan(columns=["grid"], where="id = 3").to_numpy(lists={"grid": 1}, nulls=7)["grid"].tolist() == [[[7]]]


def test_batches_are_joined_and_slices_keep_their_rows(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan()
    arrays = scan.to_numpy(strings="bytes")
    assert arrays["id"].tolist() == list(range(60_000)) and len(arrays["word"].offsets) == 60_001
    batch = next(iter(lake["py.nested"].scan().batches())).slice(2, 2)
    assert rows(batch.to_numpy()["grid"]) == [[], [[None]]]
    assert rows(batch.to_numpy()["tags"]) == [[], ["c"]]
    assert batch.to_numpy()["user.city"].tolist() == [None, "<b>Rome</b>"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strings": "byte"}, "strings='byte' is no choice"),
        ({"strings": 5}, "strings=5"),
        ({"decimals": "float32"}, "decimals='float32'"),
        ({"lists": 0}, "lists=0"),
        ({"nulls": None}, "nulls=None"),
        ({"nulls": {"i": [1]}}, r"nulls=\[1\]"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_right_ones(types: fd.Scan, options: dict[str, Any], message: str) -> None:
    with pytest.raises(fd.InvalidRequest, match=f"{message}.*\n.*give "):
        types.to_numpy(**options)


def test_two_columns_of_one_name_are_refused(lake: fd.Lake, iceberg: Any) -> None:
    pa = need("pyarrow")
    table = pa.table({"a": [1], "a__valid": [2]})
    if not iceberg.table_exists("py.twice"):
        iceberg.create_table("py.twice", table.schema).append(table)
    scan = lake["py.twice"].scan()
    with pytest.raises(fd.InvalidRequest, match="two columns become 'a__valid'"):
        scan.to_numpy(nulls="mask")
    assert list(scan.to_numpy(nulls={"a__valid": "mask"})) == ["a", "a__valid", "a__valid__valid"]


class FixedList:
    """A column of Arrow fixed lists, which no Iceberg type becomes: stands for what the native module would hand out."""

    kind, type, length, null_count = "fixed_list", "FixedSizeList(2 x Int32)", 3, 1

    def __init__(self, child: Any) -> None:
        self._child = child

    def validity(self) -> Any:
        return np.array([True, False, True])

    def width(self) -> int:
        return 2

    def child(self) -> Any:
        return self._child


class Numbers:
    kind, type, length, null_count = "fixed", "Int32", 6, 0

    def validity(self) -> None:
        return None

    def values(self, writable: bool) -> Any:
        return np.arange(6, dtype=np.int32)


@pytest.mark.parametrize(("nulls", "expected"), [(9, [[0, 1], [9, 9], [4, 5]]), ("masked", [[0, 1], [None, None], [4, 5]])])
def test_fixed_lists_are_rows_of_an_array(nulls: Any, expected: Any) -> None:
    from fastdata._choices import Choices
    from fastdata._convert import _Walk

    walk = _Walk(Choices(torch=False, nulls=nulls, strings="object", decimals="object", lists="ragged"))
    entries = dict(walk.column("v", "v", FixedList(Numbers())))  # type: ignore[arg-type]
    assert {name: array.tolist() for name, array in entries.items()} == {"v": expected}
    refusing = _Walk(Choices(torch=True, nulls="error", strings="error", decimals="error", lists="ragged"))
    with pytest.raises(fd.InvalidRequest, match="column 'v' .* has 1 NULL"):
        list(refusing.column("v", "v", FixedList(Numbers())))  # type: ignore[arg-type]


def test_tensors_are_memory_of_their_own_and_raise_no_warning(lake: fd.Lake) -> None:
    torch = need("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = next(iter(lake["py.many"].scan().batches(64)))
        one = batch.to_torch(nulls="nan", strings="bytes")
        two = batch.to_torch(nulls="nan", strings="bytes")
    before = two["id"].clone()
    one["id"] += 1
    one["word"].values.zero_()
    one["word"].offsets.zero_()
    assert (two["id"] == before).all() and two["word"].values.any() and two["word"].offsets[-1] > 0
    assert batch.to_numpy()["id"].tolist() == before.tolist()
    assert torch.isnan(two["x"]).any()


def test_tensors_have_the_values_of_the_arrays(lake: fd.Lake) -> None:
    torch = need("torch")
    for name in ("types", "nested"):
        for batch in lake[f"py.{name}"].scan().batches():
            options = {"nulls": "mask", "strings": "codes", "decimals": "float64"}
            arrays, tensors = batch.to_numpy(**options), batch.to_torch(**options)
            assert list(arrays) == list(tensors)
            for key, array in arrays.items():
                if isinstance(array, list):
                    assert tensors[key] == array
                elif hasattr(array, "offsets"):
                    assert rows(tensors[key]) == rows(array)
                else:
                    integers = array.astype(np.int64) if array.dtype.kind in "mM" else array
                    assert isinstance(tensors[key], torch.Tensor) and tensors[key].tolist() == integers.tolist()
    days = lake["py.types"].scan(columns=["day", "ts", "at"]).to_torch(nulls=0)
    assert days["day"].tolist() == [19782, -1, 0] and {tensor.dtype for tensor in days.values()} == {torch.int64}


@pytest.mark.parametrize(("column", "kind"), [("s", "Utf8"), ("bin", "Binary"), ("u", "FixedSizeBinary"), ("dec", "Decimal128")])
def test_a_type_without_a_tensor_is_named_with_the_fix(lake: fd.Lake, column: str, kind: str) -> None:
    need("torch")
    with pytest.raises(fd.Unsupported, match=f"column '{column}' is {kind}.*\n.*(strings|decimals)="):
        lake["py.types"].scan(columns=[column]).to_torch()
    with pytest.raises(fd.Unsupported, match="column 'user.city' is"):
        lake["py.nested"].scan(columns=["user.city"]).to_torch(nulls=0)


def test_arrays_of_no_rows_keep_their_types(lake: fd.Lake) -> None:
    for scan in (lake["py.empty"].scan(), lake["py.many"].scan(columns=["id", "word"], where="id < 0")):
        arrays = scan.to_numpy(strings="bytes")
        assert arrays["id"].shape == (0,) and arrays["id"].dtype == np.int64
    need("torch")
    assert lake["py.empty"].scan(columns=["id"]).to_torch()["id"].shape == (0,)


def test_fields_of_a_missing_struct_are_missing_even_where_they_are_required(lake: fd.Lake, iceberg: Any) -> None:
    pa = need("pyarrow")
    schema = pa.schema([("s", pa.struct([pa.field("x", pa.int64(), nullable=False)]))])
    if not iceberg.table_exists("py.required"):
        iceberg.create_table("py.required", schema).append(pa.Table.from_pylist([{"s": {"x": 5}}, {"s": None}], schema=schema))
    scan = lake["py.required"].scan()
    assert scan.to_numpy()["s.x"].tolist() == [5, None]
    assert scan.to_numpy(nulls=-1)["s.x"].tolist() == [5, -1]
