"""The exceptions of the package: one class for each kind of docs/errors.md.

Problem: a caller wants to catch a kind by its class, read what to do next, and know whether trying again may help. Contract: whatever the
engine reports arrives as a subclass of `Error`, which also inherits the builtin exception that fits, so that `except LookupError` and
`except ConnectionError` do what they say. How: every call into the native module runs inside `translated`.
"""

from __future__ import annotations

import re
from types import TracebackType

from . import _native


class Error(Exception):
    """What went wrong, and the next step.

    `kind` is a kind of docs/errors.md; `stage` is where it arose (request, config, catalog, plan, read, store, serve, client, output);
    `retryable` says whether the same call may succeed when it is repeated.
    """

    kind: str = "internal"

    def __init__(self, message: str, *, advice: str | None = None, stage: str = "request", retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.stage = stage
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message}\n  help: {self.advice}" if self.advice else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.advice, self.stage, self.retryable))


class InvalidRequest(Error, ValueError):
    """The request cannot be right: change it."""

    kind = "invalid-request"


class NotFound(Error, LookupError):
    """No table, column, snapshot or reference of that name; the advice has the nearest ones."""

    kind = "not-found"


class Unsupported(Error, NotImplementedError):
    """The table uses a feature that this version does not read; nothing was returned."""

    kind = "unsupported"


class Corrupt(Error):
    """Metadata or a file contradicts the specification or itself."""

    kind = "corrupt"


class MissingFile(Error, FileNotFoundError):
    """A file that the table refers to is not there."""

    kind = "missing-file"


class LocationNotAllowed(Error, PermissionError):
    """A reference leaves the allowed locations and was not opened."""

    kind = "location-not-allowed"


class BudgetTooSmall(Error, MemoryError):
    """The memory budget cannot hold one step; the message names what it takes."""

    kind = "budget-too-small"


class LimitExceeded(Error):
    """A cap on the size of a request, of metadata or of a plan; retryable where a server has no room now."""

    kind = "limit-exceeded"


class Unavailable(Error, ConnectionError):
    """A catalog, store or server could not be reached, or answered with a passing fault."""

    kind = "unavailable"


class Unauthenticated(Error, PermissionError):
    """Credentials are missing, wrong or expired."""

    kind = "unauthenticated"


class PermissionDenied(Error, PermissionError):
    """The credentials do not permit this."""

    kind = "permission-denied"


class DeadlineExceeded(Error, TimeoutError):
    """It took longer than it was given."""

    kind = "deadline-exceeded"


class Cancelled(Error):
    """Somebody stopped it."""

    kind = "cancelled"


class PlanMismatch(Error, ValueError):
    """A cursor or a shard belongs to another plan, snapshot or epoch."""

    kind = "plan-mismatch"


class TicketExpired(Error, PermissionError):
    """A server's ticket is past its time, and planning again did not help."""

    kind = "ticket-expired"


class ConfigError(Error, ValueError):
    """The configuration is wrong: every problem is listed."""

    kind = "config"


class OutputError(Error, OSError):
    """The output could not be written."""

    kind = "output"


class InternalError(Error, RuntimeError):
    """A fault of fastdata: report it."""

    kind = "internal"


class ForkError(Error, RuntimeError):
    """Something that belongs to the process this one is a fork of: threads and connections stayed there."""

    kind = "invalid-request"


class MissingPackage(Error, ImportError):
    """An optional package is not installed."""

    kind = "config"


def needs(package: str, extra: str) -> Error:
    """What to say where an optional package is not installed."""
    return MissingPackage(
        f"this needs the package {package}, which is not installed",
        advice=f'pip install {package}, or the extra: pip install "{_distribution()}[{extra}]"',
    )


KINDS: dict[str, type[Error]] = {
    error.kind: error
    for error in (
        InvalidRequest,
        NotFound,
        Unsupported,
        Corrupt,
        MissingFile,
        LocationNotAllowed,
        BudgetTooSmall,
        LimitExceeded,
        Unavailable,
        Unauthenticated,
        PermissionDenied,
        DeadlineExceeded,
        Cancelled,
        PlanMismatch,
        TicketExpired,
        ConfigError,
        OutputError,
        InternalError,
    )
}


def _rebuild(error: type[Error], message: str, advice: str | None, stage: str, retryable: bool) -> Error:
    return error(message, advice=advice, stage=stage, retryable=retryable)


# The engine's words for the command line and the protocol, and ours.
_WORDS = [
    (re.compile(pattern), words)
    for pattern, words in (
        (r"--memory (\w+)", r'memory="\1"'),
        (r"--certificate and --key", "certificate= and key="),
        (r"--ca with the file", "ca= with the file"),
        (r"give --token-file FILE or set FASTDATA_TOKEN", "give token= or set FASTDATA_TOKEN"),
        (r"send the header `authorization: Bearer TOKEN`", "give token= or set FASTDATA_TOKEN"),
        (r"give a token that the server accepts", "give token=, or set FASTDATA_TOKEN, to one that the server accepts"),
        (r"or ask for plaintext explicitly", "or give plaintext_token=True"),
        (r"give --from ID", "give after=ID"),
        (r"'to' is given without 'from'", "up_to is given without after"),
        (r"more than one of snapshot, ref, as-of and from", "more than one of snapshot, ref, as_of and after"),
        (r"give --warehouse DIR", "give a folder to fastdata.connect"),
        (r"`fastdata tables` lists", "lake.tables() lists"),
        (r"--rewrite FROM=TO", '`rewrites = ["FROM=TO"]` in a fastdata.toml'),
        (r"--allow PREFIX", '`allow = ["PREFIX"]` in a fastdata.toml'),
    )
]


def _in_python(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def from_native(error: _native.NativeError) -> Error:
    """The exception of this package for one of the native module."""
    kind, stage, message, advice, retryable = error.args
    message, advice = _in_python(message), advice and _in_python(advice)
    return KINDS.get(kind, InternalError)(message, advice=advice, stage=stage, retryable=retryable)


for _error in (Error, ForkError, MissingPackage, *KINDS.values()):
    # Tracebacks name them as people import them.
    _error.__module__ = "fastdata"


class _Translated:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, _native.NativeError):
            raise from_native(error) from None
        if isinstance(error, _native.ForkError):
            raise ForkError(str(error), advice="call fastdata.connect again in this process, and make a new iterator") from None


translated = _Translated()
"""`with translated:` turns errors of the native module into those of this package."""


def _distribution() -> str:
    from importlib.metadata import packages_distributions

    names = packages_distributions().get("fastdata", [])
    return names[0] if names else "fastdata-iceberg"


__all__ = ["Error", "ForkError", "MissingPackage", *sorted(error.__name__ for error in KINDS.values())]
