//! A small blocking HTTP/1.1 client that shows everything of an answer.
#![allow(dead_code)] // each test binary uses its own part

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A kept connection.
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("answers are UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|cause| panic!("{cause}: {:?}", self.text()))
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP option");
        Client { address, stream: BufReader::new(stream) }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.write(method, path, headers, body);
        self.read(method == "HEAD").expect("an answer")
    }

    /// Writes a request; `Host` is added unless it is among `headers`.
    pub fn write(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("content-length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body;
        self.stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// Says that nothing more will be written.
    pub fn end(&mut self) {
        self.stream.get_mut().shutdown(std::net::Shutdown::Write).expect("the connection is open");
    }

    /// One line without its end; `None` at the end of the stream.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Status and headers.
    pub fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => return Some((status, headers)),
            }
        }
    }

    /// An answer with its body, by length or in chunks; `None` where the connection ended first.
    pub fn read(&mut self, head_only: bool) -> Option<Answer> {
        let (status, headers) = self.head()?;
        let find = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let mut body = Vec::new();
        if head_only || status == 304 || status == 204 {
        } else if let Some(length) = find("content-length") {
            body = vec![0; length.parse().ok()?];
            self.stream.read_exact(&mut body).ok()?;
        } else if find("transfer-encoding") == Some("chunked") {
            while let Some(mut chunk) = self.chunk() {
                body.append(&mut chunk);
            }
        }
        Some(Answer { status, headers, body })
    }

    /// One chunk of a chunked body; `None` after the last.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(self.line()?.trim(), 16).ok()?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk).ok()?;
        self.line()?;
        (length > 0).then_some(chunk)
    }
}

/// A server-sent event.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
    pub comment: String,
}

/// A stream of events over a chunked answer.
pub struct Events {
    client: Client,
    text: String,
}

impl Events {
    /// Opens a stream; panics unless it is answered 200.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut client = Client::connect(address);
        client.write("GET", path, headers, "");
        let (status, headers) = client.head().expect("an answer");
        assert_eq!(status, 200, "{headers:?}");
        assert!(headers.contains(&("content-type".into(), "text/event-stream".into())), "{headers:?}");
        Events { client, text: String::new() }
    }

    /// The next event or comment; `None` when the server ended the stream.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event::default();
                for line in block.lines() {
                    let (field, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match field {
                        "event" => event.name = value.into(),
                        "id" => event.id = value.into(),
                        "data" => event.data += value,
                        "" => event.comment = value.into(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = self.client.chunk()?;
            self.text += std::str::from_utf8(&chunk).expect("events are UTF-8");
        }
    }

    /// The next alert's event.
    pub fn next_alert(&mut self) -> Option<Event> {
        loop {
            let event = self.next()?;
            if event.name == "alert" {
                return Some(event);
            }
        }
    }
}
