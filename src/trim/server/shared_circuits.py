"""A circuit that opens in one worker process opens in all of them: none has to fail on its own to learn of it.

The others hear of it through the usage store, within a second and never on a request's way. Each tries the backend by
itself from then on, and so closes its own circuit. Circuits are shared on one machine only: another may reach a backend
that this one does not, or have one of its own at the same local address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from hashlib import sha256

from trim.config.factory import Backends
from trim.server.circuit_breaker import CircuitBreaker
from trim.server.usage_store import UsageStore
from trim.types import Role


class SharedCircuits:
    """The circuits of a process, told of and heard of.

    Args:
        breakers: of each role.
        backends: that they protect.
        usage: shared with the other processes.
    """

    def __init__(self, breakers: Mapping[Role, CircuitBreaker], backends: Backends, usage: UsageStore) -> None:
        models = {Role.WEAK: backends.weak, Role.STRONG: backends.strong, Role.PRM: backends.prm}
        self._breakers = {_name(role, models[role].identity): breakers[role] for role in breakers}
        self._usage = usage

    def begin(self) -> None:
        """Tell and hear from now on, in the running loop."""
        loop = asyncio.get_running_loop()
        for name, breaker in self._breakers.items():
            breaker.opened = partial(self._usage.open_circuit, name)
        self._usage.hear_circuits(lambda name: loop.call_soon_threadsafe(self._open, name))

    def _open(self, name: str) -> None:
        if (breaker := self._breakers.get(name)) is not None:
            breaker.open_as_elsewhere()


def _name(role: Role, identity: str) -> str:
    """The same in all processes of this machine that use this backend."""
    return sha256(f"{socket.gethostname()} {role.value} {identity}".encode()).hexdigest()[:32]
