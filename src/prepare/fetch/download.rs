//! Download of a file over HTTP, resumed as often as the connection breaks.
//!
//! The bytes that have arrived lie in a file of their own, and beside it the server's word for this version of the
//! file: its entity tag or its date, and the length of the whole. A later request asks for the rest on the condition
//! that this is still the version (`If-Range`), and what a server sends all the same of another version or length is
//! not taken, so parts of two versions are never put together; a server that knows no ranges sends the whole again.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, StatusCode, header},
};

use crate::base::bytes::ByteSize;
use crate::base::files::{read_text, with_ending};
use crate::base::progress::{Progress, say};

/// Attempts in a row without a new byte after which the download fails.
const ATTEMPTS: u32 = 5;

/// Pause before the second attempt; it doubles for each later one.
const PAUSE: Duration = Duration::from_millis(500);

/// Timeout of a connection, and of each read.
const SILENCE: Duration = Duration::from_secs(60);

/// The two files of a download that may not be complete: the bytes that have arrived, and beside them a note with the
/// URL, version and length of the whole, which a later call needs to resume it.
pub struct Partial {
    path: PathBuf,
    about: PathBuf,
}

/// Origin of the bytes: the file and its version.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    url: String,
    /// The entity tag, else the date, as the server wrote it.
    version: String,
    /// Length of the whole file, if the server gave it.
    total: Option<u64>,
}

impl Partial {
    pub fn new(path: PathBuf) -> Partial {
        let about = with_ending(&path, ".toml");
        Partial { path, about }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes both files of the download, so that it can no longer be resumed. Missing files are no error.
    ///
    /// # Errors
    /// When one exists and cannot be deleted.
    pub fn remove(&self) -> Result<()> {
        for path in [&self.path, &self.about] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn cannot_write(&self) -> String {
        let path = self.path.display();
        format!("cannot write {path}: what has arrived is kept, and the same command goes on from there")
    }

    fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// The number of bytes that are there of the file at `url`, and the note on them.
    fn begun(&self, url: &str) -> Option<(u64, About)> {
        // An unreadable note counts as none: the download starts over.
        let about: About = toml::from_str(&read_text(&self.about).ok()?).ok()?;
        (about.url == url && self.len() > 0).then(|| (self.len(), about))
    }

    /// An empty file for `version`, or for a file to which the server gives no version.
    fn restart(&self, url: &str, version: Option<String>, total: Option<u64>) -> Result<File> {
        self.remove()?;
        let cannot = || format!("cannot write {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).with_context(cannot)?;
        }
        let file = File::create(&self.path).with_context(cannot)?;
        if let Some(version) = version {
            let about = About { url: url.to_owned(), version, total };
            fs::write(&self.about, toml::to_string(&about)?).with_context(cannot)?;
        }
        Ok(file)
    }
}

/// The reason why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(anyhow::Error),
    /// The bytes that have arrived are of no use, and another attempt starts over.
    StartOver(&'static str),
    Final(anyhow::Error),
}

/// Message for a file that has changed on the server since the download was begun.
const CHANGED: &str = "the server has another file by now";

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Final(error)
    }
}

/// Downloads the file at `url` into the file of `partial`, going on with what an earlier call for the same `url` has
/// left there. A broken connection is tried again. The file may have at most `most` bytes; `what` names the download on
/// the terminal.
///
/// # Errors
/// When `url` is not of HTTP or HTTPS, the server refuses, the file is larger than `most`, several attempts in a row
/// bring nothing new, or the file cannot be written. The bytes that have arrived are kept for the next call.
pub fn download(url: &str, partial: &Partial, what: &str, most: ByteSize) -> Result<()> {
    let is_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    ensure!(is_web, "{url} is no address that begins with https:// or http://");
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        // A redirect must not lead from https to http.
        .https_only(url.starts_with("https://"))
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .new_agent();
    let (mut longest, mut left) = (partial.begun(url).map_or(0, |(length, _)| length), ATTEMPTS);
    let mut restarts = 0;
    loop {
        let error = match attempt(&agent, url, partial, what, most) {
            Ok(()) => return Ok(()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => error,
            Err(Failure::StartOver(why)) => {
                partial.remove()?;
                longest = 0;
                // Mirrors with different versions behind one address could cause restarts without end.
                restarts += 1;
                ensure!(
                    restarts < ATTEMPTS,
                    "cannot download {url}: {why} ({restarts} times; name a mirror with --url)"
                );
                anyhow!("{why}: what has arrived is dropped, and the download starts over")
            }
        };
        let arrived = partial.len();
        if arrived > longest {
            (longest, left) = (arrived, ATTEMPTS);
        }
        left -= 1;
        if left == 0 {
            let hint = "what has arrived is kept: try again later, or name a mirror with --url";
            bail!("cannot download {url}: {error:#} ({ATTEMPTS} attempts; {hint})");
        }
        say(&format!("{what}: {error:#}; trying again"));
        thread::sleep(PAUSE * 2_u32.pow(ATTEMPTS - 1 - left));
    }
}

fn attempt(agent: &Agent, url: &str, partial: &Partial, what: &str, most: ByteSize) -> Result<(), Failure> {
    let begun = partial.begun(url);
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if let Some((length, about)) = &begun {
        request = request.header(header::RANGE, format!("bytes={length}-")).header(header::IF_RANGE, &about.version);
    }
    let response = request.call().map_err(|error| failed(url, error))?;
    let (status, headers) = (response.status(), response.headers());
    let within = |total: Option<u64>| match total {
        Some(total) if total > most.0 => Err(too_large(&format!("has {}", ByteSize(total)), most)),
        _ => Ok(()),
    };
    let (mut file, done, total) = match (status, begun) {
        (StatusCode::OK, begun) => {
            let total = length(headers);
            within(total)?;
            if begun.is_some() {
                say(&format!("{what}: the server sends all of it again, not the rest: the download starts over"));
            }
            (partial.restart(url, version(headers), total)?, 0, total)
        }
        (StatusCode::PARTIAL_CONTENT, Some((have, about))) => {
            let (from, total) = content_range(headers);
            if about.is_other(headers, total) {
                return Err(Failure::StartOver(CHANGED));
            }
            if from != Some(have) {
                return Err(Failure::StartOver("the server sends another part than was asked for"));
            }
            let total = total.or(about.total);
            within(total)?;
            let file = OpenOptions::new().append(true).open(&partial.path);
            (file.with_context(|| format!("cannot write {}", partial.path.display()))?, have, total)
        }
        // There is no rest: either all of it had arrived, or the file has changed.
        (StatusCode::RANGE_NOT_SATISFIABLE, Some((have, about))) => {
            let total = content_range(headers).1;
            if total == Some(have) && !about.is_other(headers, total) {
                return within(total);
            }
            return Err(Failure::StartOver(CHANGED));
        }
        _ => return Err(refused(url, status)),
    };
    let progress = Progress::for_bytes(what, done, total.unwrap_or(0));
    receive(response, &mut file, partial, most.0.saturating_sub(done), progress)?
        .then_some(())
        .ok_or_else(|| too_large("is larger", most))?;
    file.sync_all().with_context(|| partial.cannot_write())?;
    match total {
        Some(total) if partial.len() != total => {
            Err(Failure::Passing(anyhow!("the connection ended after {} of {total} bytes", partial.len())))
        }
        _ => Ok(()),
    }
}

impl About {
    /// True if a part that comes with `headers`, of a file of `total` bytes, is of another version than this one.
    fn is_other(&self, headers: &HeaderMap, total: Option<u64>) -> bool {
        let word = if self.version.starts_with('"') { header::ETAG } else { header::LAST_MODIFIED };
        let is_other_version = text(headers, word).is_some_and(|found| found.trim_start_matches("W/") != self.version);
        is_other_version || self.total.zip(total).is_some_and(|(known, found)| known != found)
    }
}

fn too_large(how: &str, most: ByteSize) -> Failure {
    Failure::Final(anyhow!(
        "the archive {how}, and the bound is {most}: where you trust it, --max-download SIZE raises it"
    ))
}

/// Appends the body of `response` to `file`, the file of `partial`. False if there are more than `most` bytes; `most`
/// of them are written.
fn receive(
    response: Response<Body>,
    file: &mut File,
    partial: &Partial,
    most: u64,
    progress: Progress,
) -> Result<bool, Failure> {
    let (mut body, mut buffer, mut left) = (response.into_body().into_reader(), vec![0; 1 << 16], most);
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(read) => {
                let taken = read.min(usize::try_from(left).unwrap_or(usize::MAX));
                file.write_all(&buffer[..taken]).with_context(|| partial.cannot_write())?;
                progress.advance(taken as u64);
                left -= taken as u64;
                if taken < read {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Passing(anyhow!(error).context("the connection broke"))),
        }
    }
}

/// The failure behind an error without an answer. Another attempt may succeed, unless the address or the server's
/// certificate is at fault.
fn failed(url: &str, error: ureq::Error) -> Failure {
    use ureq::Error::{BodyStalled, ConnectProxyFailed, ConnectionFailed, Io, Protocol, Timeout};
    let passes = match &error {
        Io(error) => may_pass(error),
        Timeout(_) | ConnectionFailed | ConnectProxyFailed(_) | Protocol(_) | BodyStalled => true,
        _ => false,
    };
    let error = anyhow::Error::from(error);
    match passes {
        true => Failure::Passing(error),
        false => Failure::Final(error.context(format!("cannot download {url}, and another attempt would not help"))),
    }
}

fn may_pass(error: &std::io::Error) -> bool {
    use ErrorKind::{InvalidData, InvalidInput, PermissionDenied, Unsupported};
    // The standard library has no kind for a failed name lookup, which may mean that the name does not exist or that no
    // name server answered.
    let text = error.to_string();
    if text.contains("failed to lookup address") {
        return text.contains("Temporary") || text.contains("Try again");
    }
    // Failures of TLS, such as a bad certificate, have the kind InvalidData.
    ![InvalidData, InvalidInput, PermissionDenied, Unsupported].contains(&error.kind())
}

fn refused(url: &str, status: StatusCode) -> Failure {
    let passes =
        status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match passes {
        true => Failure::Passing(anyhow!("the server answers {status}")),
        false => {
            Failure::Final(anyhow!("{url}: the server answers {status}; --url names another address of the archive"))
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The version of the file by the server's headers. A weak tag, which begins with W, does not promise equal bytes.
fn version(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, header::ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// The first byte and the length of the whole, of `bytes FIRST-LAST/LENGTH` or `bytes */LENGTH`.
fn content_range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let Some(range) = text(headers, header::CONTENT_RANGE).and_then(|value| value.strip_prefix("bytes ")) else {
        return (None, None);
    };
    let (part, length) = range.split_once('/').unwrap_or((range, ""));
    let first = part.split_once('-').and_then(|(first, _)| first.parse().ok());
    (first, length.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_another_attempt_cannot_mend_is_final() {
        use ureq::Error::{BadUri, HostNotFound, Io, RequireHttpsOnly, Timeout, TooManyRedirects};
        let lookup = |why: &str| Io(io::Error::other(format!("failed to lookup address information: {why}")));
        let of = |kind: ErrorKind| Io(io::Error::from(kind));
        let hopeless = [
            BadUri(String::new()),
            HostNotFound,
            RequireHttpsOnly("http://127.0.0.1".into()),
            TooManyRedirects,
            lookup("Name or service not known"),
            of(ErrorKind::InvalidData),
        ];
        let passing = [
            Timeout(ureq::Timeout::Connect),
            lookup("Temporary failure in name resolution"),
            of(ErrorKind::ConnectionRefused),
            of(ErrorKind::ConnectionReset),
            of(ErrorKind::UnexpectedEof),
        ];
        for (errors, is_final) in [(hopeless.into_iter().collect::<Vec<_>>(), true), (passing.into(), false)] {
            for error in errors {
                let text = error.to_string();
                assert_eq!(matches!(failed("", error), Failure::Final(_)), is_final, "{text}");
            }
        }
    }
}
