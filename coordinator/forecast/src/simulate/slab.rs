//! Things that come and go, each with a number that the next one takes over.

use std::ops::{Index, IndexMut};

#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    all: Vec<T>,
    vacant: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { all: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Its number, until it is let go.
    pub(super) fn keep(&mut self, what: T) -> u32 {
        match self.vacant.pop() {
            Some(number) => {
                self.all[number as usize] = what;
                number
            }
            None => {
                self.all.push(what);
                self.all.len() as u32 - 1
            }
        }
    }

    /// Another one may have its number.
    pub(super) fn let_go(&mut self, number: u32) {
        self.vacant.push(number);
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.all[number as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.all[number as usize]
    }
}
