"""What a run wrote for TensorBoard, read back without TensorBoard's own reader."""

import re
import struct


def event_values(folder):
    """Yields (step, value) of the event files directly in a folder, in order."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    def by_number(path):  # the tenth file of a process comes after its ninth
        return [int(digits) for digits in re.findall(r"\d+", path.name)]

    for path in sorted(folder.glob("events.out.tfevents.*"), key=by_number):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 12 + size + 4
            for value in event.summary.value:
                yield event.step, value
