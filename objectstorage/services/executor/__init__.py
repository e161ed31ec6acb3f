"""The executor: claims tasks of a run service, runs their steps as processes, reports.

    async with open_storage(url) as store, httpx.AsyncClient() as http:
        await Executor(store, AsyncClient("http://127.0.0.1:8470", http), folder).run()

It asks the run service for tasks over HTTP and reports to it; logs and caches
it writes straight to the store. So a service is not between a step and its
log: nothing of a log is lost or late because one restarts, and their number
does not grow with what is logged. An executor needs the store's credentials
for that, at least for `logs/` and `caches/`, and to read `state/FORMAT.json`. Steps don't get
them: their environment is made anew. They do run as the executor's user; what
is not trusted belongs in an executor that a container or a machine keeps apart.
"""

from objectstorage.services.executor.executor import Executor

__all__ = ["Executor"]
