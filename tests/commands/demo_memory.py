"""Memory of the demo page while clients try photos: a line of CSV each minute.

    python -m tests.commands.demo_memory [--hours 2] [--clients 8] [--port 7860]

Each client opens the page, gives it ten photos of 200 to 400 pixels, one every 60 to 90 s, moves
the opacity after some of them, and opens the page anew.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gradio_client import Client, handle_file
from PIL import Image

from fcn_keras.export.proof import PHOTOS
from tests.inference.memory import resources

SIZES = 200, 400
PAUSE = 60, 90  # seconds
PHOTOS_A_VISIT = 10


class Visitors:
    """Clients of the page at `url` in threads, until the time `end`."""

    def __init__(self, url: str, end: float):
        self.url, self.end = url, end
        self.visits, self.seconds, self.failures = 0, [], 0

    def come(self, number: int) -> None:
        rng = random.Random(number)
        time.sleep(rng.uniform(*PAUSE))
        while time.time() < self.end:
            page = Client(
                self.url, verbose=False, download_files=False, httpx_kwargs={"timeout": 600}
            )
            self.visits += 1
            for _ in range(PHOTOS_A_VISIT):
                if time.time() < self.end:
                    self._try_a_photo(page, rng)
                    time.sleep(rng.uniform(*PAUSE))
            page.close()

    def _try_a_photo(self, page: Client, rng: random.Random) -> None:
        begun = time.time()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photo.jpg"
            size = rng.randint(*SIZES), rng.randint(*SIZES)
            Image.open(rng.choice(PHOTOS)).convert("RGB").resize(size).save(path)
            try:
                page.predict(photo=handle_file(str(path)), api_name="/_segment")
                page.predict(opacity=0.6, api_name="/_show")
                if rng.random() < 0.3:
                    page.predict(opacity=rng.random(), api_name="/_blend")
            except Exception as error:
                self.failures += 1
                print(f"client: {type(error).__name__}: {error}", file=sys.stderr)
            else:
                self.seconds.append(time.time() - begun)


@contextlib.contextmanager
def served(port: int, folder: str) -> Iterator[int]:
    """The page's process; its files are under `folder`."""
    program = "from fcn_keras_cli import main; main()"
    command = [sys.executable, "-c", program, "demo", "--port", str(port)]
    environment = {**os.environ, "TMPDIR": folder}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        server.stdout.readline()  # its address
        time.sleep(10)
        yield server.pid
        server.send_signal(signal.SIGINT)


def sizes(folder: Path) -> list[int]:
    """Of the files under a folder, some of which may be deleted meanwhile."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found += [path.stat().st_size] if path.is_file() else []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--port", type=int, default=7860)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(options.port, folder) as process:
        begun = time.time()
        visitors = Visitors(f"http://127.0.0.1:{options.port}", begun + options.hours * 3600)
        for number in range(options.clients):
            threading.Thread(target=visitors.come, args=(number,), daemon=True).start()
        print("minute,rss_mb,threads,open_files,visits,photos,failures,median_seconds,files,mb")
        for minute in range(round(options.hours * 60) + 1):
            time.sleep(max(0, begun + 60 * minute - time.time()))
            files = sizes(Path(folder))
            latest = visitors.seconds[-20:]
            print(
                *(minute, *resources(process), visitors.visits, len(visitors.seconds)),
                *(visitors.failures, round(statistics.median(latest), 1) if latest else ""),
                *(len(files), round(sum(files) / 1e6, 1)),
                sep=",",
                flush=True,
            )


if __name__ == "__main__":
    main()
