"""Asks for /healthz ten times a second, each time over a new connection, from a process of its own.

    python -m benchmarks.chaos.health HOST PORT

Writes a line for each: when it was sent (of `time.monotonic`), the status (0: none within 5 s), the seconds it took.
"""

from __future__ import annotations

import socket
import sys
import time

_PERIOD, _PATIENCE = 0.1, 5.0


def ask(host: str, port: int) -> int:
    """The status of /healthz; 0: none."""
    try:
        with socket.create_connection((host, port), _PATIENCE) as connection:
            connection.sendall(f"GET /healthz HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) < 12 and (data := connection.recv(4096)):
                answer += data
    except OSError:
        return 0
    return int(answer[9:12]) if len(answer) >= 12 else 0


def main() -> None:
    """Ask until ended."""
    host, port = sys.argv[1], int(sys.argv[2])
    while True:
        began = time.monotonic()
        status = ask(host, port)
        took = time.monotonic() - began
        print(f"{began:.4f} {status} {took:.4f}", flush=True)
        time.sleep(max(0.0, _PERIOD - took))


if __name__ == "__main__":
    main()
