//! The arguments of `pixtape data fetch`.

use std::path::PathBuf;

use clap::Args;

use crate::base::bytes::ByteSize;
use crate::prepare::fetch::Request;
use crate::prepare::fetch::table;

const EXAMPLE: &str = "\
Example: the facades into data/facades, and a training on them
  pixtape data fetch facades
  pixtape train --data data/facades --direction b-to-a";

/// Fetch one of the public Pix2Pix data sets; without a name, list them
///
/// Downloads the archive, checks it and unpacks it into DIR/NAME with train/, val/ and test/. A download that was
/// stopped goes on where it was. The SHA-256 of the archive is recorded in DIR/fetched.toml the first time and compared
/// every later time. The data sets belong to their authors, under the terms listed below.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{}\n{EXAMPLE}", table()))]
pub struct FetchArgs {
    /// One of the names below, or any name with --url.
    pub name: Option<String>,

    /// Folder of all fetched data sets.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub out: PathBuf,

    /// Address of the archive, a .tar.gz: a mirror, or a data set of your own.
    #[arg(long, requires = "name")]
    pub url: Option<String>,

    /// The SHA-256 that the archive must have, in hexadecimal; it replaces a recorded one.
    #[arg(long, value_name = "HEX", requires = "name")]
    pub sha256: Option<String>,

    /// The largest download, like 500M or 20G; for the data sets below one and a half times the listed size plus 64M,
    /// else 20G.
    #[arg(long, value_name = "SIZE", requires = "name")]
    pub max_download: Option<ByteSize>,

    /// The most space on the disk that the unpacked files may take; for the data sets below twice the listed size plus
    /// 256M, else ten times the download's size plus 1G.
    #[arg(long, value_name = "SIZE", requires = "name")]
    pub max_unpacked: Option<ByteSize>,
}

impl FetchArgs {
    pub fn request(self) -> Request {
        let FetchArgs { name, out, url, sha256, max_download, max_unpacked } = self;
        Request { name, out, url, sha256, max_download, max_unpacked }
    }
}
