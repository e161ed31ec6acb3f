"""`objectstorage bench` and `objectstorage compare`, as they are called."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from objectstorage import ErrBackend, ErrUnavailable, open_storage
from objectstorage.cli.__main__ import main
from objectstorage.memory import MemoryStorage
from objectstorage.urls import SCHEMES

QUICK = ["--count", "40", "--objects", "10", "--warmup", "0", "--sizes", "64"]


class SlowStorage(MemoryStorage):
    """Takes a thousand times as long to fetch as it must."""

    def fetch(self, key, **options):
        time.sleep(0.002)
        return super().fetch(key, **options)


class InterruptedStorage(MemoryStorage):
    """Somebody presses Ctrl-C while the 20th object is being written."""

    puts = 0

    def put(self, key, data, **options):
        InterruptedStorage.puts += 1
        if InterruptedStorage.puts == 20:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return super().put(key, data, **options)


class BrokenStorage(MemoryStorage):
    """Tells of objects, and gives none."""

    def fetch(self, key, **options):
        raise ErrBackend("broken", operation="fetch", storage="broken://")


class AwayStorage(MemoryStorage):
    """Nobody answers."""

    def list(self, *args, **options):
        raise ErrUnavailable("connection refused", operation="list", storage="away://")


@pytest.fixture(autouse=True)
def schemes(monkeypatch):
    for cls in (SlowStorage, InterruptedStorage, BrokenStorage, AwayStorage):
        scheme = cls.__name__.removesuffix("Storage").lower()
        monkeypatch.setitem(SCHEMES, scheme, (__name__, cls.__name__))
    monkeypatch.setattr(InterruptedStorage, "puts", 0)


def bench(*args):
    return main(["bench", *args])


def keys(url):
    return [info.key for info in open_storage(url).list()]


def test_bench_measures_layers_in_turns(tmp_path, capsys):
    saved = tmp_path / "r.jsonl"
    options = ["--workloads", "get", "--layers", "sync,async,fsspec", "--repeats", "2", *QUICK]
    assert bench("memory://bench-layers", *options, "--save", str(saved)) == 0
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    turns = ["sync", "async", "fsspec", "async", "fsspec", "sync"]
    assert [line["layer"] for line in lines[1:]] == turns
    assert "async" in capsys.readouterr().out


def test_what_the_layers_cost_comes_first(tmp_path, capsys):
    page = tmp_path / "r.html"
    options = ["--workloads", "get,stat", "--layers", "raw,sync,async", *QUICK]
    options += ["--repeats", "2", "--no-durable"]
    assert bench(f"posix:{tmp_path}/d", *options, "--html", str(page)) == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert re.match(r"sync takes \d+\.\d+× the time of raw \(geometric mean of 2 cells; ", first)
    assert second.startswith("async takes ")
    assert any(re.match(r"get +64 B +1 +\d+\.\d+× +unknown", line) for line in rest)
    html = page.read_text()
    assert html.index("What the layers cost over raw") < html.index("<h2>Results")


def test_a_layer_that_is_not_there_is_a_sentence(capsys):
    assert bench("memory://", "--layers", "raw,sync", *QUICK) == 1
    assert "no layer raw" in capsys.readouterr().err


def test_compare_of_two_layers_of_a_store(capsys):
    url = "memory://compare-layers"
    args = ["compare", url, url, "--workloads", "get", "--layers", "sync,async", *QUICK]
    assert main([*args, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (layers,) = (record for record in records if record.get("name") == "layer")
    assert (layers["a"], layers["b"]) == ("A sync", "B async")
    assert main([*args[:-1], "64", "--layers", "sync,async,fsspec"]) == 2
    assert main([*args, "--layers", "cooked"]) == 2


def test_bench_prints_a_table_and_writes_its_files(tmp_path, capsys):
    open_storage("memory://bench-files").put("mine", b"kept")
    saved, page = tmp_path / "r.jsonl", tmp_path / "r.html"
    options = ["--workloads", "put,get", "--concurrency", "1,2", *QUICK, "--repeats", "3"]
    assert bench("memory://bench-files", *options, "--save", str(saved), "--html", str(page)) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"(?m)^(put|get) +64 B +[12] ", out)) == 4
    assert keys("memory://bench-files") == ["mine"]
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["run", *["result"] * 12]
    assert {line["schema"] for line in lines} == {1}
    html = page.read_text()
    assert html.count("<svg") == html.count("</svg>") > 0
    # self-contained: nothing is fetched from anywhere
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|https?://", html)
    assert "prefers-color-scheme: dark" in html


def test_json_is_the_saved_lines(tmp_path, capsys):
    saved = tmp_path / "r.jsonl"
    assert bench("memory://", *QUICK, "--workloads", "stat", "--json", "--save", str(saved)) == 0
    assert capsys.readouterr().out == saved.read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["memory://", "--workloads", "nope"], "no workload 'nope'"),
        (["memory://", "--duration", "0"], "duration is more than 0"),
        (["memory://", "--duration", "x"], "--duration"),
        (["memory://", "--sizes", "-5"], "size is not negative"),
        (["memory://", "--sizes", "1x"], "no size"),
        (["memory://", "--concurrency", "0"], "concurrency is 1"),
        (["memory://", "--html", "/nowhere/at/all.html"], "no folder"),
        (["nope://"], "no store 'nope'"),
        ([], "usage"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(args, says, capsys):
    assert bench(*args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_an_unreachable_store_is_exit_code_5_and_leaves_no_file(tmp_path, capsys):
    saved, page = tmp_path / "r.jsonl", tmp_path / "r.html"
    assert bench("away://", *QUICK, "--save", str(saved), "--html", str(page)) == 5
    assert "connection refused" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_ctrl_c_cleans_up_and_is_exit_code_130(concurrency, capsys):
    store = open_storage("interrupted://ctrl-c")
    MemoryStorage.put(store, "mine", b"kept")
    options = ["--workloads", "put,get", "--concurrency", concurrency, *QUICK]
    assert bench("interrupted://ctrl-c", *options) == 130
    assert "interrupted" in capsys.readouterr().err
    assert InterruptedStorage.puts >= 20
    assert keys("interrupted://ctrl-c") == ["mine"]


def test_ctrl_c_of_the_process_leaves_no_file(tmp_path):
    with open_storage(f"posix:{tmp_path}") as store:
        store.put("mine", b"kept")
    options = ["--layers", "raw,sync,async", "--concurrency", "2", "--repeats", "100000", "--json"]
    options += ["--no-durable"]
    command = [sys.executable, "-m", "objectstorage", "bench", f"posix:{tmp_path}", *options]
    with subprocess.Popen([*command, *QUICK], stdout=subprocess.PIPE, text=True) as running:
        for _ in range(10):
            assert json.loads(running.stdout.readline())["schema"] == 1
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"mine", ".objectstorage/format"}


def test_a_server_that_does_not_answer_is_exit_code_5(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.socket() as nobody:  # bound, so that nobody else is there
        nobody.bind(("127.0.0.1", 0))
        address = f"endpoint=http://127.0.0.1:{nobody.getsockname()[1]}&region=us-east-1"
        assert bench(f"s3://bucket?{address}&attempts=1", *QUICK) == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "refused" in captured.err


class TestCompare:
    def test_a_slowed_store_is_slower_and_exit_code_8(self, capsys):
        options = ["--workloads", "get", *QUICK, "--repeats", "6"]
        code = main(["compare", "memory://fast", "slow://slow", *options, "--fail-on", "slower"])
        assert code == 8
        out = capsys.readouterr().out
        assert re.search(r"(?m)^store +memory://fast +memory://slow$", out)
        assert re.search(r"(?m)^get .* slower$", out)
        assert keys("memory://fast") == keys("memory://slow") == []

    def test_the_other_way_round_it_is_faster(self, capsys):
        options = ["--workloads", "get", *QUICK, "--repeats", "6", "--fail-on", "slower"]
        assert main(["compare", "slow://", "memory://", *options]) == 0
        assert re.search(r"(?m)^get .* faster$", capsys.readouterr().out)

    def test_a_slowed_store_is_slower_in_another_run_too(self, tmp_path, capsys):
        options = ["--workloads", "get", *QUICK, "--repeats", "6", "--save"]
        fast, slow = str(tmp_path / "fast"), str(tmp_path / "slow")
        assert bench("memory://", *options, fast) == bench("slow://", *options, slow) == 0
        capsys.readouterr()
        assert main(["compare", fast, slow, "--fail-on", "slower", "--json"]) == 8
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["verdict"] == "slower"
        assert 0 < found["machine"] < 10
        assert main(["compare", slow, fast, "--fail-on", "slower"]) == 0

    def test_a_run_against_itself_is_the_same(self, tmp_path, capsys):
        saved, page = str(tmp_path / "r.jsonl"), tmp_path / "c.html"
        assert bench("memory://", "--workloads", "get,list", *QUICK, "--save", saved) == 0
        capsys.readouterr()
        everything_else = ["--fail-on", "faster,slower,inconclusive", "--html", str(page)]
        assert main(["compare", saved, saved, *everything_else]) == 0
        out = capsys.readouterr().out
        assert "differs" not in out
        assert len(re.findall(r"(?m)^(get|list) .* same$", out)) == 2
        assert "A&#x27;s" in page.read_text()
        assert main(["compare", saved, saved, "--fail-on", "same"]) == 8

    def test_what_only_fails_on_one_side_is_a_regression_there(self, tmp_path):
        options = ["--workloads", "get,stat", *QUICK, "--repeats", "1"]
        good, bad = str(tmp_path / "good"), str(tmp_path / "bad")
        assert bench("memory://", *options, "--save", good) == 0
        assert bench("broken://", *options, "--save", bad) == 1
        gate = ["--fail-on", "slower"]
        assert main(["compare", good, bad, *gate]) == 8
        assert main(["compare", good, bad]) == 0
        assert main(["compare", bad, good, *gate]) == 0
        assert main(["compare", bad, bad, *gate]) == 0

    def test_the_page_is_of_the_layers_that_were_compared(self, tmp_path, capsys):
        saved, page = str(tmp_path / "r.jsonl"), tmp_path / "c.html"
        options = ["--workloads", "stat", "--layers", "sync,async", *QUICK, "--repeats", "1"]
        assert bench("memory://", *options, "--save", saved) == 0
        assert main(["compare", saved, saved, "--layer", "async", "--html", str(page)]) == 0
        differing = page.read_text().partition("B against A")[2].partition("B's speed")[0]
        assert "memory://" in differing
        assert "async" not in differing

    def test_json_tells_differences_first(self, tmp_path, capsys):
        paths = [str(tmp_path / name) for name in ("a", "b")]
        for path, seed in zip(paths, "12", strict=True):
            options = ["--workloads", "stat", *QUICK, "--seed", seed, "--repeats", "1"]
            assert bench("memory://", *options, "--save", path) == 0
        capsys.readouterr()
        assert main(["compare", *paths, "--json"]) == 0
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert (first["type"], first["name"], first["a"], first["b"]) == (
            "difference",
            "seed",
            1,
            2,
        )
        assert (second["type"], second["workload"]) == ("comparison", "stat")
        # one repeat has no spread, and JSON no infinity
        assert (second["verdict"], second["speed"]["high"]) == ("inconclusive", None)

    @pytest.mark.parametrize(
        ("operands", "code"),
        [
            (["memory://", "some/file"], 2),
            (["no/such/file", "no/such/file"], 3),
            (["memory://"], 2),
            (["memory://", "memory://", "--fail-on", "ugly"], 2),
            (["memory://", "memory://", "--metric", "beauty"], 2),
            (["away://", "memory://"], 5),
        ],
    )
    def test_bad_input(self, operands, code, capsys):
        assert main(["compare", *operands, *QUICK]) == code
        assert capsys.readouterr().out == ""

    def test_a_file_of_something_else_is_exit_code_2(self, tmp_path, capsys):
        path = tmp_path / "x"
        path.write_bytes(b"\xff\xfe\x00")
        assert main(["compare", str(path), str(path)]) == 2
        assert "no line of benchmark results" in capsys.readouterr().err
