//! Parameters: a flat buffer per network, addressed by the names that PyTorch gives them.

use crate::engine::ops::adam::{AdamOptions, adam};
use crate::engine::tape::Tape;
use crate::engine::tensor::{Shape, Tensor};

/// The role of a parameter in its layer, by which it is laid out and initialised: weight of a convolution, bias, or
/// gain of a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The weight of a convolution.
    Weight,
    /// The bias of a convolution or of a norm.
    Bias,
    /// The gain of a norm, which PyTorch calls its weight.
    Gain,
}

/// The description of one parameter of a network: its name in PyTorch, its shape and its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// As in PyTorch's `state_dict`.
    pub name: String,
    /// `[k, kh, kw, c]` of a weight: k output and c input channels of a convolution, k input and c output channels of a
    /// transposed one. `[1, 1, 1, c]` of a bias or a gain.
    pub shape: Shape,
    pub role: Role,
}

impl ParameterSpec {
    /// Describes the weight `[k, kernel, kernel, c]` of a convolution from `c` channels to `k`, or of a transposed one
    /// from `k` to `c`.
    pub fn weight(name: impl Into<String>, k: usize, kernel: usize, c: usize) -> ParameterSpec {
        ParameterSpec { name: name.into(), shape: [k, kernel, kernel, c], role: Role::Weight }
    }

    pub fn bias(name: impl Into<String>, channels: usize) -> ParameterSpec {
        ParameterSpec { name: name.into(), shape: [1, 1, 1, channels], role: Role::Bias }
    }

    pub fn gain(name: impl Into<String>, channels: usize) -> ParameterSpec {
        ParameterSpec { name: name.into(), shape: [1, 1, 1, channels], role: Role::Gain }
    }

    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape in PyTorch: `[k, c, kh, kw]` of a weight (which is OIHW of a convolution and IOHW of a transposed
    /// one), `[c]` of a bias or a gain.
    pub fn torch_shape(&self) -> Vec<usize> {
        let [k, kh, kw, c] = self.shape;
        if self.role == Role::Weight { vec![k, c, kh, kw] } else { vec![c] }
    }

    /// Reorders the values of the parameter from this project's layout, `[k, kh, kw, c]`, to PyTorch's,
    /// `[k, c, kh, kw]`. Biases and gains stay as they are.
    ///
    /// # Panics
    /// If there are fewer values than the parameter has elements.
    pub fn to_torch<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let [k, kh, kw, c] = self.shape;
        let taps = kh * kw;
        let index = |i: usize| (i / (c * taps) * taps + i % taps) * c + i / taps % c;
        (0..k * c * taps).map(|i| values[index(i)]).collect()
    }

    /// Reorders the values of the parameter from PyTorch's layout, `[k, c, kh, kw]`, to this project's,
    /// `[k, kh, kw, c]`. Biases and gains stay as they are.
    ///
    /// # Panics
    /// If there are fewer values than the parameter has elements.
    pub fn from_torch<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let [k, kh, kw, c] = self.shape;
        let taps = kh * kw;
        let index = |i: usize| (i / (c * taps) * c + i % c) * taps + i / c % taps;
        (0..k * taps * c).map(|i| values[index(i)]).collect()
    }
}

/// The parameters of a network on a tape: their specs, and flat tensors `[1, 1, 1, count]` of the values, the
/// gradients, and Adam's first and second moments.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub specs: Vec<ParameterSpec>,
    pub values: Tensor,
    pub gradients: Tensor,
    pub moments: [Tensor; 2],
}

impl Parameters {
    pub fn new(tape: &mut Tape, specs: Vec<ParameterSpec>) -> Parameters {
        let count = specs.iter().map(ParameterSpec::count).sum();
        let (values, gradients) = tape.parameters(count);
        let moments = [tape.persistent(values.shape), tape.persistent(values.shape)];
        Parameters { specs, values, gradients, moments }
    }

    /// The view of `flat` (values, gradients or a moment of this network) that belongs to parameter `index`, in the
    /// shape of its spec. The weights lie in front of the biases and gains, each in the order of the specs: what is
    /// updated apart from the convolutions' weight gradients is one range.
    ///
    /// # Panics
    /// If there is no such parameter.
    pub fn part(&self, flat: Tensor, index: usize) -> Tensor {
        let place = |index: usize| (self.specs[index].role != Role::Weight, index);
        let before = (0..self.specs.len()).filter(|&other| place(other) < place(index));
        let offset = before.map(|other| self.specs[other].count()).sum();
        let shape = self.specs[index].shape;
        Tensor { offset, shape, stride: shape[3], ..flat }
    }

    /// The index of the parameter in whose part of a flat buffer `tensor` begins; `None` if it begins in none.
    pub(crate) fn at(&self, tensor: Tensor) -> Option<usize> {
        (0..self.specs.len()).find(|&index| self.part(self.values, index).span().contains(&tensor.offset))
    }

    /// The values of the parameter called `name`.
    ///
    /// # Panics
    /// If there is no such parameter.
    pub(crate) fn value(&self, name: &str) -> Tensor {
        let index = self.specs.iter().position(|spec| spec.name == name);
        let index = index.unwrap_or_else(|| panic!("a network asks for {name}, which it has not listed"));
        self.part(self.values, index)
    }

    /// Records an Adam update of all parameters of the network by their gradients, which the next backward pass
    /// overwrites.
    pub fn update(&self, tape: &mut Tape, options: AdamOptions) {
        adam(tape, self.values, self.gradients, self.moments, options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_convert_there_and_back() {
        let spec = ParameterSpec::weight("w", 2, 4, 3);
        assert_eq!(spec.torch_shape(), [2, 3, 4, 4]);
        let ours: Vec<usize> = (0..spec.count()).collect();
        let torch = spec.to_torch(&ours);
        // Element [k = 1, c = 2, kh = 3, kw = 0] of PyTorch's [2, 3, 4, 4] is [1, 3, 0, 2] of our [2, 4, 4, 3].
        let offset =
            |index: [usize; 4], shape: [usize; 4]| index.iter().zip(shape).fold(0, |i, (x, size)| i * size + x);
        assert_eq!(torch[offset([1, 2, 3, 0], [2, 3, 4, 4])], offset([1, 3, 0, 2], [2, 4, 4, 3]));
        assert_eq!(spec.from_torch(&torch), ours);
    }
}
