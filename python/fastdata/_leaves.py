"""Single values as NumPy arrays: texts and decimals, and what stands where there is NULL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from . import _native
from ._errors import InvalidRequest, Unsupported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def as_objects(column: _native.Column) -> NDArray[np.object_]:
    """Python objects, None for NULL."""
    import numpy as np

    answer = np.empty(column.length, object)
    answer[:] = column.objects()
    return answer


def as_fixed_texts(name: str, column: _native.Column) -> Any:
    """Texts as `U`, binary of one length as `V`; NULLs empty. Refuses what would lose bytes at the end."""
    import numpy as np

    objects = column.objects()
    size = fixed_size(column)
    if size is not None:
        return np.frombuffer(b"".join(value or bytes(size) for value in objects), f"V{size}")
    if any(isinstance(value, bytes) for value in objects):
        raise Unsupported(f"column {name!r} is {column.type}, of no fixed length", advice=f'give strings={{{name!r}: "object"}} or "bytes"')
    if any(value is not None and value.endswith("\0") for value in objects):
        raise Unsupported(
            f"column {name!r} has a text that ends with a NUL character, which a fixed-width array drops",
            advice=f'give strings={{{name!r}: "object"}}',
        )
    return np.array([value or "" for value in objects], dtype=str)


def fixed_size(column: _native.Column) -> int | None:
    """How many bytes each value has, of a binary column where all have the same."""
    head, _, size = column.type.partition("(")
    return int(size.rstrip(")")) if head == "FixedSizeBinary" else None


def as_codes(column: _native.Column) -> tuple[Any, list[Any]]:
    """Codes (0 for NULL) and the words they stand for: the column's dictionary, or the words in the order in which they first come."""
    import numpy as np

    if column.kind == "dictionary":
        return np.maximum(np.asarray(column.values(False)).astype(np.int64), 0), column.child().objects()
    words: dict[Any, int] = {}
    codes = (0 if value is None else words.setdefault(value, len(words)) for value in column.objects())
    return np.fromiter(codes, np.int64, column.length), list(words)


def as_vocabulary(name: str, column: _native.Column, vocabulary: Sequence[Any]) -> Any:
    """Each text's place in the vocabulary (0 for NULL)."""
    import numpy as np

    codes, words = as_codes(column)
    places = {word: place for place, word in enumerate(vocabulary)}
    known = np.fromiter((places.get(word, -1) for word in words), np.int64, len(words))
    if not len(words):
        return codes
    answer = known[codes]
    valid = column.validity()
    unknown = answer < 0 if valid is None else (answer < 0) & np.asarray(valid)
    if unknown.any():
        word = words[int(codes[int(unknown.argmax())])]
        raise InvalidRequest(
            f"column {name!r} holds {word!r}, which is not in the list of its words",
            advice='add it to the list, or give "codes" and map the words yourself',
        )
    return np.maximum(answer, 0)


def joined_bytes(column: _native.Column) -> tuple[Any, Any]:
    """Offsets and bytes of a column with a dictionary of texts; nothing for NULL."""
    import numpy as np

    words = [word.encode() if isinstance(word, str) else word or b"" for word in column.objects()]
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=offsets[1:])
    return offsets, np.frombuffer(bytearray().join(words), np.uint8)


def refuse_nulls(name: str, type_name: str, valid: NDArray[np.bool_], torch: bool) -> NoReturn:
    """Says that a column has NULLs where none are taken, and what to choose."""
    count = int(len(valid) - valid.sum())
    others = 'a value to fill in, "nan" or "mask"' if torch else '"masked", a value to fill in, "nan" or "mask"'
    raise InvalidRequest(f"column {name!r} ({type_name}) has {count} NULL in this batch", advice=f"give nulls={{{name!r}: ...}} with {others}")


def fill_nulls(name: str, type_name: str, values: Any, valid: NDArray[np.bool_], choice: Any) -> Any:
    """The values with NULLs masked or filled. In arrays of objects they are None already."""
    import numpy as np

    if isinstance(choice, str) and choice == "masked":
        return values if values.dtype == object else np.ma.MaskedArray(values, mask=_spread(~valid, values))
    value = _fitting(name, type_name, values.dtype, choice)
    if values.dtype.kind == "U":
        values = values.astype(np.promote_types(values.dtype, value.dtype))
    elif not values.flags.writeable:
        values = values.copy()
    values[~valid] = value
    return values


def _spread(mask: Any, values: Any) -> Any:
    import numpy as np

    return np.broadcast_to(mask.reshape(-1, *[1] * (values.ndim - 1)), values.shape) | np.ma.getmaskarray(values)


def _fitting(name: str, type_name: str, dtype: Any, choice: Any) -> Any:
    """The value that stands for NULL in an array of this type."""
    import numpy as np

    if isinstance(choice, str) and choice == "nan":
        if dtype.kind == "f":
            return np.nan
        if dtype.kind in "mM":
            return np.array("NaT", dtype)
        raise InvalidRequest(f"column {name!r} is {type_name}, which has no NaN", advice=f'give nulls={{{name!r}: VALUE}} or "mask"')
    if dtype == object:
        return choice
    value: Any = None
    if dtype.kind == "U":
        value, fits = np.asarray(choice), isinstance(choice, str)
    elif dtype.kind == "V":
        value, fits = np.void(choice) if isinstance(choice, bytes) else None, isinstance(choice, bytes) and len(choice) == dtype.itemsize
    else:
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(choice).astype(dtype)
            fits = value.ndim == 0 and (dtype.kind in "mMf" or bool(value == choice))
        except (TypeError, ValueError, OverflowError):
            fits = False
    if not fits:
        raise InvalidRequest(
            f"nulls={choice!r} does not fit column {name!r} ({type_name})", advice=f"give nulls={{{name!r}: VALUE}} with a value of that type"
        )
    return value
