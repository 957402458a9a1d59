"""Work that takes long with large texts, done beside the event loop.

What is small is done at once: a thread costs more than it. What is large goes to one thread, a piece of work at a
time: Python runs one thread at a time anyhow, and many that wait for their turn would keep the event loop waiting for
its own. Whatever runs there gives the others their turn every few milliseconds, so no single call of it into C
(`re`, `json`, `str`) may read a text without bounds where that takes long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, ParamSpec, TypeVar

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")

LARGE: Final = 50_000
"""Characters, or bytes, from which on a text is large: half a millisecond or so of a regular expression."""

_thread = ThreadPoolExecutor(1, "large-texts")  # starts with its first piece of work


async def off_loop(
    size: int, function: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """What a function gives, which is called in a thread if what it works on is large.

    A caller that is cancelled is so once the function is not running any more: nothing is changed behind its back.

    Args:
        size: characters or bytes that it works on.
        function: what is to be done; needs no event loop.
        args, kwargs: its own.
    """
    if size < LARGE:
        return function(*args, **kwargs)
    work = _thread.submit(partial(function, *args, **kwargs))
    done = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        if not work.cancel():  # it has begun
            while not done.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([done])
            done.exception()  # was for a caller that has left
        raise
