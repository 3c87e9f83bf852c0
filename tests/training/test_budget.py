import dataclasses
import json

import pytest

from fcn_keras import InputError
from fcn_keras.training import TrainConfig, budget, plan, train
from fcn_keras.training.budget import Pace, describe_plan, measure
from fcn_keras.training.run_folder import RunFolder


@pytest.mark.parametrize("val_seconds", [0.0, 3.0, 40.0])
@pytest.mark.parametrize("seconds", [0, 1, 17, 100, 101, 102, 500])
def test_the_longest_schedule_that_fits(seconds, val_seconds):
    def needed(steps):
        return 1.5 * steps + -(-steps // 7) * val_seconds

    fitting = [steps for steps in range(1, 51) if needed(steps) <= seconds]
    pace = Pace(1.5, val_seconds)
    assert pace.steps_within(seconds, most=50, val_steps=7) == max(fitting, default=0)


@pytest.mark.parametrize("text", ["90", "m", "", "1m1h", "-5m", "0m", "1 h"])
def test_what_is_no_time(text):
    with pytest.raises(
        InputError, match=f"time_budget={text} is not a duration: write hours, minutes"
    ):
        TrainConfig(time_budget=text)


def test_a_pace_is_measured_after_the_first_steps(monkeypatch):
    clock, steps = [0.0], []
    monkeypatch.setattr(budget, "perf_counter", lambda: clock[0])

    def take_step():
        steps.append(0)
        clock[0] += 100 if len(steps) <= 2 else 2

    def validate():
        clock[0] += 3
        return 10.0

    assert measure(take_step, validate, 1e6) == Pace(2.0, 30.0)
    assert len(steps) == 10
    steps.clear()
    assert measure(take_step, validate, 100) == Pace(2.0, 30.0)
    assert len(steps) == 2 + 3  # within 5 seconds of 100


def test_a_plan_is_told_and_a_time_too_short_refused():
    pace = Pace(2.0, 30.0)
    text = describe_plan(100, pace, "5m", 280, 900, 50)
    assert "a step takes 2 s and a validation 30 s, so 100 of 900 steps fit" in text
    assert "all 90 steps fit, in about 4 minutes." in describe_plan(90, pace, "1h", 3000, 90, 50)
    with pytest.raises(InputError, match=r"time_budget=20s is too short: .* and 15 s are left"):
        describe_plan(0, pace, "20s", 15, 900, 50)


def test_a_damaged_or_lost_plan_is_one_line(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_plan() is None
    folder.write_plan(70, Pace(1.0, 2.0))
    assert folder.read_plan() == 70
    for text in ("{", "{}", '{"plan": {"steps": "x"}}', '{"plan": {"steps": 0}}'):
        folder.plan.write_text(text)
        with pytest.raises(InputError, match=r"plan.json is damaged \(.*\): restore it, or start"):
            folder.read_plan()
    folder.plan.unlink()
    (folder.checkpoints / "3").mkdir(parents=True)
    with pytest.raises(InputError, match=r"plan.json is missing, without which"):
        folder.read_plan()


class Interrupt(Exception):
    pass


def interrupt():
    raise Interrupt


@pytest.mark.slow
def test_a_planned_run_is_that_of_a_schedule_of_its_length(
    config, tmp_path, script, monkeypatch, same_outcome
):
    """Also when it is broken off behind a checkpoint, and resumed on a machine of another pace."""

    def pace(take_step, validate, budget):
        for _ in range(3):
            take_step()
        assert validate() == 1.0
        return Pace(6e5, 1e3)  # five steps and two validations in 0.95 of a thousand hours

    monkeypatch.setattr(plan, "measure", pace)
    planned = dataclasses.replace(config, time_budget="1000h")
    reporter = script(("step", 4), interrupt)
    with pytest.raises(Interrupt):
        train(planned, tmp_path / "run", reporter=reporter)
    assert any("so 5 of 9 steps fit" in text for text in reporter.messages)
    assert json.loads((tmp_path / "run/plan.json").read_text())["plan"]["steps"] == 5
    monkeypatch.setattr(plan, "measure", None)
    with pytest.raises(InputError, match=r"time_budget=.2000h. differs from the run"):
        train(dataclasses.replace(config, time_budget="2000h"), tmp_path / "run", resume=True)
    result = train(planned, tmp_path / "run", resume=True)
    assert result.steps == 5
    expected = train(dataclasses.replace(config, max_steps=5), tmp_path / "expected")
    same_outcome(result.folder, expected.folder)
