"""`trim serve` as a process: it prints its address, answers, and stops on a signal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.server.gateway import ask
from trim.cli.main import main


def test_it_serves_and_stops(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--record", str(tmp_path / "traces"), "--state", str(tmp_path / "state.db")]
    with subprocess.Popen(
        [sys.executable, "-m", "trim.cli.main", "serve", *options], stderr=subprocess.PIPE
    ) as process:
        limit = time.monotonic() + 60
        while True:
            try:
                answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ask("2 + 2?"), timeout=30)
                break
            except httpx.ConnectError:
                assert process.poll() is None, process.communicate()[1].decode()
                assert time.monotonic() < limit
                time.sleep(0.1)
        assert answer.status_code == 200
        _read_a_stream_as_an_old_client(port)
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)[1].decode()
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in log
    assert "2 + 2" not in log
    assert len(list((tmp_path / "traces").iterdir())) == 1


def _read_a_stream_as_an_old_client(port: int) -> None:
    body = json.dumps(ask("2 + 2?", stream=True)).encode()
    head = "POST /v1/chat/completions HTTP/1.0\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"transfer-encoding" not in answer.lower()
    assert b"content-length" not in answer.lower()  # sent as it was written
    assert answer.endswith(b"data: [DONE]\n\n")


def test_a_failed_start_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--keys", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml: No such file" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--port", "99999"]) == 2
        assert "port = 99999 must be" in capsys.readouterr().err
