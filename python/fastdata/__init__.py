"""fastdata: rows out of Apache Iceberg tables, fast and exact.

    import fastdata as fd
    lake = fd.connect("./warehouse")            # or fd.connect("grpc://host:8815")
    lake["ml.features"].scan(columns=["id", "f0"], where="f0 > 3").to_polars()

`connect` gives a `Lake`, which has `Table`s, of which `Scan`s are made: to whole tables of other libraries, to iterators of batches in bounded
memory, to shards for tasks elsewhere, and to runs of training that resume exactly on any number of ranks.
"""

from ._batch import Batch
from ._batches import Batches, Rows
from ._cursor import Cursor
from ._errors import (
    BudgetTooSmall,
    Cancelled,
    ConfigError,
    Corrupt,
    DeadlineExceeded,
    Error,
    ForkError,
    InternalError,
    InvalidRequest,
    LimitExceeded,
    LocationNotAllowed,
    MissingFile,
    MissingPackage,
    NotFound,
    OutputError,
    PermissionDenied,
    PlanMismatch,
    TicketExpired,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from ._lake import Lake, connect
from ._native import __version__
from ._options import options
from ._plan import ScanPlan, ScanStats
from ._run import Epoch, EpochShard, Run
from ._scan import Scan, Shard
from ._schema import Schema
from ._table import Table

__all__ = [
    "Batch",
    "Batches",
    "BudgetTooSmall",
    "Cancelled",
    "ConfigError",
    "Corrupt",
    "Cursor",
    "DeadlineExceeded",
    "Epoch",
    "EpochShard",
    "Error",
    "ForkError",
    "InternalError",
    "InvalidRequest",
    "Lake",
    "LimitExceeded",
    "LocationNotAllowed",
    "MissingFile",
    "MissingPackage",
    "NotFound",
    "OutputError",
    "PermissionDenied",
    "PlanMismatch",
    "Rows",
    "Run",
    "Scan",
    "ScanPlan",
    "ScanStats",
    "Schema",
    "Shard",
    "Table",
    "TicketExpired",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "__version__",
    "connect",
    "options",
]
