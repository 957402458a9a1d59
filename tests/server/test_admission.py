"""ApiKeys, limits, the queue, deadlines, budgets."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.server.gateway import WEAK, ask, serving, simulated
from trim.cli.main import main
from trim.errors import ConfigError
from trim.server.auth import ApiKeys
from trim.server.usage_store import UsageStore, UsageTotals

SLOW = replace(WEAK, token_seconds=0.001, block=10)  # 40 ms a step


def _keys(folder: Path, capsys: pytest.CaptureFixture[str], **limits: object) -> tuple[str, str]:
    """A file with one key, and the key."""
    assert main(["key", "alice"]) == 0
    told, entry = capsys.readouterr().out.split("\n\n")
    lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
    (folder / "keys.toml").write_text(f"{entry}{lines}")
    return str(folder / "keys.toml"), told.split()[4]


def _as(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = _keys(tmp_path, capsys)
    assert key not in Path(path).read_text()
    with serving(simulated(keys=path)) as served:
        assert served.post(ask(), headers=_as(key)).status_code == 200
        assert served.get("/v1/models", headers=_as(key)).status_code == 200
        for headers in (
            {},
            _as("trim-other"),
            {"authorization": key},
            {"authorization": "Bearer"},
            {"authorization": b"Bearer \xff"},
        ):
            answer = served.post(ask(), headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert served.get("/v1/models", headers=headers).status_code == 401
        assert served.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[key]]\nname = 'a'", "sha256"),
        ("[[key]]\nname = 'a'\nsha256 = 'xyz'", "sha256"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nspend = 1", "unknown spend"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nspend_per_day = -1", "spend_per_day = -1"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\n" * 2, "duplicate name"),
        ("key = 3", "[[key]]"),
        ("key", "not valid TOML"),
    ],
)
def test_a_wrong_file_of_keys(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "keys.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        ApiKeys(str(tmp_path / "keys.toml"))
    assert words in str(error.value)


def test_limits_of_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = _keys(tmp_path, capsys, max_requests=1)
    with serving(simulated(SLOW, keys=path)) as served, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served.post(ask("hard 7"), headers=_as(key)), range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
        assert int(next(a for a in answers if a.status_code == 429).headers["retry-after"]) >= 1
        assert served.post(ask(), headers=_as(key)).status_code == 200  # the place is free again
    path, key = _keys(tmp_path, capsys, requests_per_minute=2)
    with serving(simulated(keys=path)) as served:
        statuses = [served.post(ask(), headers=_as(key)) for _ in range(3)]
        assert [answer.status_code for answer in statuses] == [200, 200, 429]
        assert 25 <= int(statuses[-1].headers["retry-after"]) <= 30
        assert statuses[-1].json()["error"]["code"] == "rate_limit_exceeded"


def test_spend_of_a_key_survives_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = _keys(tmp_path, capsys, spend_per_day=1e-9)
    backends = simulated(keys=path, state=str(tmp_path / "state.db"))
    with serving(backends) as served:
        assert served.post(ask("hard 7"), headers=_as(key)).status_code == 200
    with serving(backends) as served:
        answer = served.post(ask(), headers=_as(key))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
        assert answer.headers["x-should-retry"] == "false"


def test_the_hourly_cap_is_not_exceeded() -> None:
    cap = 2e-3
    with serving(simulated(SLOW, max_requests=4, spend_per_hour=cap)) as served, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: served.post(ask(f"q{i}", seed=i)), range(60)))
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


def test_the_deadline() -> None:
    hanging = replace(WEAK, token_seconds=10.0)
    with serving(simulated(hanging, deadline=0.3)) as served:
        for stream in (False, True):
            started = time.monotonic()
            answer = served.post(ask(stream=stream))
            assert time.monotonic() - started < 1.5
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    with serving(simulated(replace(SLOW, token_seconds=0.002), deadline=0.2)) as served:  # in the middle of a stream
        answer = served.post(ask("hard 7", stream=True, seed=5))
        assert answer.status_code == 200
        assert '"deadline_exceeded"' in answer.text.strip().splitlines()[-1]
        usage = served.gateway.metrics.text().decode()
        assert 'trim_requests_total{policy="threshold",status="failed"} 1.0' in usage


def test_a_stop_lets_streams_finish() -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving(simulated(SLOW)) as served:
            url, body = f"{served.url}/v1/chat/completions", ask("hard 7", stream=True, seed=5)
            answer = pool.submit(httpx.post, url, json=body, timeout=30)
            while not served.gateway.admission.running:
                time.sleep(0.005)
        # the server was told to stop while the stream was open
        assert answer.result().text.endswith("data: [DONE]\n\n")


def test_no_charge_is_lost_between_threads() -> None:
    """Without a lock, a statement of one thread is silently lost while another thread reads."""
    with closing(UsageStore()) as usage:

        def charge() -> None:
            for _ in range(2000):
                usage.charge("everybody", UsageTotals(0.5, 3, 1))

        with ThreadPoolExecutor(2) as pool:
            charging = [pool.submit(charge) for _ in range(2)]
            while not all(one.done() for one in charging):
                assert usage.totals(0).requests <= 4000
        for one in charging:
            one.result()
        assert usage.totals(0) == UsageTotals(2000.0, 12000, 4000)


def test_no_charge_is_lost_while_the_books_are_locked(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serving(simulated(state=str(path), spend_per_hour=1.0)) as served:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            first = served.post(ask()).json()["trim"]["cost"]
            assert served.spent(1).cost == pytest.approx(first)  # counted, though not written
            other.execute("ROLLBACK")
            assert other.execute("SELECT COUNT(*) FROM spend").fetchone() == (0,)
        second = served.post(ask()).json()["trim"]["cost"]
        served.spent(2)
    with closing(UsageStore(str(path))) as usage:
        written = usage.totals(0)
    assert written.cost == pytest.approx(first + second)
    assert written.requests == 2
