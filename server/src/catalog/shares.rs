//! Work on many items, shared among all processors.

use std::panic::resume_unwind;
use std::thread;

/// Below this number of items, sharing them costs more than it saves.
const WORTH_SHARING: usize = 512;

/// Does `work` with each item and answers in their order.
pub(super) fn each<T: Send, U: Send>(items: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if items.len() < WORTH_SHARING || processors == 1 {
        return items.into_iter().map(work).collect();
    }
    let (length, mut left, work) = (items.len().div_ceil(processors), items.into_iter(), &work);
    thread::scope(|scope| {
        let mut running = Vec::new();
        while left.len() > 0 {
            let share: Vec<T> = left.by_ref().take(length).collect();
            running.push(scope.spawn(move || share.into_iter().map(work).collect::<Vec<U>>()));
        }
        running
            .into_iter()
            .flat_map(|share| share.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_and_in_order() {
        for many in [0, 1, WORTH_SHARING - 1, WORTH_SHARING, 5 * WORTH_SHARING + 3] {
            let doubled: Vec<usize> = (0..many).map(|item| 2 * item).collect();
            assert_eq!(each((0..many).collect(), |item| 2 * item), doubled);
        }
    }
}
