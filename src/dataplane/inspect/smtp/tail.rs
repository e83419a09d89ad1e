//! Where a mail ends that comes by `DATA`, for all servers or for some.

/// What a mail's bytes so far end with, as far as its end may follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tail {
    Text,
    /// A bare carriage return, so far.
    Return,
    /// A line feed without one, or anything odd that some take for the end of a line.
    Feed,
    /// The end of a line.
    Line,
    /// A dot behind the end of a line; whether it was one that all take for it.
    Dot(bool),
    /// And a carriage return behind that.
    DotReturn(bool),
}

impl Default for Tail {
    /// Of a mail of which nothing came.
    fn default() -> Tail {
        Tail::Line
    }
}

/// What a byte of a mail ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    Nothing,
    /// The mail, with this byte.
    Mail,
    /// The mail, for some servers, with this byte.
    Perhaps,
    /// The mail, for some servers, before this byte, which was not counted in.
    PerhapsBefore,
}

impl Tail {
    /// Goes on with these bytes, up to the first that ends something: where that is, and what it ends.
    pub(super) fn run(&mut self, bytes: &[u8]) -> (usize, Ends) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let ends = self.push(*byte);
            if ends != Ends::Nothing {
                return (at, ends);
            }
            at += 1;
            if *self == Tail::Text {
                // Within a line nothing but its end counts.
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            }
        }
        (at, Ends::Nothing)
    }

    /// Is there an end of the mail in `bytes`, for some or for all?
    pub(super) fn ends_in(mut self, bytes: &[u8]) -> bool {
        self.run(bytes).1 != Ends::Nothing
    }

    pub(super) fn push(&mut self, byte: u8) -> Ends {
        let (tail, ends) = match (*self, byte) {
            (Tail::DotReturn(true), b'\n') => (Tail::Line, Ends::Mail),
            (Tail::DotReturn(false) | Tail::Dot(_), b'\n') => (Tail::Feed, Ends::Perhaps),
            (Tail::DotReturn(_), _) => (Tail::Return, Ends::PerhapsBefore),
            (Tail::Dot(is_sure), b'\r') => (Tail::DotReturn(is_sure), Ends::Nothing),
            (Tail::Dot(_), 0) => (Tail::Dot(false), Ends::Nothing),
            (Tail::Return, b'\n') => (Tail::Line, Ends::Nothing),
            (_, b'\n') => (Tail::Feed, Ends::Nothing),
            (_, b'\r') => (Tail::Return, Ends::Nothing),
            (Tail::Line, b'.') => (Tail::Dot(true), Ends::Nothing),
            (Tail::Return | Tail::Feed, b'.') => (Tail::Dot(false), Ends::Nothing),
            (Tail::Line | Tail::Feed, 0) => (Tail::Feed, Ends::Nothing),
            _ => (Tail::Text, Ends::Nothing),
        };
        *self = tail;
        ends
    }
}
