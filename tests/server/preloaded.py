"""What the processes of `tests.server.real_gateway` have imported before they are forked."""

import openai  # noqa: F401
import uvicorn.lifespan.on
import uvicorn.loops.auto
import uvicorn.protocols.http.auto  # noqa: F401

import tests.server.real_gateway  # noqa: F401
import trim.backends.openai
import trim.scoring.vllm_prm
import trim.server.run  # noqa: F401
