//! One value for each side of a flow, for parsers that must tell the sides apart.

use crate::dataplane::flow::Side;

/// A value of the originator and one of the responder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sides<T> {
    originator: T,
    responder: T,
}

impl<T> Sides<T> {
    /// That of `side`.
    pub fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::Originator => &mut self.originator,
            Side::Responder => &mut self.responder,
        }
    }
}
