"""Training batches: the order, the augmentation and the worker processes."""

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from fcn_keras.data.augmentation import Augment, Augmentation
from fcn_keras.data.source import Source
from fcn_keras.errors import InputError
from fcn_keras.imports import import_albumentations, without

_THREADS = 2
_BUFFERED_BATCHES = 4


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Full batches in an epoch; the samples left over are dropped.

    Raises:
        InputError: the samples don't fill one batch.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give at least 1")
    if num_samples < batch_size:
        raise InputError(
            f"batch_size is {batch_size}, but the split has only {num_samples} samples; make the "
            "batch smaller"
        )
    return num_samples // batch_size


def train_batches(
    source: Source,
    *,
    batch_size: int,
    augmentation: Augment,
    seed: int,
    start_step: int = 0,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Generator[dict[str, np.ndarray], None, None]:
    """Endless augmented batches, each epoch in a new order.

    Batch k is a pure function of ``(seed, k)``: it doesn't depend on the number of worker
    processes, and ``start_step=k`` starts there. Close the generator to end the workers; they also
    end with this process, however it ends.

    Args:
        source: The samples.
        batch_size: Samples in a batch, those of all training processes together.
        augmentation: What is done to each sample.
        seed: Determines the order and the augmentation.
        start_step: The first batch.
        workers: Processes that read and augment; 0 uses threads of this one.
        shard: Index of this training process and their number; each gets its consecutive rows of
            each batch.

    Returns:
        Dicts of "image" uint8 ``(B, S, S, 3)``, "mask" uint8 ``(B, S, S)`` and "index" int64
        ``(B,)``, the samples' positions in `source`.

    Raises:
        InputError: the split can't fill a batch, the shards can't divide it, or a sample can't be
            read.
    """
    import grain

    steps = steps_per_epoch(len(source), batch_size)
    process, processes = shard
    if batch_size % processes:
        raise InputError(
            f"batch_size is {batch_size}, which {processes} processes can't share equally; make it "
            f"a multiple of {processes}"
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; give a number from 0 to {2**32 - 1}")
    share = batch_size // processes
    rows = slice(process * share, (process + 1) * share)
    batches = (
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()[: steps * batch_size]
        .batch(batch_size)
        .random_map(_LoadBatch(source, augmentation, rows))
        .repeat()[start_step:]
        .to_iter_dataset(grain.ReadOptions(_THREADS, _BUFFERED_BATCHES))
    )
    if workers:
        _let_grain_read_flags()
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        prepare = partial(_prepare_worker, own=not isinstance(augmentation, Augmentation))
        batches = batches.mp_prefetch(options, worker_init_fn=prepare)
    return _stream(iter(batches))


def _let_grain_read_flags() -> None:
    """Lets grain's workers read absl flags, which raise an error until they have been parsed."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _prepare_worker(worker: int, workers: int, own: bool) -> None:
    """Ties the worker to its parent, which alone handles signals; gives OpenCV one thread.

    `own` tells that the augmentation is the user's, which may need all that is installed.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Both reach every process of a group, and the parent may need the next batch to stop in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)
    if not own:
        with without("torch"):  # seconds, and memory in every worker
            import_albumentations()
    # Skips Python's teardown of modules, which grain waits for, one worker after the other.
    atexit.register(os._exit, 0)


def _end_with_parent() -> None:
    """Ends this process once its parent is gone, whatever ended that.

    The kernel closes the parent's end of a pipe even after SIGKILL. (PR_SET_PDEATHSIG goes by the
    thread that started the worker, and grain's ends before the parent does.) When the last worker
    ends, so does the tracker of shared memory, which removes what was in transit.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    wait([parent.sentinel])
    os._exit(1)


def _stream(batches: Any) -> Generator[dict[str, np.ndarray], None, None]:
    """Copies grain's batches to ordinary arrays and ends the workers with the stream.

    Workers send arrays in shared memory, which would outlive a consumer that still holds one.
    """
    try:
        with contextlib.closing(batches):
            for batch in batches:
                batch = {name: _own(array) for name, array in batch.items()}
                yield batch
    except InputError as error:  # grain adds lines of its own to the message
        raise InputError(str(error).splitlines()[0]) from None
    finally:
        _await_removals()


def _own(array: np.ndarray) -> np.ndarray:
    return array if type(array) is np.ndarray else np.array(array)


def _await_removals() -> None:
    """Waits for the thread in which grain removes shared memory: the process may end at once."""
    from grain._src.python.ipc.shared_memory_array import SharedMemoryArray

    if removals := SharedMemoryArray._del_thread_pool:
        removals.apply(int)  # runs after those that wait, since there is one thread


@dataclass(frozen=True)
class _LoadBatch:
    """Turns the indices of a global batch into this process's rows of it."""

    source: Source
    augmentation: Augment
    rows: slice

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        # Seeds are drawn for the whole batch, so that a sample's don't depend on the sharding.
        seeds = rng.integers(2**63, size=len(indices))
        indices, seeds = indices[self.rows].astype(np.int64), seeds[self.rows].tolist()
        pairs = [
            self.augmentation(*self.source[int(index)], seed)
            for index, seed in zip(indices, seeds, strict=True)
        ]
        images, masks = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        return {"image": images, "mask": masks, "index": indices}
