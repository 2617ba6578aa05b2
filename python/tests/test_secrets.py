"""Nothing that leaves the process, or is shown, holds a secret; and a token goes where it may."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, command, free_port, python

import fastdata as fd

CANARY = "canary-5f0c9b71"


def shown(thing: Any) -> str:
    html = thing._repr_html_() if hasattr(thing, "_repr_html_") else ""
    return repr(thing) + str(thing) + html + repr(getattr(thing, "__dict__", ""))


def everything(lake: fd.Lake) -> Iterator[Any]:
    table = lake["py.many"]
    scan = table.scan(["id"], "id < 100")
    yield from (lake, table, scan, scan.pin(), scan.shuffle(1), *scan.shards(2))
    run = table.scan(["id"]).shuffle(3).lanes(4)
    epoch = run.epoch(1)
    shard = epoch.shard(0, 2)
    batches = shard.batches(10)
    next(batches)
    yield from (run, epoch, shard, batches.cursor(), run.resume(batches.cursor()))


def test_pickles_and_reprs_hold_no_token(server: Server) -> None:
    for thing in everything(fd.connect(server.url, token=CANARY)):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert CANARY.encode() not in pickle.dumps(thing, protocol), type(thing)
        assert CANARY not in shown(thing), type(thing)


def test_pickles_and_reprs_hold_no_credentials_of_catalogs(warehouse: Path, tmp_path: Path) -> None:
    catalogs = f'[catalogs.local]\ntype = "sql"\nuri = "sqlite:///{warehouse}/catalog.db"\nwarehouse = "file://{warehouse}"\n'
    catalogs += f'"s3.access-key-id" = "{CANARY}"\n"s3.secret-access-key" = "{CANARY}"\n'
    far = f'[catalogs.far]\ntype = "rest"\nuri = "http://127.0.0.1:{free_port()}"\ncredential = "id:{CANARY}"\n"fastdata.allow-plaintext" = true\n'
    (tmp_path / "fastdata.toml").write_text(catalogs)
    (tmp_path / "far.toml").write_text(far)
    lake = fd.connect(tmp_path / "fastdata.toml")
    for thing in everything(lake):
        assert CANARY.encode() not in pickle.dumps(thing), type(thing)
        assert CANARY not in shown(thing), type(thing)
    away = fd.connect(tmp_path / "far.toml")
    assert CANARY.encode() not in pickle.dumps(away) and CANARY not in repr(away)
    with pytest.raises(fd.Unavailable) as caught:
        away["far.a.b"].describe()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.fixture(scope="module")
def guarded(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server that asks for a token, and the token."""
    folder = tmp_path_factory.mktemp("guarded")
    import subprocess

    from support import binary

    done = subprocess.run([binary(), "token", "alice"], check=True, capture_output=True, text=True, timeout=60)
    (folder / "tokens").write_text(done.stderr)
    serving = Server(warehouse, folder, f'[server.auth]\ntokens = "{folder / "tokens"}"\n')
    yield serving, done.stdout.strip()
    serving.stop()


def test_a_shard_takes_the_token_of_the_process_that_reads_it(guarded: tuple[Server, str]) -> None:
    server, token = guarded
    shards = fd.connect(server.url, token=f"{token}\n")["py.many"].scan(["id"], "id < 1000").shards(2)
    script = "import pickle, sys\nshard = pickle.loads(bytes.fromhex(sys.argv[1]))\nprint(sum(len(batch) for batch in shard.batches()))"
    sent = [pickle.dumps(shard).hex() for shard in shards]
    assert sum(int(python(script, hexed, FASTDATA_TOKEN=token).stdout) for hexed in sent) == 1000
    refused = python(script, sent[0], check=False)
    assert refused.returncode == 1 and "fastdata.Unauthenticated" in refused.stderr and "give token=, or set FASTDATA_TOKEN" in refused.stderr
    assert token not in refused.stderr
    wrong = python(script, sent[0], check=False, FASTDATA_TOKEN=CANARY)
    assert "Unauthenticated" in wrong.stderr and CANARY not in wrong.stderr


def test_a_wrong_token_is_unauthenticated(guarded: tuple[Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, token = guarded
    with pytest.raises(fd.Unauthenticated) as caught:
        fd.connect(server.url, token=CANARY).tables()
    assert CANARY not in str(caught.value) and isinstance(caught.value, PermissionError)
    monkeypatch.setenv("FASTDATA_TOKEN", token)
    assert "py.many" in fd.connect(server.url).tables()


def test_a_token_goes_over_plaintext_to_other_machines_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = "grpc://192.0.2.1:8815"
    for arguments in ({"token": CANARY}, {}):
        if not arguments:
            monkeypatch.setenv("FASTDATA_TOKEN", CANARY)
        with pytest.raises(fd.Error) as caught:
            fd.connect(elsewhere, retry_seconds=0.1, **arguments).tables()
        assert not isinstance(caught.value, fd.Unavailable) and "plaintext" in str(caught.value) and CANARY not in str(caught.value)
        assert "grpc+tls" in str(caught.value)
    with pytest.raises(fd.Unavailable) as caught:
        fd.connect(elsewhere, token=CANARY, plaintext_token=True, retry_seconds=0.1).tables()
    assert CANARY not in str(caught.value)


def test_a_token_cannot_be_pickled_by_itself(server: Server) -> None:
    token = fd.connect(server.url, token=CANARY)._token
    assert CANARY not in repr(token)
    with pytest.raises(TypeError, match="FASTDATA_TOKEN"):
        pickle.dumps(token)


def test_the_command_and_the_package_read_the_same_variables(warehouse: Path) -> None:
    script = "import fastdata as fd\nlake = fd.connect()\nprint(lake.location, lake['tpch.region'].count())"
    assert python(script, FASTDATA_WAREHOUSE=str(warehouse)).stdout == f"{warehouse} 5\n"
    assert command("count", "tpch.region", "--warehouse", str(warehouse)).strip() == "5"
