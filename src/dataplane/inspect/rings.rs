//! Numbers in the order in which they were appended: several lists of which each number is in one at most.

/// Rings of links, each closed by a link of its own behind those of the numbers.
pub(super) struct Rings {
    /// Before and after.
    links: Vec<[u32; 2]>,
    count: u32,
}

impl Rings {
    /// Empty lists of numbers below `count`.
    pub(super) fn new(count: usize, lists: usize) -> Rings {
        let links = (0..(count + lists) as u32).map(|at| [at, at]).collect(); // fewer than 2^32
        Rings { links, count: count as u32 }
    }

    /// The number that was appended to this list before all others.
    pub(super) fn first(&self, list: u32) -> Option<u32> {
        let [_, first] = *self.links.get((self.count + list) as usize)?;
        (first < self.count).then_some(first)
    }

    /// Puts it at the end of this list, wherever it was.
    pub(super) fn append(&mut self, number: u32, list: u32) {
        self.remove(number);
        let end = self.count + list;
        let Some(&[last, _]) = self.links.get(end as usize) else { return };
        self.link(last, number);
        self.link(number, end);
    }

    /// Takes it out of its list, if it is in one.
    pub(super) fn remove(&mut self, number: u32) {
        let Some(&[before, after]) = self.links.get(number as usize) else { return };
        self.link(before, after);
        self.link(number, number);
    }

    fn link(&mut self, before: u32, after: u32) {
        if let Some([_, next]) = self.links.get_mut(before as usize) {
            *next = after;
        }
        if let Some([previous, _]) = self.links.get_mut(after as usize) {
            *previous = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn each_list_gives_what_came_first() {
        let mut rings = Rings::new(8, 3);
        let mut model = vec![VecDeque::new(); 3];
        let mut random = 1_u32;
        for _ in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (number, list) = (random >> 24 & 7, random >> 16 & 3);
            model.iter_mut().for_each(|list| list.retain(|other| *other != number));
            if list < 3 {
                rings.append(number, list);
                model[list as usize].push_back(number);
            } else {
                rings.remove(number);
            }
            for (list, model) in (0..).zip(&model) {
                assert_eq!(rings.first(list), model.front().copied());
            }
        }
    }
}
