//! Metrics up: boxes that go round between a worker, who fills them, and a reader, who empties them.

/// Something that can be emptied in place, so that its memory goes round and round.
pub trait Reset {
    /// Forgets the content and keeps the memory.
    fn reset(&mut self);
}

/// Worker's end of a snapshot ring: full boxes up, empty ones back; the worker neither allocates nor frees.
pub struct SnapshotSender<T> {
    up: rtrb::Producer<Box<T>>,
    back: rtrb::Consumer<Box<T>>,
}

impl<T> SnapshotSender<T> {
    /// Gives `current` up and leaves an empty one in its place; `false` if the reader has not returned one yet.
    pub fn swap(&mut self, current: &mut Box<T>) -> bool {
        if self.up.is_full() {
            return false;
        }
        let Ok(empty) = self.back.pop() else { return false };
        let full = std::mem::replace(current, empty);
        match self.up.push(full) {
            Ok(()) => true,
            // Cannot happen: room was seen above and we are the only producer. The box is kept all the same.
            Err(rtrb::PushError::Full(full)) => {
                *current = full;
                false
            }
        }
    }
}

/// Reader's end: looks at what came, empties it and sends it back.
pub struct SnapshotReceiver<T> {
    up: rtrb::Consumer<Box<T>>,
    back: rtrb::Producer<Box<T>>,
}

impl<T: Reset> SnapshotReceiver<T> {
    /// Shows every snapshot that arrived to `each`, oldest first.
    pub fn drain(&mut self, mut each: impl FnMut(&T)) {
        while let Ok(mut full) = self.up.pop() {
            each(&full);
            full.reset();
            if self.back.push(full).is_err() {
                return;
            }
        }
    }
}

/// A pair of ends with `spare` on its way as the one to swap in.
pub fn snapshot_ring<T>(spare: Box<T>) -> (SnapshotSender<T>, SnapshotReceiver<T>) {
    let (up_producer, up_consumer) = rtrb::RingBuffer::new(2);
    let (mut back_producer, back_consumer) = rtrb::RingBuffer::new(2);
    // An empty ring of two has room for one; were it not so, the ring would just never swap.
    let _ = back_producer.push(spare);
    (SnapshotSender { up: up_producer, back: back_consumer }, SnapshotReceiver { up: up_consumer, back: back_producer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_travel_and_come_back_empty() {
        struct Count(u64);
        impl Reset for Count {
            fn reset(&mut self) {
                self.0 = 0;
            }
        }
        let (mut up, mut down) = snapshot_ring(Box::new(Count(0)));
        let mut current = Box::new(Count(0));
        let mut total = 0;
        for round in 1..=3 {
            current.0 += 1;
            assert!(up.swap(&mut current));
            assert_eq!(current.0, 0);
            down.drain(|snapshot| total += snapshot.0);
            assert_eq!(total, round);
        }
        current.0 = 5;
        assert!(up.swap(&mut current));
        assert!(!up.swap(&mut current), "without a returned box nothing moves");
    }
}
