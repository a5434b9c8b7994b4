//! A file over HTTP, however often the connection breaks.
//!
//! What has arrived lies in a file of its own, and beside it the server's word for this version of the file: its entity tag or its
//! date. A later request asks for the rest on the condition that this is still the version (`If-Range`), so parts of two
//! versions are never put together; a server that knows no ranges sends the whole again.

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

use crate::{
    files::with_ending,
    progress::{Progress, say},
};

/// Attempts in a row that bring nothing new.
const ATTEMPTS: u32 = 5;

/// Before the second attempt; twice as long before each later one.
const PAUSE: Duration = Duration::from_millis(500);

/// For a connection and for each read: a server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A download that may not be complete: a file, and what is known of it in another beside it.
pub struct Partial {
    path: PathBuf,
    about: PathBuf,
}

/// Which version of which file the bytes are of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    url: String,
    /// The entity tag, else the date, as the server wrote it.
    version: String,
}

impl Partial {
    pub fn new(path: PathBuf) -> Partial {
        let about = with_ending(&path, ".toml");
        Partial { path, about }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it.
    ///
    /// # Errors
    /// When it is there and stays there.
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

    fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// How many bytes there are of the file at `url`, and of which version.
    fn begun(&self, url: &str) -> Option<(u64, String)> {
        // An unreadable note is none: the download begins anew.
        let about: About = toml::from_str(&fs::read_to_string(&self.about).ok()?).ok()?;
        (about.url == url && self.len() > 0).then(|| (self.len(), about.version))
    }

    /// An empty file for `version`, or for one that the server has no word for.
    fn restart(&self, url: &str, version: Option<String>) -> Result<File> {
        self.remove()?;
        let cannot = || format!("cannot write {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).with_context(cannot)?;
        }
        let file = File::create(&self.path).with_context(cannot)?;
        if let Some(version) = version {
            fs::write(&self.about, toml::to_string(&About { url: url.to_owned(), version })?).with_context(cannot)?;
        }
        Ok(file)
    }
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(anyhow::Error),
    Final(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Final(error)
    }
}

/// Downloads `url` into `partial`, which is complete in the end. `what` is said to whoever watches.
///
/// # Errors
/// When the server refuses, several attempts in a row bring nothing new, or the file cannot be written. What has arrived
/// stays, for the next time.
pub fn download(url: &str, partial: &Partial, what: &str) -> Result<()> {
    let is_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    ensure!(is_web, "{url} is no address that begins with https:// or http://");
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        // No detour of a safe address over an unsafe one.
        .https_only(url.starts_with("https://"))
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .new_agent();
    let (mut most, mut left) = (partial.begun(url).map_or(0, |(length, _)| length), ATTEMPTS);
    loop {
        let error = match attempt(&agent, url, partial, what) {
            Ok(()) => return Ok(()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => error,
        };
        let arrived = partial.len();
        if arrived > most {
            (most, left) = (arrived, ATTEMPTS);
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

fn attempt(agent: &Agent, url: &str, partial: &Partial, what: &str) -> Result<(), Failure> {
    let begun = partial.begun(url);
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if let Some((length, version)) = &begun {
        request = request.header(header::RANGE, format!("bytes={length}-")).header(header::IF_RANGE, version);
    }
    let response = request.call().map_err(|error| Failure::Passing(error.into()))?;
    let (status, headers) = (response.status(), response.headers());
    let (mut file, done, total) = match (status, begun) {
        (StatusCode::OK, _) => (partial.restart(url, version(headers))?, 0, length(headers)),
        (StatusCode::PARTIAL_CONTENT, Some((have, _))) => {
            let (from, total) = content_range(headers);
            if from != Some(have) {
                partial.remove()?;
                return Err(Failure::Passing(anyhow!("the server sends another part than was asked for")));
            }
            let file = OpenOptions::new().append(true).open(&partial.path);
            (file.with_context(|| format!("cannot write {}", partial.path.display()))?, have, total)
        }
        // There is no rest: all of it had arrived, unless the file is another by now.
        (StatusCode::RANGE_NOT_SATISFIABLE, Some((have, _))) => {
            if content_range(headers).1 == Some(have) {
                return Ok(());
            }
            partial.remove()?;
            return Err(Failure::Passing(anyhow!("the server has another file than the one begun")));
        }
        _ => return Err(refused(url, status)),
    };
    receive(response, &mut file, Progress::of_bytes(what, done, total.unwrap_or(0)))?;
    file.sync_all().with_context(|| format!("cannot write {}", partial.path.display()))?;
    match total {
        Some(total) if partial.len() != total => {
            Err(Failure::Passing(anyhow!("the connection ended after {} of {total} bytes", partial.len())))
        }
        _ => Ok(()),
    }
}

/// Appends the body of `response` to `file`.
fn receive(response: Response<Body>, file: &mut File, progress: Progress) -> Result<(), Failure> {
    let (mut body, mut buffer) = (response.into_body().into_reader(), vec![0; 1 << 16]);
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                file.write_all(&buffer[..read]).context("cannot write the download")?;
                progress.advance(read as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Passing(anyhow!(error).context("the connection broke"))),
        }
    }
}

fn refused(url: &str, status: StatusCode) -> Failure {
    let passes =
        status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match passes {
        true => Failure::Passing(anyhow!("the server answers {status}")),
        false => {
            Failure::Final(anyhow!("{url}: the server answers {status}; --url names another place of the archive"))
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The server's word for this version of the file. A weak tag promises no equal bytes.
fn version(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, header::ETAG).filter(|tag| !tag.starts_with("W/"));
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
