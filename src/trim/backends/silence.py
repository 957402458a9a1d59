"""How long a server may say nothing before a request to it is given up, and how long it has said nothing by now.

Keep-alives are nothing. The limits are configured, and shortened by the server's own times once these are known: four
times the 99th percentile of what its latest requests waited for their answers to begin, but never less than
`ALWAYS` and twice the time in which two CPU cores read the prompt. A server that has rested may have to load its model,
and one that has just been given up may only be slower than before: both are waited for longer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import ceil

from trim.errors import BackendError, BackendTimeout

ALWAYS = 20.0
"""Seconds for which a server is always waited for, if its configured limit is not shorter."""

_MULTIPLE = 4.0  # of the 99th percentile
_READ = 350.0  # characters a second: 88 tokens/s, of a 1.5B model on two cores
_KNOWN = 20  # answers from which on the server's own times count
_KEPT = 200
_RESTED = 60.0  # seconds without a request after which servers may have put their model away
_DOUBLINGS = 10


class Silence:
    """What is heard of one server.

    Args:
        first: seconds at most until an answer begins.
        between: seconds at most between two parts of an answer.
        clock: in seconds.

    `timeouts`: requests that were given up since it was last heard.
    """

    def __init__(self, first: float, between: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.first = first
        self.between = between
        self.clock = clock
        self.timeouts = 0
        self._times: deque[float] = deque(maxlen=_KEPT)  # until answers began
        self._lengths: deque[int] = deque([0], maxlen=_KEPT)  # of their prompts, in characters
        self._open = 0  # requests that are waited for
        self._since = 0.0  # when it was last heard, or the first of the open requests began
        self._before = 0.0  # seconds of silence with requests that have ended
        self._active = float("-inf")  # when somebody last began or ceased to wait
        self._heard = float("-inf")  # when it was last heard

    def shorten(self, most: float) -> None:
        """Wait for so many seconds at most, whatever is configured."""
        self.first, self.between = min(self.first, most), min(self.between, most)

    @property
    def waited(self) -> float:
        """Seconds in which it was asked something and said nothing to anybody, since it was last heard."""
        return self._before + (self.clock() - self._since if self._open else 0.0)

    @property
    def is_overdue(self) -> bool:
        """Whether it has said nothing for longer than a request waits."""
        return self.waited >= self.limit(self.first, max(self._lengths))

    @property
    def heard_ago(self) -> float:
        """Seconds since it last said something of an answer."""
        return self.clock() - self._heard

    def limit(self, most: float, length: int) -> float:
        """Seconds that a request waits, for a prompt of so many characters; `most`: as configured."""
        if len(self._times) < _KNOWN or (not self._open and self.clock() - self._active > _RESTED):
            return most
        usual = max(ALWAYS + 2 * length / _READ, _MULTIPLE * self._percentile())
        return float(min(most, usual * 2 ** min(self.timeouts, _DOUBLINGS)))

    def quick_limit(self, least: float, most: float) -> float:
        """Seconds in which it would usually begin the answer to a very short prompt."""
        return min(most, max(least, 2 * self._percentile())) if self._times else most

    def request(self, length: int, *, measured: bool = True) -> Request:
        """A request begins.

        Args:
            length: characters of its prompt.
            measured: it says how long others take; False: such as one for a single token.
        """
        found = Request(self, length, measured=measured)
        self.waits()
        return found

    def waits(self) -> None:
        """Somebody waits for it."""
        now = self.clock()
        if not self._open:
            self._since = now
        self._open += 1
        self._active = now

    def heard(self) -> None:
        """It has said something of an answer."""
        self.spoke()
        self._heard = self.clock()

    def spoke(self) -> None:
        """It has said something, if only an error."""
        self.timeouts, self._before, self._since = 0, 0.0, self.clock()

    def ended(self) -> None:
        """One of those who wait does so no more."""
        now = self.clock()
        self._open -= 1
        if not self._open:
            self._before += now - self._since
        self._active = now

    def measure(self, seconds: float, length: int) -> None:
        """An answer has begun after so many seconds."""
        self._times.append(seconds)
        self._lengths.append(length)

    def _percentile(self) -> float:
        """The 99th of the seconds until answers began."""
        return sorted(self._times)[ceil(0.99 * len(self._times)) - 1]


class Request:
    """One request that is open, with its limits in seconds: until its answer begins, and between two parts of it."""

    def __init__(self, silence: Silence, length: int, *, measured: bool) -> None:
        self.first = silence.limit(silence.first, length)
        self.between = silence.limit(silence.between, max(length, *silence._lengths))
        self._silence = silence
        self._length = length
        self._measured = measured
        self._begun = silence.clock()
        self._answered = False
        self._open = True

    @property
    def left(self) -> float:
        """Seconds that its answer still has to begin."""
        return max(0.0, self.first - (self._silence.clock() - self._begun))

    def heard(self, *, text: bool = True) -> float:
        """The server has said something: text, or what else belongs to an answer. The seconds that it may now be
        silent.
        """
        self._silence.heard()
        if text and not self._answered:
            self._answered = True
            if self._measured:
                self._silence.measure(self._silence.clock() - self._begun, self._length)
        return self.between if self._answered else self.first

    def failed(self, error: BackendError) -> None:
        """It has ended with an error: of the server, or because that said nothing."""
        if isinstance(error, BackendTimeout) and not error.told:
            self._silence.timeouts += 1
        else:
            self._silence.spoke()
        self.end()

    def silent(self, server: str) -> BackendTimeout:
        """The error for a server that has not begun its answer, or stopped in the middle."""
        words = f"no answer within {self.first:.3g} s"
        if self._answered:
            words = f"no content for {self.between:.3g} s in the middle of an answer"
        return BackendTimeout(server, words, "its load, or raise timeout")

    def end(self) -> None:
        """Nobody waits for it any more, or for now: what the server says meanwhile is not read."""
        if self._open:
            self._open = False
            self._silence.ended()

    def resume(self) -> None:
        """Somebody waits for it again."""
        if not self._open:
            self._open = True
            self._silence.waits()

    @asynccontextmanager
    async def within(self, server: str) -> AsyncIterator[None]:
        """Around what must be done until the answer has to begin.

        Raises:
            BackendTimeout: it has not begun; `server` is what the error calls the server.
        """
        try:
            async with asyncio.timeout(self.left):
                yield
        except TimeoutError:
            raise self.silent(server) from None


def length_of(body: object) -> int:
    """Characters, about, of the texts in a request."""
    if isinstance(body, str):
        return len(body)
    if isinstance(body, Mapping):
        return sum(map(length_of, body.values()))
    if isinstance(body, list | tuple):
        return sum(map(length_of, body))
    return 4 if isinstance(body, int) else 0  # a token
