"""Runs fuzz cases in a process of its own, and writes a line about each."""

import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import warnings
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.modules["torch"] = None  # albumentations imports it where it is installed

from fcn_keras import InputError  # noqa: E402
from tests.fuzz.mutate import mutated  # noqa: E402
from tests.fuzz.readers import READERS  # noqa: E402

SECONDS = 20  # of computing: another's load is no defect
STILL = 600  # seconds of waiting
MORE_BYTES = 4 << 30


def outcome(read, path: Path) -> str:
    # These end the process: a reader in C can't be interrupted.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(STILL)
    try:
        read(path)
    except InputError as error:
        text = str(error)
        return "refused" if text.isprintable() and len(text) <= 1000 else f"message {text[:300]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return "read"


def main(name: str, folder: str, seed: int, first: int, count: int) -> None:
    reader = READERS[name]
    whole = reader.whole()
    for content in whole:  # or the cases would show nothing
        assert outcome(reader.read, fresh(folder, reader.name, content)) == "read", name
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, resource.RLIM_INFINITY))
    warnings.simplefilter("ignore")
    told = os.open(f"{folder}/outcomes.txt", os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):  # libraries talk
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    for case in range(first, count):
        content = mutated(whole, random.Random(f"{name} {seed} {case}"))
        result = outcome(reader.read, fresh(folder, reader.name, content))
        os.write(told, f"{case} {result}\n".encode())


def fresh(folder: str, name: str, content: bytes) -> Path:
    """An empty folder but for the file."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(f"{folder}/case")
    os.mkdir(f"{folder}/case")
    path = Path(folder, "case", name)
    path.write_bytes(content)
    return path
