"""A TensorBoard event file as TensorBoard's own writer makes it -> tests/fixtures/events.tfevents.

`cargo test` has pixtape write the same events and compares the bytes.
"""

import io

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from fixture import FIXTURES, ROOT

EVENTS = [
    Event(wall_time=1.5, file_version="brain.Event:2"),
    Event(wall_time=1.5, step=7, session_log=SessionLog(status=SessionLog.START)),
    Event(
        wall_time=2.25,
        step=7,
        summary=Summary(
            value=[
                Summary.Value(tag="loss/pixel", simple_value=0.125),
                Summary.Value(tag="learning_rate", simple_value=2e-4),
            ]
        ),
    ),
    Event(
        wall_time=2.5,
        step=300,
        summary=Summary(
            value=[
                Summary.Value(
                    tag="samples",
                    image=Summary.Image(
                        height=2, width=3, colorspace=3, encoded_image_string=bytes(range(250, 256)) * 50
                    ),
                )
            ]
        ),
    ),
]


class Bytes(io.BytesIO):
    def close(self):
        pass


def main():
    file = Bytes()
    writer = RecordWriter(file)
    for event in EVENTS:
        writer.write(event.SerializeToString(deterministic=True))
    path = FIXTURES / "events.tfevents"
    path.write_bytes(file.getvalue())
    print(f"{path.relative_to(ROOT)}: {len(EVENTS)} events, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
