//! Recognition, by their first bytes, of files that are given as weights and have another format.

use std::path::Path;

use crate::base::words::shortened;

/// Number of bytes at the beginning of a file that are read to recognise its format.
pub const START: u64 = 512;

/// Largest size of a header, in bytes, that the safetensors format allows.
pub const LARGEST_HEADER: u64 = 100_000_000;

/// True if a file that begins with `start` may be a safetensors file: 8 bytes with the length of the header, a
/// little-endian integer of at most [`LARGEST_HEADER`], then the header, JSON that begins with `{`. Files of other
/// formats are told apart by these 8 bytes, which are a far greater integer there. False for fewer than 8 bytes.
pub fn is_safetensors(start: &[u8]) -> bool {
    let Some((length, header)) = start.split_first_chunk() else { return false };
    u64::from_le_bytes(*length) <= LARGEST_HEADER && matches!(header, [] | [b'{', ..])
}

/// True if a file that begins with `start` may be one that `torch.save` has written: a zip archive, or a pickle of the
/// protocols 2 to 5.
pub fn is_torch_save(start: &[u8]) -> bool {
    matches!(start, [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..]) && !is_safetensors(start)
}

/// Returns the format of a file that begins with `start` and is no safetensors file, in words and with advice: a file
/// of `torch.save`, a Git LFS pointer, a web page, other text, an archive, a picture. `None` if the format is unknown.
/// `path` is named in the advice.
pub fn describe_format(start: &[u8], path: &Path) -> Option<String> {
    let text = text(start);
    let begins = |marks: &[&str]| {
        let lower = text.unwrap_or_default().trim_start().to_ascii_lowercase();
        marks.iter().any(|mark| lower.starts_with(mark))
    };
    Some(if start.is_empty() {
        "an empty file: its download or copy has failed, get it again".to_owned()
    } else if is_torch_save(start) {
        let out = path.with_extension("safetensors");
        format!("one of torch.save: import it first, `pixtape import {} --out {}`", path.display(), out.display())
    } else if begins(&["version https://git-lfs.github.com/"]) {
        let size = text.and_then(|text| text.lines().find_map(|line| line.strip_prefix("size ")));
        let size = size.map_or(String::new(), |size| format!(" of {} bytes", shortened(size)));
        format!(
            "a Git LFS pointer, which stands for a file{size}: fetch that with `git lfs pull`, or from the web page of \
             its repository"
        )
    } else if begins(&["<!doctype html", "<html", "<head", "<!--", "<?xml"]) {
        "a web page (HTML or XML), which servers send instead of a file that needs a login or was asked for too often: \
         open its address in a browser and save the file there"
            .to_owned()
    } else if let Some(line) = text.and_then(|text| text.lines().find(|line| !line.trim().is_empty())) {
        format!("text, which begins with \"{}\": get the file of the weights itself", shortened(line.trim()))
    } else if start.starts_with(&[0x1F, 0x8B]) {
        "a gzip archive: unpack it first".to_owned()
    } else if start.starts_with(b"\x89HDF") {
        "an HDF5 file, as Keras writes them: only weights of PyTorch are read".to_owned()
    } else if image::guess_format(start).is_ok() {
        "a picture: give the file of the weights".to_owned()
    } else {
        return None;
    })
}

/// The text in `start`, which may end within a character; `None` if it is not text.
fn text(start: &[u8]) -> Option<&str> {
    let text = match str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => str::from_utf8(&start[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_text = |character: char| !character.is_control() || character.is_ascii_whitespace();
    (!text.is_empty() && text.chars().all(is_text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_weights_is_named_with_its_cure() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 217704720\n";
        for (start, words) in [
            (&b""[..], ["an empty file", "get it again"]),
            (b"PK\x03\x04....", ["torch.save", "`pixtape import net.pth --out net.safetensors`"]),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", ["torch.save", "import it first"]),
            (lfs, ["a Git LFS pointer, which stands for a file of 217704720 bytes", "`git lfs pull`"]),
            (b"\n <!DOCTYPE html><html>", ["a web page", "browser"]),
            (b"\xEF\xBB\xBF<HTML>", ["a web page", "browser"]),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", ["a web page", "login"]),
            (b"404: Not Found", ["text, which begins with \"404: Not Found\"", "weights itself"]),
            (b"{\"message\": \"\xC3", ["text, which begins with \"{\"message\": \"\"", "weights itself"]),
            (b"\x1F\x8B\x08\0", ["gzip", "unpack"]),
            (b"\x89HDF\r\n\x1a\n", ["HDF5", "PyTorch"]),
            (b"\x89PNG\r\n\x1a\n", ["a picture", "weights"]),
        ] {
            let found = describe_format(start, Path::new("net.pth")).unwrap_or_default();
            assert!(words.iter().all(|word| found.contains(word)), "{start:?}: {found}");
        }
        assert_eq!(describe_format(&[0xFF, 0, 3], Path::new("net.pth")), None);
    }

    /// The length of a header may have the first bytes of a pickle.
    #[test]
    fn a_header_of_any_length_is_one_of_safetensors() {
        for length in [0x280_u64, 0x5580, 2, LARGEST_HEADER] {
            let start = [&length.to_le_bytes()[..], b"{\"x\""].concat();
            assert!(is_safetensors(&start) && !is_torch_save(&start), "{length}");
        }
        assert!(!is_safetensors(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9"));
        assert!(!is_safetensors(&[&9_u64.to_le_bytes()[..], b"x"].concat()));
    }
}
