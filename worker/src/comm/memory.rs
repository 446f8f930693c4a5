//! Ranks on one machine: the receiver reads a large payload out of the sender's memory, which is one copy instead of two
//! and no work for the network stack. The system decides whether one may read the other; where not, all goes by socket.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::TcpStream;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// Shorter payloads go by socket: asking for a read and answering costs as much.
pub(super) const LEND_MIN_BYTES: usize = 128 << 10;

/// Whether both ends have the same address: a peer on this machine and in this network. Nodes that are made of network
/// namespaces on one machine differ, and talk over their network.
pub(super) fn is_same_machine(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own.ip() == peer.ip())
}

/// A process whose memory can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pid: Pid,
}

impl Memory {
    /// That of a process which says that `word` stands at `address`; none where it cannot be read, or is another's.
    pub(super) fn of(pid: u32, address: u64, word: u64) -> Option<Self> {
        let memory = Self { pid: Pid::from_raw(i32::try_from(pid).ok()?) };
        let mut found = [0; 8];
        memory.read(address, &mut found).ok()?;
        (u64::from_le_bytes(found) == word).then_some(memory)
    }

    /// Fills `bytes` with those at `address`.
    pub(super) fn read(self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut n = 0;
        while n < bytes.len() {
            let from = RemoteIoVec { base: address as usize + n, len: bytes.len() - n };
            match process_vm_readv(self.pid, &mut [IoSliceMut::new(&mut bytes[n..])], &[from])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => n += more,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_at_an_address_is_found_or_not_believed() {
        let word = 0x1234_5678_9abc_def0_u64;
        let bytes = word.to_le_bytes();
        let (own, address) = (std::process::id(), bytes.as_ptr() as u64);
        assert!(Memory::of(own, address, word + 1).is_none());
        assert!(Memory::of(own, 8, word).is_none());
        // Where the system lets nobody read memory, not even its own, there is nothing more to see.
        if let Some(memory) = Memory::of(own, address, word) {
            let mut found = [0; 4];
            memory.read(address + 4, &mut found).unwrap();
            assert_eq!(found, bytes[4..]);
        }
    }
}
