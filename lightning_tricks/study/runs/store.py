"""The finished runs of a study, on disk as soon as they are finished."""

import contextlib
import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Key = tuple[str, int, int | None]
"""Arm, seed, and the place of the learning rate in the grid for a run that only chooses it."""
_ABSENT = object()  # what is not in a description


class RunStore:
    """The finished runs of a study, one JSON file per run, each written whole or not at all.

    Several processes may write different runs into one directory. ``study.json``, written before the first run, holds
    what the study is; each run carries its digest, and runs of another study are refused. A run that cannot be written
    (a full disk) is kept in memory and written before the next one. Without a directory all stays in memory.
    """

    def __init__(
        self, directory: Path | None, description: Mapping[str, Any], *, remedy: str = "choose another directory"
    ) -> None:
        self.directory = directory
        self.description: dict[str, Any] = json.loads(json.dumps(description))
        self.digest = hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:16]
        self.remedy = remedy
        self._runs: dict[Key, dict[str, Any]] = {}
        self._unwritten: dict[Key, tuple[Path, dict[str, Any]]] = {}
        self._check_directory()

    def check(self, description: Mapping[str, Any]) -> None:
        """Refuses another study than this store's, and says in what it differs."""
        if differs := difference(self.description, json.loads(json.dumps(description))):
            raise ValueError(f"Ablation: another study was begun ({differs}); {self.remedy}.")

    def open(self) -> None:
        """Writes what the study is, if that is not written yet."""
        if self.directory is not None and not (path := self.directory / "study.json").exists():
            write_atomically(path, json.dumps(self.description, indent=2))
        self._check_directory()

    def finished(self) -> dict[Key, dict[str, Any]]:
        """All finished runs, those that other processes wrote meanwhile included."""
        for path in sorted(self.directory.glob("runs/*.json")) if self.directory else ():
            record = _read(path)
            if record.pop("study", None) != self.digest:
                raise ValueError(f"Ablation: {path} is not a run of this study; move it elsewhere.")
            record["value"] = math.nan if record["value"] is None else record["value"]
            self._runs[record["arm"], record["seed"], record["trial"]] = record
        return dict(self._runs)

    def add(self, name: str, record: dict[str, Any], *, write: bool = True) -> None:
        """Keeps a finished run and writes it on one rank; a disk that cannot take it is a warning.

        ``record`` holds plain values, among them ``arm``, ``seed``, ``trial`` and ``value``.
        """
        key = record["arm"], record["seed"], record["trial"]
        self._runs[key] = record
        if self.directory is None or not write:
            return
        self._unwritten[key] = self.directory / "runs" / f"{name}.json", record
        try:
            self._flush()
        except OSError as error:
            warnings.warn(
                f"Ablation: {len(self._unwritten)} finished run(s) could not be written to {self.directory} ({error}); "
                "they are kept in memory and tried again after the next run.",
                stacklevel=2,
            )

    def close(self) -> None:
        """Writes what could not be written before; OSError if it still cannot."""
        self._flush()

    def _flush(self) -> None:
        if self._unwritten:
            self.open()
        for key, (path, record) in list(self._unwritten.items()):
            value = record["value"] if math.isfinite(record["value"]) else None
            write_atomically(path, json.dumps({**record, "value": value, "study": self.digest}, allow_nan=False))
            del self._unwritten[key]

    def _check_directory(self) -> None:
        if self.directory is None or not (path := self.directory / "study.json").exists():
            return
        if differs := difference(_read(path), self.description):
            raise ValueError(f"Ablation: {self.directory} holds another study ({differs}); {self.remedy}.")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file, and makes its directory, so that it is there whole or not at all; text is written as UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each process: several may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    # The rename itself is on the disk when its directory is; Windows cannot open one.
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def run_name(seed: int, position: int, arm: str, trial: int | None) -> str:
    """The name of a run's file: unique by its numbers, readable by its words."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", arm).strip("-")[:40]
    return f"seed-{seed:04d}-arm-{position:02d}-{words}" + ("" if trial is None else f"-trial-{trial}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Ablation: {path} is damaged ({error}); remove it, and its run is done again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"Ablation: {path} is damaged (no JSON object); remove it, and its run is done again.")
    return content


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Which settings of two descriptions differ: ``"name: … there, … here"``; empty if none does."""
    shown = list(_differences(there, here, ""))
    return "; ".join(shown[:5]) + (f"; and {len(shown) - 5} more" if len(shown) > 5 else "")


def _differences(there: Any, here: Any, path: str) -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in {**there, **here}:
            inner = f"{path}.{name}" if path else name
            yield from _differences(there.get(name, _ABSENT), here.get(name, _ABSENT), inner)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for place, (item, other) in enumerate(zip(there, here, strict=True)):
            yield from _differences(item, other, f"{path}[{place}]")
    # As text 1 is neither 1.0 nor true, and NaN is NaN.
    elif (one := _text(there)) != (other := _text(here)):
        yield f"{path}: {one[:60]}{'…' * (len(one) > 60)} there, {other[:60]}{'…' * (len(other) > 60)} here"


def _text(value: Any) -> str:
    return "none" if value is _ABSENT else json.dumps(value, sort_keys=True)
