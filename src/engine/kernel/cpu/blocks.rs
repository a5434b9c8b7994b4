//! Parallelism over blocks of channels: each task owns a few channels of one image in every tensor that it writes.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::ViewMut;

/// The most channels of a block: two cache lines of f32.
pub(crate) const BLOCK_CHANNELS: usize = 32;

/// The channels `first..first + count` of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub image: usize,
    pub first: usize,
    pub count: usize,
}

/// A block of one tensor, to be written.
pub(crate) struct BlockMut<'a, T> {
    /// First channel of the block at the image's first pixel.
    start: *mut T,
    stride: usize,
    pixels: usize,
    count: usize,
    data: PhantomData<&'a mut T>,
}

impl<T> BlockMut<'_, T> {
    /// Returns the block's channels at pixel `p` of its image (`p = y * w + x`), to be written.
    ///
    /// # Panics
    /// If the image has no pixel `p`.
    #[inline(always)]
    pub fn pixel(&mut self, p: usize) -> &mut [T] {
        assert!(p < self.pixels);
        // SAFETY: `for_each_block` made this block of a view that has the pixel and the channels, and no other block
        // has the same channels of the same image. The borrow of `self` keeps it to one slice at a time.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(p * self.stride), self.count) }
    }
}

/// A pointer that tasks on several threads share.
struct Shared<T>(*mut T);

// SAFETY: the tasks of `for_each_block` follow it to disjoint elements only.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Calls `work` for every block of channels of every image, in parallel. All of `outputs` have the same images and
/// channels; their pixels may differ.
///
/// # Panics
/// If the numbers of images or channels differ.
pub(crate) fn for_each_block<T: Send, const N: usize>(
    outputs: [ViewMut<'_, T>; N],
    work: impl Fn(Block, [BlockMut<'_, T>; N]) + Sync,
) {
    let [images, _, _, channels] = outputs[0].shape;
    assert!(outputs.iter().all(|out| out.shape[0] == images && out.shape[3] == channels));
    let blocks = channels.div_ceil(BLOCK_CHANNELS);
    let outputs = outputs.map(|out| {
        let [_, height, width, _] = out.shape;
        assert!(out.data.len() >= out.as_view().images(0, images).data.len(), "a view covers its pixels");
        (Shared(out.data.as_mut_ptr()), out.stride, height * width)
    });
    (0..images * blocks).into_par_iter().for_each(|index| {
        let first = index % blocks * BLOCK_CHANNELS;
        let block = Block { image: index / blocks, first, count: BLOCK_CHANNELS.min(channels - first) };
        let outputs = std::array::from_fn(|i| {
            let (Shared(start), stride, pixels) = &outputs[i];
            BlockMut {
                // SAFETY: the first pixel of an image that the view has, and a channel of it.
                start: unsafe { start.add(block.image * pixels * stride + first) },
                stride: *stride,
                pixels: *pixels,
                count: block.count,
                data: PhantomData,
            }
        });
        work(block, outputs);
    });
}
