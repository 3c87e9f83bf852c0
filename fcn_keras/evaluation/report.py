"""A page about one model or several on a data set: a self-contained `index.html`, and its PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data import Source, Subset
from fcn_keras.data.classes import VOID
from fcn_keras.drawing import overlay
from fcn_keras.evaluation import charts
from fcn_keras.evaluation.confusion import METRICS, Scores
from fcn_keras.evaluation.details import Details
from fcn_keras.evaluation.evaluator import Evaluator
from fcn_keras.evaluation.page import Page
from fcn_keras.storage import replacing

SHOWN = 4  # images at each end
WIDTH = 320  # pixels of a picture
WRONG, RIGHT = (214, 39, 40), (235, 235, 235)

EXPLAINED = {
    "pixel_accuracy": ("pixel accuracy, %", "correct pixels, of all"),
    "mean_accuracy": ("mean accuracy, %", "correct pixels of a class, mean over classes"),
    "mean_iou": ("mean IoU, %", "intersection over union of a class, mean over classes"),
    "fw_iou": ("frequency weighted IoU, %", "the same, weighted by the classes' pixels"),
}


@dataclass(frozen=True)
class Evaluated:
    """A model on the whole data set: its name, its evaluator, and the results."""

    name: str
    evaluator: Evaluator
    scores: Scores
    details: Details


def write_report(
    folder: str | Path, source: Source, models: Sequence[Evaluated], title: str
) -> Path:
    """Writes the page and its pictures.

    Args:
        folder: Is created if it doesn't exist.
        source: The data set that all models were evaluated on.
        models: One or more, with different names.
        title: The page's title.

    Returns:
        The page, ``folder/index.html``.

    Raises:
        SaveError: a file can't be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = Page(title, folder)
    _metrics(page, models)
    _classes(page, models, source)
    for model in models:
        heading = "Confusion" if len(models) == 1 else f"Confusion: {model.name}"
        _confusion(page, heading, model, source)
    details = {model.name: model.details for model in models}
    page.heading("Near borders")
    page.text(
        "Scores of the pixels within a given number of pixels of a border between classes, as in "
        "the FCN paper."
    )
    page.picture("trimap.png", charts.trimap(details))
    page.heading("Calibration")
    page.text(
        "Of the pixels that the model gives a probability of 0.8, four in five should be correct; "
        "then the curve lies on the dotted line. Above it the model is too cautious, below it too "
        "confident."
    )
    page.picture("calibration.png", charts.calibration(details))
    _images(page, source, models)
    page_file = folder / "index.html"
    with replacing(page_file) as draft:
        draft.write_text(page.html(), "utf-8")
    return page_file


def _metrics(page: Page, models: Sequence[Evaluated]) -> None:
    rows = [
        [shown, *(_percent(getattr(model.scores, name)) for model in models), meaning]
        for name, (shown, meaning) in EXPLAINED.items()
    ]
    assert tuple(EXPLAINED) == METRICS
    losses = [f"{model.scores.loss:.4f}" for model in models]
    errors = [_percent(model.details.calibration_error()) for model in models]
    rows.append(["cross-entropy", *losses, "mean over pixels, nats"])
    rows.append(["calibration error, %", *errors, "confidence against the share of correct pixels"])
    page.heading("Scores")
    page.table(["", *(model.name for model in models), ""], rows)


def _classes(page: Page, models: Sequence[Evaluated], source: Source) -> None:
    page.heading("Classes")
    names, header = source.classes.names, ["class"]
    counts = models[0].details.confusion.counts.sum(axis=1)
    for model in models:
        before = f"{model.name}: " if len(models) > 1 else ""
        header += [f"{before}IoU %", f"{before}accuracy %"]
    header += ["difference"] if len(models) == 2 else []
    rows = []
    for label, name in enumerate(names):
        row = [name]
        for model in models:
            scores = model.scores
            row += [_percent(scores.iou[label]), _percent(scores.accuracy[label])]
        if len(models) == 2:
            change = 100 * (models[1].scores.iou[label] - models[0].scores.iou[label])
            row.append("-" if np.isnan(change) else f"{change:+.2f}")
        rows.append([*row, f"{100 * counts[label] / max(counts.sum(), 1):.2f}"])
    page.table([*header, "% of pixels"], rows, colors=source.classes.colors)
    page.picture("classes.png", charts.bars({m.name: m.scores for m in models}, source.classes))


def _confusion(page: Page, heading: str, model: Evaluated, source: Source) -> None:
    page.heading(heading)
    number = page.number("confusion")
    page.picture(f"confusion{number}.png", charts.heat_map(model.details.confusion, source.classes))
    names = source.classes.names
    rows: dict[int, list[str]] = {}
    for mistake in model.details.mistakes():
        share = f"{names[mistake.taken_for]} {100 * mistake.share:.1f} %"
        rows.setdefault(mistake.label, []).append(share)
    page.text("What each class is mistaken for, in percent of its pixels:")
    page.table(["class", "mistaken for"], [[names[k], ", ".join(v)] for k, v in rows.items()])


def _images(page: Page, source: Source, models: Sequence[Evaluated]) -> None:
    """The best and the worst images, or those on which two models differ most."""
    for heading, chosen in _chosen(models).items():
        if not chosen:
            continue
        page.heading(heading)
        page.text("By the mean IoU of the classes in the image, in percent. Wrong pixels are red.")
        page.legend(source.classes)
        maps = [_predictions(model, source, chosen) for model in models]
        for index in chosen:
            image, truth = source[index]
            pictures = [("photo", image), ("truth", overlay(image, truth, source.classes, 0.7))]
            for model, found in zip(models, maps, strict=True):
                mean_iou = _percent(model.details.images[index])
                blend = overlay(image, found[index], source.classes, 0.7)
                pictures += [(f"{model.name}: {mean_iou}", blend)]
                pictures += [("errors", _errors(truth, found[index]))]
            name = f"image{page.number('image')}.png"
            page.row(source.ids[index], name, [(text, _small(one)) for text, one in pictures])


def _chosen(models: Sequence[Evaluated]) -> dict[str, list[int]]:
    """The images to show, by heading."""
    first, last = models[0].details.images, models[-1].details.images
    if len(models) == 1:
        ranked = sorted(first, key=lambda index: first[index])
        count = min(SHOWN, (len(ranked) + 1) // 2)
        return {"Worst images": ranked[:count], "Best images": ranked[::-1][:count]}
    gains = {index: last[index] - first[index] for index in first}
    ranked = sorted(gains, key=lambda index: gains[index])
    behind = [index for index in ranked if gains[index] < 0]
    ahead = [index for index in reversed(ranked) if gains[index] > 0]
    return {
        f"Where {models[0].name} is ahead": behind[:SHOWN],
        f"Where {models[-1].name} is ahead": ahead[:SHOWN],
    }


def _predictions(model: Evaluated, source: Source, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """The class maps of some images, by their index; squashed ones at the images' own size."""
    found: dict[int, np.ndarray] = {}

    def keep(position: int, image: object, mask: object, prediction: np.ndarray, _: object) -> None:
        found[indices[position]] = prediction

    model.evaluator.run(Subset(source, indices), observe=keep)
    for index, prediction in found.items():
        height, width = source[index][1].shape
        if prediction.shape != (height, width):
            resized = Image.fromarray(prediction).resize((width, height), Image.Resampling.NEAREST)
            found[index] = np.asarray(resized)
    return found


def _errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    picture = np.full((*truth.shape, 3), 255, np.uint8)
    picture[truth != VOID] = RIGHT
    picture[(truth != VOID) & (truth != prediction)] = WRONG
    return picture


def _small(picture: np.ndarray) -> np.ndarray:
    height = max(1, round(WIDTH * picture.shape[0] / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((WIDTH, height)))


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"
