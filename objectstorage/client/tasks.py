"""Runs and their tasks: what an executor is given, and what it reports.

An `ExecutorTask` is a `Spec` (what to do: small), a `Status` (what became of
it) and, in the reply to a claim only, `ExecutorTaskSpecData` (environment,
steps, cache group), which the service makes when it sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINAL",
    "MAX_ERROR",
    "PENDING",
    "RUNNING",
    "SETUP",
    "SUCCESS",
    "ExecutorTask",
    "ExecutorTaskSpecData",
    "Heartbeat",
    "Run",
    "Spec",
    "Status",
    "StepStatus",
]

PENDING: Final = "pending"
RUNNING: Final = "running"
SUCCESS: Final = "success"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

FINAL = frozenset((SUCCESS, FAILED, CANCELLED))
"""The phases that nothing changes any more."""

MAX_ERROR = 1000
"""Characters of a status' error."""

_PHASES = FINAL | {PENDING, RUNNING}

SETUP: Final = "setup"
"""The step before the first: its log says where and by whom the task is run."""


class StepStatus(NamedTuple):
    """A step's phase, times (aware) and, once it has ended, its process' exit code."""

    phase: str = PENDING
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> StepStatus:
        """From JSON; `ValueError`, `KeyError` or `TypeError` if it is none."""
        exit_code = fields["exit_code"]
        return cls(
            _phase(fields["phase"]),
            _parse_time(fields["started"]),
            _parse_time(fields["ended"]),
            None if exit_code is None else int(exit_code),
        )

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "phase": self.phase,
            "started": _time(self.started),
            "ended": _time(self.ended),
            "exit_code": self.exit_code,
        }


class Status(NamedTuple):
    """What became of a task, written by its executor, times by the executor's clock.

    `setup` is the step before `steps`; `error` says why it failed, for people.
    """

    phase: str = PENDING
    error: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    setup: StepStatus = StepStatus()
    steps: tuple[StepStatus, ...] = ()

    @property
    def final(self) -> bool:
        """Whether nothing changes any more."""
        return self.phase in FINAL

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Status:
        """From JSON; `ValueError`, `KeyError` or `TypeError` if it is none."""
        return cls(
            _phase(fields["phase"]),
            _error(fields["error"]),
            _parse_time(fields["started"]),
            _parse_time(fields["ended"]),
            StepStatus.parse(fields["setup"]),
            tuple(StepStatus.parse(step) for step in fields["steps"]),
        )

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "phase": self.phase,
            "error": self.error,
            "started": _time(self.started),
            "ended": _time(self.ended),
            "setup": self.setup.fields(),
            "steps": [step.fields() for step in self.steps],
        }


class Spec(NamedTuple):
    """What to do: task `task` of run `run`; `executor` is "" while nobody has claimed it.

    `claim` counts the claims. It is the fence: a report is taken only from the
    executor of the newest claim. `lost`: how many executors died on it. `stop`:
    it is to be cancelled.
    """

    run: str
    task: str
    executor: str = ""
    claim: int = 0
    lost: int = 0
    stop: bool = False

    @property
    def id(self) -> str:
        """`<run>/<task>`."""
        return f"{self.run}/{self.task}"

    def log(self, step: str | int) -> str:
        """The name of the log of `SETUP` or of a step (from 1), as this claim writes it.

        >>> Spec("r1", "test", claim=2).log(1)
        'r1/test/2/1'
        """
        return f"{self.id}/{self.claim}/{step}"


class ExecutorTaskSpecData(NamedTuple):
    """What a claimed task needs beyond its spec: big, made from run and run configuration.

    `steps` are as in the configuration; `timeout` in seconds, for all of them.
    """

    environment: Mapping[str, str]
    steps: tuple[Mapping[str, Any], ...]
    cache_group: str
    timeout: float

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> ExecutorTaskSpecData:
        """From JSON."""
        return cls(
            dict(fields["environment"]),
            tuple(fields["steps"]),
            fields["cache_group"],
            fields["timeout"],
        )


class ExecutorTask(NamedTuple):
    """A task; `spec_data` is there when it was claimed by this call."""

    spec: Spec
    status: Status = Status()
    spec_data: ExecutorTaskSpecData | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> ExecutorTask:
        """From JSON."""
        data = fields.get("spec_data")
        return cls(
            Spec(**fields["spec"]),
            Status.parse(fields["status"]),
            None if data is None else ExecutorTaskSpecData.parse(data),
        )

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        fields: dict[str, Any] = {"spec": self.spec._asdict(), "status": self.status.fields()}
        if self.spec_data is not None:
            fields["spec_data"] = self.spec_data._asdict()
        return fields


class Run(NamedTuple):
    """A run; `created` by the store's clock, aware; `tasks` counts them by phase."""

    id: str
    name: str
    project: str
    created: datetime
    tasks: Mapping[str, int]

    @property
    def phase(self) -> str:
        """What its tasks' phases come to.

        >>> from datetime import datetime, UTC
        >>> Run("r1", "", "p", datetime.now(UTC), {"success": 2, "pending": 1}).phase
        'running'
        """
        if set(self.tasks) <= {PENDING}:
            return PENDING
        if PENDING in self.tasks or RUNNING in self.tasks:
            return RUNNING
        return next(phase for phase in (FAILED, CANCELLED, SUCCESS) if phase in self.tasks)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Run:
        """From JSON."""
        return cls(
            fields["id"],
            fields["name"],
            fields["project"],
            datetime.fromisoformat(fields["created"]),
            dict(fields["tasks"]),
        )

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {**self._asdict(), "created": self.created.isoformat(), "phase": self.phase}


class Heartbeat(NamedTuple):
    """The reply to a heartbeat.

    `dead_after`: seconds without one, and the executor counts as dead. `tasks`:
    the specs of the running tasks that are this executor's, as of a moment
    after the heartbeat was sent: what it runs beside these was taken from it.
    """

    dead_after: float
    tasks: tuple[Spec, ...]

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Heartbeat:
        """From JSON."""
        return cls(fields["dead_after"], tuple(Spec(**spec) for spec in fields["tasks"]))


def _phase(value: Any) -> str:
    if value not in _PHASES:
        raise ValueError(f"there is no phase {value!r}")
    return str(value)


def _error(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_ERROR:
        raise ValueError(f"an error is a text of at most {MAX_ERROR} characters")
    value.encode()  # a ValueError for what no reply could say
    return value


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _parse_time(value: str | None) -> datetime | None:
    if value is None:
        return None
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("a time has a zone")
    return time
