import resource
import struct

import numpy as np
import pytest
from PIL import Image

from fcn_keras.commands import events
from fcn_keras.commands.events import EventReporter


def read(workdir):
    """(step, tag or None) of every event, by the library's own protocol buffers."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    found = []
    for path in sorted((workdir / "events").iterdir()):
        content = path.read_bytes()
        while content:
            size, header_crc = struct.unpack("<QI", content[:12])
            assert header_crc == masked_crc32c(content[:8])
            event = Event.FromString(content[12 : 12 + size])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            content = content[16 + size :]
    return found


def test_scalars_and_a_picture_arrive(tmp_path):
    messages = []
    reporter = EventReporter(tmp_path, messages.append)
    reporter.training(1, 0, 20)
    for step in range(1, 21):
        reporter.step(step, step / 2, 2)
    reporter.epoch({"epoch": 1, "step": 20, "mean_iou": 0.5}, None, True)
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "panel.png")
    reporter.picture(tmp_path / "panel.png", 20)
    assert read(tmp_path) == [
        (10, "step_loss", 5.0),
        (20, "step_loss", 10.0),
        (20, "mean_iou", 0.5),
        (20, "panel", 0.0),
    ]
    assert messages == []


@pytest.fixture
def small_files():
    """No file may grow above 4 KiB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_once_and_then_events_are_dropped(tmp_path, small_files):
    messages = []
    reporter = EventReporter(tmp_path, messages.append)
    reporter.training(1, 0, 10_000)
    for step in range(10_000):
        reporter.step(step, 1.0, 2)
    reporter.epoch({"epoch": 1, "step": 10_000, "mean_iou": 0.5}, None, True)
    assert messages == [
        f"Warning: event files can't be written to {tmp_path}/events (File too large): "
        "TensorBoard will not show what follows."
    ]


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path):
    messages = []
    (tmp_path / "events").touch()
    reporter = EventReporter(tmp_path, messages.append)
    reporter.training(1, 0, 10)
    reporter.step(10, 1.0, 2)
    reporter.epoch({"epoch": 1, "step": 10, "mean_iou": 0.5}, None, True)
    (message,) = messages
    assert message.startswith("Warning: event files can't be written to ")


def test_a_clock_set_back_holds_nothing_up(tmp_path, monkeypatch):
    clock = [2e9]
    monkeypatch.setattr(events.time, "time", lambda: clock[0])
    reporter = EventReporter(tmp_path, None)
    reporter.training(1, 0, 10)
    clock[0] -= 365 * 86400
    for step in range(10, 400, 10):
        reporter.step(step, 1.0, 2)
    reporter.epoch({"epoch": 1, "step": 400, "mean_iou": 0.5}, None, True)
    assert len(read(tmp_path)) == 40
