"""Where tables are found: `connect` and `Lake`.

Problem: scans travel to other processes (DataLoader workers, Ray and Metaflow tasks), which need the lake, but never its secrets. Contract: a
`Lake` says where and how, pickles without token, and opens itself again in a forked or another process, where the token is that of
FASTDATA_TOKEN. Lakes of one process with the same settings share one engine, and so one memory budget.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal
from weakref import WeakValueDictionary

from . import _native
from ._display import html_table, size
from ._errors import ConfigError, Error, InvalidRequest, NotFound, translated
from ._facts import decode
from ._fork import planning
from ._native import Plan
from ._request import whole
from ._table import Table

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SERVERS = ("grpc://", "grpc+tls://")


@dataclass(frozen=True)
class _Settings:
    """All that a lake is opened with, but the token. Nothing here is secret."""

    uri: str | None = None
    warehouse: str | None = None
    config: str | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    plaintext_token: bool = False
    memory: int | None = None
    threads: int | None = None
    retry_seconds: float | None = None
    timeout: float | None = None

    def open(self, token: str | None) -> _native.Lake:
        if self.uri is None:
            return _native.Lake.embedded(
                warehouse=self.warehouse, config=self.config, memory=self.memory, threads=self.threads, timeout=self.timeout
            )
        return _native.Lake.served(
            self.uri,
            token=token,
            ca=self.ca,
            certificate=self.certificate,
            key=self.key,
            plaintext_token=self.plaintext_token,
            memory=self.memory,
            retry_seconds=self.retry_seconds,
            timeout=self.timeout,
        )


class _Token:
    """A secret that neither shows nor travels."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a token is not pickled: set FASTDATA_TOKEN where it is needed")


class _Opened:
    """A native lake of this process, shared by all lakes with the same settings."""

    def __init__(self, lake: _native.Lake) -> None:
        self.lake = lake
        self.process = os.getpid()


_opened: WeakValueDictionary[tuple[_Settings, str | None], _Opened] = WeakValueDictionary()
_opening = threading.Lock()


def _after_fork() -> None:
    # What the parent opened is of no use here, and its lock may be held by a thread that stayed there.
    global _opened, _opening
    _opened, _opening = WeakValueDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def connect(
    location: str | os.PathLike[str] | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    token: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    plaintext_token: bool = False,
    memory: int | str | None = None,
    threads: int | None = None,
    retry_seconds: float | None = None,
    timeout: float | None = None,
) -> Lake:
    """Opens a lake.

    `location`: a directory (an embedded warehouse), a `.toml` file (the catalogs it names), `grpc://HOST:PORT` or `grpc+tls://HOST:PORT` (a server);
    without it `fastdata.toml` and the FASTDATA_* variables decide, as they do for the command.

    `memory` is the budget in bytes, or a text such as "512MiB"; of a served lake it bounds what was pulled and not yet taken. For a server: `token`
    (else the variable FASTDATA_TOKEN), `ca`, `certificate` and `key` (PEM files), `retry_seconds` without progress until a broken stream
    is an error, and `plaintext_token=True`, without which a token is not sent over plaintext to another machine. For an embedded lake:
    `config` (a configuration file) and `threads` that decode.

    `timeout` caps in seconds what may be waited for: connecting, each question, each plan, each scan in all (without the time that your program
    spends between its batches), each batch in training. Then it is `DeadlineExceeded`. Without it, waits end with the deadlines and retries of
    docs/configuration.md.
    """
    if location is None and config is None:
        location = os.environ.get("FASTDATA_WAREHOUSE") or None
    where = None if location is None else os.fspath(location)
    served = where is not None and "://" in where
    if served:
        _refuse_given("a served lake", "they belong to the server", config=config, threads=threads)
    else:
        _refuse_given(
            "an embedded lake", "they are for grpc:// and grpc+tls://",
            token=token, ca=ca, certificate=certificate, key=key, plaintext_token=plaintext_token or None, retry_seconds=retry_seconds,
        )  # fmt: skip
    budget = _budget(memory)
    timeout = _timeout(timeout)
    threads = whole("threads", threads, least=1, most=1024)
    if served:
        assert where is not None
        settings = _Settings(
            uri=_uri(where),
            ca=_file("ca", ca),
            certificate=_file("certificate", certificate),
            key=_file("key", key),
            plaintext_token=plaintext_token,
            memory=budget,
            retry_seconds=retry_seconds,
            timeout=timeout,
        )
    elif where is not None and where.endswith(".toml"):
        if config is not None:
            raise InvalidRequest("two configuration files", advice="give the .toml file once")
        settings = _Settings(config=_file("location", where), memory=budget, threads=threads, timeout=timeout)
    else:
        settings = _Settings(
            warehouse=_directory(where), config=_file("config", config or _found()), memory=budget, threads=threads, timeout=timeout
        )
    lake = Lake._of(settings, token)
    lake._native()
    return lake


def _refuse_given(what: str, why: str, **given: object) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise InvalidRequest(f"{what} takes no {', '.join(names)}", advice=why)


def _uri(where: str) -> str:
    scheme = where.partition("://")[0]
    if not where.startswith(_SERVERS):
        raise InvalidRequest(
            f"a location with the scheme {scheme}://",
            advice="give a directory, a .toml file, grpc://HOST:PORT or grpc+tls://HOST:PORT; a catalog elsewhere is named in fastdata.toml",
        )
    if "@" in where:
        raise InvalidRequest("the server's address holds credentials", advice="leave them out and give token=... or FASTDATA_TOKEN")
    if any(mark in where.partition("://")[2] for mark in "/?#"):
        raise InvalidRequest("the server's address has more than host and port", advice=f"write {scheme}://HOST:PORT")
    return where


def _directory(where: str | None) -> str | None:
    if where is None:
        return None
    if not os.path.isdir(where):
        problem = "is a file" if os.path.exists(where) else "does not exist"
        raise NotFound(
            f"the warehouse {where!r} {problem}",
            advice="a location is a directory with catalog.db, a .toml file, or grpc://HOST:PORT",
            stage="config",
        )
    return os.path.abspath(where)


def _file(name: str, path: str | os.PathLike[str] | None) -> str | None:
    """The absolute path of an existing file. What was given is not repeated: it might be the key itself."""
    if path is None:
        return None
    if not os.path.isfile(path):
        shown = f" {os.fspath(path)!r}" if name in ("location", "config") else ""
        raise ConfigError(f"{name}: there is no such file{shown}", advice=f"give the path of a file as {name}", stage="config")
    return os.path.abspath(path)


def _found() -> str | None:
    """The configuration file that the command would take here, so that other processes take the same."""
    if "FASTDATA_CONFIG" in os.environ:
        return os.environ["FASTDATA_CONFIG"]
    return "fastdata.toml" if os.path.isfile("fastdata.toml") else None


def _budget(memory: int | str | None) -> int | None:
    if memory is None or (isinstance(memory, int) and not isinstance(memory, bool)):
        amount = memory
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", memory) if isinstance(memory, str) else None
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise InvalidRequest(f"memory is {memory!r}", advice='give bytes, or a text such as "512MiB"')
        amount = int(float(match[1]) * unit)
    if amount is not None and amount <= 0:
        raise InvalidRequest(f"memory is {memory!r}", advice='give bytes, or a text such as "512MiB"')
    return amount


def _timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < 1e9:
        raise InvalidRequest(f"timeout is {timeout!r}", advice="give seconds, more than 0, or None for no cap")
    return float(timeout)


class Lake:
    """The tables of a warehouse, of a configuration's catalogs or of a server. Made by `connect`.

    It pickles without its token, and opens itself again in the process that uses it. `lake["ns.table"]` is a table, `"ns.table" in lake` says whether
    there is one.
    """

    def __init__(self) -> None:
        raise TypeError("a Lake is made by fastdata.connect(...)")

    @classmethod
    def _of(cls, settings: _Settings, token: str | None = None) -> Lake:
        lake = cls.__new__(cls)
        lake.__setstate__({"settings": asdict(settings)})
        lake._token = _Token(token.strip()) if token is not None else None
        return lake

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": asdict(self._settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings = _Settings(**state["settings"])
        self._token: _Token | None = None
        self._open: _Opened | None = None
        self._closed = False

    @property
    def mode(self) -> Literal["embedded", "served"]:
        """Who reads the files: this process, or a server."""
        return "embedded" if self._settings.uri is None else "served"

    @property
    def location(self) -> str:
        """The directory, file or server; no secrets."""
        settings = self._settings
        return settings.uri or settings.warehouse or settings.config or "fastdata.toml and FASTDATA_* variables"

    @property
    def memory(self) -> int:
        """The budget in bytes."""
        return self._native().memory

    def _native(self) -> _native.Lake:
        """The open lake of this process."""
        if self._closed:
            raise InvalidRequest(f"the lake {self.location} is closed", advice="connect again")
        opened = self._open
        if opened is None or opened.process != os.getpid():
            opened = self._open = self._shared()
        return opened.lake

    def _shared(self) -> _Opened:
        token = self._token._text if self._token is not None else None
        if token is None and self._settings.uri is not None:
            token = os.environ.get("FASTDATA_TOKEN") or None
        with _opening:
            opened = _opened.get((self._settings, token))
            if opened is None:
                with translated, planning:
                    opened = _Opened(self._settings.open(token))
                _opened[(self._settings, token)] = opened
            return opened

    def _ask(self, action: str, body: str) -> Any:
        return decode(self._answer(action, body))

    def _answer(self, action: str, body: str) -> str:
        """The JSON answer of an action of docs/actions.md."""
        native = self._native()
        with translated, planning:
            return native.ask(action, body)

    def _plan(self, request: str) -> Plan:
        """Plans the JSON of a request."""
        native = self._native()
        with translated, planning:
            return native.plan(request)

    def tables(self, namespace: str | None = None) -> list[str]:
        """The names of the tables, of all namespaces or of one, as `lake[...]` takes them."""
        native = self._native()
        with translated, planning:
            listed = decode(native.tables(namespace))
        return [entry["table"] for entry in listed]

    def table(self, name: str) -> Table:
        """The table with this name. Nothing is contacted yet: a table that is not there is `not-found` where it is first used."""
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"a table's name is {name!r}", advice="give namespace.table or catalog.namespace.table as text")
        return Table(self, name)

    __getitem__ = table

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name:
            return False
        try:
            self.table(name).describe()
        except NotFound:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables())

    def close(self) -> None:
        """Lets go of the engine or connection; what is still iterated goes on. Idempotent."""
        self._closed = True
        self._open = None

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lake) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(self._settings)

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        budget = f", memory {size(self._settings.memory)}" if self._settings.memory else ""
        return f"Lake({self.location!r}, {self.mode}{budget}{state})"

    def _repr_html_(self) -> str:
        try:
            rows = [] if self._closed else [(name,) for name in self.tables()]
        except Error as error:
            # Showing a variable is no place for a traceback.
            rows = [(str(error),)]
        return html_table(repr(self), ("table",), rows)
