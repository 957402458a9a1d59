"""Questions as large as a body may be, of characters that make a gateway work; and bodies that are all structure."""

from __future__ import annotations

import itertools
import json

from benchmarks.chaos.attack import ATTACKER, Attack, Target, status_of
from trim.types import Role

_FILLERS = ("How many? ", "\n", "<|im_start|>", "<|", "<", "[", "\U0001f600", "</think>", "{{ x }}")
_SIZE = 300_000  # bytes; more take this upstream, which counts every token, longer than the deadline
_NESTED = b"[" * 900_000


class GiantQuestions(Attack):
    name = "giant questions"
    expects = "an answer or one clear error, and health as before"

    async def run(self, target: Target) -> None:
        for filler in itertools.cycle(_FILLERS):
            question = filler * (_SIZE // (len(json.dumps(filler)) - 2))
            status = await target.ask(ATTACKER, messages=[{"role": "user", "content": question}])
            self.seen[str(status)] += 1
            if status == 504:  # perhaps while it was sent on: what of it was read nobody knows
                for role in Role:
                    target.upstream.doubt_prompt(role, question)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {target.host}:{target.port}\r\nconnection: close\r\n"
            head += f"authorization: Bearer {target.key}\r\ncontent-type: application/json\r\n"
            response = await target.send(f"{head}content-length: {len(_NESTED)}\r\n\r\n".encode() + _NESTED)
            self.seen[str(status_of(response))] += 1
