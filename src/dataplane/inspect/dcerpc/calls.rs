//! Interfaces that are bound, by connection or pipe, and the calls of them.

use super::{
    BOUND_MAX, BY_PIPE, CALL, CONTEXTS, HEADER, Header, INTERFACE, OFFERED_MAX, OPERATION, OPERATION_NUMBER, REQUEST,
    REQUEST_BYTES, RESPONSE, RPC_VERSION, UUID, UUID_VERSION, answer, call_name, half, in_wire_order, interfaces,
    kind_name, trailer, wire_of, word,
};
use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::facts::Facts;
use crate::dataplane::inspect::wide::{guid, printed};

/// A context that is bound, or a pipe whose name tells what it is for.
#[derive(Clone, Copy, Default)]
struct Bound {
    /// Which pipe; 0 for a connection of its own.
    channel: u16,
    /// Its number, below [`UNBOUND`].
    context: u8,
    /// Index of the interface, plus one, and perhaps [`NAMED`]; 0 is a free place.
    interface: u8,
}

/// In the place of a context's number: the pipe's name alone tells of the interface.
const UNBOUND: u8 = 0xff;
/// The pipe is named as the interface is.
const NAMED: u8 = 0x80;

const _: () = assert!(interfaces::INTERFACES.len() < NAMED as usize);

impl Bound {
    fn is_named(&self) -> bool {
        self.interface & NAMED != 0
    }
}

/// What a fragment was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A request: its answer is still to come.
    Request,
    /// The answer to the request that was open, or to another one.
    Answer,
    /// A further fragment, or one that says nothing.
    Other,
}

/// Bytes of a context in front of its transfer syntaxes, and of one of these (C706 section 12.6.3.1: `p_cont_elem_t`).
const ELEMENT: u16 = 24;
const SYNTAX: u16 = 20;
/// Where the UUID of a context stands.
const UUID_AT: std::ops::Range<u16> = 4..20;

/// The place in a list of contexts whose rest is to come in further writes to the pipe.
#[derive(Clone, Copy, Default)]
struct Cut {
    channel: u16,
    /// Bytes of the context in hand that were read.
    place: u16,
    /// Contexts to come, with the one in hand; 0: nothing is.
    left: u8,
    /// Of the one in hand: its number, its transfer syntaxes, and the first interface (index, plus one) whose UUID begins with
    /// what was read of it.
    context: u8,
    syntaxes: u8,
    candidate: u8,
    is_big_endian: bool,
}

/// Interfaces bound and the call that is open; also the part of an SMB flow that reads its pipes.
#[derive(Clone, Copy, Default)]
pub struct Calls {
    bound: [Bound; BOUND_MAX],
    next: u8,
    is_open: bool,
    open: u32,
    cut: Cut,
}

const _: () = assert!(size_of::<Calls>() <= 36);

impl Calls {
    /// Is this no part of the call that is open?
    pub(super) fn begins_another(&self, header: Header) -> bool {
        let is_request = matches!(header.kind, 0 | 11 | 14);
        header.flags & 1 != 0 && self.is_open && (is_request || self.open != header.call)
    }

    /// Reads a fragment (the first bytes of it suffice) that `header` begins, and puts what it says.
    pub fn fragment(&mut self, channel: u16, header: Header, bytes: &[u8], facts: &mut Facts) -> Seen {
        // First fragments alone say something (C706 section 12.6.3.1: PFC_FIRST_FRAG).
        if header.flags & 1 == 0 {
            return Seen::Other;
        }
        let mut reader = Reader::new(bytes);
        reader.take(HEADER);
        match header.kind {
            0 | 11 | 14 => {
                (self.is_open, self.open) = (true, header.call);
                facts.put_number(CALL, u64::from(header.call));
                facts.put(RPC_VERSION, printed::<8>(format_args!("5.{}", header.minor)).as_bytes());
                facts.put(REQUEST, kind_name(header.kind).as_bytes());
                if header.kind == 0 {
                    self.request(channel, header, reader, facts);
                } else {
                    let is_whole = bytes.len() >= usize::from(header.length);
                    if self.bind(channel, header, reader, facts).is_none() || self.cut.left > 0 {
                        facts.mark_truncated();
                    }
                    if is_whole {
                        self.cut.left = 0;
                    }
                    trailer(header, bytes, facts);
                }
                Seen::Request
            }
            2 | 3 | 12 | 13 | 15 => {
                self.is_open = false;
                facts.put_number(CALL, u64::from(header.call));
                facts.put(RESPONSE, kind_name(header.kind).as_bytes());
                answer(header, reader, facts);
                trailer(header, bytes, facts);
                Seen::Answer
            }
            16 => {
                trailer(header, bytes, facts);
                Seen::Other
            }
            _ => Seen::Other,
        }
    }

    /// The list of contexts of a bind (C706 section 12.6.4.3).
    fn bind(&mut self, channel: u16, header: Header, mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
        self.cut = Cut::default();
        reader.take(8)?;
        let left = reader.u8()?;
        reader.take(3)?;
        facts.put_number(CONTEXTS, u64::from(left));
        self.cut = Cut { channel, left, is_big_endian: header.is_big_endian, ..Cut::default() };
        self.contexts(reader, Some(facts), left <= OFFERED_MAX);
        Some(())
    }

    /// Is what is written to this pipe next the rest of a bind?
    pub fn goes_on(&self, channel: u16) -> bool {
        self.cut.left > 0 && self.cut.channel == channel
    }

    /// Reads on in a bind that earlier writes to its pipe began. `facts`: of its event, where that is still open.
    pub fn go_on(&mut self, bytes: &[u8], facts: Option<&mut Facts>) {
        self.contexts(Reader::new(bytes), facts, false);
    }

    /// What comes next of a bind will not be shown.
    pub fn break_off(&mut self) {
        self.cut.left = 0;
    }

    /// Contexts from `self.cut` on, as far as there are bytes. `tells_unknown`: of interfaces without a name too.
    fn contexts(&mut self, mut reader: Reader<'_>, mut facts: Option<&mut Facts>, tells_unknown: bool) {
        while self.cut.left > 0 {
            if self.cut.place == 0 && reader.rest().len() >= usize::from(ELEMENT) {
                self.context(&mut reader, facts.as_deref_mut(), tells_unknown);
            } else if self.cut.place < ELEMENT {
                let Some(byte) = reader.u8() else { return };
                self.byte(byte);
            }
            if self.cut.place >= ELEMENT {
                let end = ELEMENT + SYNTAX * u16::from(self.cut.syntaxes); // at most 5124
                let here = usize::from(end - self.cut.place).min(reader.rest().len());
                reader.take(here);
                self.cut.place += here as u16; // at most `end`
                if self.cut.place < end {
                    return;
                }
                (self.cut.place, self.cut.left) = (0, self.cut.left - 1);
            }
        }
    }

    /// A context of which all is there but perhaps its transfer syntaxes.
    fn context(&mut self, reader: &mut Reader<'_>, facts: Option<&mut Facts>, tells_unknown: bool) -> Option<()> {
        let (channel, is_big_endian) = (self.cut.channel, self.cut.is_big_endian);
        self.cut.place = ELEMENT;
        let context = half(reader, is_big_endian)?;
        self.cut.syntaxes = reader.u8()?;
        reader.take(1)?;
        let uuid = in_wire_order(reader.array()?, is_big_endian);
        let (major, minor) = (half(reader, is_big_endian)?, half(reader, is_big_endian)?);
        let known = interfaces::find(uuid);
        self.remember(channel, context, known);
        let facts = facts.filter(|_| tells_unknown || known.is_some())?;
        facts.put(UUID, guid(uuid).as_bytes());
        facts.put(UUID_VERSION, printed::<16>(format_args!("{major}.{minor}")).as_bytes());
        facts.put(INTERFACE, known.and_then(interfaces::at).map_or("unknown", |one| one.name).as_bytes());
        Some(())
    }

    /// The next byte of a context that is in two writes.
    fn byte(&mut self, byte: u8) {
        let cut = &mut self.cut;
        match (cut.place, cut.is_big_endian) {
            (0, _) => (cut.context, cut.candidate) = (byte, 1),
            // The other half of its number: above 255 it is not remembered.
            (1, false) if byte != 0 => cut.context = UNBOUND,
            (1, true) => cut.context = if cut.context == 0 { byte } else { UNBOUND },
            (2, _) => cut.syntaxes = byte,
            (place, is_big_endian) if UUID_AT.contains(&place) => {
                let place = usize::from(place - UUID_AT.start);
                cut.candidate = interfaces::narrow(cut.candidate, place, byte, is_big_endian);
            }
            _ => {}
        }
        cut.place += 1;
        if cut.place == ELEMENT {
            let (channel, context, candidate) = (cut.channel, cut.context, cut.candidate);
            self.remember(channel, u16::from(context), candidate.checked_sub(1));
        }
    }

    /// `context` means this interface from here on.
    pub(super) fn remember(&mut self, channel: u16, context: u16, known: Option<u8>) {
        let Some(context) = u8::try_from(context).ok().filter(|context| *context != UNBOUND) else { return };
        for one in self.bound.iter_mut().filter(|one| one.channel == channel && one.context == context) {
            *one = if one.is_named() { Bound { context: UNBOUND, ..*one } } else { Bound::default() };
        }
        let Some(interface) = known.map(|index| index.saturating_add(1)) else { return };
        let is_its_own =
            |one: &&mut Bound| (one.channel, one.context, one.interface) == (channel, UNBOUND, interface | NAMED);
        match self.bound.iter_mut().find(is_its_own) {
            Some(one) => one.context = context,
            None => self.place(Bound { channel, context, interface }),
        }
    }

    /// A pipe was opened under this name; what was bound over its handle before is over.
    pub fn opened(&mut self, channel: u16, name: &[u8]) {
        for one in self.bound.iter_mut().filter(|one| one.channel == channel) {
            *one = Bound::default();
        }
        if self.cut.channel == channel {
            self.break_off();
        }
        if let Some(index) = interfaces::of_pipe(name) {
            self.place(Bound { channel, context: UNBOUND, interface: index.saturating_add(1) | NAMED });
        }
    }

    /// The oldest makes room, but not a pipe's name for what is bound over that pipe: of those there may be many.
    fn place(&mut self, bound: Bound) {
        if let Some(free) = self.bound.iter_mut().find(|one| one.interface == 0) {
            *free = bound;
            return;
        }
        for _ in 0..BOUND_MAX {
            let place = usize::from(self.next);
            self.next = (self.next + 1) % BOUND_MAX as u8;
            if let Some(place) = self.bound.get_mut(place)
                && !(place.is_named() && place.channel == bound.channel)
            {
                *place = bound;
                return;
            }
        }
    }

    /// C706 section 12.6.4.9.
    fn request(&mut self, channel: u16, header: Header, mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
        let bytes = word(&mut reader, header.is_big_endian)?;
        let (context, number) = (half(&mut reader, header.is_big_endian)?, half(&mut reader, header.is_big_endian)?);
        facts.put_number(REQUEST_BYTES, u64::from(bytes));
        facts.put_number(OPERATION_NUMBER, u64::from(number));
        let context = u8::try_from(context).unwrap_or(UNBOUND);
        let of_channel = || self.bound.iter().filter(|one| one.interface != 0 && one.channel == channel);
        let bound = of_channel().find(|one| one.context == context && context != UNBOUND);
        let named = of_channel().find(|one| one.is_named());
        let index = (bound.or(named)?.interface & !NAMED).checked_sub(1)?;
        let interface = interfaces::at(index)?;
        facts.put(UUID, guid(wire_of(interface.uuid)).as_bytes());
        facts.put(INTERFACE, interface.name.as_bytes());
        if bound.is_none() {
            facts.put_number(BY_PIPE, 1);
        }
        facts.put(OPERATION, call_name(index, number)?.as_bytes());
        Some(())
    }

    /// Pipes of the contexts that are remembered.
    #[cfg(test)]
    pub(super) fn channels(&self) -> [u16; BOUND_MAX] {
        self.bound.map(|one| one.channel)
    }
}
