//! What follows a burst: expiry, scoring, windows, watermark, snapshot; and the end.

use super::Core;
use crate::dataplane::capture::BURST_MAX;
use crate::dataplane::flow::{EndReason, Ended};
use crate::dataplane::score::BATCH_MAX;
use crate::dataplane::worker::batch::ScoreState;
use crate::dataplane::worker::sinks::{Sinks, send_window};
use crate::exchange::Up;
use crate::metrics::{Counter, Stage};
use crate::units::{MILLISECOND, SECOND, Timestamp};

/// Time between two looks at what the source has to do beside frames, and for a census that was asked for, nanoseconds.
const MAINTAIN_NS: u64 = 10 * MILLISECOND;

/// Time between two tries of a model whose calls fail, nanoseconds. It may be that no row comes: a pair that is closed without a
/// model gets no frame until one scores.
const PROBE_NS: u64 = SECOND;

/// Turns between two looks at what inspection counted, while frames come; without them each turn looks. 1: each burst of a
/// network in which flows begin pays for 30 counters, of which one or two have moved; more: they come later than they need.
const COUNT_TURNS: u64 = 16;

impl Core {
    /// What is due now and then; `true`: so is the source's housekeeping.
    #[cold]
    pub(super) fn chores(&mut self, now: Timestamp) -> bool {
        let is_due = now >= self.next_maintain;
        if is_due {
            self.next_maintain = now.after(MAINTAIN_NS);
            self.census.heed(&self.sinks.up);
            if self.mailbox.as_ref().is_some_and(|mailbox| mailbox.is_waiting()) {
                self.take_model();
            }
            if now >= self.next_probe {
                self.probe(now);
            }
        }
        self.census.step(&self.table, &mut self.sinks);
        self.next_chore = if self.census.is_under_way() { now } else { self.next_maintain };
        is_due
    }

    /// Tries a model whose calls fail.
    fn probe(&mut self, now: Timestamp) {
        let Some(scorer) = self.scorer.as_mut() else { return };
        match self.sinks.batch.probe(scorer.as_mut()) {
            Ok(()) => {
                self.next_probe = Timestamp(u64::MAX);
                self.snapshot.state.score_successes += 1;
            }
            Err(error) => {
                self.next_probe = now.after(PROBE_NS);
                self.sinks.counters.add(Counter::ScoreErrors, 1);
                self.snapshot.state.score_failures += 1;
                self.snapshot.state.score_cause = error.cause;
            }
        }
    }

    /// Takes the model that waits. Rows that wait are scored by the old one first.
    fn take_model(&mut self) {
        self.score_if_due(self.sinks.burst_time, true);
        let Core { mailbox: Some(mailbox), scorer, settings, .. } = self else { return };
        let is_taken = mailbox.swap(|new| {
            std::mem::swap(&mut new.scorer, scorer);
            std::mem::swap(&mut new.thresholds, &mut settings.thresholds);
            std::mem::swap(&mut new.score, &mut settings.score);
        });
        if is_taken {
            self.score = ScoreState::new(&self.settings.score);
            self.sinks.scoring = self.scorer.is_some();
        }
    }

    /// Expiry, scoring, windows, watermark, snapshot.
    pub(super) fn after_burst(&mut self, frames: usize, ended: bool) {
        let now = self.sinks.burst_time;
        let begin = self.stage_time(now);
        let (table, sinks) = (&mut self.table, &mut self.sinks);
        table.expire(self.time, self.settings.expire_budget, |ended| sinks.on_end(&ended));
        self.fragments.expire(self.time, sinks);
        let expired = self.stage_time(now);
        self.stage(Stage::Expire, begin, expired, frames.max(1));
        if self.is_sampled() {
            self.rx = self.rx.timed(frames, expired.since(now));
        }
        self.score_if_due(now, ended);
        if self.sinks.inspector.has_counted() && (frames == 0 || self.turns.is_multiple_of(COUNT_TURNS)) {
            self.sinks.count_inspection();
        }
        self.flush_windows();
        self.turns = self.turns.wrapping_add(1);
        if now >= self.next_snapshot {
            self.next_snapshot = now.after(SECOND / 4);
            self.send_snapshot();
        }
    }

    /// Calls the model when the controller says so, and as often as the backlog asks.
    fn score_if_due(&mut self, now: Timestamp, all: bool) {
        while !self.sinks.batch.is_empty() {
            let waiting = self.sinks.batch.len();
            if !all && !self.score.is_due(&self.settings.score, waiting, now.since(self.sinks.batch.oldest())) {
                return;
            }
            let Some(scorer) = self.scorer.as_mut() else { return };
            let begin = self.clock.now();
            let (up, outers) = (&mut self.sinks.up, &self.sinks.outers);
            let (table, histograms) = (&mut self.table, &mut self.snapshot.histograms);
            let thresholds = &self.settings.thresholds;
            // Rows of one burst waited alike.
            let mut waited = (begin, 0);
            let call_max = self.settings.score.maximum as usize;
            let outcome = self.sinks.batch.flush(scorer.as_mut(), call_max, thresholds, |tag, row, verdict| {
                if tag.queued_at != waited.0 {
                    histograms.record(Stage::ScoreQueue, begin.since(waited.0), waited.1);
                    waited = (tag.queued_at, 0);
                }
                waited.1 += 1;
                if let Some(record) = tag.index.and_then(|index| table.get_mut(index)) {
                    record.set_score(verdict.attack);
                }
                if verdict.is_reported() {
                    Sinks::on_verdict(up, outers, tag, row, verdict);
                }
            });
            histograms.record(Stage::ScoreQueue, begin.since(waited.0), waited.1);
            let service_ns = self.clock.now().since(begin);
            self.sinks.counters.add(Counter::Microbatches, 1);
            match outcome {
                Ok(rows) => {
                    self.sinks.scoring = true;
                    self.next_probe = Timestamp(u64::MAX);
                    self.snapshot.state.score_successes += 1;
                    self.sinks.counters.add(Counter::RowsScored, rows as u64);
                    if let Some(mailbox) = &mut self.mailbox {
                        mailbox.note(self.sinks.batch.flushed(), service_ns);
                    }
                    self.snapshot.histograms.record(Stage::Score, service_ns, 1);
                    let score = self.score.step(&self.settings.score, rows, service_ns);
                    if score.changes != self.score.changes {
                        self.snapshot.state.score_changed = now;
                    }
                    self.score = score;
                }
                Err(error) => {
                    self.next_probe = now.after(PROBE_NS);
                    self.sinks.counters.add(Counter::ScoreErrors, 1);
                    self.sinks.counters.add(Counter::RowsShed, error.rows as u64);
                    self.snapshot.state.score_failures += 1;
                    self.snapshot.state.score_cause = error.cause;
                }
            }
            if self.sinks.batch.is_empty() {
                self.sinks.oldest_due = Timestamp(u64::MAX);
            }
        }
    }

    /// Sends windows that are complete, then says up to when.
    fn flush_windows(&mut self) {
        let reached = self
            .time
            .min(self.table.expired_until())
            .min(self.sinks.oldest_due)
            .0
            .saturating_sub(self.settings.watermark_lag_ns);
        let Sinks { up, counters, outers, observer, .. } = &mut self.sinks;
        if self.settings.looks() {
            let pledge = Timestamp(reached);
            let promised = observer.look(self.time, pledge, self.settings.flush_budget, &mut |entry| {
                send_window(up, counters, outers, entry);
            });
            if let Some(promised) = promised {
                if promised > self.watermark_sent {
                    self.watermark_sent = promised;
                    up.send(Up::Watermark(self.id, promised));
                }
                // What ends by a time-out is known up to a tick of the wheel late, and nobody waits for that.
                up.send(Up::Looked(self.id, self.time));
                up.wake();
            }
            return self.count_lost();
        }
        let flushed = observer.flush(Timestamp(reached), self.settings.flush_budget, &mut |entry| {
            send_window(up, counters, outers, entry);
        });
        // A watermark is worth sending when counts have been given out: nothing is decided in between.
        if flushed >= self.next_watermark && flushed > self.watermark_sent {
            let look_ns = self.settings.look_ns.max(1);
            self.next_watermark = Timestamp(flushed.0 - flushed.0 % look_ns).after(look_ns);
            self.watermark_sent = flushed;
            up.send(Up::Watermark(self.id, flushed));
        }
        self.count_lost();
    }

    /// What found no room on its way up.
    fn count_lost(&mut self) {
        let up = &mut self.sinks.up;
        let (lost, untold) = (up.take_lost(), up.take_flows_lost());
        if lost > 0 {
            self.sinks.counters.add(Counter::ExchangeFull, lost);
        }
        if untold > 0 {
            self.sinks.counters.add(Counter::FlowsUntold, untold);
        }
    }

    fn send_snapshot(&mut self) {
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.send();
        }
        let state = &mut self.snapshot.state;
        state.queue = self.id;
        state.time = self.time;
        state.table = self.table.stats();
        state.elephants.clone_from(&self.sinks.elephants);
        state.ring_waiting = self.ring.0;
        state.ring_capacity = self.ring.1;
        state.rx = self.rx;
        state.score = self.score;
        state.scoring = self.scorer.is_some();
        let changed = (state.rx_changed, state.score_changed);
        if self.snapshots.swap(&mut self.snapshot) {
            (self.snapshot.state.rx_changed, self.snapshot.state.score_changed) = changed;
        }
    }

    /// Ends every flow and sends what is left.
    pub(super) fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        if self.settings.run_out {
            self.fragments.finish(&mut self.sinks);
        }
        let flow = self.settings.flow;
        let longest = flow.established_ns.max(flow.unanswered_ns).max(flow.closed_ns).max(flow.datagram_ns);
        let end = self.time.after(longest + SECOND);
        // As long as it gets somewhere: should the table have nothing more to give, the drain below takes the rest.
        let mut before = None;
        while self.settings.run_out && before != Some((self.table.stats().flows, self.table.expired_until())) {
            before = Some((self.table.stats().flows, self.table.expired_until()));
            let (table, sinks, reached) = (&mut self.table, &mut self.sinks, self.time);
            table.expire(end, BURST_MAX, |ended| sinks.on_end(&cut_at(reached, ended)));
            self.score_if_due(self.sinks.burst_time, self.sinks.batch.len() >= BATCH_MAX);
        }
        let (mut place, mut more) = (0, true);
        while more {
            let (table, sinks) = (&mut self.table, &mut self.sinks);
            more = table.drain_some(self.time, &mut place, BURST_MAX, &mut |ended: Ended<'_>| sinks.on_end(&ended));
            self.score_if_due(self.sinks.burst_time, self.sinks.batch.len() >= BATCH_MAX);
        }
        self.score_if_due(self.sinks.burst_time, true);
        self.sinks.count_inspection();
        let Sinks { up, counters, outers, observer, .. } = &mut self.sinks;
        observer.flush(Timestamp(u64::MAX), usize::MAX, &mut |entry| send_window(up, counters, outers, entry));
        up.send(Up::Ended(self.id));
        let (lost, untold) = (up.take_lost(), up.take_flows_lost());
        self.sinks.counters.add(Counter::ExchangeFull, lost);
        self.sinks.counters.add(Counter::FlowsUntold, untold);
        self.send_snapshot();
    }
}

/// A flow that ended by its time-out, while time runs on behind the end of the source at `reached`.
fn cut_at(reached: Timestamp, ended: Ended<'_>) -> Ended<'_> {
    let is_cut = ended.reason == EndReason::Idle && ended.at > reached;
    Ended { reason: if is_cut { EndReason::Cut } else { ended.reason }, ..ended }
}
