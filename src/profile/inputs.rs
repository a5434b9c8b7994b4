//! Inputs of a profiled training step: parameters of an early training, and pictures.

use anyhow::Result;

use crate::engine::device::Device;
use crate::engine::philox::{Purpose, Stream};
use crate::engine::samples::Crop;
use crate::engine::tensor::Tensor;
use crate::gan::{Init, InitKind, RecordedNetwork};

/// The published sizes of a picture when it is loaded, and of the part of it that a step shows, in pixels.
const LOAD_SIZE: usize = 286;
const IMAGE_SIZE: usize = 256;

/// Writes values as of an early training to the parameters of `networks`: a step over zeros would take another time.
///
/// # Errors
/// When the device fails.
pub fn fill(device: &mut Device, networks: &[RecordedNetwork]) -> Result<()> {
    let init = Init { kind: InitKind::Normal, gain: 0.02 };
    let all = networks.iter().map(|network| &network.parameters);
    let all = all.flat_map(|parameters| (0..parameters.specs.len()).map(move |index| (parameters, index)));
    for (number, (parameters, index)) in all.enumerate() {
        let values = init.values(&parameters.specs[index], 1, number as u64);
        device.write(parameters.part(parameters.values, index), &values)?;
    }
    Ok(())
}

/// Shows noise in `pictures`, input and target, as a training does: written to the CPU's memory, and on a GPU as crops
/// of pairs of the published load size that stay there, of which every execution shows one anew.
///
/// # Errors
/// When the device fails.
pub fn show_pictures(device: &mut Device, pictures: [Tensor; 2]) -> Result<()> {
    let mut draws = Stream::new(1, Purpose::Facade, 0);
    let Device::Cuda(_) = device else {
        return pictures.into_iter().try_for_each(|picture| {
            let values: Vec<f32> = (0..picture.count()).map(|_| draws.range(-1.0, 1.0)).collect();
            device.write(picture, &values)
        });
    };
    let [images, height, width, _] = pictures[0].shape;
    let [load_height, load_width] = [height, width].map(|side| side * LOAD_SIZE / IMAGE_SIZE);
    device.keep_pairs(&vec![[load_height, load_width]; images], pictures)?;
    let mut samples = |picture: Tensor| -> Vec<u16> {
        let count = load_height * load_width * picture.channels();
        (0..count).map(|_| draws.range(0.0, 65_535.0) as u16).collect()
    };
    let [left, top] = [(load_width - width) / 2, (load_height - height) / 2];
    let mut crops = Vec::new();
    for pair in 0..images {
        let [input, target] = pictures.map(&mut samples);
        device.write_pairs(pair, [&input, &target])?;
        crops.push(Crop { pair, left, top, mirrored: pair % 2 == 1 });
    }
    device.show(&crops)
}
