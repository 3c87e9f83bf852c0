"""The options of training: the settings of a run in groups, with a recipe's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from fcn_keras.commands import cli
from fcn_keras.recipes import load_recipe
from fcn_keras.training.config import (
    DataConfig,
    ModelConfig,
    OptimisationConfig,
    RunConfig,
    TrainConfig,
)


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of training. A recipe names their defaults."""

    recipe: str = "shapes"
    """Named set of defaults, which the other options override, or a .py file with a `config`."""
    workdir: Path | None = None
    """Folder of the run. Default: runs/RECIPE-TIME."""
    resume: bool = False
    """Continue the run in --workdir, or the recipe's newest one under runs/."""
    distributed: bool = False
    """Train together with other processes; docs/devices.md says how to start them."""

    data: OmitArgPrefixes[DataConfig]
    model: OmitArgPrefixes[ModelConfig]
    optimisation: OmitArgPrefixes[OptimisationConfig]
    run: OmitArgPrefixes[RunConfig]

    def __post_init__(self):
        _ = self.config  # refuses bad values before anything slow is imported

    @property
    def config(self) -> TrainConfig:
        """The settings of the run in one record."""
        parts = (self.data, self.model, self.optimisation, self.run)
        return TrainConfig(**{name: x for part in parts for name, x in vars(part).items()})


def defaults(recipe: str, data_dir: Path | None = None) -> Options:
    """The options that run a recipe unchanged; some recipes derive settings from `data_dir`.

    Raises:
        InputError: there is no such recipe, or the folder can't be used.
    """
    config = load_recipe(recipe, data_dir)
    return Options(
        recipe=recipe,
        data=_part(DataConfig, config),
        model=_part(ModelConfig, config),
        optimisation=_part(OptimisationConfig, config),
        run=_part(RunConfig, config),
    )


def _part(group: Any, config: TrainConfig) -> Any:
    return group(**{field.name: getattr(config, field.name) for field in fields(group)})
