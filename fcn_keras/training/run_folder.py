"""The folder that a run writes: settings, log, checkpoints, best model, pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras

from fcn_keras.errors import InputError
from fcn_keras.imports import without_tensorflow
from fcn_keras.storage import reason, replacing
from fcn_keras.training.budget import Pace
from fcn_keras.training.checkpoint import checksum
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.fingerprint import require_same
from fcn_keras.version import __version__

PACKAGES = ("albumentations", "grain", "jax", "jaxlib", "keras", "numpy", "optax")
# A resumed run may differ in these. Only the poly schedule depends on them: on the number of steps.
MAY_CHANGE = {"data_dir", "epochs", "max_steps", "workers", "checkpoint_steps", "patience"}


class RunFolder:
    """Paths and files under one run's folder."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.data = self.path / "data.json"
        self.plan = self.path / "plan.json"
        self.log = self.path / "log.csv"
        self.row = self.path / "last_row.json"
        self.best = self.path / "best.keras"
        self.checkpoints = self.path / "checkpoints"
        self.curves = self.path / "curves.png"
        self.panel = self.path / "panel.png"

    def check(self, config: TrainConfig, resume: bool) -> None:
        """Checks that the folder can take this run.

        Raises:
            InputError: it holds a run already and `resume` is off; or `resume` is on, but there
                is no run, or a setting that must not change has another value.
        """
        if not self.config.exists() and any(self.checkpoints.glob("*")):
            raise InputError(
                f"workdir {self.path} holds checkpoints, but no {self.config.name} to say which "
                "run they are of: restore it, or name another folder"
            )
        if self.config.exists() != resume:
            raise InputError(
                f"workdir {self.path} holds no run to resume (no {self.config.name})"
                if resume
                else f"workdir {self.path} already holds a run: continue it with "
                "resume=True, or name another folder"
            )
        if not resume:
            return
        before, now = self._settings_before(), _settings(config)
        for name in now.keys() - MAY_CHANGE:
            if now[name] != before[name]:
                raise InputError(
                    f"{name}={now[name]!r} differs from the run in {self.path}, which has "
                    f"{before[name]!r}: resume with the same value, or start a new run"
                )

    def start(
        self,
        config: TrainConfig,
        recipe: str | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        """Makes the folder and records the settings, package versions and source commit.

        `class_weights` are the values of "balanced".

        Raises:
            InputError: the folder can't be written.
        """
        record = {
            "recipe": recipe,
            "config": _settings(config),
            "versions": _versions(),
            "git": git_hash(),
            "class_weights": class_weights,
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in (self.config, self.data, self.plan, self.log, self.row, self.best):
                for draft in self.path.glob(f".{file.stem}-*"):  # of a run that was killed
                    draft.unlink()
            with replacing(self.config) as temporary:
                temporary.write_text(json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"workdir {self.path} can't be written ({reason(error)}): make it writable, or "
                "choose another folder"
            ) from error

    def check_data(self, data: dict[str, dict]) -> None:
        """Compares fingerprints of the splits with those of the run's start, or records them.

        Raises:
            InputError: a split is not what the run began with, or the record is damaged.
        """
        if self.data.exists():
            before = _read(self.data, *data)
            for split, now in data.items():
                require_same(before[split], now, split, self.path)
        else:
            with replacing(self.data) as temporary:
                temporary.write_text(json.dumps(data))

    def write_plan(self, steps: int, pace: Pace) -> None:
        """Records the schedule's length that follows from a time budget, and what was measured."""
        with replacing(self.plan) as temporary:
            temporary.write_text(json.dumps({"plan": {"steps": steps, **vars(pace)}}) + "\n")

    def read_plan(self) -> int | None:
        """The schedule's length that was planned; None before there is a plan.

        Raises:
            InputError: the record is damaged, or missing though the run has checkpoints.
        """
        if not self.plan.exists():
            if any(self.checkpoints.glob("*")):
                raise InputError(
                    f"{self.plan} is missing, without which the run's schedule isn't known: "
                    "restore it, or start a new run in another folder"
                )
            return None
        steps = _read(self.plan, "plan")["plan"].get("steps")
        if not isinstance(steps, int) or steps < 1:
            raise _damaged(self.plan, ValueError(f"steps {steps!r:.60}"))
        return steps

    def changed_versions(self) -> list[str]:
        """Python and packages whose versions differ from those at the run's start."""
        before = self._record()["versions"]
        return [
            f"{name} {version} in place of {before[name]}"
            for name, version in _versions().items()
            if before.get(name, version) != version
        ]

    def write_row(self, row: dict) -> None:
        """Stores the row of a validation that no checkpoint holds yet.

        log.csv can't be relied on for this, since users may edit it.
        """
        with replacing(self.row) as temporary:
            temporary.write_text(json.dumps({"row": row, "checksum": checksum(row)}))

    def read_row(self, step: int) -> dict | None:
        """The row that was kept of the validation after `step`; None if there is none."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            record = json.loads(self.row.read_text())
            if record["row"]["step"] == step and checksum(record["row"]) == record["checksum"]:
                return record["row"]
        return None

    def fault_of_best(self) -> str | None:
        """What is wrong with best.keras, by the checksums that every zip file has."""
        try:
            with zipfile.ZipFile(self.best) as archive:
                damaged = archive.testzip()
        except FileNotFoundError:
            return "is missing"
        except Exception as error:  # zipfile raises many kinds of exceptions
            return f"is damaged ({reason(error)})"
        return damaged and f"is damaged (in {ascii(damaged)[1:-1]:.60})"

    def as_begun(self, config: TrainConfig) -> TrainConfig:
        """`config` without `max_side` if the run began when there was none.

        Recipes that have it now had the same name then.
        """
        self._settings_before()  # refuses a damaged record
        if "max_side" in self._record()["config"]:
            return config
        return dataclasses.replace(config, max_side=None)

    def _settings_before(self) -> dict:
        record = self._record()["config"]
        try:
            # `TrainConfig` knows old names, and defaults for settings that are newer than the run.
            return _settings(TrainConfig(**record))
        except (TypeError, ValueError, AttributeError) as error:
            raise _damaged(self.config, error) from error

    def _record(self) -> dict:
        return _read(self.config, "config", "versions")

    def save_best(self, model: keras.Model) -> None:
        """Writes best.keras; readers see the old file or the new one, never a part.

        Raises:
            SaveError: it can't be written; the old one stays.
        """
        with replacing(self.best) as temporary, without_tensorflow():
            model.save(temporary)


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return versions | {"fcn-keras": __version__, "python": platform.python_version()}


def _read(path: Path, *keys: str) -> dict[str, dict]:
    """Reads one of our JSON files, which holds an object under each of `keys`.

    Raises:
        InputError: it is damaged.
    """
    try:
        record = json.loads(path.read_text())
        if not all(isinstance(record[key], dict) for key in keys):
            raise TypeError(f"no {' and '.join(keys)} in it")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    return record


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is damaged ({reason(error)}): restore it, or start a new run in another folder"
    )


def _settings(config: TrainConfig) -> dict:
    """The settings as they come back from JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def git_hash() -> str | None:
    """The commit of the source tree that is running; with ``-dirty`` if it was changed.

    None if the package is installed: a repository around it would not be its own.
    """
    if not (Path(__file__).parents[2] / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
