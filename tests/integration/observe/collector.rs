//! A private OpenTelemetry collector for a test: accepts OTLP over HTTP, and keeps the spans.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// The longest to wait for a span.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running collector; it ends with the test.
pub(super) struct Collector {
    /// What `proxy.otel.endpoint` is set to.
    pub url: String,
    posts: Receiver<Post>,
    seen: Vec<Span>,
    /// All that came over the wire, head and body.
    pub raw: Vec<u8>,
}

struct Post {
    head: String,
    body: Vec<u8>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, posts) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                // Ends with the connection.
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { url, posts, seen: Vec::new(), raw: Vec::new() }
    }

    /// Waits for a wanted span; earlier ones count too.
    ///
    /// # Panics
    /// If none arrives.
    pub(super) fn wait_for(&mut self, wanted: impl Fn(&Span) -> bool) -> Span {
        let begun = Instant::now();
        loop {
            if let Some(span) = self.seen.iter().find(|span| wanted(span)) {
                return span.clone();
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let Ok(post) = self.posts.recv_timeout(left) else {
                let names: Vec<&str> = self.seen.iter().map(|span| span.name.as_str()).collect();
                panic!("the span does not come; there were {names:?}");
            };
            self.take(post);
        }
    }

    /// Every span that came so far.
    #[must_use]
    pub(super) fn spans(&self) -> &[Span] {
        &self.seen
    }

    fn take(&mut self, post: Post) {
        assert!(post.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", post.head);
        assert!(
            post.head.to_ascii_lowercase().contains("content-type: application/x-protobuf"),
            "{}",
            post.head
        );
        let request = ExportTraceServiceRequest::decode(&post.body[..]).expect("OTLP in protobuf");
        for resource in &request.resource_spans {
            let about = resource.resource.as_ref().expect("a resource");
            let name = about.attributes.iter().find(|attribute| attribute.key == "service.name");
            let value = name.and_then(|name| name.value.as_ref()?.value.clone());
            assert_eq!(value, Some(Value::StringValue("proxyd".into())));
        }
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.seen.extend(scopes.flat_map(|scope| scope.spans));
        self.raw.extend(post.head.into_bytes());
        self.raw.extend(post.body);
    }
}

/// An attribute of a span as text.
#[must_use]
pub(super) fn attribute(span: &Span, key: &str) -> Option<String> {
    let held = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match held.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn serve(stream: TcpStream, sender: &Sender<Post>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).is_ok_and(|read| read == 0) {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            head.push_str(&line);
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() || sender.send(Post { head, body }).is_err() {
            return;
        }
        if reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
