"""A few threads for calls that may hang in somebody else's server. They never hold up the end of the process, unlike those of `ThreadPoolExecutor`,
which the interpreter waits for: a planned stop must not take as long as a frozen store's last request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from scrubjay.base.errors import Exhausted
from scrubjay.base.real.open_files import thread_limit

T = TypeVar("T")
P = ParamSpec("P")

_Work = tuple["Future[Any]", Callable[[], Any]]


class DaemonPool(Executor):
    """At most `threads` threads, started as they are needed."""

    def __init__(self, threads: int, *, name: str) -> None:
        self._most = threads
        self._name = name
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run in one of the threads, first come first served. Raises Exhausted if there is none and the system starts none."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
                self._one_more()
            self._waiting.put((future, lambda: fn(*args, **kwargs)))
        return future

    def _one_more(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            with thread_limit():
                thread.start()
        except Exhausted:
            if not self._threads:
                raise
            return  # those that there are do it, one after the other
        self._threads.append(thread)

    def _serve(self) -> None:
        while (work := self._waiting.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001  (it is handed to whoever asked)
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del work, future, call
            self._idle.release()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads once what was submitted is done; wait for that if asked to."""
        del cancel_futures
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._waiting.put(None)
        for thread in self._threads if wait else ():
            thread.join()
