"""Warnings about a whole data set: what is allowed, but rarely intended."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from fcn_keras.data.classes import ClassTable
from fcn_keras.data.traits import HASH_SIDE, Traits

MOSTLY_VOID = 0.5
ONE_CLASS = 0.99
BLENDED = 0.2  # 0.04 at most in VOC and CamVid, 0.5 once their edges are smoothed
UNTURNED = 0.2  # one in 40 looks like this by chance
ALIKE = 4  # places of 64; frames of CamVid's two splits differ in 8 at least, VOC's photos in 11


def warnings(
    classes: ClassTable, seen: dict[str, dict[str, Traits]], pixels: np.ndarray, void_pixels: int
) -> list[str]:
    """One line per warning.

    Args:
        classes: What the labels mean.
        seen: The samples by split and name.
        pixels: ``(C,)`` pixels of each class, in all splits.
        void_pixels: Void pixels in all splits.
    """
    samples = {name: one for split in seen.values() for name, one in split.items()}
    if not samples:
        return []
    return [
        *_classes(classes, pixels, void_pixels),
        *_masks(classes, samples),
        *_alike(seen),
    ]


def _classes(classes: ClassTable, pixels: np.ndarray, void_pixels: int) -> Iterator[str]:
    labelled = int(pixels.sum())
    absent = [name for name, count in zip(classes.names, pixels, strict=True) if not count]
    if absent:
        yield f"classes in no mask: {', '.join(absent)}; check the order in classes.txt"
    if void_pixels > MOSTLY_VOID * (labelled + void_pixels):
        share = 100 * void_pixels / (labelled + void_pixels)
        yield f"{share:.0f} % of all pixels are void, which training ignores"
    most = int(pixels.argmax())
    if labelled and len(classes) > 1 and pixels[most] > ONE_CLASS * labelled:
        yield (
            f"{100 * pixels[most] / labelled:.1f} % of the labelled pixels are "
            f"{classes.names[most]}: a model that sees nothing else scores well, so look at the "
            "IoU of the other classes"
        )


def _masks(classes: ClassTable, samples: dict[str, Traits]) -> Iterator[str]:
    single = [name for name, one in samples.items() if len(one.labels) == 1]
    if single and len(classes) > 1:
        yield f"masks of a single class: {len(single)} of {len(samples)}, such as {single[0]}"
    shares = {name: one.blended for name, one in samples.items() if one.blended is not None}
    blended = [name for name, share in shares.items() if share > BLENDED]
    if len(blended) > len(shares) / 2:
        yield (
            f"{len(blended)} masks have thin lines of other classes between two classes, such as "
            f"{blended[0]}: their edges look smoothed; save them without smoothing, and "
            "resize masks by nearest neighbour"
        )
    turned = [name for name, one in samples.items() if one.fits_stored is not None]
    stored = [name for name in turned if samples[name].fits_stored]
    if len(stored) > UNTURNED * len(turned):
        yield (
            f"{len(stored)} of {len(turned)} masks don't seem to be turned as their photos are by "
            f"EXIF orientation, such as {stored[0]}; turn these masks too, or save the photos "
            "upright"
        )
    coded: dict[str, list[str]] = {}
    for name, one in samples.items():
        coded.setdefault(one.coding, []).append(name)
    if other := coded.pop("other palette", []):
        yield (
            f"{len(other)} palette masks have other colours than classes.txt, such as {other[0]}; "
            "they are read by their class ids"
        )
    if len(coded) > 1:
        by_ids, by_color = coded["ids"], coded["colours"]
        yield (
            f"{len(by_ids)} masks are read by class ids, such as {by_ids[0]}, and {len(by_color)} "
            f"by colour, such as {by_color[0]}; check that both are intended"
        )


def _alike(seen: dict[str, dict[str, Traits]]) -> Iterator[str]:
    for (first, ours), (second, theirs) in itertools.combinations(seen.items(), 2):
        pairs = _pairs(ours, theirs)
        if pairs:
            yield (
                f"{len(pairs)} images of {second} look like images of {first}, such as "
                f"{pairs[0][0]} like {pairs[0][1]}; keep a scene in one split, or the scores "
                "flatter"
            )


def _pairs(ours: dict[str, Traits], theirs: dict[str, Traits]) -> list[tuple[str, str]]:
    """Names of `theirs` that look like one of `ours`, with that one."""
    known = {name: one.fingerprint for name, one in ours.items() if one.fingerprint is not None}
    if not known:
        return []
    names, rows = list(known), np.stack(list(known.values()))
    pairs = []
    for name, one in theirs.items():
        if one.fingerprint is not None:
            distances = (HASH_SIDE**2 - rows @ one.fingerprint) / 2
            if distances.min() <= ALIKE:
                pairs.append((name, names[int(distances.argmin())]))
    return pairs
