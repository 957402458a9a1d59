"""The OpenAPI document describes what is sent."""

from __future__ import annotations

import json

from tests.server.gateway import Served, ask
from trim.server.openapi import IGNORED


def test_the_document_describes_what_is_sent(served: Served) -> None:
    document = served.get("/openapi.json").json()
    schema = document["components"]["schemas"]["ChatRequest"]
    assert schema["required"] == ["messages"]
    assert set(schema["properties"]) >= {"temperature", "trim", "stop"}
    trim = document["components"]["schemas"]["Trim"]
    assert set(trim["required"]) == set(served.post(ask()).json()["trim"])


PATH = "/v1/completions"


def test_the_document_describes_it(served: Served) -> None:
    document = served.get("/openapi.json").json()
    assert document["components"]["schemas"]["CompletionRequest"]["required"] == ["prompt"]
    reply = served.post({"prompt": "q"}, PATH).json()
    schema = document["components"]["schemas"]["TextCompletion"]
    assert set(schema["required"]) == set(reply)
    assert set(schema["properties"]["choices"]["items"]["required"]) <= set(reply["choices"][0])
    used = {line.rpartition("/")[2].strip('"') for line in json.dumps(document).split() if "#/components" in line}
    assert {name.rstrip('",}]') for name in used} <= set(document["components"]["schemas"])


def test_the_document_describes_responses(served: Served) -> None:
    schemas = served.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["ResponsesRequest"]["required"] == ["input"]
    assert schemas["ResponsesRequest"]["properties"]["truncation"] == IGNORED
    reply = served.post({"input": "q"}, "/v1/responses").json()
    assert set(schemas["Response"]["required"]) <= set(reply)
    (message,) = reply["output"]
    assert set(schemas["Response"]["properties"]["output"]["items"]["required"]) == set(message)
    assert set(schemas["ResponseUsage"]["required"]) == set(reply["usage"])
