//! A connection's socket as hyper sees it: heads are looked at on their way in ([`super::heads`]), and a write that makes
//! no progress for a time is an error, because a client that asks and does not read must not keep its place for ever.

use super::heads::{Heads, Refusal};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;
/// What is read away after the last answer, and for how long: closing with unread bytes would reset the connection under
/// the answer.
const REST_BYTES: usize = 64 * 1024;
const REST_TIME: Duration = Duration::from_secs(1);

pub(super) struct Wire {
    stream: TcpStream,
    heads: Heads,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, stall_limit: Duration, refusal: Refusal) -> Wire {
        Wire { stream, heads: Heads::new(refusal), limit: stall_limit, stalled: None }
    }

    /// Has a head begun, and may an answer to it be written now?
    pub(super) fn waits_for_head(&self) -> bool {
        self.heads.is_inside_head() && self.may_be_told()
    }

    /// May an answer be written now?
    pub(super) fn may_be_told(&self) -> bool {
        self.stalled.is_none()
    }

    /// Ends the connection so that the client can read the last answer.
    pub(super) async fn close(self) {
        if self.heads.has_rest() {
            close(self.stream, b"").await;
        }
    }

    /// Ends the connection with `answer` as the last one.
    pub(super) async fn close_with(self, answer: &[u8]) {
        close(self.stream, answer).await;
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.limit;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        match sleep.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Writes `answer`, says that it was the last, and reads away what the client still sends, all within a limit of time.
pub(super) async fn close(mut stream: TcpStream, answer: &[u8]) {
    let closing = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        let mut left = REST_BYTES;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    // The client may have gone; nobody is left to be told.
    let _ = tokio::time::timeout(REST_TIME, closing).await;
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        loop {
            let ready = wire.heads.ready();
            if !ready.is_empty() {
                let count = ready.len().min(buffer.remaining());
                buffer.put_slice(&ready[..count]);
                wire.heads.consume(count);
                return Poll::Ready(Ok(()));
            }
            if wire.heads.is_refused() {
                // The connection ends when the refusal is written; until then there is nothing to learn here.
                return Poll::Pending;
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut wire.stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    wire.heads.end();
                    if wire.heads.ready().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Ok(())) => wire.heads.push(read.filled()),
                other => return other,
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, outcome)
    }
}
