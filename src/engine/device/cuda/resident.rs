//! Pairs of pictures in GPU memory as 16-bit samples, and the kernel that fills the tensors of a step with crops of
//! them. Where all pairs of a training stay there, 16 bytes for each image are all that the host sends for a step; else
//! it sends the samples that the step shows, half the bytes of floats.

use anyhow::Result;
use cudarc::driver::{CudaSlice, DevicePtr};

use super::errors::explain;
use super::pinned::Upload;
use super::{Cuda, Unit};
use crate::engine::kernel::cuda::kernels::samples::OUTPUTS;
use crate::engine::kernel::cuda::kernels::{CropOutput, SAMPLES_CROP, SamplesCrop};
use crate::engine::kernel::cuda::{DeviceCrop, Launch, Ptr, PtrMut, to_int};
use crate::engine::samples::{Crop, Samples};
use crate::engine::tensor::{DType, Tensor};

/// The 16-bit samples of pairs of pictures in GPU memory, and the crops of them that the next execution shows.
#[derive(Debug)]
pub struct ResidentPairs {
    /// The pictures of the first side and of the second, one after the other, each `[h, w, c]`.
    sides: [CudaSlice<u16>; 2],
    /// The tensors that are filled, and their channels.
    tensors: [Tensor; 2],
    channels: [usize; 2],
    pairs: Vec<ResidentPair>,
    /// `[n, height, width]` of the tensors that are filled.
    shown: [usize; 3],
    /// A crop for each image of the tensors.
    crops: CudaSlice<DeviceCrop>,
    upload: Upload<DeviceCrop>,
    /// The launches that fill the tensors with the crops.
    pub launches: Vec<Launch>,
}

/// The pixels of a pair among those of all pairs, the same for both of its pictures.
#[derive(Clone, Copy, Debug)]
struct ResidentPair {
    /// Index of its first pixel.
    start: usize,
    height: usize,
    width: usize,
}

impl Cuda {
    /// Returns how many bytes of the GPU's memory are free, and how many it has.
    ///
    /// # Errors
    /// When the driver refuses the call.
    pub fn free_and_total_memory(&self) -> Result<[usize; 2]> {
        let sizes = self.stream.context().mem_get_info();
        sizes.map(|(free, total)| [free, total]).map_err(|error| explain("cannot ask for the free GPU memory", error))
    }

    /// Allocates GPU memory for pairs of pictures of `sizes`, height and width. From now on each execution of the main
    /// part begins with a kernel that fills `tensors`, of f32, and the copies that the program has of them, with crops
    /// of the pictures: those that [`Cuda::show`] has set.
    ///
    /// # Errors
    /// When the GPU does not have enough memory.
    ///
    /// # Panics
    /// If pairs are kept already, a picture is smaller than an image of the tensors, the tensors differ in more than
    /// their channels, or one is not of f32.
    pub fn keep_pairs(&mut self, sizes: &[[usize; 2]], tensors: [Tensor; 2]) -> Result<()> {
        assert!(self.resident.is_none(), "a device keeps one set of pairs");
        let [images, height, width, _] = tensors[0].shape;
        assert_eq!(tensors[1].shape[..3], [images, height, width], "a pair is two pictures of one size");
        assert!(tensors.iter().all(|tensor| tensor.dtype == DType::F32), "samples become f32");
        let (mut pairs, mut start) = (Vec::with_capacity(sizes.len()), 0);
        for &[have_height, have_width] in sizes {
            assert!(have_height >= height && have_width >= width, "a crop of a smaller picture");
            pairs.push(ResidentPair { start, height: have_height, width: have_width });
            start += have_height * have_width;
        }
        let channels = tensors.map(|tensor| tensor.channels());
        let cannot = |error| explain("cannot allocate GPU memory for the pictures", error);
        let [inputs, targets] =
            channels.map(|channels| self.stream.alloc_zeros::<u16>((start * channels).max(1)).map_err(cannot));
        let (inputs, targets) = (inputs?, targets?);
        let crops = self.stream.alloc_zeros::<DeviceCrop>(images).map_err(cannot)?;
        let (outputs, copies) = self.crop_outputs(tensors);
        let launch = |outputs: &[CropOutput]| {
            // Elements behind the last output are not read.
            let mut all = [outputs[0]; OUTPUTS];
            all[..outputs.len()].copy_from_slice(outputs);
            let [count, rows, columns] = [outputs.len(), height, width].map(to_int);
            let argument = SamplesCrop {
                crops: Ptr::new(crops.device_ptr(&self.stream).0),
                inputs: Ptr::new(inputs.device_ptr(&self.stream).0),
                targets: Ptr::new(targets.device_ptr(&self.stream).0),
                outputs: all,
                count,
                height: rows,
                width: columns,
            };
            SAMPLES_CROP.launch([images * height, 2, 1], argument)
        };
        let launches: Vec<Launch> = outputs.chunks(OUTPUTS).map(launch).chain(copies).collect();
        let upload = Upload::new(&self.stream, images)?;
        self.main.prepend(launches.clone());
        self.units.insert(0, Unit::Crops);
        let shown = [images, height, width];
        self.resident =
            Some(ResidentPairs { sides: [inputs, targets], tensors, channels, pairs, shown, crops, upload, launches });
        Ok(())
    }

    /// The outputs of the kernel that crops: the pictures `tensors`, and the host copies of whole images of them. Also
    /// the launches of the other host copies, of parts of images, which have to follow.
    fn crop_outputs(&self, tensors: [Tensor; 2]) -> (Vec<CropOutput>, Vec<Launch>) {
        let (mut outputs, mut launches) = (Vec::new(), Vec::new());
        for (side, &pictures) in tensors.iter().enumerate() {
            let output = |tensor: Tensor, first_image: usize| CropOutput {
                out: PtrMut::new(self.memory.address(&self.stream, tensor)),
                shape: tensor.into(),
                first_image: to_int(first_image),
                is_target: to_int(side),
            };
            outputs.push(output(pictures, 0));
            for copy in self.program.host_copies_of(pictures) {
                match first_image(pictures, copy.from) {
                    Some(first) => outputs.push(output(copy.to, first)),
                    None => launches.extend(self.copy_launches(copy)),
                }
            }
        }
        (outputs, launches)
    }

    /// Copies the pictures of pair `first` and of those behind it to the GPU, as many as there are samples for: the
    /// inputs and the targets, `[h, w, c]` in row-major order, one after the other.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses.
    ///
    /// # Panics
    /// If no pairs are kept, there is no pair `first`, or the samples of the two sides do not end with the same pair.
    pub fn write_pairs(&mut self, first: usize, pictures: [&[u16]; 2]) -> Result<()> {
        let ResidentPairs { sides, channels, pairs, .. } = self.resident.as_mut().expect("pairs are kept");
        let start = pairs[first].start;
        let [pixels, others] = [0, 1].map(|side| pictures[side].len() / channels[side]);
        let end_of = |pair: &ResidentPair| pair.start + pair.height * pair.width;
        let is_whole = pairs[first..].binary_search_by_key(&(start + pixels), end_of).is_ok();
        assert!(is_whole && pixels == others, "{pixels} and {others} pixels for the pictures from pair {first} on");
        for ((side, channels), pictures) in sides.iter_mut().zip(channels).zip(pictures) {
            assert_eq!(pictures.len(), pixels * *channels, "the samples from pair {first} on");
            let end = start + pixels;
            let sent = self.stream.memcpy_htod(pictures, &mut side.slice_mut(start * *channels..end * *channels));
            sent.map_err(|error| explain("cannot write pictures to GPU memory", error))?;
        }
        Ok(())
    }

    /// Copies `samples`, of the inputs and of the targets, to the GPU. The executions from now on show them in
    /// `tensors`, of f32: normalised to [-1, 1], and an image flipped left to right if it is marked. The floats are
    /// those of [`Samples::normalize`], bit for bit. The first call keeps pairs for them ([`Cuda::keep_pairs`]).
    ///
    /// # Errors
    /// When an earlier kernel has failed, the GPU does not have enough memory, or the driver refuses.
    ///
    /// # Panics
    /// If the shapes differ, there is not one sample for each element and one flag for each image, the two sides are
    /// not mirrored alike, or other pairs are kept, or for other tensors.
    pub fn show_samples(&mut self, tensors: [Tensor; 2], samples: [Samples<'_>; 2]) -> Result<()> {
        assert_eq!(samples.map(|samples| samples.shape), tensors.map(|tensor| tensor.shape), "samples to show");
        assert_eq!(samples[0].mirrored, samples[1].mirrored, "a pair is mirrored as a whole");
        for (tensor, samples) in tensors.iter().zip(&samples) {
            assert_eq!(samples.values.len(), tensor.count(), "a sample for every element");
            assert_eq!(samples.mirrored.len(), tensor.shape[0], "a flag for every image");
        }
        let [images, height, width, _] = tensors[0].shape;
        if self.resident.is_none() {
            self.keep_pairs(&vec![[height, width]; images], tensors)?;
        }
        let kept = self.resident.as_ref().expect("pairs are kept");
        let sizes = kept.pairs.iter().map(|pair| [pair.height, pair.width]);
        assert!(kept.tensors == tensors && sizes.eq(vec![[height, width]; images]), "other pairs are kept");
        self.write_pairs(0, samples.map(|samples| samples.values))?;
        let crop = |(pair, &mirrored): (usize, &bool)| Crop { pair, left: 0, top: 0, mirrored };
        self.show(&samples[0].mirrored.iter().enumerate().map(crop).collect::<Vec<Crop>>())
    }

    /// Sets the crops that the executions from now on show, one for each image of the tensors of [`Cuda::keep_pairs`].
    /// Only enqueues a copy of them.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses.
    ///
    /// # Panics
    /// If no pairs are kept, there are more or fewer crops than images, or a crop is not inside of its pair.
    pub fn show(&mut self, crops: &[Crop]) -> Result<()> {
        let resident = self.resident.as_mut().expect("pairs are kept");
        let [images, height, width] = resident.shown;
        assert_eq!(crops.len(), images, "a crop for every image");
        let crop = |&Crop { pair, left, top, mirrored }: &Crop| {
            let whole = resident.pairs[pair];
            let is_inside = left + width <= whole.width && top + height <= whole.height;
            assert!(is_inside, "{width}x{height} pixels from column {left} and row {top} of pair {pair}, {whole:?}");
            let pixel = (whole.start + top * whole.width + left) as u64;
            DeviceCrop { pixel, width: to_int(whole.width), mirrored: i32::from(mirrored) }
        };
        let crops: Vec<DeviceCrop> = crops.iter().map(crop).collect();
        resident.upload.send(&self.stream, &crops, &mut resident.crops)
    }
}

/// The index in `whole` of the first image of `part`; `None` if `part` is not some whole images of it.
fn first_image(whole: Tensor, part: Tensor) -> Option<usize> {
    let image: usize = whole.shape[1..3].iter().product::<usize>() * whole.stride;
    let first = part.offset.checked_sub(whole.offset)? / image.max(1);
    let images = first..first + part.shape[0];
    (images.end <= whole.shape[0] && whole.batch_slice(images) == part).then_some(first)
}
