"""Training: settings, loss, update rules, the step and the run around it. Needs the JAX backend."""

from fcn_keras.storage import SaveError
from fcn_keras.training import distributed
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.faults import DivergedError, StoppedError
from fcn_keras.training.loop import Result, train
from fcn_keras.training.loss import cross_entropy
from fcn_keras.training.optimizer import make_optimizer, make_schedule
from fcn_keras.training.reporter import Reporter, Reporters
from fcn_keras.training.step import State, averaged, init_state, make_step, release, write_back

join = distributed.initialize  # the first release's name

__all__ = [
    "DivergedError",
    "Reporter",
    "Reporters",
    "Result",
    "SaveError",
    "State",
    "StoppedError",
    "TrainConfig",
    "averaged",
    "cross_entropy",
    "distributed",
    "init_state",
    "join",
    "make_optimizer",
    "make_schedule",
    "make_step",
    "release",
    "train",
    "write_back",
]
