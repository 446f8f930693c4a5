//! Who holds whom back where: for each link, the weights of the flows on it by the link that limits them. Sparse, and
//! read in both directions: a link asks what others leave it, and a limiting link whom it concerns when it changes.

/// Flows on one link that another link limits.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    /// The link that limits them.
    pub(super) limiter: u32,
    /// Where the column of the limiter has this cell.
    back: u32,
    n: u32,
    /// The sum of their weights.
    pub(super) weight: f64,
}

/// A cell as its limiter's column knows it.
#[derive(Clone, Copy)]
struct Mark {
    link: u32,
    place: u32,
    /// As in the cell, for those who read the whole column.
    weight: f64,
}

/// Rows by link, columns by limiter.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    columns: Vec<Vec<Mark>>,
}

/// Where in each row the cell of one limiter is, while many flows enter or leave it at once.
pub(super) struct Finder {
    limiter: u32,
    turn: u32,
    /// (turn in which it was found, place), by link.
    places: Vec<(u32, u32)>,
}

impl Finder {
    pub(super) fn new(n_links: usize) -> Self {
        Self { limiter: 0, turn: 0, places: vec![(0, 0); n_links] }
    }
}

impl Table {
    pub(super) fn new(n_links: usize) -> Self {
        Self { rows: vec![Vec::new(); n_links], columns: vec![Vec::new(); n_links] }
    }

    /// No flow is there.
    pub(super) fn clear(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
        self.columns.iter_mut().for_each(Vec::clear);
    }

    /// What limits flows on a link, but the link itself.
    #[inline]
    pub(super) fn row(&self, link: u32) -> &[Cell] {
        &self.rows[link as usize]
    }

    /// Links on which this one limits flows, and the weight of those.
    pub(super) fn column(&self, limiter: u32) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.columns[limiter as usize].iter().map(|mark| (mark.link, mark.weight))
    }

    /// Readies the finder for one limiter.
    pub(super) fn open(&self, finder: &mut Finder, limiter: u32) {
        finder.limiter = limiter;
        finder.turn += 1;
        for mark in &self.columns[limiter as usize] {
            finder.places[mark.link as usize] = (finder.turn, mark.place);
        }
    }

    /// A flow on the link is now limited by the finder's limiter.
    #[inline]
    pub(super) fn add(&mut self, finder: &mut Finder, link: u32, weight: f64) {
        let row = &mut self.rows[link as usize];
        let column = &mut self.columns[finder.limiter as usize];
        let (turn, place) = &mut finder.places[link as usize];
        if *turn == finder.turn {
            let cell = &mut row[*place as usize];
            cell.n += 1;
            cell.weight += weight;
            column[cell.back as usize].weight = cell.weight;
            return;
        }
        (*turn, *place) = (finder.turn, row.len() as u32);
        row.push(Cell { limiter: finder.limiter, back: column.len() as u32, n: 1, weight });
        column.push(Mark { link, place: *place, weight });
    }

    /// A flow on the link is no longer limited by the finder's limiter. `remove_empty` must follow.
    #[inline]
    pub(super) fn take(&mut self, finder: &Finder, link: u32, weight: f64) {
        let (turn, place) = finder.places[link as usize];
        assert!(turn == finder.turn, "a flow leaves a cell that it had entered");
        let cell = &mut self.rows[link as usize][place as usize];
        cell.n -= 1;
        cell.weight = if cell.n == 0 { 0.0 } else { cell.weight - weight };
        self.columns[finder.limiter as usize][cell.back as usize].weight = cell.weight;
    }

    /// Takes out the cells of a limiter that no flow is in. Finders that are open know nothing of it.
    pub(super) fn remove_empty(&mut self, limiter: u32) {
        for back in (0..self.columns[limiter as usize].len()).rev() {
            let Mark { link, place, .. } = self.columns[limiter as usize][back];
            let row = &mut self.rows[link as usize];
            if row[place as usize].n > 0 {
                continue;
            }
            row.swap_remove(place as usize);
            if let Some(moved) = row.get(place as usize) {
                self.columns[moved.limiter as usize][moved.back as usize].place = place;
            }
            let column = &mut self.columns[limiter as usize];
            column.swap_remove(back);
            if let Some(moved) = column.get(back) {
                self.rows[moved.link as usize][moved.place as usize].back = back as u32;
            }
        }
    }
}
