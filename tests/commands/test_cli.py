"""What the commands share: help without Keras, flags in messages, errors of one line."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fcn_keras
import fcn_keras_cli
from fcn_keras.commands import cli, evaluate, flags
from fcn_keras.commands.data import Browse, Check, Download
from fcn_keras.commands.train import Options
from fcn_keras.cpu import allocator
from fcn_keras.data import catalog

ROOT = Path(__file__).parents[2]


def door(*arguments):
    """Runs ``fcn-keras`` and says which of the slow packages were imported."""
    program = (
        "import atexit, sys, fcn_keras_cli\n"
        "heavy = 'keras jax grain albumentations matplotlib pandas torch'.split()\n"
        "atexit.register(lambda: print('HEAVY', [x for x in heavy if x in sys.modules]))\n"
        "fcn_keras_cli.main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "usage: fcn-keras [-h] [--version] COMMAND"),
        (["--version"], 0, f"fcn-keras {fcn_keras.__version__}"),
        (["train", "--help"], 0, "usage: fcn-keras train [-h]"),
        (["trian"], 2, "error: no command named 'trian'; did you mean train?"),
        (["train", "--batch-sise", "2"], 2, "error: no option named --batch-sise; did you mean"),
        (["train", "--batch-size", "two"], 2, "error: Error parsing --batch-size: invalid literal"),
        (["train", "--batch-size", "-2"], 2, "error: --batch-size -2 must be above 0"),
    ],
)
def test_help_and_typos_need_neither_keras_nor_jax(arguments, status, words):
    done = door(*arguments)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, "HEAVY []")
    assert (done.stdout if status == 0 else done.stderr).startswith(words)
    assert done.stderr.count("\n") == (1 if status else 0)


def test_keras_comes_without_its_plots_and_tables():
    done = door("evaluate", "none.keras")
    assert "error: model none.keras is not a file" in done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY ['keras', 'jax']"


def test_garbage_is_not_looked_for_among_imports():
    program = (
        "import gc, fcn_keras_cli\n"
        "load = fcn_keras_cli.load_package\n"
        "def noted():\n"
        "    collections = sum(each['collections'] for each in gc.get_stats())\n"
        "    load()\n"
        "    print(sum(each['collections'] for each in gc.get_stats()) - collections)\n"
        "    print(gc.get_freeze_count() > 10**5, gc.isenabled())\n"
        "fcn_keras_cli.load_package = noted\n"
        "fcn_keras_cli.main()"
    )
    command = [sys.executable, "-c", program, "predict", "no.keras", "no.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "True", "True"]


@pytest.mark.parametrize(
    ("backend", "accelerator", "left", "got"),
    [
        ("jax", False, "", 5000 + allocator.FOR_A_PHOTO),
        ("torch", False, "", None),
        ("jax", True, "", None),
        ("jax", False, "1", None),
    ],
)
def test_memory_is_got_for_the_largest_model(
    tmp_path, monkeypatch, backend, accelerator, left, got
):
    for name, size in (("small.keras", 40), ("large.keras", 5000), ("larger.jpg", 6000)):
        (tmp_path / name).write_bytes(bytes(size))
    found = []
    monkeypatch.setattr(allocator, "getting", found.append)
    monkeypatch.setattr(cli, "find_spec", lambda name: object() if accelerator else None)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setenv("FCN_KERAS_LEAVE_PROCESS", left)
    files = [str(path) for path in tmp_path.iterdir()]
    monkeypatch.setattr(sys, "argv", ["fcn-keras", *files, str(tmp_path / "none.keras")])
    cli._getting_memory()
    assert found == ([] if got is None else [got])


def test_training_comes_without_torch(tmp_path):
    pytest.importorskip("torch")
    done = door("train", "--resume", "--workdir", str(tmp_path))
    assert "holds no run to resume" in done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY ['keras', 'jax', 'albumentations']"


def test_help_groups_the_settings():
    titles = re.findall("╭─ ([a-z ]+) ─", door("train", "--help").stdout)
    assert titles == [
        "options",
        *(f"{x} options" for x in ("data", "model", "optimisation", "run")),
    ]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("crop_size=0 must be above 0", "--crop-size 0 must be above 0"),
        ("accumulate=3 splits batch_size=16", "--accumulate 3 splits --batch-size 16"),
        ("continue it with resume=True", "continue it with --resume"),
        ("lower `learning_rate`, or set `clip_norm`", "lower --learning-rate, or set --clip-norm"),
        ("give it as `root`", "give it as --data-dir"),
        ("freeze_until='b' is not a block", "--freeze-until 'b' is not a block"),
        ("`unknown`, other=1, /a/seed=1, a-seed=2, model fcn", None),
    ],
)
def test_messages_of_the_library_name_flags(message, shown):
    assert flags.name_flags(message, Options) == (shown or message)


def test_fields_are_those_of_parts_and_of_every_subcommand():
    assert set(flags.fields(Check | Browse | Download)) == {
        *("backend", "debug", "dataset", "data_dir", "splits", "workers", "json", "show"),
        *("picture", "split", "out", "crop_size", "color_jitter", "count", "seed", "archives"),
    }
    names = list(flags.fields(Options))
    assert "crop_size" in names and "recipe" in names and "optimisation" not in names


def test_names_of_the_first_release_are_renewed():
    given = ["--squash", "48", "--trunk-width=8", "--flip"]
    assert flags.renew(given) == ["--resize", "48", "--backbone-width=8", "--flip"]


def test_the_nearest_flag():
    options = flags.flags(Options)
    found = {name: flags.nearest(name, options) for name in ("--wd", "--worker", "--zzz")}
    assert found == {"--wd": "--weight-decay", "--worker": "--workers", "--zzz": None}
    assert {f"--{name}" for name in flags.FAMOUS}.isdisjoint(options)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (fcn_keras.InputError("batch_size=0 is wrong"), 2, "error: --batch-size 0 is wrong"),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), 1, "error: /x/y: No space left"),
        (KeyboardInterrupt(), 130, "Stopped."),
    ],
)
def test_errors_are_one_line_with_a_status(monkeypatch, capsys, error, status, line):
    monkeypatch.setattr(sys, "argv", ["evaluate", "model.keras"])
    monkeypatch.setattr("fcn_keras.saving.load_model", fail_with(error))
    with pytest.raises(SystemExit) as stop:
        evaluate.run()
    assert (stop.value.code, capsys.readouterr().err) == (status, line + "\n")


def fail_with(error):
    def fail(*_):
        raise error

    return fail


def test_names_from_files_are_not_markup(capsys):
    cli.console().print("class road [/x]")
    assert capsys.readouterr().out == "class road [/x]\n"


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "experiments.train", "--help"]
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as nowhere:
        done = subprocess.run(command, cwd=ROOT, stdout=nowhere, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_library_messages_name_no_flags_and_no_programs():
    found = []
    for path in sorted((ROOT / "fcn_keras").rglob("*.py")):
        if path.parent.name in ("commands", "recipes"):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            # `git describe` is a program that takes flags.
            if re.search(r"(?<![\w-])--[a-z]|experiments\b", line) and '"git"' not in line:
                found.append(f"{path.name}:{number}: {line.strip()}")
    assert not found


def test_every_data_set_is_in_the_help_and_the_docs():
    helped = door("data", "check", "--help").stdout
    documented = (ROOT / "docs" / "data.md").read_text()
    for name in catalog.NAMES:
        assert name in helped and f"`{name}`" in documented


def test_commands_are_documented_and_have_a_module():
    listed = fcn_keras_cli.COMMANDS
    modules = {path.stem for path in (ROOT / "fcn_keras" / "commands").glob("*.py")}
    assert set(listed) <= modules
    assert {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__"} < set(listed)
