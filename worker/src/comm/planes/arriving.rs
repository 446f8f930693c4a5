//! Parcels of one rank, put together.

use ds_plan::RankId;

use super::super::error::Reason;
use super::super::reader::room;
use super::super::transport::Message;
use super::super::wire::{Frame, HEADER_BYTES, Notice};
use super::stream::Incoming;

/// From one rank: parcels, and the message that they add up to.
#[derive(Default)]
pub(super) struct Arriving {
    pub(super) parcels: Incoming,
    message: Option<(Message, usize)>,
}

/// What parcels add up to.
pub(super) enum Said {
    Message(Message),
    Notice(Notice),
    Goodbye,
}

impl Arriving {
    /// The next parcel of a rank, in order.
    pub(super) fn add(&mut self, from: RankId, parcel: &[u8]) -> Result<Option<Said>, Reason> {
        let (mut message, done, bytes) = match self.message.take() {
            Some((message, done)) => (message, done, parcel),
            None => {
                let (head, bytes) = parcel.split_first_chunk::<HEADER_BYTES>().ok_or(Reason::Garbled)?;
                match Frame::decode(head).ok_or(Reason::Garbled)? {
                    Frame::Data(header) => {
                        let payload = room(from, &header)?;
                        (Message { header, payload }, 0, bytes)
                    }
                    Frame::Notice { .. } => {
                        return Ok(Some(Said::Notice(Notice::decode(bytes).ok_or(Reason::Garbled)?)));
                    }
                    Frame::Goodbye => return Ok(Some(Said::Goodbye)),
                    _ => return Err(Reason::Garbled),
                }
            }
        };
        let room = message.payload.bytes_mut().get_mut(done..done + bytes.len()).ok_or(Reason::Garbled)?;
        room.copy_from_slice(bytes);
        let done = done + bytes.len();
        if done < message.payload.n_bytes() {
            self.message = Some((message, done));
            return Ok(None);
        }
        Ok(Some(Said::Message(message)))
    }
}
