"""Programs kept as they were traced: found only if nothing that decides them has changed."""

import inspect
import os
from pathlib import Path

import jax
import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import cpu
from fcn_keras.cpu import switches, traced
from fcn_keras.inference import Segmenter, compiled, segmenter, tiling

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    traced.keep_in(tmp_path / "traced")
    yield tmp_path / "traced"
    traced.keep_in(None)


@pytest.fixture
def model():
    return fcn_keras.fcn8s(5, backbone_width=4, head_width=8)


class Function:
    """Adds its arguments, and counts how often it is traced."""

    def __init__(self):
        self.traced = 0

    def __call__(self, values, x):
        self.traced += 1
        return sum(values, x), [x]


X, VALUES = np.float32([1, 2]), [np.float32(3), np.float32(4)]


def run(model, x=X, name="add", values=VALUES):
    """How often a function like `Function` is traced by a process that has just started."""
    function = Function()
    total, (same,) = jax.jit(traced.kept(function, model, name))(values, x)
    np.testing.assert_array_equal(total, x + sum(values))
    np.testing.assert_array_equal(same, x)
    return function.traced


def test_nothing_is_kept_or_looked_up_unasked(model, monkeypatch):
    for looks in ("_code", "_description"):
        monkeypatch.setattr(traced, looks, lambda *_: pytest.fail("looked up"))
    function = Function()
    assert traced.kept(function, model, "add") is function


def test_a_program_is_traced_once(model, folder):
    assert run(model)
    for x in ([1, 2], [5, 6]):
        assert not run(model, np.float32(x))
    assert not run(fcn_keras.fcn8s(5, backbone_width=4, head_width=8))  # other weights
    assert len(list(folder.iterdir())) == 1


def test_other_arguments_are_another_program(model, folder):
    assert run(model)
    assert run(model, np.float32([1, 2, 3]))
    assert run(model, np.int32([1, 2]))
    assert run(model, values=VALUES * 2)
    assert run(model, name="sum")
    assert not run(model)


def rate(model):
    model.get_layer("fc6_dropout").rate = 0.25


def scale(model):
    model.get_layer("normalize").scale = (1.0, 1.0, 2.0)


@pytest.mark.parametrize("change", [rate, scale])
def test_other_models_are_other_programs(model, folder, change):
    assert run(model)
    change(model)
    assert run(model)
    assert run(fcn_keras.fcn8s(5, backbone_width=4, head_width=9))
    assert run(fcn_keras.fcn16s(5, backbone_width=4, head_width=8))


@pytest.mark.parametrize("algorithm", cpu.ALGORITHMS)
def test_algorithms_are_other_programs(model, folder, monkeypatch, algorithm):
    assert run(model)
    monkeypatch.setattr(switches, "_off", {algorithm})
    assert run(model)


def test_settings_are_other_programs(model, folder, monkeypatch):
    machine = cpu.has_amx()
    assert run(model)
    with jax.default_matmul_precision("bfloat16"):
        assert run(model)
    epsilon = keras.config.epsilon()
    keras.config.set_epsilon(1e-3)
    try:
        assert run(model)
    finally:
        keras.config.set_epsilon(epsilon)
    assert not run(model)
    monkeypatch.setattr(cpu, "has_amx", lambda: not machine)
    assert run(model)


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A package of one file, in place of those whose code is traced."""
    path = tmp_path / "package" / "inner" / "layer.py"
    path.parent.mkdir(parents=True)
    path.write_text("x = 1")
    monkeypatch.setattr(traced, "_PACKAGES", dict.fromkeys(traced._PACKAGES, tmp_path / "package"))
    traced._code.cache_clear()
    yield path
    traced._code.cache_clear()


def test_other_code_is_another_program(model, folder, code):
    def changed(change):
        change()
        traced._code.cache_clear()
        return run(model)

    assert changed(lambda: None)
    assert not changed(lambda: None)
    assert changed(lambda: code.write_text("x = 10"))
    assert changed(lambda: os.utime(code, (1, 1)))
    assert changed(lambda: (code.write_text("x = 100"), os.utime(code, (1, 1))))
    assert changed(lambda: code.with_name("other.py").touch())
    assert not changed(lambda: code.with_name("other.pyc").touch())


def test_without_source_files_nothing_is_kept(model, folder, code):
    code.unlink()
    traced._code.cache_clear()
    function = Function()
    assert traced.kept(function, model, "add") is function
    code.parent.rmdir()
    code.parents[1].rmdir()
    traced._code.cache_clear()
    assert traced.kept(function, model, "add") is function


def test_the_code_that_traces_is_looked_at():
    seen = traced._code()
    for module in (fcn_keras.cpu.traced, keras, jax, inspect.getmodule(keras.layers.Conv2D)):
        assert str(Path(module.__file__)) in seen


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def twice(x):
    return 2 * x


@pytest.mark.parametrize("layer", [Twice(), keras.layers.Activation(twice)])
def test_layers_of_others_may_do_anything(folder, layer):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layer(image))
    function = Function()
    assert traced.kept(function, model, "add") is function


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:40] + b"?" + b[41:], lambda b: b""]
)
def test_a_damaged_file_is_written_again(model, folder, damage):
    assert run(model)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert run(model)
    assert len(path.read_bytes()) == len(whole)
    assert not run(model)


def test_a_folder_that_cannot_be_written_changes_nothing(model, folder):
    folder.write_text("a file")
    assert run(model) == run(model) == 1


def test_what_was_not_used_for_long_goes_first(model, folder, monkeypatch):
    monkeypatch.setattr(traced, "MOST_FILES", 2)
    for age, name in enumerate(["first", "second"]):
        assert run(model, name=name)
        for path in folder.iterdir():
            os.utime(path, (10 + age, 10 + age))
    assert not run(model, name="first")
    assert run(model, name="third")
    assert not run(model, name="first")
    assert run(model, name="second")


def test_photos_have_the_same_result(model, folder):
    random = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        for variable in model.get_layer(name).weights:
            variable.assign(random.normal(size=variable.shape))
    traced.keep_in(None)
    expected = Segmenter(model).logits(PHOTO)
    traced.keep_in(folder)
    for _ in range(2):
        np.testing.assert_array_equal(Segmenter(model).logits(PHOTO), expected)
    assert len(list(folder.iterdir())) == 1


VARIANTS = {"bucket": 64, "flip": True, "scales": (1.0, 0.5)}
# They make another model, or change nothing but the shapes of arguments.
OTHERS = {"model", "precision", "classes", "batch_size", "max_side"}


def test_whatever_a_segmenter_does_has_a_name_of_its_own(model, monkeypatch):
    names = []
    monkeypatch.setattr(segmenter, "bind", lambda model, function, name: names.append(name))
    Segmenter(model)
    for option, value in VARIANTS.items():
        Segmenter(model, **{option: value})
    assert len(set(names)) == len(names) == 3 * 4
    assert set(inspect.signature(Segmenter).parameters) == VARIANTS.keys() | OTHERS


def test_each_stage_of_a_large_photo_has_a_name(model, monkeypatch):
    names = []
    monkeypatch.setattr(tiling, "bind", lambda model, function, name: names.append(name))
    stages = tiling.Tiler(model).stages
    assert len(set(names)) == len(names) == len(stages) > 1


def test_programs_that_call_onednn_are_not_kept(model, folder, monkeypatch):
    monkeypatch.setattr(cpu, "calls_onednn", lambda model: True)
    compiled.bind(model, lambda x: x + 1, "add")(np.float32([1]))
    assert not folder.exists()


def test_what_cannot_be_exported_runs_all_the_same(model, folder, monkeypatch):
    def refuse(function):
        raise ValueError("not exported")

    monkeypatch.setattr(traced.export, "export", refuse)
    assert run(model)
    assert not folder.exists()
