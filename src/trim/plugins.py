"""Policies, tasks, judges and backends of your own, loaded by entry point, module or file.

    patient                          an entry point of an installed package
    mypackage.policies:Patient       an attribute of a module
    examples/own_policy.py:Patient   an attribute of a file, wherever it lies

The groups of entry points are `trim.policies`, `trim.tasks`, `trim.scorers` and `trim.backends`. Loading runs the code
that is named: names that come from elsewhere than a command line or a configuration file must not be resolved here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from trim.errors import ConfigError, PluginError, TrimError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_FROM_FILE = "trim_plugin_"
"""How names of modules that come from files begin."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class ExtensionPoint:
    """Something that users may bring: what messages call it, and the group of its entry points."""

    kind: str
    group: str

    def names(self) -> tuple[str, ...]:
        """Of the entry points that installed packages offer."""
        return tuple(sorted(_entry_points(self.group)))

    def load(self, name: str) -> object | None:
        """What the name stands for; None: it is neither an entry point nor a reference to code.

        Raises:
            ConfigError: the code cannot be imported, or does not have what is named.
        """
        if is_reference(name):
            return attribute(name, self.kind)
        entry = _entry_points(self.group).get(name)
        return attribute(f"{entry.module}:{entry.attr}", f"{self.kind} {name}:") if entry is not None else None

    def make(self, name: str, *arguments: object) -> object:
        """What the named class or function gives for these arguments.

        Raises:
            ConfigError: nothing of that name, it takes other arguments, or it raises an error.
        """
        found = self.load(name)
        if found is None:
            raise self.unknown(name, {"entry points": self.names()})
        return call(found, f"{self.kind} {name}", *arguments)

    def unknown(self, name: str, known: Mapping[str, Iterable[str]]) -> ConfigError:
        """The error for an unknown name, with the nearest one and all of them by group."""
        import difflib

        if name.endswith(".py"):
            what = "task" if self is TASKS else "class"
            return ConfigError(f"{self.kind} {name!r}: name the {what} in it, {name}:{what.upper()}")
        groups = {title: tuple(names) for title, names in known.items()}
        near = difflib.get_close_matches(name, [known for names in groups.values() for known in names], 1)
        hint = f"; did you mean {near[0]!r}? There are" if near else "; there are"
        listed = "; ".join(f"{title}: {', '.join(names)}" for title, names in groups.items() if names)
        return ConfigError(
            f"unknown {self.kind} {name!r}{hint} {listed + '; ' if listed else ''}your own: FILE.py:NAME or MODULE:NAME"
        )


POLICIES = ExtensionPoint("policy", "trim.policies")
TASKS = ExtensionPoint("task", "trim.tasks")
SCORERS = ExtensionPoint("judge", "trim.scorers")
BACKENDS = ExtensionPoint("backend", "trim.backends")


def is_reference(name: str) -> bool:
    """Whether a name refers to code: `MODULE:NAME` or `FILE.py:NAME`."""
    source, colon, attribute = name.rpartition(":")
    return bool(colon) and attribute.isidentifier() and (source.endswith(".py") or bool(_MODULE.fullmatch(source)))


@cache
def attribute(reference: str, what: str) -> object:
    """What a reference refers to; the code behind it runs once.

    Args:
        reference: `MODULE:NAME` or `FILE.py:NAME`; `~` is the home directory, a backslash may stand for a slash.
        what: it is said to be, for messages.

    Raises:
        ConfigError: no such file, module or attribute, or the import raises an error.
    """
    source, _, name = reference.rpartition(":")
    path = _path(source) if source.endswith(".py") else None
    if path is not None and not path.is_file():
        raise ConfigError(f"{what} {reference!r}: there is no file {path}")
    try:
        module = _module_of(path) if path is not None else _import(source)
    except ModuleNotFoundError as error:
        if error.name is not None and path is None and f"{source}.".startswith(f"{error.name}."):
            raise ConfigError(f"{what} {reference!r}: there is no module {error.name!r}") from None
        raise ConfigError(f"{what} {reference!r}: importing {source} failed: {error}") from None
    except Exception as error:  # whatever that code does
        raise ConfigError(f"{what} {reference!r}: importing {source} raised {_words(error)}") from None
    if name not in vars(module):
        import difflib

        near = difflib.get_close_matches(name, [known for known in vars(module) if not known.startswith("_")], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{what} {reference!r}: {source} has no {name!r}{hint}")
    return cast("object", vars(module)[name])


def call(found: object, what: str, *arguments: object) -> object:
    """Call a class or function of the user's own.

    Raises:
        ConfigError: it cannot be called like that, or raises an error that is not one of TRIM's.
    """
    import inspect

    given = ", ".join(map(_argument, arguments)) or "no argument"
    if not callable(found):
        raise ConfigError(f"{what} is not a class or a function but {found!r}")
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"{what} cannot be made with {given}: {error}") from None
    except ValueError:  # no signature is known, as for some classes written in C
        pass
    try:
        return cast("object", found(*arguments))
    except TrimError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} made with {given} raised {_words(error)}") from None


def _argument(value: object) -> str:
    """A number as it is, settings by their class: printed whole they would fill the screen."""
    return repr(value) if isinstance(value, int | float | str) else f"one argument, a {type(value).__name__}"


@contextmanager
def running(what: str) -> Iterator[None]:
    """Around code that may be the user's own, while it works.

    Args:
        what: it is, for messages.

    Raises:
        PluginError: it raised an error that is not one of TRIM's, which is the cause.
    """
    try:
        yield
    except TrimError:
        raise
    except Exception as error:  # whatever that code does
        raise PluginError(f"{what} raised {_words(error)}; trim --debug shows where") from error


def require_members(made: object, protocol: type, what: str) -> None:
    """Raise where an object lacks members of a protocol.

    Raises:
        ConfigError: names them.
    """
    own = [base for base in protocol.__mro__ if base.__module__.startswith("trim.")]
    members = {name for base in own for name in vars(base) if not name.startswith("_")}
    missing = sorted(name for name in members if not hasattr(made, name))
    if missing:
        raise ConfigError(
            f"{what} is not a {protocol.__name__}: it has no {', '.join(missing)} (see {protocol.__module__})"
        )


def reference_of(kind: type) -> str:
    """The reference to a class: `MODULE:NAME`, of a file that was loaded by its path `FILE.py:NAME`."""
    module = sys.modules.get(kind.__module__)
    path = module.__file__ if module is not None and kind.__module__.startswith(_FROM_FILE) else None
    return f"{kind.__module__ if path is None else Path(path).name}:{kind.__qualname__}"


def _path(source: str) -> Path:
    written = Path(source).expanduser()
    return written if written.is_file() or "\\" not in source else Path(source.replace("\\", "/")).expanduser()


def _module_of(path: Path) -> ModuleType:
    """A file as a module of its own, in no package."""
    from importlib.util import module_from_spec, spec_from_file_location
    from zlib import crc32

    whole = path.resolve()
    name = f"{_FROM_FILE}{whole.stem}_{crc32(str(whole).encode()):08x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, whole)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for their types
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(name)


def _entry_points(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=group)}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
