"""The folder that a run writes: settings, log, checkpoints, best model, pictures."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib.metadata
import io
import json
import os
import platform
import subprocess
from pathlib import Path

import keras

from fcn_keras.errors import InputError
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.faults import SaveError, reason

PACKAGES = ("albumentations", "grain", "jax", "jaxlib", "keras", "numpy", "optax")
# A resumed run may differ in these. Only the poly schedule depends on them: on the number of steps.
MAY_CHANGE = {"data_dir", "epochs", "max_steps", "workers", "checkpoint_steps"}
COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "val_loss",
    "pixel_accuracy",
    "mean_accuracy",
    "mean_iou",
    "fw_iou",
    "train_seconds",
    "val_seconds",
    "images_per_second",
)


class RunFolder:
    """Paths and files under one run's folder."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.log = self.path / "log.csv"
        self.best = self.path / "best.keras"
        self.checkpoints = self.path / "checkpoints"
        self.curves = self.path / "curves.png"
        self.panel = self.path / "panel.png"

    def check(self, config: TrainConfig, resume: bool) -> None:
        """Makes sure that the folder can take this run.

        Raises:
            InputError: it holds a run already and `resume` is off; or `resume` is on, but there
                is no run, or one with another value of a setting that must not change.
        """
        if self.config.exists() != resume:
            raise InputError(
                f"workdir {self.path} holds no run to resume (no {self.config.name})"
                if resume
                else f"workdir {self.path} already holds a run: add --resume to continue it, or "
                "name another folder"
            )
        if not resume:
            return
        before, now = json.loads(self.config.read_text())["config"], _settings(config)
        for name in now.keys() - MAY_CHANGE:
            if now[name] != before.get(name):
                raise InputError(
                    f"{name}={now[name]!r} differs from the run in {self.path}, which has "
                    f"{before.get(name)!r}: resume with the same value, or start a new run"
                )

    def start(self, config: TrainConfig, recipe: str | None = None) -> None:
        """Makes the folder and records the settings, package versions and source commit.

        Raises:
            InputError: the folder can't be written.
        """
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        versions["python"] = platform.python_version()
        record = {
            "recipe": recipe,
            "config": _settings(config),
            "versions": versions,
            "git": git_hash(),
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _write(self.config, json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"workdir {self.path} can't be written ({reason(error)}): make it writable, or "
                "choose another folder"
            ) from error

    def write_log(self, rows: list[dict]) -> None:
        """Writes log.csv anew, one row an epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _write(self.log, text.getvalue())

    def read_row(self, step: int) -> dict | None:
        """The row of log.csv for `step` as `write_log` took it; None if it isn't there."""
        try:
            with self.log.open(newline="") as file:
                for row in csv.DictReader(file):
                    if row["step"] == str(step):
                        return {name: _number(row[name]) for name in COLUMNS}
        except (OSError, AttributeError, KeyError, ValueError):  # it was deleted or edited
            pass
        return None

    def save_best(self, model: keras.Model) -> None:
        """Writes best.keras; readers see the old file or the new one, never a part.

        Raises:
            SaveError: it can't be written; the old one stays.
        """
        temporary = self.best.with_name("best.tmp.keras")
        with _replacing(temporary, self.best):
            model.save(temporary)


def _settings(config: TrainConfig) -> dict:
    """The settings as they come back from JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with _replacing(temporary, path):
        temporary.write_text(text)


@contextlib.contextmanager
def _replacing(temporary: Path, path: Path):
    """Moves `temporary`, written inside, over `path`; a part of it never stays."""
    try:
        yield
        os.replace(temporary, path)
    except (OSError, RuntimeError, ValueError) as error:  # h5py raises the latter two
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SaveError(
            f"{path} can't be written ({reason(error)}): mend that, then go on with --resume"
        ) from error


def git_hash() -> str | None:
    """The commit of the source tree that is running; with ``-dirty`` if it was changed."""
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
