"""A run's configuration: checked when a run is started, and what an executor gets of it.

    {
      "name": "build 17",                       optional, as are all but tasks and steps
      "project": "shop",                        or "user": "ada", for a direct run
      "cache_group": "shop-and-friends",        the project's or user's own, unless given
      "environment": {"CI": "true"},
      "tasks": {
        "test": {
          "environment": {"MODE": "fast"},
          "timeout": 3600,                      seconds, for all steps
          "steps": [
            {"restore_cache": ["pip-3f2a", "pip-"]},
            {"run": "make test", "name": "unit tests", "timeout": 600, "environment": {}},
            {"save_cache": "pip-3f2a", "path": ".venv"}
          ]
        }
      }
    }

`run` is a command for the shell, or a list of words. `restore_cache` takes the
first that there is of these keys; one is that very cache, or else the newest
whose key begins so. Paths are below the folder where the steps run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from objectstorage.caches.layout import check_group
from objectstorage.client.tasks import ExecutorTaskSpecData, Spec
from objectstorage.errors import ErrBadRequest, ErrInvalidKey

__all__ = ["Configuration", "checked"]

MAX_TASKS = 1000
MAX_STEPS = 100
_TIMEOUT = 3600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS = ("run", "restore_cache", "save_cache")


class Configuration(NamedTuple):
    """A configuration that was checked; `fields` is it in JSON."""

    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people; may be empty."""
        return str(self.fields.get("name", ""))

    @property
    def project(self) -> str:
        """Whose run it is: a project's, or `user/<name>` for a direct one."""
        user = self.fields.get("user")
        return f"user/{user}" if user is not None else str(self.fields.get("project", "default"))

    @property
    def tasks(self) -> list[str]:
        """The tasks' names."""
        return list(self.fields["tasks"])

    def spec_data(self, spec: Spec) -> ExecutorTaskSpecData:
        """What the executor of a task gets beside its spec; made anew each time it is sent."""
        task = self.fields["tasks"][spec.task]
        environment = {
            "RUN_ID": spec.run,
            "RUN_TASK": spec.task,
            **self.fields.get("environment", {}),
            **task.get("environment", {}),
        }
        group = self.fields.get("cache_group")
        if group is None:
            user = self.fields.get("user")
            group = f"project/{self.project}" if user is None else self.project
        return ExecutorTaskSpecData(
            environment, tuple(task["steps"]), group, float(task.get("timeout", _TIMEOUT))
        )


def checked(fields: Any) -> Configuration:
    """The configuration in JSON, if it is one; `ErrBadRequest`, whose details name the field."""
    top = _object(fields, "", {"name", "project", "user", "cache_group", "environment", "tasks"})
    for name in ("name", "project", "user", "cache_group"):
        if name in top:
            _text(top[name], name)
    if "project" in top and "user" in top:
        raise _bad("user", "a run is a project's or a user's, not both")
    for name in ("project", "user", "cache_group"):
        if name in top:
            _group(top[name], name)
    _environment(top, "environment")
    tasks = _object(top.get("tasks"), "tasks")
    if not 1 <= len(tasks) <= MAX_TASKS:
        raise _bad("tasks", f"a run has 1 to {MAX_TASKS} tasks")
    for name, task in tasks.items():
        if not _NAME.fullmatch(name):
            raise _bad(
                "tasks", f"a task's name is letters, digits, `.`, `_`, `-`, at most 64: {name!r}"
            )
        _check_task(task, f"tasks.{name}")
    return Configuration(top)


def _check_task(task: Any, where: str) -> None:
    fields = _object(task, where, {"environment", "timeout", "steps"})
    _environment(fields, f"{where}.environment")
    _timeout(fields, where)
    steps = fields.get("steps")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MAX_STEPS:
        raise _bad(f"{where}.steps", f"a task has a list of 1 to {MAX_STEPS} steps")
    for number, step in enumerate(steps):
        _check_step(step, f"{where}.steps[{number}]")


def _check_step(step: Any, where: str) -> None:
    kinds = [kind for kind in _KINDS if kind in _object(step, where)]
    if len(kinds) != 1:
        raise _bad(where, f"a step is one of {', '.join(_KINDS)}")
    kind = kinds[0]
    if kind == "run":
        fields = _object(step, where, {"run", "name", "timeout", "environment"})
        _environment(fields, f"{where}.environment")
        words = fields["run"] if isinstance(fields["run"], list) else [fields["run"]]
    else:
        known = {"name", "timeout", kind} | ({"path"} if kind == "save_cache" else set())
        fields = _object(step, where, known)
        words = fields[kind] if isinstance(fields[kind], list) else [fields[kind]]
        if kind == "save_cache":
            if len(words) != 1:
                raise _bad(f"{where}.{kind}", "a cache is saved by one key")
            _text(fields.get("path"), f"{where}.path")
            if fields["path"].startswith("/") or ".." in fields["path"].split("/"):
                raise _bad(f"{where}.path", "it is a path below the folder of the steps")
    if not words:
        raise _bad(f"{where}.{kind}", "it is empty")
    for word in words:
        _text(word, f"{where}.{kind}", empty=kind == "run" and word is not words[0])
        if kind != "run":
            _group(word, f"{where}.{kind}")
    _timeout(fields, where)
    if "name" in fields:
        _text(fields["name"], f"{where}.name")


def _object(value: Any, where: str, known: set[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _bad(where or "configuration", "it is an object")
    unknown = set(value) - known if known is not None else set()
    if unknown:
        field = min(unknown)
        raise _bad(f"{where}.{field}".lstrip("."), f"there is no field {field!r}")
    return value


def _environment(fields: Mapping[str, Any], where: str) -> None:
    for name, value in _object(fields.get("environment", {}), where).items():
        if not _VARIABLE.fullmatch(name):
            raise _bad(where, f"{name!r} is no variable's name")
        _text(value, f"{where}.{name}", empty=True)


def _timeout(fields: Mapping[str, Any], where: str) -> None:
    value = fields.get("timeout", _TIMEOUT)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"{where}.timeout", "it is a number of seconds")
    if not 0 < value <= sys.float_info.max:
        raise _bad(f"{where}.timeout", "it is more than 0 seconds")


def _text(value: Any, where: str, *, empty: bool = False) -> None:
    if not isinstance(value, str) or "\0" in value or not (value or empty):
        raise _bad(where, "it is a text" if empty else "it is a text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError as exc:  # JSON can say what no reply and no process can be given
        raise _bad(where, "it is not valid UTF-8") from exc


def _group(value: str, where: str) -> None:
    try:
        check_group(value if where == "cache_group" else f"project/{value}")
    except ErrInvalidKey as exc:
        raise _bad(where, exc.message) from exc


def _bad(field: str, what: str) -> ErrBadRequest:
    return ErrBadRequest(f"{field}: {what}", details={"field": field})
