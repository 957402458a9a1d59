"""The chat template that a server tells, through whatever wraps the model."""

from __future__ import annotations

import asyncio

from tests.backends.fake_server import serving
from trim.backends.base import WrappedBackend
from trim.backends.openai import OpenAIGenerator
from trim.backends.told_template import told_template
from trim.prompts import load_template
from trim.protocols import StepGenerator
from trim.simulation import SimulatedModel
from trim.types import Role

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def told(model: StepGenerator) -> dict[str, str] | None:
    async def ask() -> dict[str, str] | None:
        try:
            return await told_template(model)
        finally:
            await model.aclose()

    return asyncio.run(ask())


def served(url: str, *, ask_server: bool = True) -> OpenAIGenerator:
    template = load_template("chatml")
    return OpenAIGenerator(
        f"{url}/v1", "m", Role.WEAK, template, backend="llama-server", retries=0, ask_server=ask_server
    )


def test_what_llama_server_tells() -> None:
    props = {"chat_template": TEMPLATE, "default_generation_settings": {"n_ctx": 4096}}
    with serving(props=props) as habits:
        expected = {"origin": "the server's, from /props", "source": TEMPLATE}
        assert told(served(habits.url)) == expected
        assert told(Wrapping(served(habits.url))) == expected
        assert told(served(habits.url, ask_server=False)) is None  # another one is configured


def test_nothing_is_told_by_a_server_that_is_not_there_or_a_model_without_one() -> None:
    assert told(served("http://127.0.0.1:9")) is None
    assert told(SimulatedModel(Role.WEAK, 0.9)) is None


class Wrapping(WrappedBackend):
    def __init__(self, model: StepGenerator) -> None:
        super().__init__(model)
        self.steps, self.sampled = model.steps, model.sampled
