"""Opens a page on this machine for trying models on photos."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fcn_keras.commands import cli
from fcn_keras.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of the page."""

    models: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="[MODEL...]")
    ] = ()
    """.keras or compact .safetensors files to choose from (without one, the model that the package
    carries)."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 lets other machines in: the page has no password."""
    port: int = 7860
    """Port to listen on."""


def main(options: Options) -> None:
    """Serves the page until Ctrl-C."""
    if importlib.util.find_spec("gradio") is None:
        raise InputError('the page needs Gradio: pip install "fcn-keras[demo]"')
    # Gradio reads these when it is imported; with them it sends nothing anywhere.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    from fcn_keras import pretrained
    from fcn_keras.commands.demo_page import Demo
    from fcn_keras.inference import Segmenter

    segmenters = {str(path): Segmenter(path) for path in options.models or (pretrained.find(),)}
    page = Demo(segmenters)
    cli.console().print(f"http://{options.host}:{options.port} (Ctrl-C ends it)", soft_wrap=True)
    page.serve(options.host, options.port)


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
