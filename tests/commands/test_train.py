import inspect
import os
import runpy
import shlex
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from fcn_keras import InputError
from fcn_keras.commands import flags
from fcn_keras.data.shapes import write_shapes
from fcn_keras.recipes import NAMES, load_recipe
from fcn_keras.training import TrainConfig

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs the command in this process, expects status 2, and returns its one error line."""

    def refused(*arguments):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("experiments.train", run_name="__main__")
        assert caught.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        (line,) = [line for line in lines if line.startswith("error: ")]
        assert not any(line.startswith("Traceback") for line in lines)
        return line

    return refused


def events(workdir):
    """The tags in a run's TensorBoard files, read by the library's own protocol buffers."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    tags = set()
    for path in (workdir / "events").iterdir():
        content = path.read_bytes()
        while content:
            size, header_crc = struct.unpack("<QI", content[:12])
            assert header_crc == masked_crc32c(content[:8])
            tags |= {value.tag for value in Event.FromString(content[12 : 12 + size]).summary.value}
            content = content[16 + size :]
    return tags


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, train=4, val=2, size=48)
    return root


@pytest.fixture(scope="module")
def tiny(data):
    narrow = "--trunk-width 2 --head-width 4 --crop-size 32 --batch-size 2 --epochs 1 --bucket 64"
    return ["--data-dir", str(data), "--eval-batch-size", "1", *narrow.split()]


@pytest.mark.slow
def test_trains_shows_and_says_what_to_do_next(tiny, tmp_path):
    workdir = tmp_path / "run"
    done = run(*tiny, "--workdir", str(workdir))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in workdir.iterdir()}
    files = {"best.keras", "config.json", "log.csv", "curves.png", "panel.png"}
    assert names == files | {"checkpoints", "events", "data.json", "last_row.json"}
    for picture in ("curves.png", "panel.png"):
        with Image.open(workdir / picture) as image:
            assert min(image.size) > 200
    assert "frequency weighted" in done.stdout
    for command in ("evaluate", "predict", "export"):
        assert f"python -m experiments.{command} {workdir}/best.keras" in done.stdout
    assert events(workdir) >= {"mean_iou", "train_loss", "learning_rate", "panel"}
    assert "\x1b" not in done.stdout  # no bar, no colours where the output is a file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "nothing"], "no recipe named 'nothing'; choose from camvid_fcn8s,"),
        (["--recipe", "shaps"], "no recipe named 'shaps'; did you mean shapes?"),
        (["--dataset", "kitti"], "no data set named 'kitti'; choose from shapes,"),
        (["--dataset", "camvd"], "no data set named 'camvd'; did you mean camvid?"),
        (["--crop-size", "0"], "--crop-size 0 must be above 0"),
        (["--weights", "none.pth"], "none.pth"),
        (["--workdir", "/proc/run"], "workdir /proc/run can't be written"),
        (["--resume", "--workdir", "nowhere"], "workdir nowhere holds no run to resume"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tiny, tmp_path, refused, arguments, message):
    assert message in refused(*tiny, "--workdir", str(tmp_path / "run"), *arguments)


def test_a_data_set_without_its_folder(tmp_path, refused):
    error = refused("--dataset", "voc2012", "--workdir", str(tmp_path / "run"))
    assert error == "error: data set voc2012 needs its folder; give it as --data-dir"


@pytest.mark.parametrize("option", ["--learnig-rate", "--learning_rat=1", "--lr"])
def test_a_mistyped_option_is_told_the_nearest(refused, option):
    name = option.split("=")[0]
    assert refused(option, "1") == f"error: no option named {name}; did you mean --learning-rate?"


def test_a_folder_with_a_run_names_the_flag(tiny, tmp_path, refused):
    (tmp_path / "config.json").touch()
    error = refused(*tiny, "--workdir", str(tmp_path))
    assert error.endswith("already holds a run: continue it with --resume, or name another folder")


@pytest.mark.slow
def test_stops_on_sigterm_and_says_how_to_go_on(tiny, tmp_path):
    run_folder = tmp_path / "a run"
    arguments = [*tiny, "--epochs", "2000", "--schedule", "constant", "--workdir", str(run_folder)]
    worker = subprocess.Popen(
        [sys.executable, "-m", "experiments.train", *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (run_folder / "log.csv").exists():
        assert worker.poll() is None, worker.communicate()
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    _, error = worker.communicate(timeout=120)
    assert worker.returncode == 143, error
    said, command = error.splitlines()[-2:]
    step = int(said.removeprefix("Stopped by SIGTERM after step ").split(",")[0])
    _, _, _, *again = shlex.split(command)
    assert again == [*arguments, "--resume"]
    done = run(*again, "--max-steps", str(step + 1))
    assert done.returncode == 0, done.stderr
    assert f"Resumed at step {step} of {step + 1}." in done.stdout


def test_distributed_needs_a_folder_and_the_whole_environment(tiny, tmp_path, refused, monkeypatch):
    assert refused(*tiny, "--distributed").startswith("error: --distributed needs --workdir")
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    assert refused(*tiny, "--distributed", "--workdir", str(tmp_path / "x")) == (
        "error: distributed: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES must be set too"
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_other_backends_are_refused(tiny, tmp_path, backend):
    pytest.importorskip(backend)
    done = run(*tiny, "--workdir", str(tmp_path), "--backend", backend)
    assert done.returncode == 2
    assert f"error: --backend {backend}: training is a JAX step" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_recipes_load_and_say_how_they_are_run(name):
    config = load_recipe(name)
    module = sys.modules[f"fcn_keras.recipes.{name}"]
    assert "fcn-keras train" in module.__doc__
    assert name in ("shapes",) or f"--recipe {name}" in module.__doc__
    assert config.model == "fcn8s" or config.model in name


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path, refused):
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\nfrom pathlib import Path\n"
        "from fcn_keras.recipes.shapes import config as shapes\n"
        "config = dataclasses.replace(shapes, dataset='voc2012', data_dir=Path('absent'))\n"
    )
    assert load_recipe(str(path)).data_dir == Path("absent")
    assert "data folder absent" in refused("--recipe", str(path), "--workdir", str(tmp_path / "x"))
    path.write_text("")
    assert "doesn't set config = TrainConfig" in refused("--recipe", str(path))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("config = (", "SyntaxError"),
        ("config = TrainConfig()", "NameError"),
        ("config = lambda photos: 1 / 0", "ZeroDivisionError"),
        ("config = lambda: 1", "TypeError"),
        ("\0", "ValueError|SyntaxError"),
        ("\xff", "SyntaxError"),
        ("(" * 5000, "SyntaxError|MemoryError"),
    ],
)
def test_a_recipe_that_can_t_be_run_is_one_line(tmp_path, content, fault):
    path = tmp_path / "mine.py"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"recipe .*mine.py can't be run \(({fault}): .*\)$"):
        load_recipe(str(path))


def test_settings_keep_their_names():
    """Old config.json files hold them."""
    names = """
        dataset data_dir train_split val_split max_val_images val_epochs model trunk_width
        head_width dropout upsampling geometry batch_norm at_once weights init_from freeze_until
        crop_size min_scale max_scale color_jitter batch_size accumulate workers epochs max_steps
        optimizer learning_rate trunk_rate bias_rate schedule warmup_steps momentum weight_decay
        clip_norm loss class_weights ema_decay precision seed eval_batch_size bucket
        checkpoint_steps
    """
    assert inspect.signature(TrainConfig).parameters.keys() >= set(names.split())


def test_the_first_releases_flags_still_work(refused):
    former = refused("--trunk-rate", "0.5", "--trunk-width=8", "--crop-size", "0")
    assert former == "error: --crop-size 0 must be above 0"
    assert flags.renew(["--trunk-width=8", "--trunk-rate", "2", "x"]) == [
        *("--backbone-width=8", "--backbone-rate", "2", "x")
    ]
