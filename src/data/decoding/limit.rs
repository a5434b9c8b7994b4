//! The bound on a decoded picture, and memory that is asked for and not taken for granted.

use std::env;

use anyhow::{Context, Result, anyhow, ensure};

/// Of the environment: MiB of a decoded picture at most.
const VARIABLE: &str = "PIXTAPE_MAX_PICTURE";

const DEFAULT_MIB: u64 = 512;

/// Bytes of a picture at most, in the depth of its file: width x height x channels x 1 or 2. Decoding takes these bytes
/// and, for the [`Picture`](super::Picture), two more for each sample; a progressive JPEG takes two to four more on its
/// way.
///
/// # Errors
/// When the variable holds something else than a number of MiB.
pub fn most_bytes() -> Result<u64> {
    let Some(value) = env::var_os(VARIABLE) else { return Ok(DEFAULT_MIB << 20) };
    let mib = value.to_str().and_then(|text| text.trim().parse::<u64>().ok()).filter(|mib| (1..1 << 40).contains(mib));
    let mib = mib.with_context(|| {
        format!("{VARIABLE}={}: write a number of MiB, such as {DEFAULT_MIB}", value.to_string_lossy())
    })?;
    Ok(mib << 20)
}

/// # Errors
/// When a picture of so many bytes is too large.
pub fn check_bytes(bytes: u64) -> Result<()> {
    let most = most_bytes()? >> 20;
    let mib = bytes.div_ceil(1 << 20);
    ensure!(
        mib <= most,
        "it is too large: {mib} MiB when decoded, of {most} at most; cut it into parts, or set {VARIABLE}={mib}"
    );
    Ok(())
}

/// `length` zeros.
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
