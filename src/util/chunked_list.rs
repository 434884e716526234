//! A list that never moves what it holds: a vector would, while it grows, take the memory of the old and of the new
//! one at the same time.

/// Elements of one chunk.
const CHUNK: usize = 4096;

/// A list in chunks; only the last one has room left.
#[derive(Debug)]
pub struct ChunkedList<T> {
    chunks: Vec<Vec<T>>,
    length: usize,
}

impl<T> Default for ChunkedList<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            length: 0,
        }
    }
}

impl<T> ChunkedList<T> {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn push(&mut self, element: T) {
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(element),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(element);
                self.chunks.push(chunk);
            }
        }
        self.length = self.length.saturating_add(1);
    }

    /// Take away the last element.
    pub fn pop(&mut self) -> Option<T> {
        while let Some(chunk) = self.chunks.last_mut() {
            if let Some(element) = chunk.pop() {
                self.length = self.length.saturating_sub(1);
                return Some(element);
            }
            self.chunks.pop();
        }
        None
    }

    /// All elements, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut list = ChunkedList::default();
            (0..length).for_each(|element| list.push(element));
            assert_eq!(list.len(), length);
            assert!(list.iter().copied().eq(0..length), "{length}");
            let room = |chunk: &Vec<usize>| chunk.capacity();
            assert!(list.chunks.iter().map(room).all(|room| room == CHUNK));
            for element in (0..length).rev() {
                assert_eq!(list.pop(), Some(element));
                assert_eq!(list.len(), element);
            }
            assert_eq!(list.pop(), None);
            list.push(7);
            assert!(list.iter().eq(&[7]));
        }
    }
}
