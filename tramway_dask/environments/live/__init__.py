"""The live page of runs in the Dask dashboard.

`plugin` and `routes` are in the scheduler, `asking` beside the client. Nothing is sent while nobody looks: the
page asks the scheduler, which knows what its workers do, and the scheduler asks the client for the rest.
"""

from .asking import Watch, page_address

__all__ = ["Watch", "page_address"]
