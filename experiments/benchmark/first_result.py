"""A fresh process that loads a model and segments one image; times itself, as a user's would go.

python -m experiments.benchmark.first_result MODEL SIZE
"""

import json
import sys
import time


def main(path: str, size: int) -> None:
    """Prints the seconds of each part as one line of JSON."""
    imports, load, predict = (_torch if path.endswith(".pt") else _ours)(path, size)
    seconds = {}
    for name, part in (
        ("import", imports),
        ("load", load),
        ("first result", predict),
        ("second result", predict),
    ):
        start = time.perf_counter()
        part()
        seconds[name] = time.perf_counter() - start
    print(json.dumps(seconds))


def _ours(path: str, size: int):
    segment = None

    def imports():
        import fcn_keras  # noqa: F401

    def load():
        nonlocal segment
        from fcn_keras import Segmenter

        segment = Segmenter(path)

    def predict():
        import numpy as np

        segment(np.full((size, size, 3), 100, np.uint8))

    return imports, load, predict


def _torch(path: str, size: int):
    model = None

    def imports():
        import torch  # noqa: F401

    def load():
        nonlocal model
        import torch

        from experiments.benchmark.torch_fcn import TorchFCN

        saved = torch.load(path)
        model = TorchFCN(**saved["options"])
        model.load_state_dict(saved["state"])
        model.eval()

    def predict():
        import torch

        with torch.inference_mode():
            model(torch.full((1, 3, size, size), 100, dtype=torch.uint8)).argmax(1).numpy()

    return imports, load, predict


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
