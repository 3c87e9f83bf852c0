import os
import signal
import time

import pytest

from fcn_keras.training import StoppedError, train


@pytest.mark.parametrize(
    ("event", "number", "step"),
    [
        (("step", 2), signal.SIGTERM, 3),  # step 3 is running when the loss of step 2 is read
        (("validating", 1), signal.SIGINT, 3),
    ],
)
def test_stops_with_the_step_saved(config, tmp_path, assert_same_run, script, event, number, step):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    reporter = script(event, lambda: os.kill(os.getpid(), number))
    with pytest.raises(StoppedError) as stopped:
        train(config, tmp_path, reporter=reporter)
    assert (stopped.value.signal, stopped.value.step) == (number, step)
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert max(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == step
    again = script(None, None)
    train(config, tmp_path, resume=True, reporter=again)
    assert f"Resumed at step {step} of 9." in again.messages
    assert_same_run(tmp_path)


def test_second_interrupt_stops_at_once(config, tmp_path, assert_same_run, script):
    def interrupt_twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, reporter=script(("step", 5), interrupt_twice))
    while list(tmp_path.glob("checkpoints/*tmp*")):
        time.sleep(0.05)  # This process lives on, and with it the writing.
    train(config, tmp_path, resume=True)
    assert_same_run(tmp_path)
