"""Gives damaged files to every reader: `python -m tests.fuzz [--count N] [--seed S] [READER ...]`.

A case passes if the file is read, or refused by an `InputError` of one clean line, within 20 s of
computing and 4 GB. The reader runs in processes of its own, so that a crash is a defect and not the
end; they are forked from one that has only imported the packages.
"""

import argparse
import sys

from tests.fuzz.cases import fuzz


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
