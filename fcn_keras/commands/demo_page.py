"""The page of ``fcn-keras demo``: a photo in; classes, confidence and class ids out."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import gradio as gr
import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.export.proof import PHOTOS
from fcn_keras.inference import Segmentation, Segmenter

UPLOAD = "20mb"
HOUR = 3600  # uploads and results are deleted after this many seconds
FONTS = ("system-ui", "sans-serif")


class Demo:
    """A Gradio page over some models.

    Args:
        segmenters: The models, by the name that the page shows.
    """

    def __init__(self, segmenters: Mapping[str, Segmenter]):
        self.segmenters = dict(segmenters)
        self._folder = tempfile.TemporaryDirectory(prefix="fcn-keras-demo-")
        with gr.Blocks(
            title="fcn-keras", analytics_enabled=False, delete_cache=(HOUR // 6, HOUR)
        ) as self.blocks:
            self._lay_out()

    def serve(self, host: str, port: int, *, block: bool = True) -> None:
        """Serves the page; without `block`, from threads of its own."""
        try:
            self.blocks.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=not block,
                quiet=True,
                share=False,
                max_file_size=UPLOAD,
                theme=gr.themes.Default(font=FONTS, font_mono=("monospace",)),
                footer_links=[],
            )
        except OSError as error:
            raise InputError(f"port={port} on host={host} is not available: {error}") from error

    def close(self) -> None:
        """Ends the server and removes its files."""
        self.blocks.close(verbose=False)
        self._folder.cleanup()

    def _lay_out(self) -> None:
        names = list(self.segmenters)
        found = gr.State()
        with gr.Row():
            with gr.Column():
                photo = gr.Image(
                    label="Photo", type="filepath", sources=["upload", "clipboard"], height=400
                )
                gr.Examples([str(path) for path in PHOTOS], photo, label="Samples")
                model = gr.Dropdown(names, label="Model", visible=len(names) > 1)
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity")
            with gr.Column():
                with gr.Tab("Classes"):
                    classes = gr.AnnotatedImage(label="Point at a name", height=400)
                with gr.Tab("Confidence"):
                    confidence = gr.Image(
                        label="White is sure",
                        height=400,
                        interactive=False,
                        buttons=["download", "fullscreen"],  # Gradio's own share sends it away
                    )
                shares = gr.Label(label="Share of the pixels")
                download = gr.DownloadButton("Class ids (PNG)", interactive=False)
        shown = [classes, confidence, shares, download]
        gr.on(
            [photo.change, model.change],
            self._segment,
            [photo, model],
            found,
            concurrency_limit=1,
        ).then(self._show, [found, opacity], shown)
        opacity.release(self._blend, [found, opacity], classes)

    def _segment(self, photo: str | None, model: str) -> Segmentation | None:
        if photo is None:
            return None
        try:
            return self.segmenters[model].segment(photo)
        except InputError as error:
            raise gr.Error(str(error)) from error

    def _show(self, found: Segmentation | None, opacity: float) -> tuple:
        if found is None:
            return None, None, None, gr.DownloadButton(interactive=False)
        path = fresh_file(Path(self._folder.name), "classes.png")
        found.save(path)
        confidence = np.round(255 * found.confidence).astype(np.uint8)
        button = gr.DownloadButton(value=str(path), interactive=True)
        return self._blend(found, opacity), confidence, found.shares, button

    def _blend(self, found: Segmentation | None, opacity: float) -> gr.AnnotatedImage | None:
        if found is None:
            return None
        names = found.classes.names
        masks = [(opacity * (found.mask == names.index(name)), name) for name in found.shares]
        color_map = {
            name: "#{:02x}{:02x}{:02x}".format(*color)
            for name, color in zip(names, found.classes.colors, strict=True)
        }
        return gr.AnnotatedImage(value=(found.image, masks), color_map=color_map)


def fresh_file(folder: Path, name: str) -> Path:
    """A path of this name, which the browser gives the download, in a folder of its own.

    Those of an hour ago are deleted: Gradio has served copies.
    """
    for older in folder.iterdir():
        if time.time() - older.stat().st_mtime > HOUR:
            shutil.rmtree(older, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=folder)) / name
