"""One run: every attack alone, then all together, while a client asks and /healthz is asked."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.attack import CLIENT, Attack, Target
from benchmarks.chaos.client import Outcome, client
from benchmarks.chaos.gateway import DEADLINE, Resources, gateway, metric, written_down
from benchmarks.chaos.upstream import Upstream
from tests.server.real_gateway import PRICES

_CLIENTS = 4
_SETTLED = 3.0  # seconds after the last attack, in which connections of clients and models' servers end
_TOLERANCE = 0.01  # of the spend, besides what nobody can know
_SLOW = 1.0  # seconds for /healthz
_MEMORY = 400 * 2**20  # bytes by which the process may grow
_LOG = 20 * 2**20


@dataclass
class Health:
    """What /healthz answered: when, status, seconds."""

    answers: list[tuple[float, int, float]] = field(default_factory=list)

    def within(self, begin: float, end: float) -> tuple[list[float], int]:
        """Seconds of the answers to what was sent in that time, and how many had no or another answer."""
        found = [(status, took) for sent, status, took in self.answers if begin <= sent <= end]
        return sorted(took for _, took in found), sum(status != 200 for status, _ in found)


@dataclass(frozen=True)
class Phase:
    """What happened while some attacks ran. Seconds of /healthz."""

    name: str
    expects: str
    health_p99: float
    health_longest: float
    health_failed: int
    answered: int
    refused: dict[str, int]
    longest: float
    seen: dict[str, int]
    faults: list[str]


@dataclass(frozen=True)
class Report:
    """A run."""

    seconds: float
    phases: list[Phase]
    spent: float
    generated: float
    in_doubt: float
    memory_before: int
    memory_most: int
    log_bytes: int
    left: list[str]
    faults: list[str]

    @property
    def holds(self) -> bool:
        """Whether all is as it should be."""
        return not self.faults and not any(phase.faults for phase in self.phases)


@asynccontextmanager
async def _asked(target: Target) -> AsyncIterator[Health]:
    """Ask for /healthz in a process of its own."""
    health = Health()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.chaos.health", target.host, str(target.port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None

    async def read(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            sent, status, took = line.split()
            health.answers.append((float(sent), int(status), float(took)))

    reading = asyncio.create_task(read(process.stdout))
    try:
        yield health
    finally:
        process.kill()
        await process.wait()
        await reading


@asynccontextmanager
async def _watched(target: Target, most: list[Resources]) -> AsyncIterator[None]:
    """Take the process's resources four times a second."""

    async def watch() -> None:
        while True:
            most.append(Resources.of(target))
            await asyncio.sleep(0.25)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _phase(target: Target, name: str, attacks: Sequence[Attack], seconds: float, health: Health) -> Phase:
    outcome, over, begin = Outcome(), asyncio.Event(), time.monotonic()
    asking = [asyncio.create_task(client(target, number, outcome, over)) for number in range(_CLIENTS)]
    running = {asyncio.create_task(attack.run(target)): attack for attack in attacks}
    await asyncio.sleep(seconds)
    end = time.monotonic()
    over.set()
    await asyncio.gather(*asking)
    for task in running:
        task.cancel()
    for (task, attack), error in zip(
        running.items(), await asyncio.gather(*running, return_exceptions=True), strict=True
    ):
        if isinstance(error, Exception):
            attack.faults.append(f"the attack itself failed: {error!r}")
        elif not task.cancelled():
            attack.faults.append("the attack ended by itself")
    for attack in attacks:
        await attack.check(target)
    await asyncio.sleep(0.2)
    took, failed = health.within(begin, end)
    found = Counter(f"{attack.name}: {fault}" for attack in attacks for fault in attack.faults)
    faults = [f"{fault} ({count} times)" if count > 1 else fault for fault, count in found.items()]
    faults += _judged(outcome, attacks)
    if failed or not took or took[-1] > _SLOW:
        faults.append(f"{failed} health checks of {len(took)} failed, the longest took {max(took, default=0):.2f} s")
    p99 = took[int(0.99 * (len(took) - 1))] if took else 0.0
    seen = {
        f"{each.name}: {what}" if len(attacks) > 1 else what: n for each in attacks for what, n in each.seen.items()
    }
    for attack in attacks:
        attack.seen.clear()
        attack.faults.clear()
    refused = {end: count for end, count in outcome.ends.items() if end != "answered"}
    return Phase(
        name,
        attacks[0].expects if len(attacks) == 1 else "",
        p99,
        max(took, default=0.0),
        failed,
        outcome.answered,
        refused,
        outcome.longest,
        seen,
        faults,
    )


def _judged(outcome: Outcome, attacks: Sequence[Attack]) -> list[str]:
    """What is not as it should be for the client that behaves well."""
    faults = [f"neither an answer nor an error: {words}" for words in outcome.wrong[:3]]
    if outcome.longest > DEADLINE + 2.5:
        faults.append(f"a request took {outcome.longest:.1f} s, its deadline is {DEADLINE:g} s")
    if all(attack.spares_answers for attack in attacks):
        errors = outcome.ends.total() - outcome.answered
        if errors or not outcome.answered:
            faults.append(f"{errors} requests that are right were refused, {outcome.answered} answered")
    return faults


async def run(attacks: Sequence[Attack], seconds: float, folder: Path) -> Report:
    """Attack a gateway: half of the time each alone, the other half all together."""
    began, upstream = time.monotonic(), Upstream()
    async with upstream.listening(), gateway(folder, upstream) as (target, process), _asked(target) as health:
        phases = [await _phase(target, "nothing", (), 1.0, health)]
        tasks, threads = await written_down(target, process)
        before, most = Resources.of(target), [Resources.of(target)]
        async with _watched(target, most):
            for attack in attacks:
                phases.append(await _phase(target, attack.name, (attack,), seconds / 2 / len(attacks), health))
                await _recovered(target)
            if len(attacks) > 1:
                phases.append(await _phase(target, "all together", attacks, seconds / 2, health))
        await asyncio.sleep(_SETTLED)
        running, still = await written_down(target, process)
        left = [*(Counter(running) - Counter(tasks)).elements()]
        left += [f"thread {name}" for name in (still - threads).elements()]
        sockets = Resources.of(target).sockets - before.sockets
        left += [f"{sockets} sockets"] if sockets > 0 else []
        spent, held = await metric(target, "trim_cost_total"), await metric(target, "trim_spend_reserved")
    generated = upstream.cost(PRICES)
    faults = [f"left: {each}" for each in left] + ([f"{held} dollars are still reserved"] if held else [])
    if not -_TOLERANCE * generated <= spent - generated <= _TOLERANCE * generated + upstream.in_doubt:
        faults.append(f"charged {spent:.6f}, generated {generated:.6f}, in doubt {upstream.in_doubt:.6f}")
    memory, log = max(each.memory for each in most), max(each.log for each in most)
    if memory - before.memory > _MEMORY or log > _LOG:
        faults.append(f"memory {before.memory >> 20} -> {memory >> 20} MB, log {log >> 20} MB")
    return Report(
        time.monotonic() - began, phases, spent, generated, upstream.in_doubt, before.memory, memory, log, left, faults
    )


async def _recovered(target: Target) -> None:
    """Wait until a request is answered again: circuits close some time after the last failure."""
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while await target.ask(CLIENT, model="trim") != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
