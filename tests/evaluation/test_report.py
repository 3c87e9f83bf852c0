"""The report's page, from two models of made-up results."""

import base64
import io
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data.classes import ClassTable
from fcn_keras.evaluation import ConfusionMatrix, Details, Evaluated, write_report
from fcn_keras.evaluation.page import Page

CLASSES = ClassTable("made up", ("sky <1>", "sea & sand"), ((0, 0, 200), (200, 150, 0)))


class Photos:
    classes = CLASSES
    ids = tuple(f"photo {number}" for number in range(6))

    def __len__(self):
        return 6

    def __getitem__(self, index):
        mask = np.zeros((30, 40), np.uint8)
        mask[15:] = 1
        mask[:, 0] = 255
        return np.full((30, 40, 3), 40 * index, np.uint8), mask


class Wrong:
    """An evaluator whose model is wrong in the first `index * step` columns of an image."""

    def __init__(self, step):
        self.step = step

    def run(self, source, observe):
        for position in range(len(source)):
            image, mask = source[position]
            index = image[0, 0, 0] // 40
            prediction = np.clip(mask, 0, 1)
            prediction[:, : index * self.step] ^= 1
            observe(position, image, mask, prediction, np.full(mask.shape, 0.9, np.float32))


def evaluated(name, step):
    evaluator, details = Wrong(step), Details(2)
    evaluator.run(Photos(), details)
    return Evaluated(name, evaluator, details.confusion.scores(loss=0.5), details)


def cells(page):
    rows = re.findall("<tr>(.*?)</tr>", page)
    return [re.findall("<t[dh].*?>(.*?)</t[dh]>", row) for row in rows]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a") / "report"
    return write_report(folder, Photos(), [evaluated("best", 4)], "best on <photos>")


def test_the_page_of_one_model(file):
    page = file.read_text()
    assert "<title>best on &lt;photos&gt;</title>" in page
    rows = cells(page)
    # Wrong: 4 * index - 1 of 39 columns of image 1 to 5, the first column being void.
    right = 1 - (3 + 7 + 11 + 15 + 19) / (6 * 39)
    assert rows[1] == ["pixel accuracy, %", f"{100 * right:.2f}", "correct pixels, of all"]
    iou = right / (2 - right)
    assert rows[3][:2] == ["mean IoU, %", f"{100 * iou:.2f}"]
    assert next(row[1:3] for row in rows if "sea &amp; sand" in row[0]) == [
        f"{100 * iou:.2f}",
        f"{100 * right:.2f}",
    ]
    assert ["calibration error, %", f"{100 * abs(right - 0.9):.2f}"] in [row[:2] for row in rows]
    wrong = f"{100 * (1 - right):.1f} %"
    assert ["sky &lt;1&gt;", f"sea &amp; sand {wrong}"] in rows
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions == [f"photo {number}" for number in (5, 4, 3, 0, 1, 2)]
    half = (39 - 19) / 39
    assert f"<div>best: {100 * half / (2 - half):.2f}</div>" in page


def test_the_page_holds_its_pictures_and_keeps_them_as_files(file):
    page = file.read_text()
    inside = re.findall(r'<img alt="(.*?)" src="data:image/png;base64,(.*?)">', page)
    names = ["classes.png", "confusion1.png", "trimap.png", "calibration.png"]
    assert [name for name, _ in inside] == names + [f"image{n}.png" for n in range(1, 7)]
    assert {path.name for path in file.parent.iterdir()} == {"index.html", *(n for n, _ in inside)}
    for name, data in inside:
        assert base64.b64decode(data) == (file.parent / name).read_bytes()
    assert not re.search(r'(src|href)="(?!data:)', page)
    with Image.open(io.BytesIO(base64.b64decode(inside[4][1]))) as picture:
        row = np.asarray(picture)
    assert row.shape == (240, 4 * 320 + 3 * 6, 3)
    errors = row[:, 3 * 326 :]
    assert (errors[:, 30:140] == (214, 39, 40)).all() and (errors[:, 180:] == 235).all()


@pytest.mark.slow
def test_the_page_of_two_models(tmp_path):
    models = [evaluated("a", 4), evaluated("b", 2)]
    page = write_report(tmp_path, Photos(), models, "a and b").read_text()
    first, second = (model.scores for model in models)
    rows = cells(page)
    shown = [f"{100 * scores.mean_iou:.2f}" for scores in (first, second)]
    assert rows[3][1:3] == shown
    row = next(row for row in rows if "sea" in row[0] and len(row) > 3)
    assert row[5] == f"{100 * (second.iou[1] - first.iou[1]):+.2f}"
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    # b is nowhere behind.
    assert "a is ahead" not in page and captions == ["photo 5", "photo 4", "photo 3", "photo 2"]
    assert {"confusion1.png", "confusion2.png"} < {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_a_data_set_without_a_labelled_pixel_has_a_page(tmp_path):
    details = Details(2)
    model = Evaluated("x", SimpleNamespace(), ConfusionMatrix(2).scores(float("nan")), details)
    page = write_report(tmp_path, Photos(), [model], "nothing").read_text()
    assert ["mean IoU, %", "-"] in [row[:2] for row in cells(page)]


def test_numbers_and_words_are_aligned_apart(tmp_path):
    page = Page("t", tmp_path)
    page.table(["a", "b", "c", "d"], [["x", "-1.5", "-", "6 words"]])
    assert '<th class="text">a</th><th>b</th><th>c</th><th class="text">d</th>' in page.html()
    assert '<td class="text">x</td><td>-1.5</td><td>-</td><td class="text">6 words</td>' in (
        page.html()
    )


@pytest.mark.slow
def test_a_browser_shows_all_pictures_of_the_page_alone(file, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser is installed")
    page = tmp_path / "alone.html"
    check = "<script>document.title = [...document.images].map(i => i.naturalWidth)</script></body>"
    page.write_text(file.read_text().replace("</body>", check))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    widths = re.search("<title>(.*?)</title>", done.stdout)[1].split(",")
    assert len(widths) == 10 and min(map(int, widths)) > 300
