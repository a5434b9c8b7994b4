//! TIFF files of any kind, written by hand for kinds that no encoder at hand writes.

/// Types of values in a TIFF.
pub const SHORT: u16 = 3;
pub const LONG: u16 = 4;
pub const DOUBLE: u16 = 12;

#[derive(Clone, Copy, Default)]
pub struct Order {
    pub is_big_endian: bool,
    /// True for BigTIFF.
    pub is_big: bool,
}

/// A directory: tags with their types and values, and the bytes of its strips or tiles.
#[derive(Clone, Default)]
pub struct Page {
    pub tags: Vec<(u16, u16, Vec<u64>)>,
    pub chunks: Vec<Vec<u8>>,
    pub is_tiled: bool,
}

impl Page {
    /// Samples of `bits` in one strip; the other tags are to be added.
    pub fn new(width: u64, height: u64, bits: u64, samples: u64, photometric: u64, strip: Vec<u8>) -> Page {
        let tags = vec![
            (256, LONG, vec![width]),
            (257, LONG, vec![height]),
            (258, SHORT, vec![bits; samples as usize]),
            (259, SHORT, vec![1]),
            (262, SHORT, vec![photometric]),
            (277, SHORT, vec![samples]),
        ];
        Page { tags, chunks: vec![strip], is_tiled: false }
    }

    /// The page with another tag, or another value of a tag.
    pub fn with(mut self, tag: u16, kind: u16, values: &[u64]) -> Page {
        self.tags.retain(|(other, ..)| *other != tag);
        self.tags.push((tag, kind, values.to_vec()));
        self
    }
}

/// A file of `pages`.
pub fn build(order: Order, pages: &[Page]) -> Vec<u8> {
    let Order { is_big_endian, is_big } = order;
    let number = |value: u64, length: usize| {
        let mut bytes = value.to_le_bytes()[..length].to_vec();
        if is_big_endian {
            bytes.reverse();
        }
        bytes
    };
    let offset_bytes = if is_big { 8 } else { 4 };
    let mut file = if is_big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    file.extend(number(if is_big { 43 } else { 42 }, 2));
    if is_big {
        file.extend([number(8, 2), number(0, 2)].concat());
    }
    let mut link = file.len();
    file.extend(number(0, offset_bytes));
    for page in pages {
        let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
        for chunk in &page.chunks {
            offsets.push(file.len() as u64);
            lengths.push(chunk.len() as u64);
            file.extend(chunk);
        }
        let mut tags = page.tags.clone();
        let [offsets_tag, lengths_tag] = if page.is_tiled { [324, 325] } else { [273, 279] };
        tags.extend([(offsets_tag, LONG, offsets), (lengths_tag, LONG, lengths)]);
        tags.sort_by_key(|(tag, ..)| *tag);
        let mut entries = Vec::new();
        for (tag, kind, values) in &tags {
            let unit = match kind {
                1 | 2 | 7 => 1,
                3 => 2,
                12 | 16 => 8,
                _ => 4,
            };
            let mut bytes: Vec<u8> = values.iter().flat_map(|&value| number(value, unit)).collect();
            if bytes.len() > offset_bytes {
                let at = file.len() as u64;
                file.extend(&bytes);
                bytes = number(at, offset_bytes);
            }
            bytes.resize(offset_bytes, 0);
            // A rational is two numbers.
            let count = if *kind == 5 { values.len() / 2 } else { values.len() };
            entries.extend([number((*tag).into(), 2), number((*kind).into(), 2)].concat());
            entries.extend([number(count as u64, offset_bytes), bytes].concat());
        }
        let at = number(file.len() as u64, offset_bytes);
        file[link..link + offset_bytes].copy_from_slice(&at);
        file.extend(number(tags.len() as u64, if is_big { 8 } else { 2 }));
        file.extend(entries);
        link = file.len();
        file.extend(number(0, offset_bytes));
    }
    file
}
