"""The choices of a conversion, for code that needs only their names."""

from typing import Literal

Format = Literal["labelme", "coco", "cvat", "yolo", "voc"]
Unlabelled = Literal["background", "void"]
Overlap = Literal["later", "smaller"]
Crowd = Literal["class", "void"]
