"""Videos with the class colours over every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras import drawing
from fcn_keras.errors import InputError
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.storage import replacing


def overlay_video(
    segmenter: Segmenter,
    source: Path,
    target: Path,
    *,
    alpha: float = 0.4,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes a video with the class colours over every frame, and without sound.

    Args:
        segmenter: Segments the frames.
        source: The video, in any format that OpenCV reads.
        target: The ``.mp4`` file to write, whole or not at all.
        alpha: Weight of the class colours.
        progress: Called after each frame with the frames done and their number according to the
            file.

    Returns:
        The number of frames.

    Raises:
        InputError: the video can't be read.
        SaveError: the target can't be written.
    """
    import cv2

    video = cv2.VideoCapture(str(source))
    total, rate = (int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS) or 25.0)
    done, writer = 0, None
    try:
        with replacing(target) as draft:
            for frame in _frames(video):
                blend = drawing.overlay(frame, segmenter(frame), segmenter.classes, alpha)
                if writer is None:
                    kind = cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(draft), kind, rate, frame.shape[1::-1])
                writer.write(blend[..., ::-1])
                done += 1
                if progress:
                    progress(done, max(done, total))
            if writer is None:
                raise InputError(f"video {source} can't be read: it is missing, damaged or empty")
            writer.release()
    finally:
        video.release()
    return done


def _frames(video: Any) -> Iterator[np.ndarray]:
    """RGB frames ``(H, W, 3)``, turned upright as the file says."""
    while True:
        read, frame = video.read()
        if not read:
            return
        yield np.ascontiguousarray(frame[..., ::-1])
