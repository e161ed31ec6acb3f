"""Clients of fsspec, unchanged, by URL: pandas, pyarrow, zarr, UPath, duckdb, polars."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy
import pandas
import pytest
from conftest import make_target

from objectstorage.filesystem import PosixFileSystem

# What came after the fork is in duckdb's and zarr's threads, not in ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Home(NamedTuple):
    """A place of a client's own: a URL, and the options that go with it."""

    url: str
    options: dict[str, Any]

    @property
    def fs(self) -> Any:
        return fsspec.url_to_fs(self.url, **self.options)[0]

    @property
    def path(self) -> str:
        return str(self.fs._strip_protocol(self.url))


SHARED = ["posix", "store_url", "s3-seaweedfs", "s3-moto"]


@pytest.fixture(params=["memory", *SHARED])
def home(request: pytest.FixtureRequest) -> Home:
    kind = "posix" if request.param == "store_url" else request.param
    where = make_target(kind, request).fresh()
    if request.param == "memory":
        return Home(f"objectstorage+memory://{where}/work", {})
    if request.param == "posix":
        PosixFileSystem(store_root=str(where)).touch(f"{where}/mark")
        return Home(f"objectstorage+posix://{where}/work", {})
    if request.param == "store_url":
        return Home("objectstorage://work", {"store_url": f"posix://{where}"})
    options = request.getfixturevalue(request.param.removeprefix("s3-")).options()
    return Home(f"objectstorage+{where}/work", options)


FRAME = pandas.DataFrame(
    {
        "n": range(1000),
        "group": ["odd" if i % 2 else "even" for i in range(1000)],
        "x": numpy.linspace(0, 1, 1000),
    }
)


# -- pandas --------------------------------------------------------------------------


def test_pandas_parquet(home: Home) -> None:
    url = f"{home.url}/frame.parquet"
    FRAME.to_parquet(url, storage_options=home.options)
    pandas.testing.assert_frame_equal(pandas.read_parquet(url, storage_options=home.options), FRAME)
    some = pandas.read_parquet(url, columns=["n"], storage_options=home.options)
    assert list(some.columns) == ["n"]


def test_pandas_partitioned_parquet(home: Home) -> None:
    url = f"{home.url}/parts"
    for _ in range(2):  # the second time over what is there
        FRAME.to_parquet(
            url,
            partition_cols=["group"],
            storage_options=home.options,
            existing_data_behavior="delete_matching",
        )
    assert {name.split("/")[-2] for name in home.fs.find(f"{home.path}/parts")} == {
        "group=even",
        "group=odd",
    }
    back = pandas.read_parquet(url, storage_options=home.options)
    assert sorted(back["n"]) == list(range(1000))
    odd = pandas.read_parquet(url, filters=[("group", "=", "odd")], storage_options=home.options)
    assert set(odd["n"]) == set(range(1, 1000, 2))


def test_pandas_csv(home: Home) -> None:
    for name in ("frame.csv", "frame.csv.gz"):
        url = f"{home.url}/{name}"
        FRAME.to_csv(url, index=False, storage_options=home.options)
        pandas.testing.assert_frame_equal(pandas.read_csv(url, storage_options=home.options), FRAME)
    assert home.fs.cat_file(f"{home.path}/frame.csv.gz", 0, 2) == b"\x1f\x8b"
    FRAME.to_csv(f"{home.url}/frame.csv", mode="a", header=False, storage_options=home.options)
    assert len(home.fs.read_text(f"{home.path}/frame.csv").splitlines()) == 2001


class Unwritable:
    """A value that can't be made text."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize("name", ["bad.csv", "bad.csv.gz"])
def test_pandas_failing_midway_publishes_nothing(home: Home, name: str) -> None:
    bad = pandas.DataFrame({"x": [*range(200_000), Unwritable()]}, dtype=object)
    with pytest.raises(ZeroDivisionError):
        bad.to_csv(f"{home.url}/{name}", storage_options=home.options)
    assert home.fs.find(home.path) == []


# -- pyarrow -------------------------------------------------------------------------


def test_pyarrow_dataset(home: Home) -> None:
    import pyarrow
    from pyarrow import dataset

    table = pyarrow.Table.from_pandas(FRAME)
    base = f"{home.path}/set"
    parts = dataset.partitioning(pyarrow.schema([("group", pyarrow.string())]), flavor="hive")
    dataset.write_dataset(table, base, filesystem=home.fs, format="parquet", partitioning=parts)
    found = dataset.dataset(base, filesystem=home.fs, format="parquet", partitioning="hive")
    assert len(found.files) == 2
    assert found.count_rows() == 1000
    odd = found.to_table(filter=dataset.field("group") == "odd", columns=["n"])
    assert sorted(odd["n"].to_pylist()) == list(range(1, 1000, 2))


def test_pyarrow_file_info(home: Home) -> None:
    from pyarrow import fs as arrow

    home.fs.pipe_file(f"{home.path}/d/a", b"hello")
    files = arrow.PyFileSystem(arrow.FSSpecHandler(home.fs))
    info, folder, none = files.get_file_info(
        [f"{home.path}/d/a", f"{home.path}/d", f"{home.path}/none"]
    )
    assert (info.type, info.size) == (arrow.FileType.File, 5)
    assert info.mtime is not None
    assert info.mtime.timestamp() == pytest.approx(home.fs.info(f"{home.path}/d/a")["mtime"])
    assert (folder.type, none.type) == (arrow.FileType.Directory, arrow.FileType.NotFound)
    listed = files.get_file_info(arrow.FileSelector(home.path, recursive=True))
    assert {item.path for item in listed} == {f"{home.path}/d", f"{home.path}/d/a"}
    with files.open_input_file(f"{home.path}/d/a") as file:
        assert file.read_at(2, 3) == b"lo"
    with files.open_output_stream(f"{home.path}/d/b") as file:
        file.write(b"b")
    files.copy_file(f"{home.path}/d/b", f"{home.path}/d/c")
    files.move(f"{home.path}/d/c", f"{home.path}/d/e")
    files.delete_file(f"{home.path}/d/b")
    assert home.fs.find(home.path) == [f"{home.path}/d/a", f"{home.path}/d/e"]
    files.delete_dir(f"{home.path}/d")
    assert home.fs.find(home.path) == []


# -- the others ------------------------------------------------------------------------


def test_zarr(home: Home) -> None:
    import zarr

    url = f"{home.url}/array.zarr"
    data = numpy.arange(10_000).reshape(100, 100)
    root = zarr.open_group(url, mode="w", storage_options=home.options)
    array = root.create_array("a", shape=data.shape, chunks=(10, 100), dtype=data.dtype)
    array[:] = data
    root.attrs["made"] = "here"
    sharded = root.create_array(
        "s", shape=data.shape, chunks=(5, 50), shards=(50, 100), dtype=data.dtype
    )
    sharded[:] = data
    again = zarr.open_group(url, mode="r", storage_options=home.options)
    assert again.attrs["made"] == "here"
    assert sorted(name for name, _ in again.members()) == ["a", "s"]
    numpy.testing.assert_array_equal(again["a"][37, 5:9], data[37, 5:9])
    numpy.testing.assert_array_equal(again["s"][:], data)
    del zarr.open_group(url, mode="a", storage_options=home.options)["a"]
    assert [name for name, _ in zarr.open_group(url, storage_options=home.options).members()] == [
        "s"
    ]


def test_upath(home: Home) -> None:
    from upath import UPath

    base = UPath(home.url, **home.options)
    path = base / "dir" / "a.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hello")
    assert UPath(path).read_text() == "hello"
    assert (path.exists(), path.is_file(), path.parent.is_dir()) == (True, True, True)
    assert (path.name, path.stem, path.suffix) == ("a.txt", "a", ".txt")
    assert str(path) == f"{home.url}/dir/a.txt"
    assert path.stat().st_size == 5
    assert path.stat().st_mtime == pytest.approx(home.fs.info(path.path)["mtime"], abs=1)
    assert list(base.iterdir()) == [base / "dir"]
    assert list(base.glob("**/*.txt")) == [path]
    path.touch()
    assert path.read_bytes() == b"hello"
    moved = path.rename(path.with_name("b.txt"))
    with pytest.raises(FileExistsError):
        moved.open("xb")
    with pytest.raises(FileNotFoundError):
        path.unlink()
    moved.unlink()
    assert not base.exists()
    with pytest.raises(ValueError, match="incompatible"):
        base / UPath("memory://other")


def test_duckdb(home: Home) -> None:
    import duckdb

    fs = home.fs
    FRAME.to_parquet(f"{home.url}/a.parquet", storage_options=home.options)
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        url = fs.unstrip_protocol(home.path)
        query = f"SELECT sum(n) FROM read_parquet('{url}/*.parquet')"
        assert connection.sql(query).fetchall() == [(499_500,)]
        connection.sql(f"COPY (SELECT 1 AS one) TO '{url}/b.csv' (HEADER)")
    assert fs.cat_file(f"{home.path}/b.csv") == b"one\n1\n"


def test_polars_over_file_objects(home: Home) -> None:
    import polars

    frame = polars.from_pandas(FRAME)
    with fsspec.open(f"{home.url}/a.parquet", "wb", **home.options) as file:
        frame.write_parquet(file)
    with fsspec.open(f"{home.url}/a.parquet", **home.options) as file:
        assert polars.read_parquet(file).equals(frame)
    with fsspec.open(f"{home.url}/a.csv.gz", "wb", compression="gzip", **home.options) as file:
        frame.write_csv(file)
    with fsspec.open(f"{home.url}/a.csv.gz", compression="infer", **home.options) as file:
        assert polars.read_csv(file.read()).shape == frame.shape


def test_fsspec_caches_over_it(home: Home, tmp_path: Path) -> None:
    home.fs.pipe_file(f"{home.path}/a", b"one")
    for protocol in ("simplecache", "filecache"):
        fs = fsspec.filesystem(
            protocol, fs=home.fs, cache_storage=str(tmp_path / protocol), check_files=True
        )
        assert fs.cat_file(f"{home.path}/a") == b"one"
    home.fs.pipe_file(f"{home.path}/a", b"two!")
    assert fs.cat_file(f"{home.path}/a") == b"two!"


# -- processes -------------------------------------------------------------------------


def _copy(task: tuple[Any, str, int]) -> tuple[int, bytes]:
    fs, path, number = task
    fs.pipe_file(f"{path}/out/{number}", fs.cat_file(f"{path}/in")[number:])
    return os.getpid(), fs.cat_file(f"{path}/out/{number}")


@pytest.mark.parametrize("home", SHARED, indirect=True)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pools_of_processes(home: Home, method: str) -> None:
    fs = home.fs
    fs.pipe_file(f"{home.path}/in", b"0123456789")
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        done = list(pool.map(_copy, [(fs, home.path, number) for number in range(8)]))
    assert [data for _, data in done] == [b"0123456789"[number:] for number in range(8)]
    assert os.getpid() not in {pid for pid, _ in done}
    assert len(fs.find(f"{home.path}/out")) == 8
    assert fs.cat_file(f"{home.path}/in") == b"0123456789", "the parent's goes on"


def _inherited(path: str, sender: Any) -> None:
    sender.send(_FS[0].cat_file(path))


_FS: list[Any] = []


def test_an_instance_that_a_fork_inherits(home: Home) -> None:
    home.fs.pipe_file(f"{home.path}/a", b"hello")
    _FS[:] = [home.fs]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_inherited, args=(f"{home.path}/a", sender))
    child.start()
    assert receiver.poll(60)
    assert receiver.recv() == b"hello"
    child.join()
    assert home.fs.cat_file(f"{home.path}/a") == b"hello"
