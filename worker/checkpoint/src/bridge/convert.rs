//! Does one job: pulls bytes, makes those of the other side of them, pushes them.

use ds_arch::e4m3::{MAX, decode_band, encode_band, n_blocks, scales_of_band};

use super::element::{Element, to_bytes, to_singles};
use super::error::BridgeError;
use super::inventory::BAND;
use super::job::Work;
use super::pull::{Pull, Tensor};
use super::sink::Sink;

/// Below, the smallest code times a scale would be no normal single and lose bits: 2⁻⁹ · 2⁻¹¹⁷ = 2⁻¹²⁶.
const LEAST_SCALE: f32 = 1.0 / (1_u128 << 117) as f32;
/// Above, the largest code times a scale would be infinite.
const MOST_SCALE: f32 = f32::MAX / MAX;

/// Memory of one thread, and what to do at every block.
pub(super) struct Bench<'a> {
    pub(super) block: Vec<u8>,
    values: Vec<f32>,
    bytes: Vec<u8>,
    /// Called with the bytes written since the last call; an error stops the job.
    tick: &'a mut dyn FnMut(u64) -> Result<(), BridgeError>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(block: usize, tick: &'a mut dyn FnMut(u64) -> Result<(), BridgeError>) -> Self {
        Self { block: vec![0; block], values: Vec::new(), bytes: Vec::new(), tick }
    }

    /// `sinks` are those of the job's targets, in their order; `element` is the first one's.
    pub(super) fn run(&mut self, work: &Work<'_>, sinks: &mut [Sink<'_>], element: Element) -> Result<(), BridgeError> {
        match (work, sinks) {
            (Work::Copy(from), [sink]) => self.copy(from, sink),
            (Work::Convert { from, element: of }, [sink]) => self.convert(from, *of, sink, element),
            (Work::Scales(from), [sink]) => {
                let scales = scales(from)?;
                to_bytes(&scales, Element::F32, &mut self.bytes);
                sink.push(&self.bytes)?;
                (self.tick)(self.bytes.len() as u64)
            }
            (Work::Decode { codes, scales }, [sink]) => self.decode(codes, scales, sink),
            (Work::Encode { from, element, scales }, [codes, to_scales]) => {
                self.encode(from, *element, scales.as_ref(), codes, to_scales)
            }
            _ => unreachable!("a job has the targets of its work"),
        }
    }

    fn copy(&mut self, from: &Tensor<'_>, sink: &mut Sink<'_>) -> Result<(), BridgeError> {
        let (mut pull, mut left) = (from.open()?, from.length());
        while left > 0 {
            let n = left.min(self.block.len() as u64);
            let block = &mut self.block[..n as usize];
            pull.fill(block)?;
            sink.push(block)?;
            (self.tick)(n)?;
            left -= n;
        }
        Ok(())
    }

    fn convert(&mut self, from: &Tensor<'_>, of: Element, sink: &mut Sink<'_>, to: Element) -> Result<(), BridgeError> {
        let (mut pull, mut left) = (from.open()?, from.length());
        let most = self.block.len() / of.size() * of.size();
        while left > 0 {
            let n = left.min(most as u64);
            let block = &mut self.block[..n as usize];
            pull.fill(block)?;
            to_singles(block, of, &mut self.values);
            to_bytes(&self.values, to, &mut self.bytes);
            sink.push(&self.bytes)?;
            (self.tick)(self.bytes.len() as u64)?;
            left -= n;
        }
        Ok(())
    }

    fn decode(&mut self, codes: &Tensor<'_>, scales_of: &Tensor<'_>, sink: &mut Sink<'_>) -> Result<(), BridgeError> {
        let ((rows, columns), scales) = (codes.sides(), scales(scales_of)?);
        let mut pull = codes.open()?;
        let mut band_codes = vec![0; BAND.min(rows) * columns];
        for (band, scales) in scales.chunks(n_blocks(columns).max(1)).enumerate() {
            let n = BAND.min(rows - band * BAND) * columns;
            let band_codes = &mut band_codes[..n];
            pull.fill(band_codes)?;
            if let Some(at) = band_codes.iter().position(|code| code & 0x7F == 0x7F) {
                return Err(no_number(codes, band, at, columns));
            }
            self.values.resize(n, 0.0);
            decode_band(band_codes, columns, scales, &mut self.values);
            to_bytes(&self.values, Element::F32, &mut self.bytes);
            sink.push(&self.bytes)?;
            (self.tick)(self.bytes.len() as u64)?;
        }
        Ok(())
    }

    fn encode(
        &mut self,
        from: &Tensor<'_>,
        element: Element,
        kept: Option<&Tensor<'_>>,
        to_codes: &mut Sink<'_>,
        to_scales: &mut Sink<'_>,
    ) -> Result<(), BridgeError> {
        let (rows, columns) = from.sides();
        let kept = kept.map(scales).transpose()?;
        let mut pull = from.open()?;
        let mut bytes = vec![0; BAND.min(rows) * columns * element.size()];
        let mut all = Vec::with_capacity(n_blocks(rows) * n_blocks(columns));
        for band in 0..n_blocks(rows) {
            let n = BAND.min(rows - band * BAND) * columns;
            let bytes = &mut bytes[..n * element.size()];
            pull.fill(bytes)?;
            to_singles(bytes, element, &mut self.values);
            if let Some(at) = self.values.iter().position(|x| x.is_nan()) {
                return Err(no_number(from, band, at, columns));
            }
            let width = n_blocks(columns);
            match &kept {
                Some(kept) => all.extend_from_slice(&kept[band * width..(band + 1) * width]),
                None => {
                    all.extend(scales_of_band(&self.values, columns));
                    check(from, &all[band * width..], band, width)?;
                }
            }
            self.bytes.resize(n, 0);
            encode_band(&self.values, columns, &all[band * width..], &mut self.bytes);
            to_codes.push(&self.bytes)?;
            (self.tick)(n as u64)?;
        }
        to_bytes(&all, Element::F32, &mut self.bytes);
        to_scales.push(&self.bytes)?;
        (self.tick)(self.bytes.len() as u64)
    }
}

/// `at` counts from the start of the band.
fn no_number(of: &Tensor<'_>, band: usize, at: usize, columns: usize) -> BridgeError {
    let (row, column) = (band * BAND + at / columns, at % columns);
    BridgeError::NoNumber { path: of.path(), tensor: of.name().to_owned(), row, column }
}

/// All block scales of a matrix, if codes can be multiplied by them.
fn scales(from: &Tensor<'_>) -> Result<Vec<f32>, BridgeError> {
    let mut bytes = vec![0; from.length() as usize];
    from.open()?.fill(&mut bytes)?;
    let mut scales = Vec::new();
    to_singles(&bytes, Element::F32, &mut scales);
    check(from, &scales, 0, from.sides().1)?;
    Ok(scales)
}

/// `first_row` is the row of blocks that `scales` starts with.
fn check(of: &Tensor<'_>, scales: &[f32], first_row: usize, width: usize) -> Result<(), BridgeError> {
    match scales.iter().position(|scale| !(LEAST_SCALE..=MOST_SCALE).contains(scale)) {
        None => Ok(()),
        Some(at) => Err(BridgeError::Scale {
            path: of.path(),
            tensor: of.name().to_owned(),
            row: first_row + at / width,
            column: at % width,
            value: scales[at],
            least: LEAST_SCALE,
            most: MOST_SCALE,
        }),
    }
}

/// Where two tensors of the same length first differ, in bytes.
pub(super) fn difference(one: &Tensor<'_>, other: &Tensor<'_>, block: usize) -> Result<Option<u64>, BridgeError> {
    let (mut a, mut b): (Pull<'_>, Pull<'_>) = (one.open()?, other.open()?);
    let (mut left, mut right) = (vec![0; block], vec![0; block]);
    let mut at = 0;
    while at < one.length() {
        let n = (one.length() - at).min(block as u64) as usize;
        a.fill(&mut left[..n])?;
        b.fill(&mut right[..n])?;
        if let Some(i) = (0..n).find(|&i| left[i] != right[i]) {
            return Ok(Some(at + i as u64));
        }
        at += n as u64;
    }
    Ok(None)
}
