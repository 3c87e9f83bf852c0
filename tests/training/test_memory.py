import re
import subprocess
import sys

import pytest

from fcn_keras import InputError
from fcn_keras.training import memory, train

MEASURE = """
import re, sys
import numpy as np
from fcn_keras.training import TrainConfig, init_state, make_optimizer, make_step, release
from fcn_keras.training.memory import check_memory
from fcn_keras.training.setup import Devices, build_model

def resident():  # without mapped files, which the kernel may drop meanwhile
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

config = TrainConfig(trunk_width=16, head_width=16, crop_size=512, batch_size=2)
devices, model, optimizer = Devices(config), build_model(config, 6), make_optimizer(config, 9)
state = devices.place(init_state(model, optimizer, config))
release(model)
shapes = devices.batch_shapes(config)
step = make_step(model, optimizer, config).lower(state, shapes).compile()
said = check_memory(step, config)
batch = {name: np.ones(x.shape, x.dtype) for name, x in shapes.items()}
before = resident()
state, metrics = step(state, batch)
print(float(metrics.loss_sum), said, (resident() - before) / 1e9)
"""


def test_says_what_a_step_takes_and_stops_without_it(config, tmp_path, script, monkeypatch):
    reporter = script(("step", 1), lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "a", reporter=reporter)
    said = r"A step takes (\d+\.\d\d) GB besides weights and optimiser; \d+\.\d\d GB are free\."
    assert any(re.fullmatch(said, text) for text in reporter.messages)
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    message = (
        r"batch_size=2 and crop_size=32 need \d+\.\d\d GB besides .*; 0\.00 GB are free: lower one "
        "of them, or raise accumulate=1"
    )
    with pytest.raises(InputError, match=message):
        train(config, tmp_path / "b")


@pytest.mark.slow
def test_a_step_takes_what_was_said():
    """The process grows by as much, within a tenth: some of the heap was in use before."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    said, grown = re.search(r"takes ([\d.]+) GB .* ([\d.]+)$", done.stdout.strip()).groups()
    assert float(said) > 0.25
    assert float(grown) == pytest.approx(float(said), rel=0.1)
