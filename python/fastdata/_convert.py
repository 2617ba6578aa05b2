"""Batches as NumPy arrays and torch tensors, without pyarrow.

Problem: a model wants numbers in arrays; a table has NULLs, texts, lists and structs, and no single reading of those suits everybody.
Contract: one flat dict from column to array. Numbers, booleans, dates and times are taken over as they lie in memory, and copied only where they
must change. What has no array of its own (NULL, text, decimal) is as the caller chose, and an error that names the column where nothing was chosen.
How: every column is converted to NumPy by its kind, recursively; tensors take that memory over at the end.

Structs become dotted names (`user.city`). Lists become `Ragged`, and so does all that lies below them: `events.price` of a list of structs
is a `Ragged`. Where a length is chosen for a list, it becomes an array with one more dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from ._choices import Choices
from ._errors import InvalidRequest, Unsupported, needs, translated
from ._leaves import as_codes, as_fixed_texts, as_objects, as_vocabulary, fill_nulls, fixed_size, joined_bytes, refuse_nulls

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Valid = NDArray[np.bool_] | None


class Ragged(NamedTuple):
    """Lists of any lengths: row i is `values[offsets[i]:offsets[i + 1]]`. Of lists of lists, `values` is a `Ragged` again."""

    values: Any
    offsets: Any

    def row(self, index: int) -> Any:
        """The values of one row: an array, a tensor, or for lists of lists a `Ragged`."""
        row = range(len(self.offsets) - 1)[index]
        first, last = int(self.offsets[row]), int(self.offsets[row + 1])
        if isinstance(self.values, Ragged):
            return Ragged(self.values.values, self.values.offsets[first : last + 1])
        return self.values[first:last]


def to_numpy(
    batches: _native.Batch | Sequence[_native.Batch],
    *,
    nulls: Any = "masked",
    strings: Any = "object",
    decimals: Any = "object",
    lists: Any = "ragged",
    writable: bool = False,
) -> dict[str, Any]:
    """The columns as NumPy arrays; read-only where they are the batch's own memory, unless `writable`.

    `nulls`: "masked" (a masked array where there are NULLs; None in arrays of objects; an entry `name__valid` beside lists and structs that have
    some), "error", "nan", "mask" (an entry `name__valid` beside every column), or a value to fill in. `strings`: "object" (str, bytes), "fixed"
    (fixed-width text), "bytes" (a `Ragged` of uint8), "codes" (int64 codes, and their words in `name__words`), "drop", or a list of all words.
    `decimals`: "object" (Decimal), "float64", "error". `lists`: "ragged", or the length of every list. Each may be a dict from column to one of
    these. Dates are datetime64[D], timestamps datetime64 in UTC, times timedelta64.
    """
    return convert(batches, Choices(False, nulls, strings, decimals, lists, writable))


def to_torch(
    batches: _native.Batch | Sequence[_native.Batch],
    *,
    nulls: Any = "error",
    strings: Any = "error",
    decimals: Any = "error",
    lists: Any = "ragged",
) -> dict[str, Any]:
    """The columns as torch tensors, on the CPU, in memory of their own that may be written to.

    `nulls`: "error", "nan", "mask" (an entry `name__valid` beside every column; NULLs as 0), or a value to fill in. `strings`: "error", "bytes" (a
    `Ragged` of uint8), "codes" (int64 codes, and their words in `name__words`), "drop", or a list of all words. `decimals`: "error" or "float64".
    `lists`: "ragged", or the length of every list. Each may be a dict from column to one of these. Dates are int64 days, timestamps and times int64
    in their own unit.
    """
    return convert(batches, Choices(True, nulls, strings, decimals, lists))


def convert(batches: _native.Batch | Sequence[_native.Batch], choices: Choices) -> dict[str, Any]:
    """The columns of one batch, or of several joined, as these choices say."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise needs("numpy", "torch" if choices.torch else "numpy") from None
    with translated:
        batch = batches if isinstance(batches, _native.Batch) else _native.Batch.concat(list(batches))
        return _Walk(choices).batch(batch)


class _Walk:
    """One pass over the columns of a batch."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.writable = choices.torch or choices.writable
        self.names: list[str] = []

    def batch(self, batch: _native.Batch) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        columns = batch.schema().names()
        finish: Callable[[Any], Any] = _tensor if self.choices.torch else (lambda value: value)
        for index, name in enumerate(columns):
            for key, value in self.column(name, name, batch.column(index)):
                if key in answer:
                    raise InvalidRequest(f"two columns become {key!r}", advice="select one of them with columns=[...]")
                answer[key] = _each(value, finish)
        self.choices.check_names(self.names, columns)
        return answer

    def column(self, name: str, mask: str, column: _native.Column) -> Iterator[tuple[str, Any]]:
        """The entries of one column; `mask` is the stem of its validity's name. A field is NULL where its struct is."""
        self.names.append(name)
        valid = _validity(column)
        kind = column.kind
        if kind == "struct":
            yield from self.rows_there(name, mask, column, valid, masked=True)
            for field, child in column.fields():
                yield from self.column(f"{name}.{field}", f"{name}.{field}", child)
        elif kind in ("list", "fixed_list"):
            yield from self.lists(name, mask, column, valid)
        elif kind in ("text", "bytes", "dictionary"):
            yield from self.texts(name, mask, column, valid)
        elif kind == "fixed":
            yield from self.settled(name, mask, column, _numbers(column, self.writable), valid)
        elif kind == "null":
            yield from self.settled(name, mask, column, *_nothing(column.length))
        elif kind == "decimal":
            yield from self.decimals(name, mask, column, valid)
        else:
            raise Unsupported(f"column {name!r} is {column.type}, which has no array", advice="leave it out with columns=[...]")

    def settled(self, name: str, mask: str, column: _native.Column, values: Any, valid: Valid) -> Iterator[tuple[str, Any]]:
        """Values with their NULLs as the caller chose."""
        import numpy as np

        choice = self.choices.of("nulls", name)
        if choice == "mask":
            yield name, values
            yield f"{mask}__valid", np.ones(len(values), bool) if valid is None else valid
        elif valid is None:
            yield name, values
        elif choice == "error":
            refuse_nulls(name, column.type, valid, self.choices.torch)
        else:
            yield name, fill_nulls(name, column.type, values, valid, choice)

    def rows_there(self, name: str, mask: str, column: _native.Column, valid: Valid, *, masked: bool) -> list[tuple[str, Any]]:
        """The validity of a column whose arrays hold no value that stands for its NULLs; `masked`: under that choice too."""
        import numpy as np

        choice = self.choices.of("nulls", name)
        if choice == "mask":
            return [(f"{mask}__valid", np.ones(column.length, bool) if valid is None else valid)]
        if valid is None:
            return []
        if choice == "error":
            refuse_nulls(name, column.type, valid, self.choices.torch)
        return [(f"{mask}__valid", valid)] if masked and choice == "masked" else []

    def lists(self, name: str, mask: str, column: _native.Column, valid: Valid) -> Iterator[tuple[str, Any]]:
        import numpy as np

        width = column.width() if column.kind == "fixed_list" else self.choices.of("lists", name)
        ragged = width == "ragged"
        there = self.rows_there(name, mask, column, valid, masked=ragged)
        if not ragged and column.kind == "list":
            _check_lengths(name, np.asarray(column.offsets()), valid, width)
        offsets = np.asarray(column.offsets()) if ragged else None
        for key, value in self.column(name, f"{mask}__values", column.child()):
            if isinstance(value, list):
                yield key, value
            elif ragged:
                yield key, Ragged(value, offsets)
            else:
                yield key, self.rows_of_lists(name, key, column, value, valid, width)
        yield from there

    def rows_of_lists(self, name: str, key: str, column: _native.Column, values: Any, valid: Valid, width: int) -> Any:
        """Lists of one length as rows of an array."""
        if isinstance(values, Ragged):
            raise Unsupported(f"column {name!r} holds lists of any length inside lists of {width}", advice="leave it out with columns=[...]")
        rows = values.reshape(-1, width, *values.shape[1:])
        if len(rows) < column.length:
            rows = _scattered(rows, valid)
        choice = self.choices.of("nulls", name)
        if valid is None or choice == "mask" or key.endswith("__valid"):
            return rows
        return fill_nulls(name, column.type, rows, valid, choice)

    def texts(self, name: str, mask: str, column: _native.Column, valid: Valid) -> Iterator[tuple[str, Any]]:
        choice = self.choices.of("strings", name)
        if choice == "drop":
            return
        if choice == "error":
            raise Unsupported(
                f"column {name!r} is {column.type}, and a tensor holds numbers",
                advice=f'give strings={{{name!r}: "codes"}}, "bytes", "drop" or a list of all words, or leave it out with columns=[...]',
            )
        if choice == "bytes":
            yield from self.bytes(name, mask, column, valid)
        elif choice == "object":
            yield from self.settled(name, mask, column, as_objects(column), valid)
        elif choice == "fixed":
            yield from self.settled(name, mask, column, as_fixed_texts(name, column), valid)
        elif choice == "codes":
            codes, words = as_codes(column)
            yield from self.settled(name, mask, column, codes, valid)
            yield f"{name}__words", words
        else:
            yield from self.settled(name, mask, column, as_vocabulary(name, column, choice), valid)

    def bytes(self, name: str, mask: str, column: _native.Column, valid: Valid) -> Iterator[tuple[str, Any]]:
        import numpy as np

        if column.kind == "dictionary":
            offsets, data = joined_bytes(column)
        else:
            offsets, data = np.asarray(column.offsets()), np.asarray(column.data(self.writable))
        width = fixed_size(column)
        if width is None:
            there = self.rows_there(name, mask, column, valid, masked=True)
            yield name, Ragged(data, offsets)
            yield from there
        else:
            rows = data.reshape(-1, width)
            yield from self.settled(name, mask, column, rows if len(rows) == column.length else _scattered(rows, valid), valid)

    def decimals(self, name: str, mask: str, column: _native.Column, valid: Valid) -> Iterator[tuple[str, Any]]:
        import numpy as np

        choice = self.choices.of("decimals", name)
        if choice == "error":
            raise Unsupported(
                f"column {name!r} is {column.type}, which has no exact array",
                advice=f'give decimals={{{name!r}: "float64"}}, or leave it out with columns=[...]',
            )
        yield from self.settled(name, mask, column, as_objects(column) if choice == "object" else np.asarray(column.floats()), valid)


def _validity(column: _native.Column) -> Valid:
    import numpy as np

    buffer = column.validity()
    return None if buffer is None else np.asarray(buffer)


def _numbers(column: _native.Column, writable: bool) -> Any:
    import numpy as np

    values = np.asarray(column.values(writable))
    if column.type.startswith("Date32") and values.dtype.kind != "M":
        return values.astype("datetime64[D]")
    return values


def _nothing(length: int) -> tuple[Any, Any]:
    import numpy as np

    return np.zeros(length, np.float64), np.zeros(length, bool) if length else None


def _check_lengths(name: str, offsets: Any, valid: Valid, width: int) -> None:
    import numpy as np

    wrong = np.diff(offsets) != width
    if valid is not None:
        wrong &= valid
    if wrong.any():
        row = int(wrong.argmax())
        length = int(offsets[row + 1] - offsets[row])
        raise InvalidRequest(
            f"column {name!r} was said to hold lists of {width}, and row {row} of this batch has {length}",
            advice='give the right length, or lists="ragged" for lists of any length',
        )


def _scattered(rows: Any, valid: Any) -> Any:
    """Rows at the places of those that are there, zeros between them."""
    import numpy as np

    answer = (np.ma if isinstance(rows, np.ma.MaskedArray) else np).zeros((len(valid), *rows.shape[1:]), rows.dtype)
    answer[valid] = rows
    return answer


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Applies a change to the arrays of an entry, whatever holds them; lists of words stay."""
    if isinstance(value, Ragged):
        return Ragged(_each(value.values, change), _each(value.offsets, change))
    return value if isinstance(value, list) else change(value)


def _tensor(array: Any) -> Any:
    """A tensor on the array's memory; a copy only where others hold it too."""
    import numpy as np

    try:
        import torch
    except ImportError:
        raise needs("torch", "torch") from None
    if array.dtype.kind in "mM":
        array = array.view(np.int64)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
