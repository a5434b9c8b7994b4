//! A PNG's palette, which the decoder takes as it is: one that ends within a colour makes it panic.

use anyhow::{Result, ensure};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// # Errors
/// When `bytes` are a PNG whose palette is not made of colours of three bytes.
pub(super) fn check_palette(bytes: &[u8]) -> Result<()> {
    let Some(mut rest) = bytes.strip_prefix(SIGNATURE) else { return Ok(()) };
    // A chunk: length, kind, contents, checksum. The palette stands before the samples.
    while let Some((&[a, b, c, d, ref kind @ ..], _)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        match kind {
            b"PLTE" => ensure!(length.is_multiple_of(3), "its palette has {length} bytes, which make no whole colours"),
            b"IDAT" => return Ok(()),
            _ => {}
        }
        rest = rest.get(length.saturating_add(12)..).unwrap_or_default();
    }
    Ok(())
}
