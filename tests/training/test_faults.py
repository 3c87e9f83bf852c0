"""What goes wrong from outside: disks, damaged files, exploding losses."""

import contextlib
import dataclasses
import os
import resource
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from fcn_keras import InputError
from fcn_keras.training import DivergedError, SaveError, State, train
from fcn_keras.training.checkpoint import Checkpoints, RunProgress


@pytest.fixture
def state():
    params = {"a/kernel": jnp.arange(6.0).reshape(2, 3), "a/bias": jnp.ones(3)}
    return State(params, [jnp.array([1, 2], jnp.uint32)], (jnp.int32(4),))


@pytest.fixture
def saved(state, tmp_path):
    """Two checkpoints, of steps 3 and 5; the second with doubled weights."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, RunProgress(step=3, loss_sum=1.5))
    twice = state._replace(params={name: 2 * x for name, x in state.params.items()})
    checkpoints.save(twice, RunProgress(step=5, rows=[{"step": 4, "mean_iou": 0.25}]))
    checkpoints.close()
    return tmp_path


def restore(folder, state):
    warnings = []
    checkpoints = Checkpoints(folder)
    try:
        return *checkpoints.restore(state, warnings.append), warnings
    finally:
        checkpoints.close()


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(folder):
    path = largest(folder / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forge(folder):
    """Weights that read well, but are not those that were saved."""
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(folder / "state")
        state["params"]["a/bias"] = np.nextafter(np.array(state["params"]["a/bias"]), np.float32(9))
        checkpointer.save(folder / "state", state, force=True)


def reword(folder):
    path = next((folder / "progress").glob("*"))
    path.write_text(path.read_text().replace("0.25", "0.75"))


def remove(folder):
    shutil.rmtree(folder / "progress")


def test_restores_the_newest(saved, state):
    restored, progress, warnings = restore(saved, state)
    np.testing.assert_array_equal(restored.params["a/kernel"], 2 * state.params["a/kernel"])
    assert (progress.step, progress.best_mean_iou, warnings) == (5, 0.25, [])


@pytest.mark.parametrize("damage", [cut, forge, reword, remove])
def test_a_damaged_checkpoint_is_left_out(saved, state, damage):
    damage(saved / "5")
    restored, progress, (warning,) = restore(saved, state)
    np.testing.assert_array_equal(restored.params["a/kernel"], state.params["a/kernel"])
    assert (progress.step, progress.loss_sum) == (3, 1.5)
    assert warning.startswith("Warning: checkpoint 5 is damaged (")
    assert warning.endswith("); going back to step 3.")
    assert "\n" not in warning and len(warning) < 300
    assert sorted(p.name for p in saved.iterdir()) == ["3", "damaged-5"]


def test_a_checkpoint_damaged_again_is_kept_under_another_name(saved, state):
    for _ in range(3):
        cut(saved / "5")
        restored, progress, _ = restore(saved, state)
        checkpoints = Checkpoints(saved)
        checkpoints.save(restored, dataclasses.replace(progress, step=5))
        checkpoints.close()
    names = {"3", "5", "damaged-5", "damaged-5-2", "damaged-5-3"}
    assert {path.name for path in saved.iterdir()} == names


def test_an_unfinished_checkpoint_is_left_out(saved, state):
    (saved / "5").rename(saved / "5.orbax-checkpoint-tmp")
    _, progress, warnings = restore(saved, state)
    assert progress.step == 3
    assert warnings == ["Warning: checkpoint 5 was never finished; it is ignored."]


def test_only_damaged_checkpoints_are_an_error_and_stay(saved, state):
    for step in ("3", "5"):
        cut(saved / step)
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read \(number 5: "):
        restore(saved, state)
    assert sorted(p.name for p in saved.iterdir()) == ["3", "5"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_state_is_never_written(saved, state, value):
    checkpoints = Checkpoints(saved)
    bad = state._replace(params={**state.params, "a/bias": jnp.array([0, value, 0])})
    message = "weights after step 7 are not finite: .* The checkpoint of step 5 is intact"
    with pytest.raises(DivergedError, match=message):
        checkpoints.save(bad, RunProgress(step=7))
    checkpoints.close()
    assert sorted(p.name for p in saved.iterdir()) == ["3", "5"]


def test_a_donated_state_does_not_reach_the_checkpoint(tmp_path):
    """The step overwrites the state's buffers while it is being written."""
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    state = State({"a/kernel": jnp.zeros((64, 1024, 64))}, [], ())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, RunProgress(step=1))
    for _ in range(20):
        state = step(state)
    jax.block_until_ready(state)
    checkpoints.close()
    restored, _, warnings = restore(tmp_path, state)
    assert not np.any(restored.params["a/kernel"]) and not warnings


@pytest.mark.slow
def test_infinite_loss_names_step_and_images_and_leaves_finite_checkpoints(config, tmp_path):
    diverging = dataclasses.replace(
        config, optimizer="sgd", learning_rate=1e30, schedule="constant", checkpoint_steps=1
    )
    with pytest.raises(DivergedError, match=r"at step \d+, learning rate .*images train_000"):
        train(diverging, tmp_path)
    assert not (tmp_path / "best.keras").exists()
    for path in (tmp_path / "checkpoints").iterdir():
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(path / "state")
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@contextlib.contextmanager
def small_files():
    """No file may grow above 4 KiB: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def tmpfs(tmp_path):
    """A file system of 3 MB; mounting one takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_files_that_may_not_grow(config, tmp_path, assert_same_run, script):
    message = r"checkpoint can't be written to .* \(File too large\): .* of step [34] is intact"
    with small_files() as limit, pytest.raises(SaveError, match=message):
        train(config, tmp_path, reporter=script(("step", 5), limit))
    train(config, tmp_path, resume=True)
    assert_same_run(tmp_path)


@pytest.mark.slow
def test_full_disk_and_then_room(config, tmpfs, assert_same_run, script):
    run, filler = tmpfs / "run", tmpfs / "filler"

    def fill():
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    with pytest.raises(SaveError, match=r"can't be written .*\(No space left on device\)"):
        train(config, run, reporter=script(("step", 5), fill))
    filler.unlink()
    train(config, run, resume=True)
    assert_same_run(run)


def test_read_only_workdir(config, tmpfs):
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    with pytest.raises(InputError, match=r"workdir .* can't be written \(Read-only file system\)"):
        train(config, tmpfs / "run")


@pytest.mark.slow
def test_checkpoint_folder_gone(config, tmp_path, script):
    def delete():
        (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")

    # orbax makes the folder anew if a checkpoint is being written at that moment.
    message = r"checkpoint folder .* was deleted or moved|checkpoint can't be written to"
    with pytest.raises(SaveError, match=message):
        train(config, tmp_path, reporter=script(("step", 5), delete))
