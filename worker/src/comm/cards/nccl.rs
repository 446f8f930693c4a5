//! NCCL itself, loaded when first asked for: communicators that do not block, one stream each. Types are cudarc's; the
//! library is the one that LibTorch's CUDA half has loaded already.
#![expect(
    unsafe_code,
    reason = "NCCL is a C library; it reads and writes the memory of tensors that the group keeps alive"
)]

use std::ffi::{CStr, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream};
use cudarc::nccl::sys::{ncclComm_t, ncclConfig_t, ncclDataType_t, ncclRedOp_t, ncclResult_t, ncclUniqueId};
use tch::{Device, Kind, Tensor};

use super::super::signature::ReduceOp;
use super::{Cards, Channel, Mark, Move};

/// Set by NCCL's own initialiser of configurations (nccl.h, `NCCL_CONFIG_INITIALIZER`).
const CONFIG_MAGIC: u32 = 0xcafe_beef;
const CONFIG_VERSION: u32 = 22_809;
const UNDEFINED: c_int = c_int::MIN;

type Stream = *mut c_void;
type OnPointer = *mut c_void;

macro_rules! api {
    ($($name:ident: fn($($argument:ty),*);)*) => {
        /// The functions that are used.
        #[expect(non_snake_case, reason = "their names in nccl.h")]
        #[derive(Clone, Copy)]
        struct Api { $($name: unsafe extern "C" fn($($argument),*) -> ncclResult_t,)* ncclGetLastError: unsafe extern "C" fn(ncclComm_t) -> *const std::ffi::c_char }

        impl Api {
            /// Those of the library, or the name of what it lacks.
            fn of(library: *mut c_void) -> Result<Self, String> {
                let find = |name: &CStr| {
                    // SAFETY: asks the loader for a symbol of a library that stays loaded.
                    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
                    if symbol.is_null() { Err(format!("libnccl has no {}", name.to_string_lossy())) } else { Ok(symbol) }
                };
                // SAFETY: the signatures are those of nccl.h, 2.18 to 2.28.
                unsafe {
                    Ok(Self {
                        $($name: std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> ncclResult_t>(
                            find(CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()).expect("a name"))?,
                        ),)*
                        ncclGetLastError: std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn(ncclComm_t) -> *const std::ffi::c_char,
                        >(find(c"ncclGetLastError")?),
                    })
                }
            }
        }
    };
}

api! {
    ncclGetVersion: fn(*mut c_int);
    ncclGetUniqueId: fn(*mut ncclUniqueId);
    ncclCommInitRankConfig: fn(*mut ncclComm_t, c_int, ncclUniqueId, c_int, *mut ncclConfig_t);
    ncclCommGetAsyncError: fn(ncclComm_t, *mut ncclResult_t);
    ncclCommAbort: fn(ncclComm_t);
    ncclGroupStart: fn();
    ncclGroupEnd: fn();
    ncclAllReduce: fn(*const c_void, OnPointer, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, Stream);
    ncclReduce: fn(*const c_void, OnPointer, usize, ncclDataType_t, ncclRedOp_t, c_int, ncclComm_t, Stream);
    ncclReduceScatter: fn(*const c_void, OnPointer, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, Stream);
    ncclAllGather: fn(*const c_void, OnPointer, usize, ncclDataType_t, ncclComm_t, Stream);
    ncclBroadcast: fn(*const c_void, OnPointer, usize, ncclDataType_t, c_int, ncclComm_t, Stream);
    ncclSend: fn(*const c_void, usize, ncclDataType_t, c_int, ncclComm_t, Stream);
    ncclRecv: fn(OnPointer, usize, ncclDataType_t, c_int, ncclComm_t, Stream);
}

/// NCCL on one card.
pub struct Nccl {
    api: Api,
    context: Arc<CudaContext>,
    version: i32,
}

impl Nccl {
    /// For the card of that number.
    ///
    /// # Errors
    /// When NCCL or the card is not there.
    pub fn new(card: usize) -> Result<Self, String> {
        // SAFETY: the library's initialisers are its own; it stays loaded for good.
        let library = unsafe { libc::dlopen(c"libnccl.so.2".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if library.is_null() {
            return Err("libnccl.so.2 is not there; ./setup --full fetches it".to_owned());
        }
        let api = Api::of(library)?;
        // SAFETY: asks whether the driver can be loaded; its initialisers are its own.
        if !unsafe { cudarc::driver::sys::is_culib_present() } {
            return Err("there is no NVIDIA driver".to_owned());
        }
        let context = CudaContext::new(card).map_err(|error| error.to_string())?;
        let mut version = 0;
        // SAFETY: fills one number.
        ok(unsafe { (api.ncclGetVersion)(&mut version) })?;
        Ok(Self { api, context, version })
    }

    /// Of the library, as it numbers itself: 22809 is 2.28.9.
    pub fn version(&self) -> i32 {
        self.version
    }
}

fn ok(result: ncclResult_t) -> Result<(), String> {
    match result {
        ncclResult_t::ncclSuccess | ncclResult_t::ncclInProgress => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

impl Cards for Nccl {
    fn id(&self) -> Result<Vec<u8>, String> {
        let mut id = ncclUniqueId { internal: [0; 128] };
        // SAFETY: fills 128 bytes.
        ok(unsafe { (self.api.ncclGetUniqueId)(&mut id) })?;
        Ok(id.internal.iter().map(|&byte| byte as u8).collect())
    }

    fn join(&self, id: &[u8], n_places: usize, place: usize) -> Result<Box<dyn Channel>, String> {
        let bytes: [u8; 128] = id.try_into().map_err(|_| format!("an id of {} bytes, not 128", id.len()))?;
        let id = ncclUniqueId { internal: bytes.map(|byte| byte as std::ffi::c_char) };
        let numbers = |n: usize| c_int::try_from(n).map_err(|_| format!("{n} places"));
        let mut config = does_not_block();
        let mut comm: ncclComm_t = std::ptr::null_mut();
        self.context.bind_to_thread().map_err(|error| error.to_string())?;
        let stream = self.context.new_stream().map_err(|error| error.to_string())?;
        // SAFETY: the pointers are to locals that outlive the call; NCCL copies what it keeps.
        ok(unsafe {
            (self.api.ncclCommInitRankConfig)(&mut comm, numbers(n_places)?, id, numbers(place)?, &mut config)
        })?;
        Ok(Box::new(NcclChannel { api: self.api, comm: Mutex::new(Some(Comm(comm))), stream }))
    }
}

/// Every other setting is NCCL's own choice.
fn does_not_block() -> ncclConfig_t {
    ncclConfig_t {
        size: size_of::<ncclConfig_t>(),
        magic: CONFIG_MAGIC,
        version: CONFIG_VERSION,
        blocking: 0,
        cgaClusterSize: UNDEFINED,
        minCTAs: UNDEFINED,
        maxCTAs: UNDEFINED,
        netName: std::ptr::null(),
        splitShare: UNDEFINED,
        trafficClass: UNDEFINED,
        commName: std::ptr::null(),
        collnetEnable: UNDEFINED,
        CTAPolicy: UNDEFINED,
        shrinkShare: UNDEFINED,
        nvlsCTAs: UNDEFINED,
        nChannelsPerNetPeer: UNDEFINED,
        nvlinkCentricSched: UNDEFINED,
    }
}

/// A communicator; calls on it come one at a time, by the lock around it.
struct Comm(ncclComm_t);

// SAFETY: a communicator may be used from any thread, one at a time; it is behind a lock.
unsafe impl Send for Comm {}

struct NcclChannel {
    api: Api,
    /// None once it is aborted.
    comm: Mutex<Option<Comm>>,
    stream: Arc<CudaStream>,
}

impl NcclChannel {
    fn lock(&self) -> MutexGuard<'_, Option<Comm>> {
        self.comm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In NCCL's words.
    fn words(&self, comm: ncclComm_t, result: ncclResult_t) -> String {
        // SAFETY: gives a string that lives as long as the library, or null.
        let text = unsafe { (self.api.ncclGetLastError)(comm) };
        if text.is_null() {
            return format!("{result:?}");
        }
        // SAFETY: as above, and not null.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        format!("{result:?}: {text}")
    }

    fn check(&self, comm: ncclComm_t, result: ncclResult_t) -> Result<(), String> {
        ok(result).map_err(|_| self.words(comm, result))
    }

    fn hand_over(&self, comm: ncclComm_t, step: &Move) -> Result<(), String> {
        let stream = self.stream.cu_stream().cast::<c_void>();
        let count = |tensor: &Tensor| tensor.numel();
        let place = |place: &usize| *place as c_int;
        // SAFETY: tensors are contiguous memory of the card that the group keeps until the operation has ended; counts are
        // theirs.
        let result = unsafe {
            match step {
                Move::AllReduce { tensor, op } => {
                    let at = tensor.data_ptr();
                    (self.api.ncclAllReduce)(at, at, count(tensor), element(tensor)?, how(*op), comm, stream)
                }
                Move::Reduce { tensor, root, op } => {
                    let at = tensor.data_ptr();
                    let (n, element) = (count(tensor), element(tensor)?);
                    (self.api.ncclReduce)(at, at, n, element, how(*op), place(root), comm, stream)
                }
                Move::ReduceScatter { from, to, op } => {
                    let (give, get) = (from.data_ptr(), to.data_ptr());
                    (self.api.ncclReduceScatter)(give, get, count(to), element(from)?, how(*op), comm, stream)
                }
                Move::AllGather { from, to } => {
                    (self.api.ncclAllGather)(from.data_ptr(), to.data_ptr(), count(from), element(from)?, comm, stream)
                }
                Move::Broadcast { tensor, root } => {
                    let at = tensor.data_ptr();
                    (self.api.ncclBroadcast)(at, at, count(tensor), element(tensor)?, place(root), comm, stream)
                }
                Move::Send { tensor, to } => {
                    (self.api.ncclSend)(tensor.data_ptr(), count(tensor), element(tensor)?, place(to), comm, stream)
                }
                Move::Receive { tensor, from } => {
                    (self.api.ncclRecv)(tensor.data_ptr(), count(tensor), element(tensor)?, place(from), comm, stream)
                }
            }
        };
        self.check(comm, result)
    }
}

impl Channel for NcclChannel {
    fn device(&self) -> Device {
        Device::Cuda(self.stream.context().ordinal())
    }

    fn is_ready(&self) -> Result<bool, String> {
        let guard = self.lock();
        let Some(Comm(comm)) = &*guard else { return Err("it was aborted".to_owned()) };
        let mut state = ncclResult_t::ncclSuccess;
        // SAFETY: fills one number; the communicator is alive under the lock.
        let result = unsafe { (self.api.ncclCommGetAsyncError)(*comm, &mut state) };
        self.check(*comm, result)?;
        self.check(*comm, state)?;
        Ok(state != ncclResult_t::ncclInProgress)
    }

    fn start(&self, moves: &[Move]) -> Result<(), String> {
        let guard = self.lock();
        let Some(Comm(comm)) = &*guard else { return Err("it was aborted".to_owned()) };
        let text = |error: cudarc::driver::DriverError| error.to_string();
        // LibTorch computes on the default stream.
        let caller = self.stream.context().default_stream();
        self.stream.wait(&caller.record_event(None).map_err(text)?).map_err(text)?;
        // SAFETY: groups what this thread hands over until the end of it.
        self.check(*comm, unsafe { (self.api.ncclGroupStart)() })?;
        let handed = moves.iter().try_for_each(|step| self.hand_over(*comm, step));
        // SAFETY: as above; a group that was begun is ended, whatever was handed over.
        let ended = self.check(*comm, unsafe { (self.api.ncclGroupEnd)() });
        handed.and(ended)
    }

    fn mark(&self) -> Result<Box<dyn Mark>, String> {
        let event = self.stream.record_event(None).map_err(|error| error.to_string())?;
        Ok(Box::new(Passed { event, stream: Arc::clone(&self.stream) }))
    }

    fn abort(&self) {
        if let Some(Comm(comm)) = self.lock().take() {
            // SAFETY: nobody uses the communicator any more: it was taken out from under the lock.
            let result = unsafe { (self.api.ncclCommAbort)(comm) };
            if let Err(reason) = ok(result) {
                tracing::warn!("NCCL does not abort: {reason}");
            }
        }
    }
}

struct Passed {
    event: CudaEvent,
    stream: Arc<CudaStream>,
}

impl Mark for Passed {
    fn has_passed(&self) -> Result<bool, String> {
        self.stream.context().bind_to_thread().map_err(|error| error.to_string())?;
        Ok(self.event.is_complete())
    }

    fn hold(&self) -> Result<(), String> {
        self.stream.context().default_stream().wait(&self.event).map_err(|error| error.to_string())
    }
}

fn how(op: ReduceOp) -> ncclRedOp_t {
    match op {
        ReduceOp::Sum => ncclRedOp_t::ncclSum,
        ReduceOp::Max => ncclRedOp_t::ncclMax,
    }
}

fn element(tensor: &Tensor) -> Result<ncclDataType_t, String> {
    Ok(match tensor.kind() {
        Kind::Float => ncclDataType_t::ncclFloat32,
        Kind::Double => ncclDataType_t::ncclFloat64,
        Kind::BFloat16 => ncclDataType_t::ncclBfloat16,
        Kind::Half => ncclDataType_t::ncclFloat16,
        Kind::Int64 => ncclDataType_t::ncclInt64,
        Kind::Int => ncclDataType_t::ncclInt32,
        Kind::Uint8 | Kind::Bool => ncclDataType_t::ncclUint8,
        Kind::Int8 => ncclDataType_t::ncclInt8,
        // Only moved, never reduced.
        Kind::Float8e4m3fn | Kind::Float8e5m2 => ncclDataType_t::ncclUint8,
        other => return Err(format!("NCCL does not carry {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_cards_says_so() {
        match Nccl::new(0) {
            Ok(nccl) => assert!(nccl.version() > 21_000, "{}", nccl.version()),
            Err(reason) => {
                eprintln!("NOT RUN: {reason}");
                assert!(reason.contains("libnccl.so.2") || reason.contains("driver"), "{reason}");
            }
        }
    }

    /// Until what was handed over is taken.
    fn until_ready(channel: &dyn Channel) {
        while !channel.is_ready().expect("NCCL is well") {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_group_of_one_card_reduces_gathers_and_ends() {
        let nccl = match ds_kernels::load_cuda().map_err(|error| error.to_string()).and_then(|()| Nccl::new(0)) {
            Ok(nccl) => nccl,
            Err(reason) => return eprintln!("NOT RUN: {reason}"),
        };
        let id = nccl.id().expect("an id");
        let channel = nccl.join(&id, 1, 0).expect("a group of one");
        until_ready(&*channel);
        let device = channel.device();
        let tensor = Tensor::arange(1000, (Kind::Float, device));
        let (expected, gathered) = (tensor.copy(), tensor.zeros_like());
        let sum = Move::AllReduce { tensor: tensor.shallow_clone(), op: ReduceOp::Sum };
        let gather = Move::AllGather { from: tensor.shallow_clone(), to: gathered.shallow_clone() };
        for step in [sum, gather] {
            channel.start(&[step]).expect("it starts");
            until_ready(&*channel);
        }
        let mark = channel.mark().expect("a mark");
        mark.hold().expect("LibTorch's stream waits");
        assert_eq!((&tensor, &gathered), (&expected, &expected));
        assert!(mark.has_passed().expect("NCCL is well"));
        channel.abort();
        assert!(channel.is_ready().is_err());
    }
}
