//! An exponential moving average of the weights, in the memory of the host (arXiv 2412.19437, §3.2.3). A thread takes up
//! each update's weights while the next step computes: nothing writes to the weights until the next update, which waits
//! for the thread, so that at most one update is outstanding.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use ds_kernels::TorchError;
use tch::{Device, TchError, Tensor, no_grad};

/// Orders and answers that wait: there is at most one of either.
const OUTSTANDING_MAX: usize = 1;

/// Averages of a stage's master weights.
pub struct Ema {
    averages: Vec<Tensor>,
    /// None once it ends.
    orders: Option<SyncSender<()>>,
    answers: Receiver<Result<(), TchError>>,
    is_outstanding: Cell<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Ema {
    /// Starts from `masters` as they are, whose tensors are only ever written to in place.
    ///
    /// # Errors
    /// When LibTorch refuses or the system gives no thread.
    pub fn new(masters: &[Tensor], decay: f64) -> Result<Self, TorchError> {
        let averages: Vec<Tensor> =
            no_grad(|| masters.iter().map(of_host).collect::<Result<_, _>>()).map_err(refused)?;
        let (orders, inbox) = sync_channel(OUTSTANDING_MAX);
        let (answer, answers) = sync_channel(OUTSTANDING_MAX);
        let clones = |tensors: &[Tensor]| -> Vec<Tensor> { tensors.iter().map(Tensor::shallow_clone).collect() };
        let (mut kept, masters) = (clones(&averages), clones(masters));
        let follow = move || {
            // The rank's other cores compute.
            tch::set_num_threads(1);
            for () in inbox {
                if answer.send(no_grad(|| take_up(&mut kept, &masters, 1.0 - decay))).is_err() {
                    break;
                }
            }
        };
        let thread =
            thread::Builder::new().name("ema".to_owned()).spawn(follow).map_err(|error| refused(error.into()))?;
        Ok(Self { averages, orders: Some(orders), answers, is_outstanding: Cell::new(false), thread: Some(thread) })
    }

    /// The weights have had an update: average ← decay · average + (1 − decay) · weight, beside what follows. The
    /// weights must stay as they are until [`Ema::settle`].
    ///
    /// # Errors
    /// When the update before could not be taken up.
    pub fn follow(&self) -> Result<(), TorchError> {
        self.settle()?;
        let is_sent = self.orders.as_ref().is_some_and(|orders| orders.send(()).is_ok());
        if !is_sent {
            return Err(gone());
        }
        self.is_outstanding.set(true);
        Ok(())
    }

    /// Waits until the last update is taken up.
    ///
    /// # Errors
    /// When it could not be.
    pub fn settle(&self) -> Result<(), TorchError> {
        if self.is_outstanding.replace(false) {
            self.answers.recv().map_err(|_| gone())?.map_err(refused)?;
        }
        Ok(())
    }

    /// Aligned with the master weights; to be read or overwritten in place while nothing is outstanding.
    pub fn averages(&self) -> &[Tensor] {
        &self.averages
    }
}

impl Drop for Ema {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It says its errors as answers; there is nobody to tell of a panic.
            let _ = thread.join();
        }
    }
}

fn take_up(averages: &mut [Tensor], masters: &[Tensor], share: f64) -> Result<(), TchError> {
    for (average, master) in averages.iter_mut().zip(masters) {
        let _ = average.f_lerp_(&master.f_to_device(Device::Cpu)?, share)?;
    }
    Ok(())
}

/// A copy, whatever the device.
fn of_host(master: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = Tensor::f_empty(master.size(), (master.f_kind()?, Device::Cpu))?;
    copy.f_copy_(master)?;
    Ok(copy)
}

fn refused(error: TchError) -> TorchError {
    TorchError::Refused { op: "moving average", reason: error.to_string() }
}

fn gone() -> TorchError {
    TorchError::Refused { op: "moving average", reason: "its thread has ended".to_owned() }
}
