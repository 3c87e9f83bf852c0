"""The choices of a conversion, for those who need no more than their names."""

from typing import Literal

Format = Literal["labelme", "coco", "cvat", "yolo", "voc"]
Unlabelled = Literal["background", "void"]
Overlap = Literal["later", "smaller"]
Crowd = Literal["class", "void"]
