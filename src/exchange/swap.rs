//! Something that a queue works with, changed for another one whole: a full box comes down, and goes back with what it replaced.

/// Worker's end: takes and gives back between two bursts, and neither makes nor frees anything.
pub struct SwapReceiver<T> {
    down: rtrb::Consumer<Box<T>>,
    back: rtrb::Producer<Box<T>>,
}

impl<T> SwapReceiver<T> {
    /// Something waits to be taken, and what it replaces has a way back.
    pub fn is_waiting(&self) -> bool {
        !self.down.is_empty() && !self.back.is_full()
    }

    /// Lets `exchange` trade what came for what was there, and sends it back; `false`: nothing came.
    pub fn swap(&mut self, exchange: impl FnOnce(&mut T)) -> bool {
        if self.back.is_full() {
            return false;
        }
        let Ok(mut content) = self.down.pop() else { return false };
        exchange(&mut content);
        // There is room, as was seen, and nobody else sends: it cannot fail.
        self.back.push(content).is_ok()
    }
}

/// Control's end.
pub struct SwapSender<T> {
    down: rtrb::Producer<Box<T>>,
    back: rtrb::Consumer<Box<T>>,
}

impl<T> SwapSender<T> {
    /// Sends something to be taken.
    ///
    /// # Errors
    /// The one before was not taken yet; this one comes back.
    pub fn send(&mut self, content: Box<T>) -> Result<(), Box<T>> {
        self.down.push(content).map_err(|rtrb::PushError::Full(content)| content)
    }

    /// What was replaced, where something was taken since the last call.
    pub fn returned(&mut self) -> Option<Box<T>> {
        self.back.pop().ok()
    }

    /// The queue is gone: nothing will be taken any more.
    pub fn is_abandoned(&self) -> bool {
        self.down.is_abandoned()
    }
}

/// A pair of ends; one on its way down at a time, and one back.
pub fn swap_ring<T>() -> (SwapSender<T>, SwapReceiver<T>) {
    let (down_in, down_out) = rtrb::RingBuffer::new(1);
    let (back_in, back_out) = rtrb::RingBuffer::new(1);
    (SwapSender { down: down_in, back: back_out }, SwapReceiver { down: down_out, back: back_in })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_as_what_it_replaced() {
        let (mut control, mut queue) = swap_ring();
        let mut present = 0;
        for next in 1..100 {
            assert!(!queue.is_waiting() && !queue.swap(|_| panic!("nothing came")));
            control.send(Box::new(next)).unwrap();
            assert_eq!(control.send(Box::new(0)), Err(Box::new(0)), "one at a time");
            assert!(queue.is_waiting() && queue.swap(|new| std::mem::swap(new, &mut present)));
            assert_eq!((present, control.returned(), control.returned()), (next, Some(Box::new(next - 1)), None));
        }
    }

    #[test]
    fn nothing_is_taken_that_could_not_come_back_and_an_end_is_seen() {
        let (mut control, mut queue) = swap_ring();
        control.send(Box::new(1)).unwrap();
        assert!(queue.swap(|_| ()));
        control.send(Box::new(2)).unwrap();
        assert!(!queue.is_waiting() && !queue.swap(|_| panic!("no way back")));
        assert_eq!(control.returned(), Some(Box::new(1)));
        assert!(queue.swap(|_| ()) && !control.is_abandoned());
        drop(queue);
        assert!(control.is_abandoned());
    }
}
