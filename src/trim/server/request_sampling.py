"""How tokens are chosen for a request: as it asks, else as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trim.backends.openai import OpenAIGenerator
from trim.config.factory import Backends
from trim.errors import ConfigError
from trim.server.api_error import ApiError
from trim.server.circuit_breaker import CircuitBreaker, protected
from trim.server.schemas import BaseRequest
from trim.types import Role, Sampling


class RequestSampling:
    """Gives requests the models with the sampling that they ask for.

    Args:
        backends: the models as configured.
        breakers: theirs, by role.
    """

    def __init__(self, backends: Backends, breakers: Mapping[Role, CircuitBreaker]) -> None:
        self._backends = backends
        self._breakers = breakers
        self._configured = protected(backends, breakers)
        self._takes_top_k = _takes_top_k(backends)

    def ignored(self, request: BaseRequest) -> tuple[str, ...]:
        """The fields of a request that have no effect, sorted: `top_k` where one of the models does not take it."""
        given = request.top_k is not None and not self._takes_top_k
        return tuple(sorted((*request.ignored, "top_k"))) if given else request.ignored

    def backends(self, request: BaseRequest) -> Backends:
        """The models behind their circuit breakers, with the request's sampling.

        Raises:
            ApiError: 400, the sampling of a model is fixed.
        """
        configured = self._backends.spec.sampling
        sampling = self._asked(request, configured)
        if sampling == configured:
            return self._configured
        try:
            return protected(self._backends.sampled(sampling), self._breakers)
        except ConfigError as error:
            field = "top_p" if request.temperature is None else "temperature"
            raise ApiError(400, str(error), "unsupported_parameter", field) from None

    def _asked(self, request: BaseRequest, configured: Sampling) -> Sampling:
        top_k = request.top_k if self._takes_top_k else None
        return replace(
            configured,
            temperature=configured.temperature if request.temperature is None else request.temperature,
            top_p=configured.top_p if request.top_p is None else request.top_p,
            top_k=configured.top_k if top_k is None else max(0, top_k),
        )


def _takes_top_k(backends: Backends) -> bool:
    """Whether both models sample from as many tokens as a request says."""
    models = (backends.weak, backends.strong)
    if any(isinstance(model, OpenAIGenerator) and not model.able.top_k for model in models):
        return False
    try:
        backends.sampled(backends.spec.sampling)
    except ConfigError:
        return False
    return True
