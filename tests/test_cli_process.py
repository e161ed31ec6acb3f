"""The command as a process of its own: pipes, terminals, signals, folder stores."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest

from objectstorage import open_storage

COMMAND = [sys.executable, "-m", "objectstorage"]


@pytest.fixture
def env(tmp_path):
    env = {name: value for name, value in os.environ.items() if "OBJECTSTORAGE" not in name}
    # a wide terminal of a known kind, wherever the tests run
    return env | {
        "XDG_CONFIG_HOME": str(tmp_path / "no-config"),
        "TERM": "xterm",
        "COLUMNS": "120",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def run(env):
    def run(*argv, **options):
        return subprocess.run(
            [*COMMAND, *map(str, argv)],
            env=env | options.pop("env", {}),
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def root(tmp_path):
    """A folder store with a few objects."""
    with open_storage(f"posix://{tmp_path}/store", durable=False) as store:
        for key in ("a/1", "a/2", "b"):
            store.put(key, key.encode())
    return tmp_path / "store"


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "one").write_bytes(b"1" * 3000)
    (root / "sub" / "two").write_bytes(b"2")
    return root


def test_the_demo_of_a_newcomer(run, tmp_path):
    result = run("demo", env={"TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(b"Everything was verified.\n")
    assert str(tmp_path).encode() in result.stderr
    assert b"which is removed" in result.stderr
    assert os.listdir(tmp_path) == []


def test_the_demo_on_a_given_store(run, root, tree):
    before = keys(root)
    result = run("demo", tree, "--store", f"posix://{root}")
    assert result.returncode == 0, result.stderr
    assert keys(root) == before
    result = run("demo", tree, "--store", f"posix://{root}", "--keep")
    assert len(keys(root)) == len(before) + 4


def keys(root):
    with open_storage(f"posix://{root}") as store:
        return [info.key for info in store.list()]


def test_a_whole_round(run, tree, tmp_path):
    store = f"posix://{tmp_path}/s t%25ré"
    root = f"{tmp_path}/s t%ré"
    assert run("put", "-r", tree, "x/", "--store", store).returncode == 0
    # from now on the root is found by its marker
    assert run("ls", "-r", f"posix://{root}").stdout == b"x/one\nx/sub/two\n"
    assert run("ls", f"posix://{root}/x/").stdout == b"x/one\nx/sub/\n"
    assert run("cat", f"posix://{root}/x/one").stdout == b"1" * 3000
    assert run("mv", f"posix://{root}/x/one", f"posix://{root}/y").returncode == 0
    assert run("get", "-r", f"posix://{root}", tmp_path / "back").returncode == 0
    assert (tmp_path / "back/y").read_bytes() == b"1" * 3000
    result = run("put", tree / "one", f"posix://{root}/y/z")
    assert result.returncode == 1
    assert b"'y/z'" in result.stderr
    assert run("rm", "-r", "--force", f"posix://{root}/").returncode == 0
    assert run("ls", f"posix://{root}").stdout == b""


def test_a_folder_that_is_no_store(run, tree):
    result = run("put", tree / "one", f"posix://{tree}/k")
    assert result.returncode == 2
    assert f"--store posix://{tree}," in result.stderr.decode()
    assert sorted(os.listdir(tree)) == ["one", "sub"]


def test_a_store_in_a_store_is_named(run, root):
    inner = open_storage(f"posix://{root}/a")
    inner.put("k", b"")
    result = run("stat", f"posix://{root}/a/k")
    assert result.returncode == 2
    assert b"more than one store" in result.stderr
    assert run("cat", "--store", f"posix://{root}", "a/1").stdout == b"a/1"


def test_a_key_that_leaves_the_store(run, root, tmp_path):
    (tmp_path / "secret").write_bytes(b"s3cret")
    for key in ("../secret", "a/../../secret", "a/./1"):
        result = run("cat", f"posix://{root}/{key}")
        assert result.returncode == 2
        assert result.stdout == b""


AS_ANOTHER_USER = """
import contextlib, io, os, shutil, sys
from objectstorage.cli.__main__ import main
command, address = sys.argv[1:]
# before the switch: the other user may not be able to read the code
with contextlib.redirect_stderr(io.StringIO()):
    main([command, address + "-missing"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main([command, address]))
"""


def test_a_denied_object(env):
    # not below tmp_path, which another user can't enter
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with open_storage(f"posix://{folder}") as store:
            store.put("open", b"to all")
            store.put("shut", b"s3cret")
        os.chmod(f"{folder}/open", 0o644)
        os.chmod(f"{folder}/shut", 0)
        for key, expected in (("open", (0, b"to all")), ("shut", (4, b""))):
            result = subprocess.run(
                [sys.executable, "-c", AS_ANOTHER_USER, "cat", f"posix://{folder}/{key}"],
                env=env | {"XDG_CONFIG_HOME": f"{folder}/no-config"},
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert (result.returncode, result.stdout) == expected, result.stderr
            assert repr(key).encode() in result.stderr or key == "open"


# -- pipes -----------------------------------------------------------------------------


def test_a_reader_that_goes_away(env, tmp_path):
    with open_storage(f"posix://{tmp_path}/store", durable=False) as store:
        store.put("k", b"line\n" * 1_000_000)
        process = subprocess.Popen(
            [*COMMAND, "cat", f"posix://{tmp_path}/store/k"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout.read(5) == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(60) == 141


@pytest.mark.parametrize("argv", [("ls", "-r"), ("--help",), ("stat", "b")])
def test_a_reader_that_never_was(env, root, argv):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [*COMMAND, *argv],
        env=env | {"OBJECTSTORAGE_URL": f"posix://{root}"},
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (141, b"")


def test_an_output_that_is_full(env, root):
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*COMMAND, "cat", f"posix://{root}/b"],
            env=env,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert b"No space left on device" in result.stderr


def test_closed_descriptors(env, root):
    stat = f"stat posix://{root}/b"
    for argv, closed, code, word in (
        (stat, ">&-", 1, b"standard output is closed"),
        (stat, "2>&-", 0, b""),
        (stat, "<&-", 0, b""),
        (f"put - posix://{root}/c", "<&-", 1, b"standard input is closed"),
        (f"data put --store posix://{root} type id", "<&-", 1, b"standard input is closed"),
    ):
        result = subprocess.run(
            ["/bin/sh", "-c", f"exec {' '.join(COMMAND)} {argv} {closed}"],
            env=env,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == code
        assert word in result.stderr


def test_an_output_without_unicode(run, root):
    with open_storage(f"posix://{root}") as store:
        store.put("é", b"")
    result = run("ls", f"posix://{root}", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert result.stdout == b"a/\nb\n\\xe9\n"
    result = run("ls", "-0", f"posix://{root}", env={"PYTHONIOENCODING": "ascii"})
    assert result.stdout == "a/\0b\0é\0".encode()


# -- signals ---------------------------------------------------------------------------


def waits_for_input(pid):
    """Return once the process sleeps in a read of descriptor 0, all input taken."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/syscall") as file:
            if file.read().split()[1:2] == ["0x0"]:
                return
        time.sleep(0.01)
    pytest.fail("it never waits for input")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_it_stores(env, root, number, code):
    before = keys(root)
    process = subprocess.Popen(
        [*COMMAND, "put", "-", f"posix://{root}/new"],
        env=env,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(b"x" * 4_000_000)
    process.stdin.flush()
    waits_for_input(process.pid)
    process.send_signal(number)
    assert process.wait(60) == code
    assert b"Traceback" not in process.stderr.read()
    process.stdin.close()
    process.stderr.close()
    assert keys(root) == before


# -- terminals -------------------------------------------------------------------------


def on_terminal(argv, env, both=False):
    """What a command shows on a terminal at its standard error (`both`: and output)."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, argv)],
        env=env,
        stdout=slave if both else subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while True:
        if not select.select([master], [], [], 60)[0]:
            process.kill()
            pytest.fail("it shows nothing for a minute")
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        if not data:
            break
        shown += data
    os.close(master)
    return process.wait(60), shown.decode()


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_progress_bar_on_a_terminal_only(env, run, tree, tmp_path):
    argv = ["put", "-r", tree, "x", "--store", f"posix://{tmp_path}/store"]
    code, shown = on_terminal(argv, env)
    assert code == 0
    plain = ESCAPES.sub("", shown)
    assert "━" in plain
    assert "2/2 objects, 2.9 KiB/2.9 KiB" in plain
    assert "stored 2 objects" in plain
    quiet = run(*argv)
    assert quiet.returncode == 0
    assert re.fullmatch(rb"stored 2 objects, 2\.9 KiB in [\d.]+ s\n", quiet.stderr)
    assert on_terminal([*argv, "--quiet"], env) == (0, "")
    assert on_terminal([*argv, "--json"], env) == (0, "")


@pytest.fixture
def without_rich(env, tmp_path):
    """An environment in which rich can't be imported."""
    (tmp_path / "stub" / "rich").mkdir(parents=True)
    (tmp_path / "stub" / "rich" / "__init__.py").write_text("raise ImportError('not here')\n")
    return env | {"PYTHONPATH": str(tmp_path / "stub")}


def test_without_rich_it_is_plain(without_rich, tree, tmp_path):
    code, shown = on_terminal(["demo", tree, "--store", "memory://"], without_rich, both=True)
    assert code == 0
    assert not ESCAPES.search(shown)
    assert "step    objects    bytes  seconds  MiB/s  verified" in shown
    assert "store 0/2 objects" in shown or "store 1/2 objects" in shown
    argv = ["put", "-r", tree, "x", "--store", f"posix://{tmp_path}/store"]
    code, shown = on_terminal(argv, without_rich)
    assert code == 0
    assert "stored 2 objects" in shown


def test_errors_stand_above_the_bar(env, tree, tmp_path):
    (tree / "n\x1b[2Jew").write_bytes(b"")
    (tree / "n\x1b[2Jew").chmod(0o600)
    (tree / "link").symlink_to("one")
    argv = ["put", "-r", tree, "x", "--store", f"posix://{tmp_path}/store"]
    code, shown = on_terminal(argv, env)
    assert code == 0
    assert "\x1b[2J" not in shown
    assert "link' is left out: symbolic link" in ESCAPES.sub("", shown)


# -- start -----------------------------------------------------------------------------


def test_starting_imports_little(env):
    script = """
        import sys
        import objectstorage.cli.__main__
        heavy = {"rich", "minio", "urllib3", "asyncio", "tomllib", "concurrent.futures"}
        print(sorted(heavy & set(sys.modules)))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=env,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert result.stdout == b"[]\n"


@pytest.mark.parametrize("module", ["objectstorage", "objectstorage.cli"])
def test_run_as_a_module(run, env, module):
    result = subprocess.run(
        [sys.executable, "-m", module, "nope", "--json"],
        env=env,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert json.loads(result.stderr)["error"] == "Usage"
