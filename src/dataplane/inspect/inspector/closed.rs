//! What a protocol tells when its connection is closed, where nobody waits for the flow's end, seconds later.

use super::super::protocol::Protocol;
use super::{Direction, FlowKey, Inspector, Out, Sink, Timestamp, facts_of, nothing};

impl Inspector {
    /// Both sides have closed the flow in this slot, or one has cut it off: tells what is known by that and would be told with its end
    /// otherwise. Of SSH alone: how many guesses a session held ([`Parse::closed`](super::super::parse::Parse::closed)).
    #[cold]
    pub fn closed(
        &mut self,
        slot: u32,
        key: &FlowKey,
        originator: Direction,
        times: [Timestamp; 2],
        sink: &mut impl Sink,
    ) {
        let Some(place) = self.places.get(slot as usize) else { return };
        let Some(entry) = self.entries.get_mut(*place as usize) else { return };
        let protocol = entry.parser.told();
        if protocol != Protocol::Ssh {
            return;
        }
        let originator = if entry.is_turned { originator.flip() } else { originator };
        let payload = nothing(slot, key, originator, times);
        let facts = facts_of(entry, &mut self.saved, &mut self.scratch);
        let source = entry.proxied.source;
        self.allowances.begin(entry.allowance, entry.share);
        let mut out =
            Out::new(facts, sink, &mut self.counts, &mut self.remembered, &mut self.allowances, &payload, protocol)
                .of(source);
        entry.parser.closed(&mut out);
        self.has_counted = true;
    }
}
