"""The native half of the package: the engine and the client. Everything here is thin; what people use is in the Python files beside it.

Requests, cursors, facts and statistics cross as JSON texts, the same that the server's protocol has; rows cross as Arrow through capsules.
Every blocking call releases the GIL and looks for signals, so that Ctrl-C ends it at once. Objects belong to the process that made them: in a forked
child they raise `ForkError` when used.
"""

from typing import Any, Literal, final

__all__ = [
    "Batch",
    "Buffer",
    "Column",
    "Feed",
    "ForkError",
    "Lake",
    "NativeError",
    "Plan",
    "Schema",
    "Stream",
    "__version__",
    "merge_cursors",
    "render_explanation",
    "run_command",
]
__version__: str

# (kind, stage, message, advice, retryable) of an error of the engine; `fastdata._errors` turns it into its own class.
class NativeError(Exception):
    args: tuple[str, str, str, str | None, bool]

class ForkError(RuntimeError): ...

def run_command(arguments: list[str]) -> int:
    """Runs the `fastdata` command with these arguments (without the program's name) and returns its exit status."""

def merge_cursors(cursors: list[str]) -> str:
    """The cursors of all ranks as one; `plan-mismatch` where they are of different plans, snapshots or epochs."""

def render_explanation(answer: str) -> str:
    """The JSON answer of `fastdata.v1.Explain` as `fastdata plan` prints it."""

@final
class Lake:
    @staticmethod
    def embedded(
        *,
        warehouse: str | None = None,
        config: str | None = None,
        memory: int | None = None,
        threads: int | None = None,
        moved: bool = False,
        timeout: float | None = None,
    ) -> Lake:
        """This process reads. Without a warehouse the catalogs of the configuration file (`fastdata.toml` where none is named) are used.

        Budget in bytes; `timeout` in seconds. Nothing is contacted; wrong settings are `config` errors.
        """
    @staticmethod
    def served(
        uri: str,
        *,
        token: str | None = None,
        ca: str | None = None,
        certificate: str | None = None,
        key: str | None = None,
        plaintext_token: bool = False,
        memory: int | None = None,
        retry_seconds: float | None = None,
        timeout: float | None = None,
    ) -> Lake:
        """Connects to `grpc://HOST:PORT` or `grpc+tls://HOST:PORT`. `memory` bounds what was pulled and not taken, in bytes."""
    memory: int
    """The budget in bytes."""
    def tables(self, namespace: str | None = None) -> str:
        """JSON list of {table, catalog, namespace: [..], name}."""
    def ask(self, action: str, body: str) -> str:
        """The JSON answer of an action of docs/actions.md (`Describe`, `Explain`, `Count`, `Snapshots`, `Refs`, `Files`, `Shards`)."""
    def plan(self, request: str) -> Plan:
        """Plans a ScanRequest (JSON, docs/scan-request.md)."""

@final
class Plan:
    """A planned scan: its snapshot and schema stay, whatever is committed."""

    def facts(self) -> str:
        """JSON: request (pinned to snapshotId and schemaId), planDigest, snapshotId, schemaId, lanes, laneRows (before filters and deletes, empty where
        they are not told), rowsEstimated (or null), notes (list of texts), planningUs."""
    def schema(self) -> Schema: ...
    def rows(self, *, lanes: list[int] | None = None, batch_rows: int | None = None) -> Stream:
        """The rows: of every lane or of these, one lane after the other. `batch_rows`: batches of exactly so many rows, the last excepted; without
        it batches as they are decoded. Lazy: nothing is read before the first batch is asked for."""
    def feed(
        self,
        *,
        rank: int,
        world: int,
        batch_rows: int,
        last: Literal["drop", "pad", "uneven"],
        interleave: int,
        cursor: str | None = None,
    ) -> Feed:
        """The batches of one rank: its lanes, `interleave` of them at a time."""
    def start(self) -> str:
        """A cursor (JSON) at the beginning of every lane."""
    def check(self, cursor: str) -> None:
        """Raises `plan-mismatch` for a cursor of another table, snapshot, filter, seed, epoch or number of lanes."""
    def counts(self) -> list[int]:
        """Rows that each lane yields, exactly; worked out once for a plan."""

@final
class Stream:
    """An iterator of batches, and an Arrow stream."""

    def __iter__(self) -> Stream: ...
    def __next__(self) -> Batch: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hands the rest of the stream over; it can no longer be iterated here."""
    def schema(self) -> Schema: ...
    def stats(self) -> str:
        """JSON of ScanStats so far; also while another consumer reads the stream, and after its end."""
    def done(self) -> bool:
        """Whether the stream came to its end, failed, or was closed."""
    def close(self) -> None:
        """Ends every read. Idempotent."""

@final
class Feed:
    """An iterator of a rank's batches, prepared ahead by threads of its own."""

    def __iter__(self) -> Feed: ...
    def __next__(self) -> Batch: ...
    def cursor(self) -> str:
        """Behind the last batch that was handed out: positions of this rank's lanes, and of others as they were given."""
    def schema(self) -> Schema: ...
    def stats(self) -> str: ...
    def done(self) -> bool: ...
    def close(self) -> None: ...
    steps: int | None
    """How many batches there are from the start of this feed; None where `last` is "uneven"."""
    dropped: int
    """Rows of this rank that "drop" leaves out; 0 for the others."""
    repeated: int
    """Rows that "pad" adds to this rank by repeating its first; 0 for the others."""

@final
class Schema:
    def __arrow_c_schema__(self) -> object: ...
    def names(self) -> list[str]: ...
    def types(self) -> list[str]:
        """Arrow types as text, in the order of the names."""
    def nullable(self) -> list[bool]: ...
    def empty(self) -> Batch:
        """A batch without rows."""
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Batch:
    """Rows as an Arrow record batch."""

    num_rows: int
    num_bytes: int
    def schema(self) -> Schema: ...
    def column(self, index: int) -> Column: ...
    def slice(self, offset: int, length: int) -> Batch: ...
    def render(self, rows: int) -> str:
        """The first rows as a table of text."""
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """For consumers that take streams only."""
    def __arrow_c_schema__(self) -> object: ...
    @staticmethod
    def concat(batches: list[Batch]) -> Batch:
        """One batch of several with the same schema; the same batch where there is one."""

@final
class Column:
    """One Arrow array, taken apart into buffers that NumPy and torch take over."""

    kind: Literal["fixed", "decimal", "text", "bytes", "list", "fixed_list", "struct", "dictionary", "null", "other"]
    """fixed: numbers, booleans, dates (int32 days), times and timestamps; text: Utf8 in any encoding but dictionary; list: List, LargeList and Map."""
    type: str
    """The Arrow type as text."""
    length: int
    null_count: int
    def values(self, writable: bool) -> Buffer:
        """Of `fixed`: one element a row, NULLs as 0. Of `dictionary`: int32 indices, NULLs as -1. `writable`: memory that nothing else holds, copied only where it must be."""
    def floats(self) -> Buffer:
        """Of `decimal`: the nearest float64, NULLs as 0."""
    def validity(self) -> Buffer | None:
        """One bool a row, True where it is not NULL; None without NULLs."""
    def offsets(self) -> Buffer:
        """Of `list`, `text` and `bytes`: int64, length + 1, beginning with 0."""
    def data(self, writable: bool) -> Buffer:
        """Of `text` and `bytes`: uint8, the bytes that the offsets cut."""
    def width(self) -> int:
        """Of `fixed_list`: values a row."""
    def child(self) -> Column:
        """Of `list` and `fixed_list`: the values, those of NULL rows left out of a list and kept in a fixed list. Of `dictionary`: its values."""
    def fields(self) -> list[tuple[str, Column]]:
        """Of `struct`."""
    def objects(self) -> list[Any]:
        """Python objects: int, float, bool, str, bytes, datetime, date, time, Decimal, UUID as bytes, list, dict; None for NULL."""

@final
class Buffer:
    """Memory with NumPy's array interface; the array keeps it alive."""

    __array_interface__: dict[str, Any]
    def __len__(self) -> int: ...
