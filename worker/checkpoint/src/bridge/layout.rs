//! Which tensor goes into which file, and where in it.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorInfo;

use super::error::BridgeError;
use super::job::{Job, Target};
use crate::tensor_file::header_of;

/// A file that will be written.
#[derive(Debug)]
pub(super) struct FilePlan<'a> {
    pub(super) name: String,
    /// Length, text and padding.
    pub(super) header: Vec<u8>,
    /// In the order in which they lie.
    pub(super) tensors: Vec<Placed>,
    /// Each with the places of what it makes.
    pub(super) jobs: Vec<(Job<'a>, Vec<usize>)>,
    /// In bytes.
    pub(super) length: u64,
}

/// A tensor in its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) target: Target,
    /// From the start of the file, in bytes.
    pub(super) start: u64,
    /// In bytes.
    pub(super) length: u64,
}

/// Runs of jobs whose results have at most `most` bytes together; one that has more is alone.
pub(super) fn cut<'a>(jobs: Vec<Job<'a>>, most: u64) -> Vec<Vec<Job<'a>>> {
    let mut files: Vec<Vec<Job<'a>>> = Vec::new();
    let mut held = 0;
    for job in jobs {
        let length = job.length();
        match files.last_mut() {
            Some(file) if held + length <= most => {
                file.push(job);
                held += length;
            }
            _ => {
                files.push(vec![job]);
                held = length;
            }
        }
    }
    files
}

impl<'a> FilePlan<'a> {
    /// The order of other writers of safetensors: by falling size of an element, then by name. So every element lies at
    /// a multiple of its size.
    pub(super) fn new(
        folder: &Path,
        name: String,
        jobs: Vec<Job<'a>>,
        notes: Option<HashMap<String, String>>,
    ) -> Result<Self, BridgeError> {
        let mut order: Vec<(usize, usize)> =
            (0..jobs.len()).flat_map(|job| (0..jobs[job].targets.len()).map(move |i| (job, i))).collect();
        let target = |&(job, i): &(usize, usize)| &jobs[job].targets[i];
        order.sort_by_cached_key(|at| (usize::MAX - target(at).element.size(), target(at).key.clone()));
        let mut at = 0;
        let mut infos = Vec::with_capacity(order.len());
        for place in &order {
            let target = target(place);
            let shape = target.shape.iter().map(|&size| size as usize).collect();
            let data_offsets = (at, at + target.length() as usize);
            at = data_offsets.1;
            infos.push((target.key.clone(), TensorInfo { dtype: target.element.stored(), shape, data_offsets }));
        }
        let header = header_of(&folder.join(&name), notes, infos)?;
        let mut start = header.len() as u64;
        let mut places: Vec<Vec<usize>> = jobs.iter().map(|job| vec![0; job.targets.len()]).collect();
        let mut tensors = Vec::with_capacity(order.len());
        for (i, place) in order.iter().enumerate() {
            let target = target(place).clone();
            places[place.0][place.1] = i;
            let length = target.length();
            tensors.push(Placed { target, start, length });
            start += length;
        }
        Ok(Self { name, header, tensors, jobs: jobs.into_iter().zip(places).collect(), length: start })
    }
}
