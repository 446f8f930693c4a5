//! Elements on their way: host memory that belongs to the communication layer alone, seen as a tensor or as bytes.
#![expect(unsafe_code, reason = "a socket reads and writes the memory of a tensor, which saves a copy each way")]

use tch::{Device, Kind, TchError, Tensor, no_grad};

use super::dtype::Dtype;
use super::error::CommError;

/// Invariant: a contiguous tensor of one dim in host memory, made here, and never written to once it is shared.
pub(super) struct Payload {
    tensor: Tensor,
    shared: bool,
}

impl Payload {
    /// A copy of what `tensor` holds now.
    pub(super) fn copy_of(tensor: &Tensor) -> Result<Self, TchError> {
        no_grad(|| {
            let host = tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view_([-1])?;
            if host.data_ptr() != tensor.data_ptr() {
                return Ok(Self { tensor: host.f_detach()?, shared: false });
            }
            let mut copy = Tensor::f_empty(host.size(), (host.f_kind()?, Device::Cpu))?;
            copy.f_copy_(&host)?;
            Ok(Self { tensor: copy, shared: false })
        })
    }

    pub(super) fn copy_of_bytes(bytes: &[u8]) -> Result<Self, TchError> {
        let mut copy = Self::unwritten(Dtype::U8, bytes.len())?;
        copy.bytes_mut().copy_from_slice(bytes);
        Ok(copy)
    }

    /// What a reduction gave: fresh memory, of which nobody else has a handle.
    pub(super) fn of_fresh(tensor: Tensor) -> Self {
        Self { tensor, shared: false }
    }

    /// Elements that are still to be filled in.
    pub(super) fn unwritten(dtype: Dtype, n_bytes: usize) -> Result<Self, TchError> {
        let n = (n_bytes / dtype.n_bytes()) as i64;
        Ok(Self { tensor: Tensor::f_empty([n], (dtype.kind(), Device::Cpu))?, shared: false })
    }

    /// No elements.
    pub(super) fn none() -> Result<Self, TchError> {
        Self::unwritten(Dtype::U8, 0)
    }

    /// The same memory once more.
    pub(super) fn share(&mut self) -> Self {
        self.shared = true;
        Self { tensor: self.tensor.shallow_clone(), shared: true }
    }

    /// A run of the same elements.
    pub(super) fn part(&mut self, start: i64, length: i64) -> Result<Self, TchError> {
        self.shared = true;
        Ok(Self { tensor: self.tensor.f_narrow(0, start, length)?, shared: true })
    }

    pub(super) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The elements in `shape`, in memory that the caller may write to.
    pub(super) fn into_tensor(self, shape: &[i64]) -> Result<Tensor, CommError> {
        let own = if self.shared { Self::copy_of(&self.tensor)?.tensor } else { self.tensor };
        Ok(own.f_view_(shape)?)
    }

    /// The elements, which must be whole rows of `n_row`, in memory that the caller may write to.
    pub(super) fn into_flat_rows(self, n_row: usize) -> Result<Tensor, CommError> {
        let n = self.tensor.numel();
        if !n.is_multiple_of(n_row) {
            let text = format!("{n} elements came, which are no whole rows of {n_row}");
            return Err(TchError::Torch(text).into());
        }
        self.into_tensor(&[n as i64])
    }

    /// # Panics
    /// When the memory is shared.
    pub(super) fn into_fresh(self) -> Tensor {
        assert!(!self.shared, "fresh memory has one handle");
        self.tensor
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.tensor.numel() * self.kind().elt_size_in_bytes()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let n_bytes = self.n_bytes();
        if n_bytes == 0 {
            return &[];
        }
        // SAFETY: contiguous host memory of that many bytes, kept alive by the handle in `self`, and not written to
        // while it is borrowed (invariant of the type).
        unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast::<u8>(), n_bytes) }
    }

    /// # Panics
    /// When the memory is shared.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(!self.shared, "shared memory is not written to");
        let n_bytes = self.n_bytes();
        if n_bytes == 0 {
            return &mut [];
        }
        // SAFETY: as in `bytes`, and exclusive by the assertion. The memory came from LibTorch's allocator, so its
        // bytes hold some value, whichever.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast::<u8>(), n_bytes) }
    }

    pub(super) fn element_bytes(&self) -> usize {
        self.kind().elt_size_in_bytes()
    }

    fn kind(&self) -> Kind {
        self.tensor.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_later_does_not_change_a_copy() {
        let mut tensor = Tensor::from_slice(&[1_f32, 2.0]);
        let copy = Payload::copy_of(&tensor).unwrap();
        let _ = tensor.fill_(9.0);
        assert_eq!(copy.tensor(), &Tensor::from_slice(&[1_f32, 2.0]));
        assert_eq!(copy.bytes(), [1_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat());
    }

    #[test]
    fn what_is_taken_out_may_be_written_to() {
        let mut payload = Payload::copy_of(&Tensor::from_slice(&[1_i64, 2, 3])).unwrap();
        let mut first = payload.part(0, 2).unwrap().into_tensor(&[2]).unwrap();
        let _ = first.fill_(7);
        assert_eq!(payload.tensor(), &Tensor::from_slice(&[1_i64, 2, 3]));
    }

    #[test]
    fn a_view_that_is_not_contiguous_is_copied_in_order() {
        let tensor = Tensor::from_slice(&[1_i64, 2, 3, 4]).view([2, 2]).tr();
        assert_eq!(Payload::copy_of(&tensor).unwrap().tensor(), &Tensor::from_slice(&[1_i64, 3, 2, 4]));
    }
}
