"""An event loop in a thread of its own, used from ordinary code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..errors import ClusterError

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ["LoopThread", "ask"]

T = TypeVar("T")


class _Caller:
    """A thread that waits for a coroutine, and meanwhile can talk to the person."""

    def __init__(self) -> None:
        self.questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self.waits = True


class _Question:
    def __init__(self, function: Callable[..., Any], words: tuple[Any, ...]) -> None:
        self.function, self.words = function, words
        self.reply: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def put(self) -> None:
        try:
            self.reply.set_result(self.function(*self.words))
        except BaseException as error:
            self.reply.set_exception(error)
            raise


_caller: ContextVar[_Caller | None] = ContextVar("_caller", default=None)


async def ask(function: Callable[..., T], *words: Any) -> T:
    """Call a function that talks to the person.

    It is called in the thread that waits in `LoopThread.call`, since notebooks and terminals expect
    questions from there; where none waits, in a thread of its own.
    """
    caller = _caller.get()
    if caller is not None and caller.waits:
        question = _Question(function, words)
        caller.questions.put(question)
        return await asyncio.wrap_future(question.reply)
    return await asyncio.to_thread(function, *words)


class LoopThread:
    """An event loop in a thread, which ends with the process at the latest.

    Parameters
    ----------
    name : str
        Name of the thread.

    Attributes
    ----------
    loop : tornado.ioloop.IOLoop
        The loop, as ``SpecCluster(loop=...)`` and ``Client(loop=...)`` take it.
    """

    loop: IOLoop

    def __init__(self, name: str = "tramway-dask-ssh") -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        from tornado.ioloop import IOLoop

        # Tornado needs sockets that can be selected, on every platform
        with contextlib.closing(asyncio.SelectorEventLoop()) as loop:
            asyncio.set_event_loop(loop)

            async def start() -> None:
                self.loop = IOLoop.current()
                self._ready.set()

            loop.run_until_complete(start())
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)

    @property
    def is_running(self) -> bool:
        """Whether the loop can be used."""
        return self._thread.is_alive()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for its result.

        Parameters
        ----------
        coroutine : coroutine
            What to run.
        timeout : float, optional
            Seconds to wait; then the coroutine is cancelled.

        Raises
        ------
        ClusterError
            After `timeout`, when the loop was closed, or when called on the loop itself.
        """
        if not self.is_running or threading.current_thread() is self._thread:
            coroutine.close()
            raise ClusterError(
                "this loop is closed" if not self.is_running else "await it: this is the loop's thread"
            )
        caller = _Caller()

        async def work() -> T:
            _caller.set(caller)
            return await coroutine

        future = asyncio.run_coroutine_threadsafe(work(), self.loop.asyncio_loop)  # type: ignore[attr-defined]
        future.add_done_callback(lambda _: caller.questions.put(None))
        try:
            self._answer(caller, None if timeout is None else time.monotonic() + timeout)
            return future.result()
        except queue.Empty:
            raise ClusterError(f"no result after {timeout:g} s") from None
        finally:
            caller.waits = False
            future.cancel()

    @staticmethod
    def _answer(caller: _Caller, end: float | None) -> None:
        while True:
            question = caller.questions.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            if question is None:
                return
            question.put()

    def close(self) -> None:
        """Stop the loop; what still runs on it is cancelled."""
        if self.is_running:
            self.loop.add_callback(self.loop.asyncio_loop.stop)  # type: ignore[attr-defined]
            if threading.current_thread() is not self._thread:
                self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
