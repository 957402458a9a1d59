"""Money: whatever happens to requests, processes and clocks, caps hold and the usage store has what was generated.

A real gateway process in front of a server that counts what it generates. `TRIM_FUZZ=2000` runs so many histories, of
requests, clients that leave, kill -9, SIGTERM, restarts, clocks that jump and hours that pass, in parts of 50.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.money import dollars
from tests.server.counting_upstream import Habits
from tests.server.real_gateway import PRICES, RealGateway, real_gateway
from trim.types import Role, Usage

HISTORIES = int(os.environ.get("TRIM_FUZZ", "4"))
PARTS = max(1, HISTORIES // 50)
CAP = 0.03  # of an hour: a few requests
POLICIES = ["trim", "trim-weak", "trim-strong", "trim-threshold-0.95"]
_ROUNDED = 1e-9
# What is not known of a request that is cancelled: tokens that were on their way, and whether a prompt was read.
_CUT_OFF = {
    Role.WEAK: dollars(PRICES.weak.of(Usage(1, 40, 0, 2))),
    Role.STRONG: dollars(PRICES.strong.of(Usage(1, 40, 0, 2))),
    Role.PRM: dollars(PRICES.prm.of(Usage(1, 60))),
}


class Histories(RuleBasedStateMachine):
    """A history of one gateway's file."""

    @initialize(slow_judge=st.booleans(), capped=st.booleans(), recovery=st.sampled_from(["reserved", "counted"]))
    def open(self, slow_judge: bool, capped: bool, recovery: str) -> None:
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(TemporaryDirectory()))
        habits = Habits(token=0.0005, score=0.02 if slow_judge else 0.001)
        serve = {"recovery": recovery} | ({"spend_per_hour": CAP} if capped else {})
        self.gateway = self.stack.enter_context(real_gateway(folder, habits, **serve))
        self.capped, self.kept = capped, recovery == "reserved"
        self.before = 0.0  # what earlier hours have cost
        self.lost = 0.0  # what was held when processes were killed
        self.gateway.start()

    @rule(count=st.integers(1, 6), n=st.integers(1, 3), stream=st.booleans(), policy=st.sampled_from(POLICIES))
    def ask(self, count: int, n: int, stream: bool, policy: str) -> None:
        """Requests at the same time."""
        for seed in range(count):
            self.gateway.ask(model=policy, n=n, stream=stream, seed=seed)

    @rule(count=st.integers(1, 4), seconds=st.floats(0.0, 0.06))
    def leave(self, count: int, seconds: float) -> None:
        """Clients that leave."""
        for seed in range(count):
            self.gateway.ask(stream=True, seed=seed, leave_after=seconds)

    @rule(seconds=st.floats(0.0, 0.05))
    def pause(self, seconds: float) -> None:
        """Time passes."""
        time.sleep(seconds)

    @rule()
    def kill(self) -> None:
        """Kill -9, at whatever it does, and another start."""
        self.gateway.end(signal.SIGKILL)
        self.lost += self.gateway.books()[1]
        self.gateway.start()

    @rule()
    def stop(self) -> None:
        """SIGTERM, with a grace that may be shorter than the requests, and another start."""
        self.gateway.end(signal.SIGTERM)
        self.gateway.start()

    @rule(seconds=st.sampled_from([-1e9, -86_400.0, -3_600.0, -5.0, 5.0, 3_600.0, 86_400.0, 1e9]))
    def jump(self, seconds: float) -> None:
        """The machine's clock is set."""
        self.gateway.turn(self.gateway.ahead[0], self.gateway.ahead[1] + seconds)

    @rule()
    def answered(self) -> None:
        """All requests end."""
        self.gateway.wait()
        self.check()

    @rule()
    def hour(self) -> None:
        """Two hours pass. What was written before is of an earlier hour; what was held then may be of this one."""
        self.gateway.wait()
        self.gateway.settled()
        self.check()
        self.before = self.gateway.cost
        self.gateway.turn(self.gateway.ahead[0] + 7_200, self.gateway.ahead[1])

    def check(self) -> None:
        """The caps hold."""
        if self.capped:
            assert self.gateway.cost - self.before <= CAP * (1 + _ROUNDED)

    def teardown(self) -> None:
        """The usage store has what was generated."""
        if not hasattr(self, "gateway"):
            return
        with self.stack:
            gateway = self.gateway
            gateway.wait()
            self.check()
            gateway.start()
            spent, cost = gateway.settled(), gateway.cost
            cut_off = gateway.upstream.cut_off | {Role.PRM: sum(gateway.upstream.cut_off.values()) + gateway.left}
            unknown = sum(_CUT_OFF[role] * cut_off[role] for role in Role) + _ROUNDED
            assert spent <= cost * 1.01 + self.lost + unknown
            if self.kept or not self.lost:
                assert spent >= cost * 0.99 - unknown


@pytest.mark.parametrize("part", range(PARTS))
def test_histories(part: int) -> None:
    """A part of them, in a process of its own with `pytest -n`; `-k` continues with the parts that are left."""
    started, count = time.monotonic(), max(1, HISTORIES // PARTS)
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=count,
            stateful_step_count=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            derandomize=HISTORIES <= 4,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"part {part}: {count} histories in {time.monotonic() - started:.0f} s")


@pytest.fixture
def gateway(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RealGateway]:
    """Started, under the test's settings."""
    habits, serve = request.param
    with real_gateway(tmp_path, habits, **serve) as made:
        made.start()
        yield made


@pytest.mark.parametrize("gateway", [(Habits(token=0.0005), {"spend_per_hour": CAP})], indirect=True)
def test_a_cap_holds_from_a_cold_start(gateway: RealGateway) -> None:
    for seed in range(256):
        gateway.ask(seed=seed, stream=bool(seed % 2))
    statuses = Counter(gateway.wait())
    assert statuses.keys() == {200, 429}
    assert CAP / 4 <= gateway.settled() <= CAP
    assert gateway.cost <= CAP


@pytest.mark.parametrize("gateway", [(Habits(token=0.002), {})], indirect=True)
def test_four_kills_lose_nothing(gateway: RealGateway) -> None:
    for _ in range(4):
        for seed in range(8):
            gateway.ask(seed=seed, stream=True)
        while gateway.upstream.used[Role.WEAK].completion_tokens < 50:
            time.sleep(0.002)
        gateway.end(signal.SIGKILL)
        gateway.start()
        gateway.wait()
    assert gateway.settled() >= gateway.cost > 0


@pytest.mark.parametrize("gateway", [(Habits(token=0.2), {})], indirect=True)
def test_sigterm_settles_what_it_cancels(gateway: RealGateway) -> None:
    """The requests need 8 seconds, the grace is one; a token of each may be under way when it is cancelled."""
    for seed in range(8):
        gateway.ask(model="trim-weak", seed=seed, stream=bool(seed % 2))
    while gateway.upstream.used[Role.WEAK].completion_tokens < 40:
        time.sleep(0.01)
    gateway.end(signal.SIGTERM)
    gateway.wait()
    spent, held = gateway.books()
    assert held == 0
    assert abs(gateway.cost - spent) <= 8 * dollars(PRICES.weak.of(Usage(completion_tokens=1))) + _ROUNDED


@pytest.mark.parametrize("gateway", [(Habits(), {})], indirect=True)
@pytest.mark.parametrize("policy", ["strong", "threshold"])
def test_all_choices_share_a_cap_on_strong_tokens(gateway: RealGateway, policy: str) -> None:
    model = "trim-strong" if policy == "strong" else "trim"
    options = {"max_strong_tokens": 20} | ({} if policy == "strong" else {"policy": "threshold", "parameter": 0.99})
    assert gateway.ask(model=model, n=8, trim=options).result(30) == 200
    assert 0 < gateway.upstream.used[Role.STRONG].completion_tokens <= 20


@pytest.mark.parametrize(
    "gateway", [(Habits(token=0.0002, score=2.0, length=600), {"max_tokens": 600, "deadline": 5.0})], indirect=True
)
@pytest.mark.parametrize("leaves", [False, True])
def test_what_is_written_while_a_judge_is_slow_is_counted(gateway: RealGateway, leaves: bool) -> None:
    """The weak model writes on while its first steps are scored, until the client leaves or the time is up."""
    request = gateway.ask(model="trim-threshold-0.99", stream=True)
    weak = gateway.upstream.used[Role.WEAK]
    limit = time.monotonic() + 20
    while weak.completion_tokens < 300 and time.monotonic() < limit:
        time.sleep(0.01)
    if leaves:
        request.cancel()
    else:
        request.result(30)
    spent = gateway.settled()
    assert weak.completion_tokens >= 300
    assert spent == pytest.approx(gateway.cost, rel=0.01)


def test_processes_share_caps(tmp_path: Path) -> None:
    """Two gateways on one file."""
    with real_gateway(tmp_path, spend_per_hour=CAP) as one, real_gateway(tmp_path, spend_per_hour=CAP) as other:
        one.start()
        other.start()
        for seed in range(40):
            one.ask(seed=seed)
            other.ask(seed=seed)
        assert {200, 429} == {*one.wait(), *other.wait()}
        assert CAP / 4 < one.cost + other.cost <= CAP
        one.settled()
        cost, cut_off = one.cost + other.cost, [gateway.upstream.cut_off for gateway in (one, other)]
        unknown = sum(_CUT_OFF[role] * each[role] for each in cut_off for role in Role)
        assert abs(other.settled() - cost) <= 0.01 * cost + unknown
