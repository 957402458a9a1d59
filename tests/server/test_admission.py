"""Rate limits of keys, the queue, caps on spend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.gateway import WEAK, ask, serving, simulated
from tests.server.test_auth import bearer, key_file

SLOW = replace(WEAK, token_seconds=0.001, block=10)  # 40 ms a step


def test_limits_of_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = key_file(tmp_path, capsys, max_requests=1)
    with serving(simulated(SLOW, keys=path)) as served, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served.post(ask("hard 7"), headers=bearer(key)), range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
        assert int(next(a for a in answers if a.status_code == 429).headers["retry-after"]) >= 1
        assert served.post(ask(), headers=bearer(key)).status_code == 200  # the place is free again
    path, key = key_file(tmp_path, capsys, requests_per_minute=2)
    with serving(simulated(keys=path)) as served:
        statuses = [served.post(ask(), headers=bearer(key)) for _ in range(3)]
        assert [answer.status_code for answer in statuses] == [200, 200, 429]
        assert 25 <= int(statuses[-1].headers["retry-after"]) <= 30
        assert statuses[-1].json()["error"]["code"] == "rate_limit_exceeded"


def test_spend_of_a_key_survives_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = key_file(tmp_path, capsys, spend_per_day=1e-4)
    backends = simulated(keys=path, state=str(tmp_path / "state.db"))
    with serving(backends) as served:
        statuses = [served.post(ask("hard 7", seed=i), headers=bearer(key)).status_code for i in range(10)]
        assert statuses == sorted(statuses)
        assert statuses[0] == 200
        assert served.gateway.usage.totals(0).cost <= 1e-4
    with serving(backends) as served:
        answer = served.post(ask(), headers=bearer(key))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
        assert answer.headers["x-should-retry"] == "false"


def test_the_hourly_cap_is_not_exceeded() -> None:
    cap = 2e-3
    with serving(simulated(SLOW, max_requests=4, spend_per_hour=cap)) as served, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: served.post(ask(f"q{i}", seed=i)), range(150)))
        done = [answer.json()["trim"]["cost"] for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert cap - 2 * max(done) <= sum(done) <= cap
        assert sum(done) == pytest.approx(served.spent(len(done)).cost)


def test_the_queue_is_bounded() -> None:
    with serving(simulated(SLOW, max_requests=2, queue=3)) as served, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda i: served.post(ask("hard 7", seed=i)), range(12)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses.count(429) >= 12 - 2 * 5
        assert statuses.count(200) >= 5
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        assert (served.gateway.admission.running, served.gateway.admission.queued) == (0, 0)
