//! The committed results of PyTorch, and their float32 rounding.

use safetensors::SafeTensors;
use serde_json::Value;

/// A file of `tests/fixtures`: float64 results stored as f32, with notes under the metadata key `about`.
pub struct Fixture {
    bytes: &'static [u8],
    pub about: Value,
}

impl Fixture {
    pub fn new(bytes: &'static [u8]) -> Fixture {
        let (_, metadata) = SafeTensors::read_metadata(bytes).expect("a safetensors file");
        let notes = metadata.metadata().as_ref().expect("fixtures have metadata");
        Fixture { bytes, about: serde_json::from_str(&notes["about"]).expect("`about` is JSON") }
    }

    /// The values of tensor `name`, in PyTorch's order, and its shape there.
    pub fn tensor(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let tensors = SafeTensors::deserialize(self.bytes).expect("a safetensors file");
        let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("the fixture's {name}: {error}"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
        let (numbers, rest) = tensor.data().as_chunks();
        assert!(rest.is_empty(), "{name} ends in the middle of a number");
        (numbers.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(), tensor.shape().to_vec())
    }

    pub fn names(&self) -> Vec<String> {
        let tensors = SafeTensors::deserialize(self.bytes).expect("a safetensors file");
        tensors.names().into_iter().map(str::to_owned).collect()
    }

    /// The distance of PyTorch's float32 result from its float64 one, relative to the largest magnitude of the tensor.
    pub fn f32_spread(&self, name: &str) -> f64 {
        self.about["f32_spread"][name].as_f64().unwrap_or_else(|| panic!("the fixture has no spread of {name}"))
    }
}
