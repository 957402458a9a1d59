"""Seeded random numbers: the same seed and place give the same number in every process.

All of them hash a key made of named parts, so the order in which questions are solved changes nothing.
"""

from __future__ import annotations

from hashlib import blake2b

from trim.errors import ConfigError

SAMPLE_STRIDE = 1_000_000_007
"""Distance between the seeds of a question's samples: far from the seeds that people choose."""


def uniform(*parts: object) -> float:
    """A uniform number in [0, 1) that depends on the parts alone, 56 bits of it."""
    return uniform_of(_key(parts))


class Draws:
    """Uniform numbers that depend on the same first parts, which are hashed once: one of them may be a long text.

    Args:
        first: the parts.
    """

    def __init__(self, *first: object) -> None:
        self._begun = blake2b(_key(first) + b"\0", digest_size=7)

    def uniform(self, *parts: object) -> float:
        """The number that `uniform` gives for the first parts and these."""
        begun = self._begun.copy()
        begun.update(_key(parts))
        return int.from_bytes(begun.digest(), "big") / 2.0**56


def uniform_of(key: bytes) -> float:
    """The same of a key that is bytes already, such as `digest` of the parts and a running number."""
    return int.from_bytes(blake2b(key, digest_size=7).digest(), "big") / 2.0**56


def digest(*parts: object) -> bytes:
    """64 bytes that stand for the parts, to derive many uniform numbers from."""
    return blake2b(_key(parts)).digest()


def request_seed(*parts: object) -> int:
    """A seed in [0, 2**31) for a server's `seed` field."""
    return int.from_bytes(blake2b(_key(parts), digest_size=4).digest(), "big") >> 1


def sample_seed(seed: int, index: int, stride: int = SAMPLE_STRIDE) -> int:
    """The seed of a question's sample; index 0 is the run's own."""
    return seed + index * stride


def sample_seeds(seed: int, samples: int) -> tuple[int, ...]:
    """The seeds of several samples of a question, the run's own first: `Trace.seed` tells them apart.

    Raises:
        ConfigError: one does not fit into 64 bits.
    """
    if not -(2**63) <= seed < 2**63 - samples * SAMPLE_STRIDE:
        raise ConfigError(f"seed {seed} does not fit into 64 bits")
    return tuple(sample_seed(seed, index) for index in range(samples))


def _key(parts: tuple[object, ...]) -> bytes:
    """Parts with a zero byte between them; what UTF-8 cannot hold becomes a question mark."""
    return "\0".join(map(str, parts)).encode("utf-8", "replace")
