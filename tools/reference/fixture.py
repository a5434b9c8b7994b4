"""Shared by the fixture writers: the folder of the files, and the spread between float32 and float64 results."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from philox import values

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"


def tensor(tag, shape, dtype, scale=1.0, grad=False):
    """The shared test data `values(tag, shape, scale)` as a tensor of `dtype`."""
    return torch.from_numpy(values(tag, shape, scale)).to(dtype).requires_grad_(grad)


def spread(f32, f64):
    """The largest difference, relative to the largest magnitude of the tensor."""
    largest = f64.abs().max().item()
    difference = (f32.double() - f64).abs().max().item()
    return difference / largest if largest > 0 else difference


def save(name, tensors, about):
    """Writes float64 `tensors` as float32, with `about` as JSON under the metadata key "about"."""
    arrays = {key: np.ascontiguousarray(t.detach().numpy().astype(np.float32)) for key, t in tensors.items()}
    path = FIXTURES / name
    save_file(arrays, path, metadata={"about": json.dumps(about)})
    print(f"{path.relative_to(ROOT)}: {len(arrays)} tensors, {path.stat().st_size:,} bytes")
