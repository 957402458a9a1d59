"""CPU time that log-probabilities take in the client, for each token of a stream.

    python -m benchmarks.token_logprobs

Prints microseconds of CPU for each token, from the bytes of its chunk to the finished steps, as vLLM sends it: text
alone, with its log-probability, and with the 5 likeliest tokens beside it, from which the entropy is computed.
"""

from __future__ import annotations

import json
import time
from typing import Any

from trim.backends.response_stream import read_chunk
from trim.backends.step_assembly import Assembler, Terms
from trim.backends.token_logprobs import TOP
from trim.steps import StepFormat
from trim.types import Role, Step

_TOKENS = 20_000
_REPEATS = 5
_STEP = 40  # tokens


def chunks(told: int) -> list[bytes]:
    """The chunks of an answer; `told`: 0 for text alone, 1 for log-probabilities, else so many likeliest tokens."""
    made = []
    for number in range(1, _TOKENS + 1):
        text = "\n\n" if number % _STEP == 0 else f" word{number % 7}"
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": None, "stop_reason": None}
        if told:
            top = {f" word{n}": -0.4 - n for n in range(told)}
            choice["logprobs"] = {
                "text_offset": [number],
                "token_logprobs": [-0.4],
                "tokens": [text],
                "top_logprobs": [top],
            }
        usage = {"prompt_tokens": 90, "completion_tokens": number, "total_tokens": 90 + number}
        made.append(json.dumps({"id": "cmpl-1", "model": "m", "choices": [choice], "usage": usage}).encode())
    return made


def read(raw: list[bytes]) -> list[Step]:
    """The finished steps."""
    assembler = Assembler(Terms("server", Role.WEAK, StepFormat(), "prompt", None, 2048, stop=False))
    steps: list[Step] = []
    for line in raw:
        steps += assembler.feed(read_chunk(json.loads(line)))
    return steps


def main() -> None:
    """Measure each kind, the best of a few times."""
    for words, told in (("text alone", 0), ("log-probability", 1), (f"{TOP} likeliest tokens", TOP)):
        raw, best = chunks(told), float("inf")
        for _ in range(_REPEATS):
            started = time.process_time()
            steps = read(raw)
            best = min(best, time.process_time() - started)
        assert len(steps) == _TOKENS // _STEP
        assert (steps[0].mean_entropy is not None) == (told == TOP)
        print(f"{words:20} {best / _TOKENS * 1e6:6.1f} us a token")


if __name__ == "__main__":
    main()
