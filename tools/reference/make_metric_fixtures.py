"""L1, PSNR and SSIM of pairs of pictures, by scikit-image in float64 -> tests/fixtures/metrics.safetensors.

The pictures lie in [-1, 1] and are [h, w, c]: noise, and a drawn scene beside what a translation might make of it.
"""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fixture import save
from philox import values


def noise(tag, shape):
    return values(tag, shape, 1.0).astype(np.float64)


def scene(shape):
    """Sky, walls and windows: flat areas, edges and a gradient, as in a photograph of a house."""
    h, w, c = shape
    y, x = np.mgrid[0:h, 0:w]
    picture = np.empty(shape)
    for k in range(c):
        picture[:, :, k] = 0.9 - 1.1 * y / h + 0.2 * k
        picture[h // 3 :, w // 6 : w - w // 6, k] = -0.2 + 0.15 * k
        windows = (y > h // 2) & (y % 9 < 5) & (x % 8 < 4)
        picture[:, :, k][windows] = -0.8
    return np.clip(picture, -1, 1)


def pairs():
    """Name, picture and other picture, as float32 values."""
    grey, colour, alpha = (25, 31, 1), (40, 33, 3), (19, 28, 4)
    yield "noise of the least size", noise("a", (11, 11, 1)), noise("b", (11, 11, 1))
    yield "noise in four channels", noise("c", (13, 27, 4)), noise("d", (13, 27, 4))
    yield "grey scene, blurred", scene(grey), gaussian_filter(scene(grey), (1.5, 1.5, 0))
    yield "scene with noise", scene(colour), np.clip(scene(colour) + 0.3 * noise("e", colour), -1, 1)
    yield "scene moved aside", scene(colour), np.roll(scene(colour), 2, axis=1)
    yield "scene, almost the same", scene(alpha), scene(alpha) + 1e-4 * noise("f", alpha)
    yield "flat and darker", np.full(grey, 0.5), np.full(grey, 0.4)
    yield "the negative", scene(colour), -scene(colour)


def main():
    tensors, about = {}, {}
    for name, a, b in pairs():
        a, b = (picture.astype(np.float32).astype(np.float64) for picture in (a, b))
        tensors |= {f"{name}/a": torch.from_numpy(a), f"{name}/b": torch.from_numpy(b)}
        about[name] = {
            "l1": np.abs(a - b).mean(),
            "psnr": peak_signal_noise_ratio(a, b, data_range=2),
            # As in the paper of Wang et al.: the weights of the window, and variances of the population.
            "ssim": structural_similarity(
                a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2, channel_axis=-1
            ),
        }
        print(name, about[name])
    save("metrics.safetensors", tensors, about)


if __name__ == "__main__":
    main()
