"""The gateway under Ray Serve on this machine, in a process of its own; prints what it did as JSON."""

from __future__ import annotations

import json
import logging
import time

import httpx
import ray
from ray import serve

from deploy.ray_serve import gateway

PORT = 18_431


def main() -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(gateway({}))
    kind = {"content-type": "application/json"}
    body = {"model": "trim-weak", "seed": 1, "messages": [{"role": "user", "content": "What is 17 * 3?"}]}
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
        whole = client.post("/v1/chat/completions", json=body).json()
        stream = client.post("/v1/chat/completions", json=body | {"stream": True}).text
        text = "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            for line in stream.splitlines()
            if line.startswith("data: {")
        )
        found = {
            "health": client.get("/healthz").status_code,
            "answer": whole["trim"]["policy"],
            "stream": text == whole["choices"][0]["message"]["content"],
            "refused": client.post("/v1/chat/completions", content=b"{", headers=kind).status_code,
        }
        try:
            client.post("/v1/chat/completions", json=body | {"model": "trim-strong", "n": 8}, timeout=0.1)
        except httpx.ReadTimeout:
            limit = time.monotonic() + 20
            while 'status="cancelled"' not in client.get("/metrics").text and time.monotonic() < limit:
                time.sleep(0.1)
        found["left"] = 'status="cancelled"' in client.get("/metrics").text
    serve.shutdown()
    ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
