"""What the processes of `tests.forked` have imported before they are forked."""

import gc

import httpcore2  # noqa: F401
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg  # noqa: F401
import onnxruntime  # noqa: F401
import openai  # noqa: F401
import opentelemetry.trace  # noqa: F401
import pytest  # noqa: F401  # the main module of the tests, which every process would import again
import reasoning_gym.arithmetic  # noqa: F401
import rich.console
import rich.progress
import rich.table  # noqa: F401
import uvicorn.lifespan.on
import uvicorn.loops.auto
import uvicorn.loops.uvloop
import uvicorn.protocols.http.auto  # noqa: F401

import tests.server.real_gateway  # noqa: F401
import trim.backends.onnx_engine
import trim.backends.openai
import trim.cli.evaluate
import trim.cli.main
import trim.cli.solve
import trim.experiments.evaluation
import trim.policies.learned.policy
import trim.policies.pomdp
import trim.pomdp.resampling
import trim.pomdp.solver
import trim.reporting.run_report
import trim.scoring.vllm_prm
import trim.server.run  # noqa: F401

gc.freeze()  # processes leave these objects alone, and share their memory
