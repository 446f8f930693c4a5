//! What an optimizer updates, as slots: whole stored tensors, or under ZeRO-1 the logical matrices that a rank owns.

use std::collections::HashMap;

use ds_model::StageModel;
use tch::Tensor;

/// A stored tensor of the model, or the row of one that is a logical matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Place in `StageModel::parameters`.
    pub parameter: usize,
    /// None: all of it.
    pub row: Option<i64>,
}

impl Slot {
    /// Its part of a tensor for each parameter, over the same memory.
    pub fn of(self, tensors: &[Tensor]) -> Tensor {
        self.part(&tensors[self.parameter])
    }

    /// Its part of the parameter's tensor, or of one like it.
    pub fn part(self, tensor: &Tensor) -> Tensor {
        self.row.map_or_else(|| tensor.shallow_clone(), |row| tensor.get(row)).detach()
    }

    /// Its part of the model's weights.
    pub fn weight(self, model: &StageModel) -> Tensor {
        self.part(&model.parameters()[self.parameter].tensor)
    }
}

/// Slots in order, which other tensors are aligned with.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    all: Vec<Slot>,
    places: HashMap<Slot, usize>,
}

impl Slots {
    /// Every stored tensor.
    pub fn whole(model: &StageModel) -> Self {
        (0..model.parameters().len()).map(|parameter| Slot { parameter, row: None }).collect()
    }

    /// The logical matrices whose names are owned.
    pub fn owned(model: &StageModel, is_owned: impl Fn(&str) -> bool) -> Self {
        logical(model).filter(|(name, _)| is_owned(name)).map(|(_, slot)| slot).collect()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        self.all.iter().copied()
    }

    /// Whether it is one of them.
    pub fn contains(&self, slot: Slot) -> bool {
        self.places.contains_key(&slot)
    }

    /// The part of a logical matrix in `tensors`, which are aligned with the slots; none if no slot holds it.
    pub fn find(&self, tensors: &[Tensor], logical: Slot) -> Option<Tensor> {
        if let Some(&place) = self.places.get(&logical) {
            return Some(tensors[place].shallow_clone());
        }
        let place = *self.places.get(&Slot { row: None, ..logical })?;
        Some(logical.part(&tensors[place]))
    }
}

impl FromIterator<Slot> for Slots {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let all: Vec<Slot> = slots.into_iter().collect();
        let places = all.iter().enumerate().map(|(place, &slot)| (slot, place)).collect();
        Self { all, places }
    }
}

/// Every logical matrix of a model by name, in the order of what is stored.
pub fn logical(model: &StageModel) -> impl Iterator<Item = (&str, Slot)> {
    model.parameters().iter().enumerate().flat_map(|(parameter, stored)| {
        let slot = move |row| Slot { parameter, row };
        stored.logical.iter().map(move |logical| (logical.name.as_str(), slot(logical.index)))
    })
}
