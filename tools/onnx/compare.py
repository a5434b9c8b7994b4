"""compare.py MODEL.onnx MULTIPLE INPUTS OUTPUTS: runs an exported generator in onnxruntime and compares its pictures
with those that `pixtape translate --dropout off` has made of the same inputs.

The sides of the inputs are padded to multiples of MULTIPLE with their last row and column, as `translate` does.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

# Both sides compute in float32 with sums in different orders, and are less than a millionth apart. A value that close
# to the middle between two grey levels may be rounded to the neighbouring one: as rarely as a difference d on the scale
# from -1 to 1 reaches the middle, which is 2 * 127.5 * d. An average of four millionths would make this share.
MOST_LEVELS = 1
MOST_SHARE = 0.001


def picture(path):
    return np.asarray(Image.open(path).convert("RGB"))


def generate(session, image, multiple):
    height, width, _ = image.shape
    x = np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")
    x = (x.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    (y,) = session.run(["output"], {"input": x})
    assert y.shape == x.shape, (y.shape, x.shape)
    return np.rint((y[0].transpose(1, 2, 0)[:height, :width] + 1) * 127.5)


def main():
    model, multiple, inputs, outputs = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = sorted(path.name for path in inputs.iterdir())
    assert names and names == sorted(path.name for path in outputs.iterdir())
    for name in names:
        expected = picture(outputs / name).astype(np.float64)
        difference = np.abs(generate(session, picture(inputs / name), multiple) - expected)
        largest, share = difference.max(), (difference > 0).mean()
        spread = expected.std()
        print(f"  {name}: {share:.3%} of the values differ, the most by {largest:.0f}; they spread by {spread:.0f}")
        # A picture of one colour would agree with the output of many wrong networks.
        assert expected.std() >= 5, "the picture has no structure"
        assert largest <= MOST_LEVELS and share <= MOST_SHARE, "the pictures differ"
    # Batches of any size: two pictures in a batch give the same as each alone.
    x = np.linspace(-1, 1, 2 * 3 * multiple * multiple, dtype=np.float32).reshape(2, 3, multiple, multiple)
    (both,) = session.run(["output"], {"input": x})
    for i in range(2):
        (alone,) = session.run(["output"], {"input": x[i : i + 1]})
        assert np.abs(both[i] - alone[0]).max() <= 1e-4, "a batch is not its pictures"


if __name__ == "__main__":
    main()
