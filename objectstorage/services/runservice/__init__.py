"""The run service: runs and their tasks over any store, for people and for executors.

    async with open_storage(url) as store, RunService(store, "index.sqlite") as service:
        run = await service.start({"tasks": {"test": {"steps": [{"run": "make test"}]}}})

`application_of(service)` is it over HTTP; `objectstorage runservice` runs that.

Runs and tasks lie in a data manager. A task is a `Spec` and a `Status`; what
else its executor needs (`ExecutorTaskSpecData`) is made from the run's
configuration when it is sent. A claim is a commit, fenced by its number: a
report of any other claim is `ErrConcurrency`. Executors that are silent for
`dead_after` lose their tasks to others.

Many run services may share one bucket, behind any balancer: they hold nothing
but a read index and what they have just committed. What grows with what:

* A claim and each status are a commit. All commits of a bucket go through one
  sequence, so its rate is the limit: services that commit at once wait for
  each other, one request each, while those who wait in one process are
  committed together. More services add reads, followers and lists, not commits.
* Heartbeats and claims that find nothing cost a look at the head of the log
  that everybody who waits shares.
* Logs and caches go from executors straight to the store; services are not in
  between, and one that restarts interrupts nothing but followers, who go on
  from their offset.

`python -m benchmarks.runs` measures it.
"""

from objectstorage.services.runservice.app import application_of
from objectstorage.services.runservice.service import RunService

__all__ = ["RunService", "application_of"]
