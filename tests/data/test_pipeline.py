import itertools

import numpy as np
import pytest

from fcn_keras.data import Augmentation, open_dataset, steps_per_epoch, train_batches
from fcn_keras.data.shapes import write_shapes
from fcn_keras.errors import InputError

AUGMENTATION = Augmentation(crop_size=24)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, train=11, val=1, size=32)
    return open_dataset("shapes", root)


def take(count, source, batch_size=3, seed=7, **options):
    stream = train_batches(
        source, batch_size=batch_size, augmentation=AUGMENTATION, seed=seed, **options
    )
    batches = list(itertools.islice(stream, count))
    stream.close()
    return batches


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys() == {"image", "mask", "index"}
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_batches_have_the_promised_shapes(source):
    (batch,) = take(1, source)
    assert (batch["image"].shape, batch["image"].dtype) == ((3, 24, 24, 3), np.uint8)
    assert (batch["mask"].shape, batch["mask"].dtype) == ((3, 24, 24), np.uint8)
    assert (batch["index"].shape, batch["index"].dtype) == ((3,), np.int64)
    assert type(batch["image"]) is np.ndarray


def test_each_epoch_is_a_new_permutation(source):
    batches = take(12, source, batch_size=3)  # 3 batches an epoch, 2 samples left over
    epochs = [np.concatenate([b["index"] for b in batches[i : i + 3]]) for i in range(0, 12, 3)]
    for epoch in epochs:
        assert len(set(epoch)) == 9 and set(epoch) <= set(range(11))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert set(np.concatenate(epochs)) == set(range(11))


def test_a_sample_is_augmented_anew_each_epoch(source):
    batches = take(6, source, batch_size=11)
    images = [b["image"][list(b["index"]).index(4)].tobytes() for b in batches]
    assert len(set(images)) == 6


def test_seed_decides_order_and_augmentation(source):
    assert_same(take(4, source), take(4, source))
    one, other = take(4, source, seed=1), take(4, source, seed=2)
    assert [b["index"].tolist() for b in one] != [b["index"].tolist() for b in other]


def test_starts_again_at_every_position(source):
    whole = take(9, source)
    for step in range(9):
        assert_same(take(9 - step, source, start_step=step), whole[step:])


def test_worker_processes_change_nothing(source):
    whole = take(7, source)
    assert_same(take(5, source, workers=2, start_step=2), whole[2:])


@pytest.mark.parametrize("processes", [2, 4])
def test_shards_are_the_rows_of_the_global_batch(source, processes):
    whole = take(5, source, batch_size=4)
    parts = [take(5, source, batch_size=4, shard=(p, processes)) for p in range(processes)]
    for step, batch in enumerate(whole):
        for name, array in batch.items():
            joined = np.concatenate([part[step][name] for part in parts])
            np.testing.assert_array_equal(joined, array)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bad_file_ends_the_stream_with_its_own_message(tmp_path, workers):
    write_shapes(tmp_path / "shapes", train=4, val=1, size=32)
    source = open_dataset("shapes", tmp_path / "shapes")
    source.images[2].write_bytes(source.images[2].read_bytes()[:400])
    with pytest.raises(
        InputError, match=r"train_0002.jpg can't be read \([^\n]*\); replace the file$"
    ):
        take(2, source, batch_size=4, workers=workers)


def test_counts_whole_batches():
    assert [steps_per_epoch(n, 4) for n in (4, 7, 8)] == [1, 1, 2]
    with pytest.raises(InputError, match="batch_size is 12, but the split has only 11 samples"):
        steps_per_epoch(11, 12)
    with pytest.raises(InputError, match="batch_size is 0"):
        steps_per_epoch(11, 0)


def test_refuses_what_can_not_be_shared(source):
    with pytest.raises(InputError, match="batch_size is 5, which 2 processes can't share equally"):
        take(1, source, batch_size=5, shard=(0, 2))
    with pytest.raises(InputError, match="seed is -1"):
        take(1, source, seed=-1)
