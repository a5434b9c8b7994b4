//! Launches of two independent kernels side by side, as one launch (`kernels/conv_beside.cu`).

use super::kernels::{
    CONV_DGRAD_BESIDE_WGRAD_32, CONV_DGRAD_BESIDE_WGRAD_64, CONV_DGRAD_PATCH_4X4S2, CONV_DGRAD_PATCH_4X4S2_SMALL,
    CONV_DGRAD_SMALL_BESIDE_WGRAD_64, CONV_FPROP_BESIDE_WGRAD_32, CONV_FPROP_BESIDE_WGRAD_64, CONV_FPROP_PATCH_4X4S2,
    CONV_FPROP_PATCH_4X4S2_SMALL, CONV_FPROP_SMALL_BESIDE_WGRAD_64, CONV_WGRAD_ADAM_PATCH_4X4S2_32,
    CONV_WGRAD_ADAM_PATCH_4X4S2_64, ConvBeside, ConvPatch, ConvWgradAdam,
};
use super::launch::{Dim3, Kernel};
use super::pack::Pack;
use super::{Launch, to_int};

/// Kernels of a convolution and of a weight gradient with its Adam update, and the kernel that does the work of both.
type Pair = (&'static Kernel<ConvPatch>, &'static Kernel<ConvWgradAdam>, &'static Kernel<ConvBeside>);

const PAIRS: [Pair; 6] = [
    (&CONV_FPROP_PATCH_4X4S2, &CONV_WGRAD_ADAM_PATCH_4X4S2_32, &CONV_FPROP_BESIDE_WGRAD_32),
    (&CONV_FPROP_PATCH_4X4S2, &CONV_WGRAD_ADAM_PATCH_4X4S2_64, &CONV_FPROP_BESIDE_WGRAD_64),
    (&CONV_FPROP_PATCH_4X4S2_SMALL, &CONV_WGRAD_ADAM_PATCH_4X4S2_64, &CONV_FPROP_SMALL_BESIDE_WGRAD_64),
    (&CONV_DGRAD_PATCH_4X4S2, &CONV_WGRAD_ADAM_PATCH_4X4S2_32, &CONV_DGRAD_BESIDE_WGRAD_32),
    (&CONV_DGRAD_PATCH_4X4S2, &CONV_WGRAD_ADAM_PATCH_4X4S2_64, &CONV_DGRAD_BESIDE_WGRAD_64),
    (&CONV_DGRAD_PATCH_4X4S2_SMALL, &CONV_WGRAD_ADAM_PATCH_4X4S2_64, &CONV_DGRAD_SMALL_BESIDE_WGRAD_64),
];

/// Returns the launch that does the work of both `patch` and `wgrad`, the blocks of `patch` first; `None` if there is
/// no kernel for these two.
pub(in crate::engine) fn beside(patch: &Launch, wgrad: &Launch) -> Option<Launch> {
    let is_of = |(a, b, _): &&Pair| a.index() == patch.kernel && b.index() == wgrad.kernel;
    let (_, _, both) = PAIRS.iter().find(is_of)?;
    let [columns, rows, layers] = patch.grid.0;
    let [blocks, behind] = [columns * rows * layers, wgrad.grid.0.iter().product()];
    let mut argument = vec![0; ConvBeside::BYTES];
    let [at_patch, at_wgrad, at_columns, at_rows, at_blocks] = ConvBeside::OFFSETS;
    for (offset, bytes) in [(at_patch, &patch.argument), (at_wgrad, &wgrad.argument)] {
        argument[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    for (offset, size) in [(at_columns, columns), (at_rows, rows), (at_blocks, blocks)] {
        to_int(size).pack(&mut argument[offset..]);
    }
    Some(Launch {
        kernel: both.index(),
        grid: Dim3([blocks + behind, 1, 1]),
        shared: patch.shared.max(wgrad.shared),
        argument,
        ..patch.clone()
    })
}
