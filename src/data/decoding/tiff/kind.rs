//! The kinds of TIFF: those that are read exactly, and the names of the others.

use std::io::{Read, Seek};

use anyhow::{Context, Result, bail, ensure};

use super::directory::{Directory, tag};
use crate::data::decoding::Depth;
use crate::data::size::Size;

/// Value of the tag Compression for JPEG in its newer form (TIFF Technical Note 2).
pub const JPEG: u64 = 7;

/// The colour space of a page: the meaning of the samples of a pixel, apart from an extra one at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    Grey,
    /// Grey with 0 as white.
    InvertedGrey,
    Rgb,
    Palette,
    Cmyk,
}

/// The meaning of an extra sample that follows the colours of a pixel (tag ExtraSamples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraSample {
    Alpha,
    PremultipliedAlpha,
    /// Another measurement, such as infrared.
    Band,
}

#[derive(Debug)]
pub struct Kind {
    pub size: Size,
    /// Bits of a sample: 1, 2, 4, 8 or 16.
    pub bits: usize,
    /// Samples of a pixel.
    pub samples: usize,
    pub colors: Colors,
    pub last: Option<ExtraSample>,
    pub is_signed: bool,
    /// True if all samples of one channel are stored in front of those of the next.
    pub is_planar: bool,
    pub compression: u64,
}

/// Reads width and height in pixels, as they are stored: they are not exchanged by the orientation.
///
/// # Errors
/// When one of the two is missing, 0, or above 2^32 - 1.
pub fn size(file: &mut (impl Read + Seek), page: &Directory) -> Result<Size> {
    let mut side = |tag| -> Result<usize> {
        let side = page.number(file, tag)?.context("the TIFF does not say its size")?;
        // The tiff crate accepts the same range of sides.
        ensure!((1..=u64::from(u32::MAX)).contains(&side), "the TIFF has a side of {side}");
        Ok(side as usize)
    };
    Ok(Size { width: side(tag::WIDTH)?, height: side(tag::HEIGHT)? })
}

impl Kind {
    /// Reads from the tags of a page how its samples are stored.
    ///
    /// # Errors
    /// When pictures of that kind are not read; the error names the kind and a cure. When the size is missing or the
    /// tags are damaged.
    pub fn read(file: &mut (impl Read + Seek), page: &Directory) -> Result<Kind> {
        let size = size(file, page)?;
        let samples = page.number(file, tag::SAMPLES_PER_PIXEL)?.unwrap_or(1) as usize;
        ensure!(samples <= 4, "it has {samples} samples a pixel; up to 4 are read: save the bands that matter");
        ensure!(samples > 0, "the TIFF has no samples");
        let bits = page.numbers(file, tag::BITS_PER_SAMPLE)?;
        let bits = if bits.is_empty() { vec![1] } else { bits };
        ensure!(
            bits.iter().all(|of_one| *of_one == bits[0]),
            "its samples have different numbers of bits ({bits:?}): save all with 8 or with 16"
        );
        let bits = bits[0];
        let is_signed = is_signed(&page.numbers(file, tag::SAMPLE_FORMAT)?, bits)?;
        let compression = page.number(file, tag::COMPRESSION)?.unwrap_or(1);
        check_compression(compression)?;
        let photometric =
            page.number(file, tag::PHOTOMETRIC)?.context("the TIFF does not say what its samples mean")?;
        let extra = page.numbers(file, tag::EXTRA_SAMPLES)?;
        let (colors, last) = meaning(photometric, samples, &extra)?;
        match bits {
            8 | 16 => {}
            1 | 2 | 4 if samples == 1 => {}
            1 | 2 | 4 => bail!("its {samples} samples have {bits} bits each: save it with 8 bits"),
            _ => bail!("its samples have {bits} bits, and 1, 2, 4, 8 and 16 are read: save it with 16"),
        }
        ensure!(
            colors != Colors::Palette || bits <= 8,
            "its palette has indices of {bits} bits, and up to 8 are read: save it as RGB"
        );
        ensure!(
            page.number(file, tag::FILL_ORDER)?.unwrap_or(1) == 1,
            "the bits of its bytes are in reverse order (FillOrder 2): save it without"
        );
        let is_planar = samples > 1 && page.number(file, tag::PLANAR_CONFIGURATION)? == Some(2);
        Ok(Kind { size, bits: bits as usize, samples, colors, last, is_signed, is_planar, compression })
    }

    pub fn depth(&self) -> Depth {
        if self.bits == 16 { Depth::Sixteen } else { Depth::Eight }
    }

    /// Returns the number of channels of the decoded picture: 3 for a palette or CMYK, which become RGB, else the
    /// number of samples of a pixel.
    pub fn channels(&self) -> usize {
        match self.colors {
            Colors::Palette | Colors::Cmyk => 3,
            Colors::Grey | Colors::InvertedGrey | Colors::Rgb => self.samples,
        }
    }

    /// Returns the bytes of the decoded picture, or of the samples of the file if they are more; a sample of up to 8
    /// bits counts as 1 byte, one of 16 bits as 2.
    pub fn decoded_bytes(&self) -> u64 {
        let samples = self.samples.max(self.channels());
        (self.size.pixels() as u64).saturating_mul((samples * self.bits.div_ceil(8)) as u64)
    }
}

/// The meaning of the samples of a pixel. GDAL writes three or four equal bands as grey with extra samples; they are
/// read as RGB.
fn meaning(photometric: u64, samples: usize, extra: &[u64]) -> Result<(Colors, Option<ExtraSample>)> {
    let last = || match extra.last() {
        Some(1) => ExtraSample::PremultipliedAlpha,
        Some(2) => ExtraSample::Alpha,
        _ => ExtraSample::Band,
    };
    Ok(match (photometric, samples) {
        (0, 1) => (Colors::InvertedGrey, None),
        (0, 2) => (Colors::InvertedGrey, Some(last())),
        (1, 1) => (Colors::Grey, None),
        (1, 2) => (Colors::Grey, Some(last())),
        (1, 3) if last() != ExtraSample::Band => bail!("it has two grey channels and alpha: save one of them, or RGB"),
        (1 | 2, 3) => (Colors::Rgb, None),
        (1 | 2, 4) => (Colors::Rgb, Some(last())),
        (3, 1) => (Colors::Palette, None),
        (5, 4) => (Colors::Cmyk, None),
        (0 | 2 | 3 | 5, _) => {
            let name = ["white-is-zero grey", "", "RGB", "a palette", "", "CMYK"][photometric as usize];
            bail!("it has {samples} samples a pixel, which is odd for {name}: save it as RGB or grey")
        }
        (4, _) => bail!("it is a transparency mask and no picture"),
        (6, _) => bail!("its colours are YCbCr: save it as RGB"),
        (8..=10, _) => bail!("its colours are CIE L*a*b*: save it as RGB"),
        (32803, _) => bail!("it is raw data of a camera's sensor (CFA): develop it to RGB"),
        (34892, _) => bail!("it is raw data of a camera (linear raw): develop it to RGB"),
        (32844 | 32845, _) => bail!("its colours are logarithmic (LogLuv): save it as 16-bit RGB"),
        _ => bail!(
            "its colours are of an unknown kind (PhotometricInterpretation {photometric}): save it as RGB or grey"
        ),
    })
}

/// True for signed integers, false for unsigned ones. Other sample formats are refused by name.
fn is_signed(formats: &[u64], bits: u64) -> Result<bool> {
    let format = formats.first().copied().unwrap_or(1);
    ensure!(formats.iter().all(|of_one| *of_one == format), "its samples are of different types: save all as integers");
    match (format, bits) {
        (3, _) => bail!(
            "its samples are {bits}-bit floats, which do not say what is black and white: scale them to 0 to 65535 and \
             save it with 16 bits"
        ),
        (5 | 6, _) => bail!("its samples are complex numbers: save their magnitude with 16 bits"),
        (1 | 2 | 4, 17..) => {
            bail!("its samples are {bits}-bit integers: scale them to 0 to 65535 and save it with 16 bits")
        }
        (1 | 4, _) => Ok(false),
        (2, 8 | 16) => Ok(true),
        (2, _) => bail!("its samples are signed integers of {bits} bits: save it with 16 bits"),
        _ => bail!("its samples are of an unknown type (SampleFormat {format}): save it with 8 or 16 bits"),
    }
}

fn check_compression(compression: u64) -> Result<()> {
    let name = match compression {
        // No compression, CCITT group 4, LZW, JPEG, deflate under two numbers, PackBits, Zstandard.
        1 | 4 | 5 | JPEG | 8 | 32946 | 32773 | 50000 => return Ok(()),
        2 | 3 => "CCITT group 3",
        6 => "JPEG in its old form",
        9 | 10 | 34661 => "JBIG",
        34712 | 33003 | 33005 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        34892 => "lossy JPEG of DNG",
        50001 | 34927 => "WebP",
        50002 | 52546 => "JPEG XL",
        _ => bail!("its compression is unknown ({compression}): save it with LZW, deflate or none"),
    };
    bail!("its compression is {name}, which is not read: save it with LZW, deflate or none")
}
