//! A walk over the flows that live, a few slots at a time.

use super::FlowTable;
use crate::dataplane::flow::record::FlowRecord;

impl FlowTable {
    /// Shows the flows in at most `slots` slots from `place` on, which is 0 at first and then as the call before left it, until
    /// `each` (slot and record) says `false`: that flow is shown again by the next call. `false`: all slots have been looked
    /// at. A flow has one slot for all its life, so one that lives from the first call to the last is shown once, whatever
    /// comes and goes beside it.
    pub fn walk(&self, place: &mut u32, slots: u32, mut each: impl FnMut(u32, &FlowRecord) -> bool) -> bool {
        let end = place.saturating_add(slots).min(self.settings.capacity);
        while *place < end {
            let record = self.records.get(*place as usize).filter(|record| record.is_live());
            if record.is_some_and(|record| !each(*place, record)) {
                return true;
            }
            *place += 1;
        }
        *place < self.settings.capacity
    }
}
