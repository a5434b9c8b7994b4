//! Parameters: a flat buffer per network, addressed by the names that PyTorch gives them.

use crate::engine::ops::adam::{AdamOptions, adam};
use crate::engine::tape::Tape;
use crate::engine::tensor::{Shape, Tensor};

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Of a convolution.
    Weight,
    /// Of a convolution or of a norm.
    Bias,
    /// Of a norm; PyTorch calls it its weight.
    Gain,
}

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// As in PyTorch's `state_dict`.
    pub name: String,
    /// `[s, kh, kw, b]` of a weight, `[1, 1, 1, c]` of a bias or a gain.
    pub shape: Shape,
    pub role: Role,
}

impl Spec {
    /// A convolution's weight of `small` by `big` channels and a `kernel` by `kernel` window.
    pub fn weight(name: impl Into<String>, small: usize, kernel: usize, big: usize) -> Spec {
        Spec { name: name.into(), shape: [small, kernel, kernel, big], role: Role::Weight }
    }

    pub fn bias(name: impl Into<String>, channels: usize) -> Spec {
        Spec { name: name.into(), shape: [1, 1, 1, channels], role: Role::Bias }
    }

    pub fn gain(name: impl Into<String>, channels: usize) -> Spec {
        Spec { name: name.into(), shape: [1, 1, 1, channels], role: Role::Gain }
    }

    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape in PyTorch: `[s, b, kh, kw]` of a weight (which is OIHW of a convolution and IOHW of a transposed one),
    /// `[c]` of a bias or a gain.
    pub fn torch_shape(&self) -> Vec<usize> {
        let [s, kh, kw, b] = self.shape;
        if self.role == Role::Weight { vec![s, b, kh, kw] } else { vec![b] }
    }

    /// Values in this project's layout, as PyTorch lays them out.
    pub fn to_torch<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let [s, kh, kw, b] = self.shape;
        let taps = kh * kw;
        let place = |i: usize| (i / (b * taps) * taps + i % taps) * b + i / taps % b;
        (0..s * b * taps).map(|i| values[place(i)]).collect()
    }

    /// Values as PyTorch lays them out, in this project's layout.
    pub fn from_torch<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let [s, kh, kw, b] = self.shape;
        let taps = kh * kw;
        let place = |i: usize| (i / (b * taps) * b + i % b) * taps + i / b % taps;
        (0..s * taps * b).map(|i| values[place(i)]).collect()
    }
}

/// A network's parameters, with their gradients and Adam's moments, on a tape.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub specs: Vec<Spec>,
    pub values: Tensor,
    pub gradients: Tensor,
    pub moments: [Tensor; 2],
}

impl Parameters {
    pub fn new(tape: &mut Tape, specs: Vec<Spec>) -> Parameters {
        let count = specs.iter().map(Spec::count).sum();
        let (values, gradients) = tape.parameters(count);
        let moments = [tape.persistent(values.shape), tape.persistent(values.shape)];
        Parameters { specs, values, gradients, moments }
    }

    /// The part of `flat` (values, gradients or a moment) that belongs to parameter `index`.
    pub fn part(&self, flat: Tensor, index: usize) -> Tensor {
        let offset = self.specs[..index].iter().map(Spec::count).sum();
        let shape = self.specs[index].shape;
        Tensor { offset, shape, stride: shape[3], ..flat }
    }

    /// The number of the parameter whose part of a flat buffer `tensor` is.
    pub(crate) fn at(&self, tensor: Tensor) -> Option<usize> {
        let mut end = 0;
        self.specs.iter().position(|spec| {
            end += spec.count();
            tensor.offset < end
        })
    }

    /// The values of the parameter called `name`.
    pub(crate) fn value(&self, name: &str) -> Tensor {
        let index = self.specs.iter().position(|spec| spec.name == name);
        let index = index.unwrap_or_else(|| panic!("a network asks for {name}, which it has not listed"));
        self.part(self.values, index)
    }

    /// Records Adam over all of them.
    pub fn update(&self, tape: &mut Tape, options: AdamOptions) {
        adam(tape, self.values, self.gradients, self.moments, options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_convert_there_and_back() {
        let spec = Spec::weight("w", 2, 4, 3);
        assert_eq!(spec.torch_shape(), [2, 3, 4, 4]);
        let ours: Vec<usize> = (0..spec.count()).collect();
        let torch = spec.to_torch(&ours);
        // Element [s = 1, b = 2, kh = 3, kw = 0] of PyTorch's [2, 3, 4, 4] is [1, 3, 0, 2] of our [2, 4, 4, 3].
        let place = |index: [usize; 4], shape: [usize; 4]| index.iter().zip(shape).fold(0, |i, (x, size)| i * size + x);
        assert_eq!(torch[place([1, 2, 3, 0], [2, 3, 4, 4])], place([1, 3, 0, 2], [2, 4, 4, 3]));
        assert_eq!(spec.from_torch(&torch), ours);
    }
}
