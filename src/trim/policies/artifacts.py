"""Policies on disk: a folder with `policy.json` (settings, provenance) and `arrays.npz`. Loading runs no code."""

from __future__ import annotations

import json
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from io import BytesIO
from operator import eq
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from trim.atomic import write_bytes, write_text
from trim.errors import ConfigError
from trim.json_files import checked, read_json

SCHEMA = 1
DAMAGED_ARRAYS = (BadZipFile, EOFError, NotImplementedError, RuntimeError, SyntaxError, TokenError, zlib.error)
"""What numpy raises for a damaged `.npz` file, besides `OSError` and `ValueError`."""
_MOST_BYTES = 256_000_000  # of the arrays of a policy, unpacked

Setting = float | str | bool | None


_SHOWN = 100  # characters of a model's name in errors


@dataclass(frozen=True)
class Models:
    """The names of the three models that a policy was made for or is to be used with."""

    weak: str
    strong: str
    prm: str

    def same(self, other: Models) -> bool:
        """Whether these are the same models, wherever they are served."""
        return all(map(eq, map(_unaddressed, astuple(self)), map(_unaddressed, astuple(other))))

    def __str__(self) -> str:
        return ", ".join(f"{role} {name[:_SHOWN]}" for role, name in asdict(self).items())


def _unaddressed(name: str) -> str:
    return re.sub(r" at https?://\S+", "", name)


@dataclass(frozen=True)
class Provenance:
    """What a policy was made from: models, task, ISO date, and the number of questions."""

    models: Models
    task: str
    date: str
    questions: int


@dataclass(frozen=True)
class Artifact:
    """A policy's numbers, and where they come from. `kind` is the policy's name."""

    kind: str
    settings: Mapping[str, Setting]
    arrays: Mapping[str, NDArray[Any]]
    provenance: Provenance

    def save(self, folder: Path) -> None:
        """Write the two files, each whole, over what may be there."""
        folder.mkdir(parents=True, exist_ok=True)
        header = {"schema": SCHEMA, "kind": self.kind, "settings": dict(self.settings)}
        header["provenance"] = asdict(self.provenance)
        content = BytesIO()
        np.savez(content, **dict(self.arrays))  # type: ignore[arg-type]  # no array is called allow_pickle
        write_bytes(folder / "arrays.npz", content.getvalue())
        write_text(folder / "policy.json", json.dumps(header, indent=2) + "\n")

    @classmethod
    def load(
        cls, folder: Path, *, kind: str, models: Models | None = None, on_mismatch: Literal["raise", "warn"] = "raise"
    ) -> Artifact:
        """Read an artifact of this kind.

        Args:
            folder: what `save` wrote.
            kind: the policy's name.
            models: those that the policy is to be used with; None: unchecked.
            on_mismatch: what to do when it was made for others.

        Raises:
            ConfigError: unreadable, of another kind or schema, or made for other models.
        """
        with readable(folder, "policy"):
            header = read_json(folder / "policy.json")
            found = (header["schema"], header["kind"])
            provenance = checked(Provenance, header["provenance"])
            settings = header["settings"]
            if not all(isinstance(value, int | Setting) for value in settings.values()):
                raise ValueError("a setting is neither a number nor a text")
            artifact = cls(header["kind"], settings, _arrays(folder / "arrays.npz"), provenance)
        if found != (SCHEMA, kind):
            there = f"a {str(found[1])[:40]} policy of schema {str(found[0])[:40]}"
            raise ConfigError(f"{folder} holds {there}, not {kind} of schema {SCHEMA}")
        if models is not None and not models.same(provenance.models):
            problem = ConfigError(
                f"{folder} was made for {provenance.models}, not for {models}; fit one for these models"
            )
            if on_mismatch == "raise":
                raise problem
            warnings.warn(str(problem), stacklevel=2)
        return artifact


@contextmanager
def readable(folder: Path, what: str) -> Iterator[None]:
    """Around the reading of a saved policy, and all that is made of its settings and arrays: whatever is wrong with a
    damaged or made-up one is one sentence.

    Raises:
        ConfigError: it is not a saved one; says why.
    """
    try:
        yield
    except (
        *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, TypeError, ValueError),
        ConfigError,  # a number out of its range
    ) as error:
        raise ConfigError.reading(folder, f"not a saved {what}", error, kind="folder") from None


def number(settings: Mapping[str, Setting], name: str) -> float:
    """A setting that is a number.

    Raises:
        KeyError: it is not there.
        ValueError: it is none.
    """
    value = settings[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}, not a number")
    return value


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file: finite numbers, and no more of them than a policy has."""
    try:
        with ZipFile(path) as file:
            if sum(entry.file_size for entry in file.infolist()) > _MOST_BYTES:
                raise ValueError(f"{path.name} holds more than {_MOST_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except DAMAGED_ARRAYS as error:
        raise ValueError(f"{path.name} is damaged: {error}") from None
    for name, array in found.items():
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(f"array {name[:60]!r} has entries that are no finite numbers")
    return found


def saved_kind(folder: str | Path) -> str:
    """The family of the policy that is saved in a folder.

    Raises:
        ConfigError: none is.
    """
    path = Path(folder).expanduser()
    with readable(path, "policy"):
        return str(read_json(path / "policy.json")["kind"])


@dataclass(frozen=True)
class CalibratedPolicy:
    """What `trim calibrate` wrote, as far as it is needed to use it: a policy's name, parameter and folder."""

    name: str
    parameter: float
    folder: str

    @classmethod
    def load(cls, path: Path, models: Models) -> CalibratedPolicy:
        """Read the file.

        Raises:
            ConfigError: unreadable, another kind of file, or calibrated on other models.
        """
        try:
            values = read_json(path)
            if (values["schema"], values["kind"]) != (SCHEMA, "calibration"):
                raise ConfigError(f"{path} is not a calibration of schema {SCHEMA}: see trim calibrate")
            found = cls(str(values["policy"]), number(values, "parameter"), str(values["folder"] or ""))
            known = checked(Models, values["provenance"]["models"])
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError.reading(path, "not what trim calibrate writes", error) from None
        if not known.same(models):
            raise ConfigError(f"{path} was calibrated on {known}, not on {models}; calibrate for these models")
        return found
