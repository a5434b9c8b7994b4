"""check_events.py RUN: checks that TensorBoard reads the same values from a run's event files as its CSV files have.

Steps that a run did again after it was resumed from an earlier checkpoint count once, as in the CSV files.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

LOSSES = {"loss/discriminator": "d", "loss/adversarial": "adv", "loss/pixel": "pixel"}
METRICS = {"held_out/l1": "l1", "held_out/psnr": "psnr", "held_out/ssim": "ssim"}


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def main():
    run = Path(sys.argv[1])
    # Zero keeps everything.
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    losses, metrics = rows(run / "losses.csv"), rows(run / "metrics.csv")
    for names, table in [(LOSSES, losses), (METRICS, metrics)]:
        for tag, column in names.items():
            read = {event.step: np.float32(event.value) for event in events.Scalars(tag)}
            written = {int(row["step"]): np.float32(row[column]) for row in table if row[column]}
            shown = {step: value for step, value in written.items() if table is metrics or step == 1 or step % 10 == 0}
            assert read == shown, f"{tag}: {read} and not {shown}"
            print(f"{tag}: {len(read)} values")
    steps = [image.step for image in events.Images("samples")]
    assert steps == sorted(set(steps)) and steps[-1] == int(losses[-1]["step"]), steps
    for image in events.Images("samples"):
        assert image.encoded_image_string.startswith(b"\xff\xd8\xff"), image.step
    print(f"samples: {len(steps)} pictures, {len(events.Scalars('learning_rate'))} learning rates")


if __name__ == "__main__":
    main()
