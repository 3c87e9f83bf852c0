"""Gives damaged files to every reader: `python -m tests.fuzz [--count N] [--seed S] [READER ...]`.

A case passes if the file is read, or refused by an `InputError` of one clean line, within 20 s of
computing and 4 GB. The reader runs in processes of its own, so that a crash is a defect and not the
end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fuzz(reader: str, seed: int, count: int) -> tuple[Counter, list[str]]:
    """Runs `count` cases; returns how many had which outcome, and a line for each defect."""
    outcomes, defects, done = Counter(), [], 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while done < count:
            command = [sys.executable, "-m", "tests.fuzz.worker", reader, folder]
            worker = subprocess.run(
                [*command, str(seed), str(done), str(count)],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            lines = worker.stdout.splitlines()
            for line in lines:
                done, outcome = int(line.split()[0]) + 1, line.split(maxsplit=1)[1]
                outcomes[outcome if outcome in ("read", "refused") else "defect"] += 1
                if outcome not in ("read", "refused"):
                    defects.append(f"{reader}, case {done - 1}: {outcome}")
            if worker.returncode:
                if not lines and not done and worker.returncode > 0:
                    raise RuntimeError(worker.stderr[-2000:])
                defects.append(f"{reader}, case {done}: ended with status {worker.returncode}")
                outcomes["defect"] += 1
                done += 1
    return outcomes, defects


def main() -> None:
    from tests.fuzz.readers import READERS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", default=list(READERS), metavar="READER")
    parser.add_argument("--count", type=int, default=1000, help="cases for each reader")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = False
    for reader in options.readers:
        outcomes, defects = fuzz(reader, options.seed, options.count)
        print(
            f"{reader:14} {options.count:8} cases: {outcomes['read']:8} read, "
            f"{outcomes['refused']:8} refused, {outcomes['defect']:5} defects",
            flush=True,
        )
        for line in defects[:20]:
            print(f"  {line}")
        failed |= bool(defects)
    sys.exit(failed)


if __name__ == "__main__":
    main()
