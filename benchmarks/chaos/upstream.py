"""The models' server: it counts what it generates, and misbehaves as attacks have it do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.money import dollars
from tests.server.counting_upstream import CountingUpstream
from tests.server.real_gateway import PRICES
from trim.types import Role, Usage

_ON_ITS_WAY = 2  # tokens of an answer that its reader leaves, at most


@dataclass(frozen=True)
class Call:
    """A request that the server got.

    Args:
        head: request line and headers.
        body: its JSON; empty where it has none.
        reader, writer: of the connection, which is closed afterwards.
        used: of the model asked; a misbehaviour adds what it generates and reads, for it is charged.
    """

    head: str
    body: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: Usage


Misbehaviour = Callable[[Call], Awaitable[None]]


@dataclass
class Upstream(CountingUpstream):
    """The server.

    `share`: of the requests that go wrong while something does. `doubt`: dollars that nobody can know of: of prompts
    that were perhaps read, by calls that misbehaved or were left before they began.
    """

    share: float = 0.3
    doubt: float = 0.0
    misbehaviours: list[Misbehaviour] = field(default_factory=list)
    hung: dict[Role, Misbehaviour] = field(default_factory=dict)  # of every request of a role

    @property
    def in_doubt(self) -> float:
        """Dollars that may be charged beyond that: `doubt`, and what was on its way to readers that left."""
        cut_off = {role: Usage(1, 0, 0, _ON_ITS_WAY * count) for role, count in self.cut_off.items()}
        return self.doubt + dollars(PRICES.of(cut_off))

    def doubt_prompt(self, role: Role, prompt: str) -> None:
        """Whether it was read is not known; an estimate of its tokens may be double."""
        read = {each: Usage(1, len(prompt) // 2 + 2) if each is role else Usage() for each in Role}
        self.doubt += dollars(PRICES.of(read))

    @contextmanager
    def misbehaving(self, *how: Misbehaviour) -> Iterator[None]:
        """Answer a share of all requests like this, each in turn by chance."""
        self.misbehaviours += how
        try:
            yield
        finally:
            for each in how:
                self.misbehaviours.remove(each)

    @contextmanager
    def hanging(self, role: Role, how: Misbehaviour) -> Iterator[None]:
        """Answer all requests of a role like this."""
        self.hung[role] = how
        try:
            yield
        finally:
            del self.hung[role]

    async def answer(
        self, head: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """As a misbehaviour does, or as it should be."""
        role = Role(body["model"]) if body.get("model") in tuple(Role) else Role.PRM
        hung = self.hung.get(role) if body else None
        if hung is None and (not self.misbehaviours or self.chance.random() > self.share):
            await super().answer(head, body, reader, writer)
            return
        self.doubt_prompt(role, str(body.get("prompt") or body.get("input") or ""))
        how = hung or self.chance.choice(self.misbehaviours)
        await how(Call(head, body, reader, writer, self.used[role]))
