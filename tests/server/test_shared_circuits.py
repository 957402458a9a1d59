"""A circuit that opens in one process opens in the others, which close theirs when the server works again."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.server.conftest import becomes
from tests.server.gateway import ask, serving
from tests.server.real_gateway import config
from trim.server.gateway import open_gateway
from trim.types import Role


def test_others_learn_of_a_server_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and listens to nobody
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        made = config(
            url, tmp_path / "state.db", breaker_failures=2, breaker_cooldown=60.0, expose_upstream_errors=True
        )
        with serving(lambda: open_gateway(made)) as one, serving(lambda: open_gateway(made)) as other:
            asked = [one.post(ask(model="trim-weak")).status_code for _ in range(2)]
            assert set(asked) == {503}
            becomes(lambda: other.gateway.breakers[Role.WEAK].state, "open")
            assert other.gateway.breakers[Role.STRONG].state == "closed"
            refused = other.post(ask(model="trim-weak"))
            assert (refused.status_code, "circuit open" in refused.text) == (503, True)
            assert 'trim_backend_circuit_open{role="weak"} 1.0' in other.get("/metrics").text
