"""The folder that a run writes: settings, log, checkpoints, best model, pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import keras

from fcn_keras.errors import InputError
from fcn_keras.storage import reason, replacing
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.log import read_log
from fcn_keras.version import __version__

PACKAGES = ("albumentations", "grain", "jax", "jaxlib", "keras", "numpy", "optax")
# A resumed run may differ in these. Only the poly schedule depends on them: on the number of steps.
MAY_CHANGE = {"data_dir", "epochs", "max_steps", "workers", "checkpoint_steps", "patience"}


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
                else f"workdir {self.path} already holds a run: continue it with "
                "resume=True, or name another folder"
            )
        if not resume:
            return
        record = json.loads(self.config.read_text())["config"]
        # Through the settings, which know old names and the values of what is newer than the run.
        before, now = _settings(TrainConfig(**record)), _settings(config)
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

        `class_weights` are those that "balanced" came to.

        Raises:
            InputError: the folder can't be written.
        """
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        versions |= {"fcn-keras": __version__, "python": platform.python_version()}
        record = {
            "recipe": recipe,
            "config": _settings(config),
            "versions": versions,
            "git": git_hash(),
            "class_weights": class_weights,
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for draft in self.path.glob(f".{self.best.stem}-*"):  # of a run that was killed
                draft.unlink()
            with replacing(self.config) as temporary:
                temporary.write_text(json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"workdir {self.path} can't be written ({reason(error)}): make it writable, or "
                "choose another folder"
            ) from error

    def read_row(self, step: int) -> dict | None:
        """The row of log.csv for `step`; None if it isn't there, or the file was edited."""
        with contextlib.suppress(InputError):
            return next((row for row in read_log(self.log, None) if row["step"] == step), None)
        return None

    def save_best(self, model: keras.Model) -> None:
        """Writes best.keras; readers see the old file or the new one, never a part.

        Raises:
            SaveError: it can't be written; the old one stays.
        """
        with replacing(self.best) as temporary:
            model.save(temporary)


def _settings(config: TrainConfig) -> dict:
    """The settings as they come back from JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def git_hash() -> str | None:
    """The commit of the source tree that is running; with ``-dirty`` if it was changed.

    None where the package is installed: a repository around it would be another one.
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
