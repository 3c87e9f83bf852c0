import json
import sys

import numpy as np
import pytest
import tyro

import fcn_keras
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import compared, data, workers
from experiments.benchmark.case import PYTORCH, Case
from experiments.benchmark.costs import costs, fixed_model
from experiments.benchmark.report import Report
from fcn_keras.commands import cli
from fcn_keras.data import Augmentation
from fcn_keras.data.shapes import write_shapes

TINY = ("--backbone-width", "2", "--head-width", "4", "--sizes", "32", "--repeats", "2")


def run(monkeypatch, tmp_path, *arguments):
    """The reports that a command writes."""
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments), "--json", str(path)])
    cli.run(benchmark.main, benchmark.Verb, benchmark.__doc__, default=tyro.MISSING)
    record = json.loads(path.read_text())
    assert record["verb"] == arguments[0]
    assert record["machine"]["versions"]["keras"]
    return record["reports"]


def small(verb="predict", **options):
    return Case(verb=verb, backbone_width=2, head_width=4, size=32, **options)


def test_vgg16_costs_what_its_authors_count():
    """15.35 billion multiply-adds in the convolutions for 224 x 224 pixels."""
    model = fcn_keras.fcn32s(21, input_shape=(224, 224, 3), head_width=1)
    trunk = [c for c in costs(model, 1, False) if c.name.startswith("block") and "conv" in c.name]
    assert sum(cost.flops for cost in trunk) == 2 * 15_346_630_656
    assert trunk[0].bytes == 4 * (224 * 224 * (3 + 64) + 27 * 64)


def test_costs_scale_with_the_batch_and_leave_out_gradients_that_nobody_needs():
    model = fixed_model(small())
    once, twice = costs(model, 1, False), costs(model, 2, False)
    assert [2 * c.flops for c in once] == [c.flops for c in twice]
    trained = {c.name: c.flops for c in costs(model, 1, True)}
    forward = {c.name: c.flops for c in once}
    ratio = {name: trained[name] / forward[name] for name in forward}
    assert ratio["block1_conv1"] == ratio["upscore8"] == 2  # no image gradient; frozen
    assert ratio["block1_conv2"] == ratio["fc6"] == ratio["score_pool3"] == 3
    weights = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert trained["update"] == 6 * weights


def test_half_precision_halves_the_activations_but_not_the_weights():
    full, half = (
        {c.name: c.bytes for c in costs(fixed_model(small(precision=p)), 1, False)}
        for p in ("float32", "bfloat16")
    )
    weights = 4 * 3 * 3 * 2 * 2
    assert half["block1_conv2"] - weights == (full["block1_conv2"] - weights) / 2
    assert half["upscore8"] == full["upscore8"]  # float32 in both


def test_a_table_has_the_columns_that_have_values():
    rows = [{"who": "ours", "ms": 1234.56, "turns": [1, 2], "error": None}, {"who": "torch"}]
    table = Report("times", rows).table()
    columns = {column.header: list(column.cells) for column in table.columns}
    assert columns == {"who": ["ours", "torch"], "ms": ["1234.6", ""]}


@pytest.mark.torch
@pytest.mark.parametrize("training", [False, True])
def test_costs_are_those_that_torch_counts(training):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from experiments.benchmark.torch_fcn import FCN

    network = FCN("fcn8s", 21, width=2, head=4)
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
        if training:
            logits.sum().backward()
    counted = [
        cost.flops
        for cost in costs(fixed_model(small()), 1, training)
        if "conv" in cost.name or cost.name.startswith(("fc", "score", "upscore"))
    ]
    assert sum(counted) == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "names"), [("predict", ["ours", "ours-stock"]), ("train", ["ours"])]
)
def test_contenders_take_turns(verb, names, monkeypatch, tmp_path, capsys):
    arguments = (verb, *TINY, "--contenders", *names)
    (report,) = run(monkeypatch, tmp_path, *arguments)
    assert [row["contender"] for row in report["rows"]] == names
    for row in report["rows"]:
        assert row["error"] is None
        assert len(row["turns"]) == 2 and min(row["turns"]) > 0
        assert row["ms"] == pytest.approx(np.median(row["turns"]))
        assert row["peak MB"] > 50
    assert names[-1] in capsys.readouterr().out


@pytest.mark.slow
def test_upsampling_is_timed_with_and_without_the_fast_path(monkeypatch, tmp_path):
    names = ["ours", "ours-stock-upsampling"]
    shape = ("--strides", 2, "--size", 8, "--num-classes", 3, "--repeats", 1)
    (report,) = run(monkeypatch, tmp_path, "upsample", *shape, "--contenders", *names)
    assert report["about"]["case"]["stride"] == 2
    assert [row["contender"] for row in report["rows"]] == names
    assert all(row["ms"] > 0 for row in report["rows"])


def test_ours_is_set_beside_the_others():
    ours = workers.Timing("ours", seconds=[0.1, 0.3, 0.2], peak_megabytes=7.0)
    torch, broken = (
        workers.Timing("torch", seconds=[0.4]),
        workers.Timing("torch-compile", error="x"),
    )
    first, second, third = compared.comparison(small(batch=2), [ours, torch, broken])
    assert (first["ms"], first["min"], first["max"]) == (200, 100, 300)
    assert first["images/s"] == 10 and first["ours is"] == 1 and first["peak MB"] == 7
    assert second["ours is"] == 2
    assert third == {"contender": "torch-compile", "error": "x"}


@pytest.mark.torch
@pytest.mark.parametrize("contender", ["torch", "torch-channels-last"])
@pytest.mark.parametrize("verb", ["predict", "train", "upsample"])
def test_every_verb_of_torch_runs(verb, contender):
    pytest.importorskip("torch")
    from experiments.benchmark import pytorch

    call, wait, peak = pytorch.build(small(verb, stride=8), contender)
    wait(call())
    assert peak() is None or peak() > 0


def test_a_contender_that_fails_is_a_row():
    (result,) = workers.compare(small(num_classes=0), ["ours"], repeats=2)
    assert result.error.startswith("InputError: num_classes=0 is not possible")
    assert result.median is None


def test_only_what_is_installed_takes_part(monkeypatch):
    monkeypatch.setattr(compared, "installed", lambda *packages: packages == ("torch",))
    assert compared.available(training=False) == ("ours", *PYTORCH)
    monkeypatch.setattr(compared, "installed", lambda *packages: True)
    assert compared.available(training=False)[-2:] == ("onnxruntime", "openvino")
    assert compared.available(training=True) == ("ours", *PYTORCH)
    monkeypatch.setattr(compared, "installed", lambda *packages: False)
    assert compared.available(training=False) == ("ours",)


@pytest.mark.slow
@pytest.mark.parametrize("training", ["--training", "--no-training"])
def test_roofline_lists_every_layer(training, monkeypatch, tmp_path, capsys):
    (report,) = run(monkeypatch, tmp_path, "roofline", *TINY, "--matrix", "64", training)
    rows = {row["layer"]: row for row in report["rows"]}
    assert {"normalize", "block1_conv1", "fc6", "upscore8"} <= rows.keys()
    assert ("update" in rows) == (training == "--training")
    flops, bandwidth = report["about"]["flops_per_second"], report["about"]["bytes_per_second"]
    assert rows["fc6"]["least ms"] == pytest.approx(
        max(1e12 * rows["fc6"]["GFLOP"] / flops, 1e9 * rows["fc6"]["MB"] / bandwidth)
    )
    assert rows["fc6"]["alone ms"] > 0
    total = rows.pop("total")
    assert total["GFLOP"] == pytest.approx(sum(row["GFLOP"] for row in rows.values()))
    assert "total" in capsys.readouterr().out


@pytest.fixture
def shapes(tmp_path):
    root = tmp_path / "shapes"
    write_shapes(root, train=4, val=2, size=48)
    return data.Data(dataset="shapes", data_dir=root, batch=2, size=32, samples=6, seconds=0.2)


def test_steps_of_a_batch_are_timed(shapes):
    steps = data.stages(shapes)
    assert list(steps) == ["decode image", "decode mask", "augment", "stack"]
    assert all(0 < ms < 1000 for ms in steps.values())


@pytest.mark.torch
def test_torch_is_fed_the_same_crops(shapes):
    pytest.importorskip("torch")
    batch = next(shapes.stream(32, 2, workers=0, loader="torch"))
    crops = [np.array(part) for part in batch]
    assert [crop.shape for crop in crops] == [(2, 32, 32, 3), (2, 32, 32)]
    source = shapes.open()
    expected = [Augmentation(crop_size=32)(*source[i], seed=i)[0] for i in range(4)]
    for crop in crops[0]:
        assert any((crop == each).all() for each in expected)


def test_batches_per_second_are_counted(shapes):
    assert data.rate(shapes, "ours", workers=0) > 1


@pytest.mark.slow
def test_startup_with_a_filled_cache_compiles_less(monkeypatch, tmp_path):
    (report,) = run(monkeypatch, tmp_path, "startup", *TINY)
    starts = {row["start"]: row for row in report["rows"]}
    first, second = (starts[f"ours, {which} with a cache"] for which in ("first", "second"))
    assert second["first result"] < first["first result"]
    assert second["total"] > second["import"] + second["load"] + second["first result"]
    first, second = (starts[f"fcn-keras predict, {which}"] for which in ("first", "second"))
    assert second["total"] < first["total"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "--sizes", 50), "--sizes 50: give multiples of 32"),
        (("upsample", "--size", 30, "--strides", 8), "--size 30: give a multiple of the stride 8"),
        (("predict", "--repeats", 0), "--repeats 0: give at least 1"),
        (("train", "--contenders", "onnxruntime"), "--contenders onnxruntime can't train"),
        (("train", "--contenders", "openvino"), "--contenders openvino can't train"),
    ],
)
def test_what_is_refused(arguments, message, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tmp_path, *arguments)
    assert stop.value.code == 2
    assert f"error: {message}" in capsys.readouterr().err
