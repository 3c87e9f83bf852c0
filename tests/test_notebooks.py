"""The notebooks of the site run from top to bottom, and are stored with what they show."""

import base64

import nbformat
import pytest

from tools import notebooks

SETTINGS = {
    "fcn-from-the-inside": "",
    "your-own-classes": "BUDGET, MOST_STEPS = None, 2",
    "from-checkpoint-to-product": "STEPS, BACKBONE_WIDTH = 4, 4",
}
PATHS = sorted(notebooks.FOLDER.glob("*.ipynb"))


def test_each_has_settings_here():
    assert {path.stem for path in PATHS} == SETTINGS.keys()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_outputs_are_stored_and_small(path):
    assert path.stat().st_size < 600_000
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    pictures = [data for output in outputs for data in output.get("data", {}).items()]
    assert any(base64.b64decode(data) for kind, data in pictures if kind.startswith("image/"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    pytest.importorskip("onnxruntime")
    notebook = notebooks.run(path, tmp_path, SETTINGS[path.stem])
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_a_cell_that_raises_fails(tmp_path):
    wrong = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("assert 19 == 20")],
        metadata={"language_info": {"name": "python"}},
    )
    nbformat.write(wrong, tmp_path / "wrong.ipynb")
    with pytest.raises(notebooks.CellExecutionError, match="AssertionError"):
        notebooks.run(tmp_path / "wrong.ipynb", tmp_path)
