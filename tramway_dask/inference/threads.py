"""One thread of linear algebra: the same digits everywhere, and no waiting for busy cores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["one_thread", "single_threaded"]

F = TypeVar("F", bound=Callable[..., Any])


@functools.cache
def _controller() -> Any:
    """Return the handle on the libraries of numpy and scipy; to find them takes milliseconds."""
    import scipy.linalg  # noqa: F401  (its library is loaded with it)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context in which linear algebra uses one thread.

    Its last digits depend on the number of threads: with one, maps are the same everywhere. Small
    blocks, which ours are, gain nothing by more, and lose much where cores are busy.
    """
    return _controller().limit(limits=1)


def single_threaded(method: F) -> F:
    """Decorate a function to run with one thread of linear algebra."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with one_thread():
            return method(*args, **kwargs)

    return run  # type: ignore[return-value]
