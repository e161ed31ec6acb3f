"""What is written for people and for other programs never holds a secret.

Every command, in text and JSON, reports and saved measurements, with the keys
in the environment and in a profile, right ones and wrong ones; wrappers and
file systems in every text that they can be seen as.
"""

from __future__ import annotations

import base64
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pytest
from conftest import Tried

from objectstorage import StorageError, aio, open_storage, wrappers
from objectstorage.aio.local import ThreadedStorage
from objectstorage.cli.__main__ import main
from objectstorage.memory import MemoryStorage
from objectstorage.testing.servers import S3Server
from objectstorage.wrappers import aio as async_wrappers

pytestmark = pytest.mark.faults

CANARY = "canary/Secret+Key0123456789"


def forms(secret: str) -> set[str]:
    """The ways in which text may hold it."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret, safe=""), quote(secret), encoded, secret.encode().hex()}


class Commands:
    """Runs commands with a secret at hand, and looks for it in all that they leave."""

    def __init__(self, folder: Path, secret: str, capsys: Any, caplog: Any) -> None:
        self.folder = folder
        self.secret = secret
        self.count = 0
        self.failures: list[str] = []
        self._capsys = capsys
        self._caplog = caplog

    def __call__(self, *argv: object) -> int:
        try:
            code = main(list(map(str, argv)))
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = self._capsys.readouterr()
        for text in (out.decode("latin-1"), err.decode("latin-1"), self._caplog.text):
            assert not any(form in text for form in forms(self.secret)), argv
        self.count += 1
        if code:
            self.failures.append(f"{argv[0]}: {err.decode()}")
        return code

    def check_files(self) -> None:
        """What the commands have written; not the profile, which holds it."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "config.toml":
                text = path.read_bytes().decode("latin-1")
                assert not any(form in text for form in forms(self.secret)), path


def run_all(run: Commands, server: S3Server, options: list[str], *, works: bool) -> None:
    url = server.fresh_url()
    file = run.folder / "file"
    file.write_bytes(b"data")
    (run.folder / "tree").mkdir()
    (run.folder / "tree" / "a").write_bytes(b"a")
    small = ["--count", "2", "--repeats", "1", "--warmup", "0", "--objects", "2"]
    html, saved = run.folder / "report.html", run.folder / "saved.jsonl"
    for output in ([], ["--json"]):
        more = [*options, *output]
        codes = [
            run("put", *more, file, f"{url}/k"),
            run("ls", *more, f"{url}/"),
            run("stat", *more, f"{url}/k"),
            run("cat", *more, f"{url}/k"),
            run("get", *more, f"{url}/k", run.folder / f"got-{run.count}"),
            run("cp", *more, f"{url}/k", f"{url}/l"),
            run("mv", *more, f"{url}/l", f"{url}/m"),
            run("sync", *more, run.folder / "tree", f"{url}/tree/"),
            run("bench", *more, "--workloads", "put", *small, "--html", html, "--save", saved, url),
            run("demo", *more, "--store", url),
            run("data", "status", *more, "--store", f"{url}/data/"),
            run("rm", *more, f"{url}/k"),
        ]
        # there is no data manager to see
        assert set(codes[:-2]) == {0} if works else 0 not in codes, run.failures
        # what goes wrong, of the user's doing and others'
        run("get", *more, f"{url}/none", file)
        run("ls", *more, "--option", "none=1", url)
        run("ls", *more, "--endpoint", "http://127.0.0.1:1", "--option", "attempts=1", url)
        run("ls", *more, f"s3://{run.secret.replace('/', '')}@bucket/k")
    if works:
        assert run("doctor", *options, "--json", url) == 0
        assert html.read_text().startswith("<!")
        assert saved.stat().st_size
    run.check_files()


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    for name in ("OBJECTSTORAGE_CONFIG", "OBJECTSTORAGE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("works", [True, False], ids=["right", "wrong"])
def test_commands_with_a_secret_in_the_environment(
    works: bool,
    tmp_path: Path,
    seaweedfs: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: Any,
    caplog: pytest.LogCaptureFixture,
    tried: Tried,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = seaweedfs.secret_key if works else CANARY
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    run = Commands(tmp_path, secret, capsysbinary, caplog)
    run_all(run, seaweedfs, ["--endpoint", seaweedfs.endpoint], works=works)
    tried("hostile input", "commands searched for the secret they were given", run.count)


@pytest.mark.usefixtures("clean")
def test_commands_with_a_secret_in_a_profile(
    tmp_path: Path,
    seaweedfs: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: Any,
    caplog: pytest.LogCaptureFixture,
    tried: Tried,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = {"endpoint": seaweedfs.endpoint, "access_key": "someone", "secret_key": CANARY}
    values = ", ".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    config = tmp_path / "config.toml"
    config.write_text(f'[wrong]\nurl = "s3://{seaweedfs.bucket}"\noptions = {{ {values} }}\n')
    monkeypatch.setenv("OBJECTSTORAGE_CONFIG", str(config))
    run = Commands(tmp_path, CANARY, capsysbinary, caplog)
    run_all(run, seaweedfs, ["--profile", "wrong"], works=False)
    config.write_text(config.read_text() + f'broken = "{CANARY}\n')
    assert run("ls", "--profile", "wrong", "k") != 0
    tried("hostile input", "commands searched for the secret they were given", run.count)


# -- wrappers and file systems ---------------------------------------------------

_OPTIONS: dict[str, Any] = {
    "endpoint": "http://127.0.0.1:1",
    "access_key": "someone",
    "secret_key": CANARY,
    "attempts": 1,
}


def ignore(event: object) -> None:
    """An observer that can be pickled."""


WRAPPERS: dict[str, Callable[[Any, Any], Any]] = {
    "PrefixStorage": lambda cls, store: cls(store, "p/"),
    "ReadOnlyStorage": lambda cls, store: cls(store),
    "DryRunStorage": lambda cls, store: cls(store),
    "CachingStorage": lambda cls, store: cls(
        store,
        ThreadedStorage(MemoryStorage()) if cls.__name__.startswith("Async") else MemoryStorage(),
        max_bytes=1000,
    ),
    "LimitedStorage": lambda cls, store: cls(store),
    "ObservedStorage": lambda cls, store: cls(store, ignore),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers(name: str) -> None:
    make = WRAPPERS[name]
    stores = [
        make(getattr(wrappers, name), open_storage("s3://bucket/p", **_OPTIONS)),
        make(getattr(async_wrappers, f"Async{name}"), aio.open_storage("s3://bucket", **_OPTIONS)),
    ]
    for store in stores:
        texts = [repr(store), str(store), store.url, repr(store.capabilities)]
        with pytest.raises(TypeError) as caught:
            pickle.dumps(store)
        texts += [str(caught.value), repr(vars(store))]
        assert not any(form in text for text in texts for form in forms(CANARY))
    with pytest.raises(StorageError) as failed:
        stores[0].get("k")
    assert not any(form in repr(failed.value) + str(failed.value) for form in forms(CANARY))
    stores[0].close()


def test_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    fs = fsspec.filesystem(
        "objectstorage+s3", endpoint="http://127.0.0.1:1", attempts=1, skip_instance_cache=True
    )
    texts = [repr(fs), str(fs), fs.to_json(), repr(pickle.dumps(fs)), repr(fs.to_dict())]
    with pytest.raises(StorageError) as caught:
        fs.cat("bucket/k")
    texts += [str(caught.value), repr(caught.value)]
    # An option is in `to_json` by design, as the documentation says; not where it is shown.
    given = fsspec.filesystem("objectstorage+s3", skip_instance_cache=True, **_OPTIONS)
    texts += [repr(given), str(given)]
    with pytest.raises(StorageError) as caught:
        given.cat("bucket/k")
    texts += [str(caught.value), repr(caught.value)]
    assert [text for text in texts if any(form in text for form in forms(CANARY))] == []
