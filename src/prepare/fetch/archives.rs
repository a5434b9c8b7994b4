//! The public data sets of the Pix2Pix paper, as its authors serve them.

use crate::base::bytes::{ByteSize, MIB};

/// A public data set of the Pix2Pix paper in a `.tar.gz` archive: side-by-side JPEGs in NAME/train, NAME/val and, for
/// some, NAME/test.
pub struct DataSet {
    pub name: &'static str,
    /// Size of the download in MiB, as its server lists it, rounded.
    mebibytes: u64,
    /// Number of training pairs.
    pairs: &'static str,
    /// Contents of the left and of the right half.
    halves: &'static str,
    /// The direction of translation in the paper, as `--direction` takes it.
    pub direction: &'static str,
    terms: &'static str,
}

/// The authors' own server.
const SERVER: &str = "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets";

const DATA_SETS: [DataSet; 6] = [
    DataSet {
        name: "facades",
        mebibytes: 29,
        pairs: "400",
        halves: "photo | labels",
        direction: "b-to-a",
        terms: "CMP Facade Database, Tylecek and Sara 2013, cmp.felk.cvut.cz/~tylecr1/facade",
    },
    DataSet {
        name: "maps",
        mebibytes: 239,
        pairs: "1,096",
        halves: "aerial photo | map",
        direction: "b-to-a",
        terms: "pictures from Google Maps, under its terms of service",
    },
    DataSet {
        name: "cityscapes",
        mebibytes: 99,
        pairs: "2,975",
        halves: "photo | labels",
        direction: "b-to-a",
        terms: "Cordts et al. 2016, non-commercial, www.cityscapes-dataset.com/license",
    },
    DataSet {
        name: "edges2shoes",
        mebibytes: 2048,
        pairs: "50,000",
        halves: "edges | photo",
        direction: "a-to-b",
        terms: "UT Zappos50K, Yu and Grauman 2014, academic and non-commercial use",
    },
    DataSet {
        name: "edges2handbags",
        mebibytes: 8192,
        pairs: "137,000",
        halves: "edges | photo",
        direction: "a-to-b",
        terms: "iGAN project, Zhu et al. 2016; photos of products on Amazon, no licence stated",
    },
    DataSet {
        name: "night2day",
        mebibytes: 1946,
        pairs: "17,823",
        halves: "night | day",
        direction: "a-to-b",
        terms: "Transient Attributes, Laffont et al. 2014, transattr.cs.brown.edu",
    },
];

impl DataSet {
    pub fn named(name: &str) -> Option<&'static DataSet> {
        DATA_SETS.iter().find(|data_set| data_set.name == name)
    }

    /// Returns the names of all data sets, separated by commas, for an error message.
    pub fn names() -> String {
        DATA_SETS.map(|data_set| data_set.name).join(", ")
    }

    pub fn url(&self) -> String {
        format!("{SERVER}/{}.tar.gz", self.name)
    }

    fn size(&self) -> ByteSize {
        ByteSize(self.mebibytes * MIB)
    }

    /// Returns the largest size that a download may have: 1.5 times that of the archive plus 64 MiB, in case a later
    /// edition is larger.
    pub fn max_download(&self) -> ByteSize {
        ByteSize(self.size().0 / 2 * 3 + 64 * MIB)
    }

    /// Returns the most disk space that the unpacked files may take: twice the size of the archive plus 256 MiB. JPEGs
    /// hardly become smaller in an archive.
    pub fn max_unpacked(&self) -> ByteSize {
        ByteSize(2 * self.size().0 + 256 * MIB)
    }
}

/// Returns a list of all data sets as text: for each, a line with its name, size, number of pairs, contents and
/// direction, and a line with its source and terms of use.
pub fn table() -> String {
    let mut lines = vec![format!("Data sets of {SERVER}:")];
    for data_set in &DATA_SETS {
        let (DataSet { name, pairs, halves, direction, terms, .. }, size) = (data_set, data_set.size().to_string());
        lines.push(format!("  {name:<15} {size:>8}  about {pairs:>7} pairs  {halves:<18}  --direction {direction}"));
        lines.push(format!("  {:<15} {terms}", ""));
    }
    lines.push(String::new());
    lines.join("\n")
}
