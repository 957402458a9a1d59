"""Circuit breakers: when a circuit opens and closes."""

from __future__ import annotations

import time
from typing import Any

from tests.server.gateway import STRONG, WEAK, Failing, ask, serving, simulated, with_roles
from trim.backends.base import BaseBackend
from trim.errors import BackendUnavailable, BadResponse, InputTooLong
from trim.types import Question, Role


def test_a_circuit_opens_and_closes_again() -> None:
    strong = Failing(STRONG, BackendUnavailable("strong model", "is gone"))
    with serving(simulated(strong=strong, breaker_failures=2, breaker_cooldown=1.0)) as served:
        body = ask("hard 7", model="trim-strong")
        answers = [served.post(body) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {503}
        assert strong.calls == 2  # then nobody asked any more
        assert "circuit open after 2 failures" in answers[-1].json()["error"]["message"]
        assert 'trim_backend_circuit_open{role="strong"} 1.0' in served.get("/metrics").text
        time.sleep(1.1)
        assert served.post(body).status_code == 503  # the trial call failed too
        assert strong.calls == 3
        assert "circuit open after 3" in served.post(body).json()["error"]["message"]
        time.sleep(1.1)
        strong.error = None
        assert served.post(body).status_code == 200
        assert served.post(ask("hard 7", model="trim-weak")).status_code == 200
        assert 'trim_backend_circuit_open{role="strong"} 0.0' in served.get("/metrics").text


def test_a_wrong_request_opens_no_circuit() -> None:
    weak = Failing(WEAK, InputTooLong("weak model", "too long"))
    with serving(simulated(weak, breaker_failures=2)) as served:
        assert [served.post(ask()).status_code for _ in range(4)] == [400] * 4


def test_the_judge_may_fail_too() -> None:
    class Broken(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Any:
            raise BadResponse("process reward model", "2 scores for 3 steps")

    with serving(simulated(prm=Broken())) as served:
        assert served.post(ask()).status_code == 502
        assert served.post(ask(model="trim-weak")).status_code == 200
    with serving(with_roles(simulated(prm=Broken()), prm={"on_error": "weak"})) as served:
        (fallback,) = served.post(ask()).json()["trim"]["fallbacks"]
        assert fallback["role"] == Role.PRM
