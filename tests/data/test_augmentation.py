import threading

import numpy as np
import pytest
from scipy import stats

from fcn_keras.data import Augmentation
from fcn_keras.errors import InputError


def still(crop_size: int, **changes) -> Augmentation:
    """An augmentation that only pads and crops, but for `changes`."""
    options = {"scale_probability": 0.0, "flip_probability": 0.0, **changes}
    return Augmentation(crop_size=crop_size, **options)


def ramp(side: int) -> np.ndarray:
    """An image whose red is twice the column and green twice the row."""
    y, x = np.mgrid[:side, :side]
    return np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def measured():
    """Scale factor, flip and unscaled crop origin of 2000 draws, read off a ramp image."""
    image, mask = ramp(120), np.zeros((120, 120), np.uint8)
    augmentation = Augmentation(crop_size=48)
    draws = []
    for seed in range(2000):
        out, _ = augmentation(image, mask, seed)
        out = out.astype(float)
        across = (out[0, -6, 0] - out[0, 5, 0]) / 37
        down = (out[-6, 0, 1] - out[5, 0, 1]) / 37
        draws.append((2 / abs(across), 2 / down, across < 0, out[0, 0, 0] / 2))
    scale_x, scale_y, flipped, left = np.array(draws).T
    return scale_x, scale_y, flipped.astype(bool), left


def test_half_of_the_samples_are_scaled_uniformly_from_half_to_double(measured):
    scale_x, scale_y, _, _ = measured
    scaled = (np.abs(scale_x - 1) > 0.02) | (np.abs(scale_y - 1) > 0.02)
    assert abs(scaled.mean() - 0.5 * (1 - 0.04 / 1.5)) < 0.04  # 3.5 standard deviations
    factors = scale_y[scaled]
    assert 0.48 < factors.min() < 0.53 and 1.95 < factors.max() < 2.07
    assert stats.kstest(factors, stats.uniform(0.5, 1.5).cdf).statistic < 0.06
    np.testing.assert_allclose(scale_x, scale_y, rtol=0.06)


def test_flips_half_of_the_samples_whether_scaled_or_not(measured):
    _, scale_y, flipped, _ = measured
    scaled = np.abs(scale_y - 1) > 0.02
    assert abs(flipped[scaled].mean() - 0.5) < 0.06
    assert abs(flipped[~scaled].mean() - 0.5) < 0.06


def test_crops_anywhere(measured):
    _, scale_y, flipped, left = measured
    origins = left[(np.abs(scale_y - 1) <= 0.02) & ~flipped]
    assert origins.min() == 0 and origins.max() == 120 - 48
    assert stats.kstest(origins, stats.uniform(0, 73).cdf).statistic < 0.08


def test_image_is_scaled_bilinearly_and_mask_by_nearest():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 7, 20, 255], np.uint8), (40, 40))
    out, labels = still(60, scale_probability=1.0, scale=(1.5, 1.5))(image, mask, 3)

    places = np.clip((np.arange(60) + 0.5) / 1.5 - 0.5, 0, 39)
    low = np.minimum(places.astype(int), 38)
    weight = np.zeros((60, 40))
    weight[np.arange(60), low] = 1 - (places - low)
    weight[np.arange(60), low + 1] = places - low
    expected = np.einsum("ab,bcd,ec->aed", weight, image.astype(float), weight)
    assert np.abs(out - expected).max() <= 1
    nearest = (np.arange(60) / 1.5).astype(int)
    np.testing.assert_array_equal(labels, mask[nearest][:, nearest])


def test_padding_is_mean_coloured_and_void():
    image = np.full((20, 30, 3), 9, np.uint8)
    mask = np.full((20, 30), 4, np.uint8)
    out, labels = still(40)(image, mask, 0)
    inside = np.zeros((40, 40), bool)
    inside[10:30, 5:35] = True
    assert (labels[inside] == 4).all() and (labels[~inside] == 255).all()
    assert (out[inside] == 9).all()
    assert (out[~inside] == (124, 116, 104)).all()  # 255 * (0.485, 0.456, 0.406), rounded


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_images_of_a_pixel_s_width(size):
    image, mask = np.full((*size, 3), 9, np.uint8), np.full(size, 4, np.uint8)
    drawn = [Augmentation(crop_size=48)(image, mask, seed) for seed in range(200)]
    assert {out.shape for out, _ in drawn} == {(48, 48, 3)}
    assert all((labels == 4).any() for _, labels in drawn)


def test_padding_follows_scaling_down():
    image, mask = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    _, labels = still(40, scale_probability=1.0, scale=(0.5, 0.5))(image, mask, 0)
    assert (labels == 0).sum() == 20 * 20 and (labels == 255).sum() == 1200


def test_image_and_mask_move_together():
    image = np.repeat(np.random.default_rng(0).integers(0, 255, (50, 60, 1)), 3, 2).astype(np.uint8)
    mask = image[..., 0].copy()
    augmentation = Augmentation(crop_size=32, scale_probability=0.0)
    for seed in range(50):
        out, labels = augmentation(image, mask, seed)
        np.testing.assert_array_equal(out[..., 0], labels)


def test_color_jitter_changes_the_image_alone():
    image = ramp(32) + np.uint8(60)
    mask = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    plain, _ = still(40)(image, mask, 5)
    changed, labels = still(40, color_jitter=0.3)(image, mask, 5)
    np.testing.assert_array_equal(labels[4:36, 4:36], mask)
    inside = (slice(4, 36), slice(4, 36))
    assert 3 < np.abs(changed[inside].astype(int) - plain[inside]).mean() < 100
    assert (changed[0] == plain[0]).all()


def test_seed_decides_everything_in_every_thread():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (70, 50, 3), dtype=np.uint8)
    mask = rng.integers(0, 21, (70, 50), dtype=np.uint8)
    augmentation = Augmentation(crop_size=48, color_jitter=0.2)
    alone = [augmentation(image, mask, seed) for seed in range(30)]
    results = [[] for _ in range(4)]

    def work(result):
        result += [augmentation(image, mask, seed) for seed in range(30)]

    threads = [threading.Thread(target=work, args=(result,)) for result in results]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for result in results:
        for ours, theirs in zip(result, alone, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])
    assert len({image.tobytes() for image, _ in alone}) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": 0}, "crop_size is 0; give at least 1 pixel"),
        ({"scale": (0.0, 2.0)}, r"scale is \(0.0, 2.0\)"),
        ({"scale": (2.0, 0.5)}, r"scale is \(2.0, 0.5\)"),
        ({"flip_probability": 1.5}, "flip_probability is 1.5"),
        ({"color_jitter": -0.1}, "color_jitter is -0.1"),
    ],
)
def test_refuses_senseless_options(options, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**options)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 2)])
def test_the_smallest_pictures_survive_the_smallest_scale(shape):
    augment = Augmentation(crop_size=8, scale=(0.1, 0.1), scale_probability=1.0)
    image = np.full((*shape, 3), 200, np.uint8)
    mask = np.ones(shape, np.uint8)
    for seed in range(3):
        small, labels = augment(image, mask, seed)
        assert small.shape == (8, 8, 3) and labels.shape == (8, 8)
        assert set(np.unique(labels)) <= {1, 255}
