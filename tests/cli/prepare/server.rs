//! A web server in a thread that answers as it is told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
pub struct Request {
    /// Number of the request, from 0.
    pub number: usize,
    pub path: String,
    /// Headers under lower-case names.
    pub headers: HashMap<String, String>,
}

pub struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Number of bytes of the body after which the connection breaks.
    cut: usize,
    /// True if the length of the body is sent before it.
    says_length: bool,
}

impl Server {
    /// Answers until the program of the tests ends.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream, seen.lock().unwrap().len());
                seen.lock().unwrap().push(request.clone());
                // Errors of a client that disconnects are ignored.
                let _ = answer(&request).write(&mut stream);
            }
        });
        Server { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream, number: usize) -> Request {
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    Request { number, path, headers: headers.collect() }
}

impl Reply {
    pub fn status(status: &'static str) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), cut: usize::MAX, says_length: true }
    }

    /// The whole file, without regard to the requested range.
    pub fn whole(file: &[u8]) -> Reply {
        Reply { body: file.to_vec(), ..Reply::status("200 OK") }
    }

    /// The answer of a server with ranges about a file of this entity tag.
    pub fn file(request: &Request, file: &[u8], tag: &str) -> Reply {
        let is_same = request.headers.get("if-range").is_none_or(|known| known == tag);
        let reply = if is_same { Reply::part(request, file) } else { Reply::whole(file) };
        reply.with("ETag", tag.to_owned())
    }

    /// The requested part, else the whole, without regard to the version.
    pub fn part(request: &Request, file: &[u8]) -> Reply {
        let Some(range) = request.headers.get("range") else { return Reply::whole(file) };
        let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
        if from >= file.len() {
            let range = format!("bytes */{}", file.len());
            return Reply::status("416 Range Not Satisfiable").with("Content-Range", range);
        }
        let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
        Reply { body: file[from..].to_vec(), ..Reply::status("206 Partial Content") }.with("Content-Range", range)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    pub fn cut(self, cut: usize) -> Reply {
        Reply { cut, ..self }
    }

    pub fn without_length(self) -> Reply {
        Reply { says_length: false, ..self }
    }

    fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", self.status);
        if self.says_length {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(&self.body[..self.cut.min(self.body.len())])?;
        stream.flush()?;
        // The connection stays open until the client has read everything: closing it earlier would discard the rest.
        stream.shutdown(std::net::Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}
