use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::data::decoding::file::decode;

const SIDES: (u16, u16) = (70, 45);

/// A picture with edges, slopes and grain, as a camera's has.
fn picture(channels: usize) -> Vec<u8> {
    let (width, height) = (usize::from(SIDES.0), usize::from(SIDES.1));
    let sample = |i: usize| {
        let (x, y, channel) = (i / channels % width, i / channels / width, i % channels);
        let edge = if (x / 9 + y / 13) % 2 == 0 { 90 } else { 0 };
        (edge + x + 2 * y + 20 * channel + (x * 7919 + y * 104_729) % 23) as u8
    };
    (0..width * height * channels).map(sample).collect()
}

/// A file made by the one encoder on this machine that writes all kinds.
fn made(color: ColorType, channels: usize, settings: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 80);
    settings(&mut encoder);
    encoder.encode(&picture(channels), SIDES.0, SIDES.1, color).expect("in memory");
    file
}

fn baseline() -> Vec<u8> {
    made(ColorType::Rgb, 3, |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_2))
}

fn progressive() -> Vec<u8> {
    made(ColorType::Rgb, 3, |encoder| encoder.set_progressive(true))
}

fn restarting() -> Vec<u8> {
    made(ColorType::Rgb, 3, |encoder| encoder.set_restart_interval(4))
}

/// The range of the data of each scan.
fn scans(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut scans = Vec::new();
    let mut at = 2;
    while file[at + 1] != marker::EOI {
        let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        let is_scan = file[at + 1] == marker::SOS;
        at += 2 + length;
        if is_scan {
            let end = scan::end_of_data(file, at);
            scans.push(at..end);
            at = end;
        }
    }
    scans
}

#[test]
fn whole_files_of_every_kind_are_taken() {
    let mut files = vec![baseline(), progressive(), restarting()];
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_4_1] {
        for is_progressive in [false, true] {
            for interval in [0, 1, 5] {
                files.push(made(ColorType::Rgb, 3, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(is_progressive);
                    encoder.set_restart_interval(interval);
                    encoder.set_optimized_huffman_tables(interval == 0);
                }));
            }
        }
    }
    for (color, channels) in [(ColorType::Luma, 1), (ColorType::Cmyk, 4), (ColorType::CmykAsYcck, 4)] {
        files.push(made(color, channels, |encoder| encoder.set_progressive(channels == 1)));
    }
    for (number, file) in files.into_iter().enumerate() {
        let frame = check(None, &file).unwrap_or_else(|error| panic!("file {number}: {error}"));
        assert_eq!((frame.width, frame.height), SIDES);
        // Previews, depth maps and padding behind the end.
        let longer = [&file[..], &file[..], &[0; 9]].concat();
        assert_eq!(decode(&longer).expect("it is whole").picture, decode(&file).expect("it is whole").picture);
    }
}

#[test]
fn a_file_that_lost_its_end_or_its_middle_is_refused() {
    for file in [baseline(), progressive(), restarting()] {
        for keep in (2..file.len()).step_by(13) {
            assert!(check(None, &file[..keep]).is_err(), "{keep} of {} bytes", file.len());
            // A repairing program closes a file that is cut short with a marker.
            let closed = [&file[..keep], &[0xFF, marker::EOI]].concat();
            assert!(check(None, &closed).is_err(), "{keep} of {} bytes, closed", file.len());
        }
        // Huffman codes resynchronise: missing coefficients in one block need not be noticed, missing blocks are.
        let data = scans(&file).into_iter().max_by_key(|scan| scan.len()).expect("a scan");
        let is_noticed = |&at: &usize| check(None, &[&file[..at], &file[at + 40..]].concat()).is_err();
        let positions: Vec<usize> = (data.start..data.end - 40).collect();
        let noticed = positions.iter().filter(|at| is_noticed(at)).count();
        println!("{noticed} of {} missing pieces", positions.len());
        assert!(2 * noticed >= positions.len(), "{noticed} of {}", positions.len());
    }
}

#[test]
fn missing_scans_and_restart_markers_are_refused() {
    let file = progressive();
    let scans = scans(&file);
    for (number, scan) in scans.iter().enumerate() {
        // The scan with its header, which begins behind the scan before or the segments in between.
        let start = file[..scan.start].windows(2).rposition(|pair| pair == [0xFF, marker::SOS]).expect("a header");
        let without = [&file[..start], &file[scan.end..]].concat();
        assert!(check(None, &without).is_err(), "without scan {number} of {}", scans.len());
    }
    let file = restarting();
    let is_restart = |at: &usize| file[*at] == 0xFF && matches!(file[*at + 1], 0xD0..=0xD7);
    let restarts: Vec<usize> = (0..file.len() - 1).filter(is_restart).collect();
    assert!(restarts.len() >= 3);
    for &at in &restarts {
        let without = [&file[..at], &file[at + 2..]].concat();
        assert!(check(None, &without).is_err(), "without the marker at {at}");
        let mut other = file.clone();
        other[at + 1] ^= 1;
        assert!(check(None, &other).is_err(), "another marker at {at}");
    }
}

/// A flipped bit that makes one value of a coefficient another one cannot be noticed: there is no checksum.
#[test]
fn many_flipped_bits_and_most_longer_damage_are_noticed() {
    for (name, file, least_bit, least_bytes) in
        [("baseline", baseline(), 25, 75), ("progressive", progressive(), 10, 60), ("restarts", restarting(), 20, 70)]
    {
        let scans = scans(&file);
        let positions: Vec<usize> =
            scans.into_iter().flatten().filter(|&at| file[at] != 0xFF && file[at - 1] != 0xFF).collect();
        let noticed = |change: &dyn Fn(&mut [u8], usize)| {
            let tried = 300;
            let count = (0..tried).filter(|number| {
                let mut file = file.clone();
                change(&mut file, positions[number * 7919 % (positions.len() - 16)]);
                check(None, &file).is_err()
            });
            100 * count.count() / tried
        };
        let bit = noticed(&|file, at| file[at] ^= 1 << (at % 8));
        let bytes = noticed(&|file, at| (0..16).for_each(|i| file[at + i] = (at * 31 + i * 97) as u8 & 0x7F));
        println!("{name}: {bit} % of flipped bits, {bytes} % of 16 overwritten bytes");
        assert!(bit >= least_bit && bytes >= least_bytes, "{name}: {bit} % and {bytes} %");
    }
}

#[test]
fn damage_and_rare_kinds_are_named() {
    let error = |file: &[u8]| format!("{:#}", decode(file).map(drop).expect_err("it is not read"));
    let file = baseline();
    let frame = file.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a header");
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        file
    };
    assert!(check(None, &with(frame + 4, 12)).expect_err("12 bits").to_string().contains("12 bits a sample"));
    assert!(check(None, &with(frame + 1, 0xC9)).expect_err("arithmetic").to_string().contains("arithmetic"));
    assert!(check(None, &with(frame + 1, 0xC3)).expect_err("lossless").to_string().contains("lossless"));
    assert!(error(&file[..file.len() - 2]).contains("the JPEG file is cut short"));
    assert!(error(&[&file[..file.len() - 200], &[0xFF, marker::EOI]].concat()).contains("the JPEG file is damaged"));
    // A segment that claims another length.
    let tables = file.windows(2).position(|pair| pair == [0xFF, marker::DHT]).expect("tables");
    assert!(error(&with(tables + 3, file[tables + 3] + 9)).contains("damaged"));
}
