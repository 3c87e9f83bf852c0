"""Memory over many predictions of random sizes: a line of CSV after every 50.

python -m tests.inference.memory [--predictions 1000] [--bucket 128] [MODEL]
"""

from __future__ import annotations

import argparse
import os
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras import Segmenter
from fcn_keras.export.proof import PHOTOS

SIZES = 64, 320  # height and width, each drawn from these and all between
EVERY = 50


def resources(process: int | str = "self") -> tuple[int, int, int]:
    """Resident megabytes, threads and open files of a process, as Linux tells them."""
    folder = Path("/proc", str(process))
    pages = int((folder / "statm").read_text().split()[1])
    counts = (len(os.listdir(folder / name)) for name in ("task", "fd"))
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20), *counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="voc2012", metavar="MODEL")
    parser.add_argument("--predictions", type=int, default=1000)
    parser.add_argument("--bucket", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    photos = [Image.open(path).convert("RGB") for path in PHOTOS]
    segment = Segmenter(options.model, bucket=options.bucket)
    started = time.perf_counter()
    print("predictions,rss_mb,compiles,threads,open_files,seconds")
    for done in range(options.predictions + 1):
        if done % EVERY == 0:
            seconds = time.perf_counter() - started
            memory, threads, files = resources()
            numbers = (done, memory, segment.compiles, threads, files, round(seconds))
            print(*numbers, sep=",", flush=True)
        width, height = rng.randint(*SIZES), rng.randint(*SIZES)
        classes = segment(np.array(rng.choice(photos).resize((width, height))))
        assert classes.shape == (height, width)


if __name__ == "__main__":
    main()
