"""Services over any store, on Starlette: what the `[services]` extra brings.

    wire         errors as replies, and the application that makes them
    logs         routes that serve and follow logs
    caches       routes that save and restore caches
    runservice   runs and their tasks, kept in a data manager
    executor     runs the tasks, as processes

An application of its own, in a module that uvicorn is given:

    store = aio.open_storage("posix:///var/lib/ci")
    hub = AsyncLogHub(AsyncPrefixStorage(store, "logs"))
    caches = AsyncPrefixStorage(store, "caches")

    @asynccontextmanager
    async def lifespan(app):
        yield
        await hub.close()
        await store.close()

    app = application([*logs_routes(hub), *caches_routes(caches)], lifespan=lifespan)

Who follows a log that goes on never ends by itself: give uvicorn a
`timeout_graceful_shutdown`.
"""
