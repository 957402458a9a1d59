"""Traces that a command was pointed at, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError, TaskError
from trim.experiments.run import Settings
from trim.json_files import checked
from trim.policies.artifacts import Models
from trim.tasks import BENCHMARKS, FAMILIES, Task, load_task
from trim.traces import read_traces
from trim.types import Trace


@dataclass(frozen=True)
class Recorded:
    """Trace files, and the settings of those that lie in a folder of `trim eval`."""

    files: tuple[Path, ...]
    settings: tuple[Settings, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Recorded:
        """Find the traces of folders, and the settings beside them.

        Raises:
            ConfigError: there is no such folder or file, or a run.json cannot be read.
        """
        if missing := [path for path in paths if not path.exists()]:
            raise ConfigError(f"{missing[0]}: there is no such {'file' if missing[0].suffix else 'folder'}")
        files = tuple(path / "traces.jsonl" if path.is_dir() else path for path in paths)
        folders = [file.parent for file in files if file.name == "traces.jsonl" and (file.parent / "run.json").exists()]
        return cls(files, tuple(Settings.read(folder) for folder in folders))

    def traces(self) -> Iterator[Trace]:
        """Those of one file after the other."""
        for file in self.files:
            yield from read_traces(file)

    def models(self, config: Config | None) -> Models:
        """Whose traces they are; a configuration must name the same models.

        Raises:
            ConfigError: nothing says whose, or they are of different models.
        """
        try:
            named = [checked(Models, settings.models) for settings in self.settings]
        except ValueError as error:
            raise ConfigError(f"the run.json beside the traces does not name the models: {error}") from None
        if config is not None:
            named.append(Models(**identities(config)))
        if not named:
            raise ConfigError("no run.json lies beside the traces: say with --config whose they are")
        for other in named[1:]:
            if other != named[0]:
                raise ConfigError(f"the traces are of different models: {named[0]} and {other}")
        return named[0]

    def task(self, name: str | None) -> str:
        """The task that they were recorded on, or `name` where no run.json says it. A file may have moved since: then
        `name` says where it is now.

        Raises:
            ConfigError: nothing says which, or they are of different tasks.
        """
        names = {settings.task for settings in self.settings}
        if name and not any(task.partition(":")[0] in {*FAMILIES, *BENCHMARKS} for task in names):
            return name
        names |= {name} if name else set()
        if len(names) != 1:
            raise ConfigError(
                f"the traces are of different tasks: {', '.join(sorted(names))}" if names else "say which --task it was"
            )
        return names.pop()

    def load_task(self, name: str | None) -> Task:
        """Open the task that `task` gives; its `close` is the caller's to call.

        Raises:
            ConfigError: as for `task`.
            TaskError: it is not where it was when the traces were recorded.
        """
        chosen = self.task(name)
        try:
            return load_task(chosen)
        except TaskError as error:
            if name:
                raise
            raise TaskError(f"{error}: the traces were recorded on it; say with --task where it is now") from None
