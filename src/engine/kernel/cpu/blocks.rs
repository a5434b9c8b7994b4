//! Blocks of consecutive pixels: the tasks of kernels that sum over the pixels of an image.

use super::{View, ViewMut};
use crate::engine::tensor::Shape;

/// Elements of a block, few enough to stay in a core's cache between two passes over them.
const ELEMENTS: usize = 1 << 14;

/// The fewest pixels of a block, in images of many channels: the sums of a block are a small part of the memory that a
/// kernel moves.
const FEWEST: usize = 16;

/// The most pixels of a block: long sums are added up from these short ones, which keeps their rounding error small.
const MOST: usize = 64;

/// The blocks of all images of a batch: each image is cut from its first pixel on, and its last block has the rest. The
/// cut depends on the size of an image alone, not on the batch or the number of threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    images: usize,
    pixels_of_image: usize,
    pixels_of_block: usize,
}

/// The pixels `first..first + count` of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Block {
    pub image: usize,
    pub first: usize,
    pub count: usize,
}

impl Blocks {
    /// Returns the blocks of a tensor of this shape.
    pub fn new([images, height, width, channels]: Shape) -> Blocks {
        let pixels_of_block = (ELEMENTS / channels.max(1)).clamp(FEWEST, MOST);
        Blocks { images, pixels_of_image: height * width, pixels_of_block }
    }

    /// Returns the number of blocks of an image.
    pub fn per_image(self) -> usize {
        self.pixels_of_image.div_ceil(self.pixels_of_block)
    }

    /// Returns the number of blocks of all images.
    pub fn count(self) -> usize {
        self.images * self.per_image()
    }

    /// Returns block `index` of all images.
    pub fn get(self, index: usize) -> Block {
        let first = index % self.per_image() * self.pixels_of_block;
        let count = self.pixels_of_block.min(self.pixels_of_image - first);
        Block { image: index / self.per_image(), first, count }
    }

    /// Calls `work` for every block with its part of each of `outputs`, in parallel. The outputs have the images and
    /// pixels that are cut.
    pub fn for_each<T: Send, const N: usize>(
        self,
        outputs: [ViewMut<'_, T>; N],
        work: impl Fn(Block, [ViewMut<'_, T>; N]) + Sync,
    ) {
        if self.count() > 0 {
            self.halve(0, self.count(), outputs, &work);
        }
    }

    /// Does the work of `for_each` for the blocks `first..end`, of which there is one at least.
    fn halve<T: Send, const N: usize>(
        self,
        first: usize,
        end: usize,
        mut outputs: [ViewMut<'_, T>; N],
        work: &(impl Fn(Block, [ViewMut<'_, T>; N]) + Sync),
    ) {
        if end - first == 1 {
            return work(self.get(first), outputs);
        }
        let middle = first.midpoint(end);
        let pixels = self.first_pixel(middle) - self.first_pixel(first);
        let behind = outputs.each_mut().map(|output| split_off(output, pixels));
        rayon::join(|| self.halve(first, middle, outputs, work), || self.halve(middle, end, behind, work));
    }

    /// Index of the first pixel of block `index` among the pixels of all images.
    fn first_pixel(self, index: usize) -> usize {
        let Block { image, first, .. } = self.get(index);
        image * self.pixels_of_image + first
    }
}

/// Splits `view` behind its first `pixels` pixels: these stay in it, the others are returned.
fn split_off<'a, T>(view: &mut ViewMut<'a, T>, pixels: usize) -> ViewMut<'a, T> {
    let (before, behind) = std::mem::take(&mut view.data).split_at_mut(pixels * view.stride);
    let (more, channels) = (view.pixels() - pixels, view.channels());
    *view = ViewMut { data: before, shape: [1, 1, pixels, channels], stride: view.stride };
    ViewMut { data: behind, shape: [1, 1, more, channels], stride: view.stride }
}

impl Block {
    /// Returns the pixels of this block of `view`, which has the images that were cut.
    pub fn of<'a, T>(self, view: &View<'a, T>) -> View<'a, T> {
        let [_, height, width, channels] = view.shape;
        let first = self.image * height * width + self.first;
        let data = &view.data[first * view.stride..][..(self.count - 1) * view.stride + channels];
        View { data, shape: [1, 1, self.count, channels], stride: view.stride }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_in_one_block_and_no_block_has_pixels_of_two_images() {
        for shape in [[3, 1, 1, 1], [2, 17, 31, 3], [1, 2, 2, 512], [3, 5, 7, 1024], [2, 16, 16, 64], [2, 9, 29, 33]] {
            let [images, height, width, channels] = shape;
            let stride = channels + 2;
            // The gap behind the last pixel is not in a view.
            let mut data = vec![0; images * height * width * stride - 2];
            let blocks = Blocks::new(shape);
            blocks.for_each([ViewMut { data: &mut data, shape, stride }], |block, [mut out]| {
                assert_eq!(out.pixels(), block.count);
                assert!(block.count > 0 && block.first + block.count <= height * width);
                for p in 0..block.count {
                    out.pixel(p).fill(1 + block.image * height * width + block.first + p);
                }
            });
            for (p, pixel) in data.chunks(stride).enumerate() {
                assert!(pixel[..channels].iter().all(|&value| value == p + 1), "pixel {p} of {shape:?}");
                assert!(pixel[channels..].iter().all(|&value| value == 0), "behind pixel {p} of {shape:?}");
            }
        }
    }
}
