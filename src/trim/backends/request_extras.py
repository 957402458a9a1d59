"""What requests of one connection say and carry besides, as a configuration has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class RequestExtras:
    """Additions to requests.

    Args:
        omit: parameters that the model refuses: they are left out of requests for text.
        extra_body: what these requests say besides, such as `{"provider": {"order": ["x"]}}`.
        headers: what all requests carry besides; may be secret.
    """

    omit: tuple[str, ...] = ()
    extra_body: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, omit: tuple[str, ...], extra_body: str, headers: str) -> Self:
        """From a configuration's texts of JSON; empty: nothing."""
        return cls(omit, json.loads(extra_body or "{}"), json.loads(headers or "{}"))
