//! The bound on a decoded picture, and allocations that return an error instead of aborting.

use std::env;

use anyhow::{Context, Result, anyhow, ensure};

/// Environment variable with the bound on a decoded picture, in MiB.
const VARIABLE: &str = "PIXTAPE_MAX_PICTURE";

/// The bound without that variable, in MiB.
const DEFAULT_MIB: u64 = 512;

/// Returns the bound on a decoded picture in bytes: the value of the environment variable `PIXTAPE_MAX_PICTURE`, in
/// MiB, or 512 MiB if it is not set. It bounds width x height x channels x bytes of a sample in the file (1 or 2).
/// Decoding takes these bytes and, for the [`Picture`](super::Picture), two more for each sample; a progressive JPEG
/// takes two to four more while it is decoded.
///
/// # Errors
/// When the variable is set to something else than a whole number of MiB above 0.
pub fn max_picture_bytes() -> Result<u64> {
    let Some(value) = env::var_os(VARIABLE) else { return Ok(DEFAULT_MIB << 20) };
    let mib = value.to_str().and_then(|text| text.trim().parse::<u64>().ok()).filter(|mib| (1..1 << 40).contains(mib));
    let mib = mib.with_context(|| {
        format!("{VARIABLE}={}: write a number of MiB, such as {DEFAULT_MIB}", value.to_string_lossy())
    })?;
    Ok(mib << 20)
}

/// Checks that a picture that takes `bytes` bytes when decoded, in the depth of its file, is within
/// [`max_picture_bytes`].
///
/// # Errors
/// When the picture is too large, or as [`max_picture_bytes`].
pub fn check_bytes(bytes: u64) -> Result<()> {
    let most = max_picture_bytes()? >> 20;
    let mib = bytes.div_ceil(1 << 20);
    ensure!(
        mib <= most,
        "it is too large: {mib} MiB when decoded, of {most} at most; cut it into parts, or set {VARIABLE}={mib}"
    );
    Ok(())
}

/// Allocates a vector of `length` zeros.
///
/// # Errors
/// When there is no memory for them.
pub fn zeroed<T: Copy + Default>(length: usize) -> Result<Vec<T>> {
    let mut zeros = Vec::new();
    zeros
        .try_reserve_exact(length)
        .map_err(|_| anyhow!("there is no memory for its {} MiB", (length * size_of::<T>()) >> 20))?;
    zeros.resize(length, T::default());
    Ok(zeros)
}
