//! Counts of the simulated driver (`tools/cudasim`): what the kernels of a program ask of a GPU's memory system and
//! matrix units, by source line. The driver gives them as JSON, which `tools/cudasim/README.md` describes.

use std::ffi::{CStr, CString, c_char, c_void};

use anyhow::{Context as _, Result, anyhow, ensure};
use cudarc::driver::sys;
use serde::{Deserialize, Serialize};

use super::launching::{permit_shared_memory, run};
use super::{Cuda, Unit};

/// The counts of one launch. Some of its blocks stand for all.
#[derive(Clone, Debug, Deserialize)]
pub struct LaunchCounts {
    pub kernel: String,
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u64,
    /// Bytes of shared memory of a block, static and dynamic.
    pub shared_bytes: u64,
    pub blocks_counted: u64,
    /// Sectors of 32 bytes of global memory that the counted blocks together touch.
    pub distinct_sectors: u64,
    pub lines: Vec<LineCounts>,
}

/// The counts of one event at one line of source, over the counted blocks. The fields that have no meaning for the
/// event are 0.
#[derive(Clone, Debug, Deserialize)]
pub struct LineCounts {
    /// File and line, as in `conv.cu:88`.
    pub line: String,
    pub event: Event,
    /// Instructions of warps; of waits and fences those of threads.
    pub requests: u64,
    /// Threads that took part.
    pub lanes: u64,
    /// Distinct bytes of each request.
    pub bytes: u64,
    /// Lines of 128 bytes of global memory that the requests touch.
    pub lines: u64,
    /// Sectors of 32 bytes of global memory.
    pub sectors: u64,
    /// As few sectors as hold the bytes of the requests.
    pub least_sectors: u64,
    /// Sectors that are not in the modelled L1 cache, or are written.
    pub l2_sectors: u64,
    /// Passes of 128 bytes through shared memory.
    pub wavefronts: u64,
    /// Passes without conflicts of banks.
    pub least_wavefronts: u64,
    pub multiply_adds: u64,
    /// Bytes of asynchronous copies under way at waits, summed over the threads that wait.
    pub bytes_in_flight: u64,
}

/// What is counted at a line: an access to memory, a product, or a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    #[serde(rename = "global load")]
    GlobalLoad,
    #[serde(rename = "global store")]
    GlobalStore,
    #[serde(rename = "global atomic")]
    GlobalAtomic,
    /// The reads of global memory of cp.async.
    #[serde(rename = "async copy")]
    AsyncCopy,
    #[serde(rename = "TMA load")]
    TmaLoad,
    #[serde(rename = "TMA store")]
    TmaStore,
    #[serde(rename = "shared load")]
    SharedLoad,
    #[serde(rename = "shared store")]
    SharedStore,
    #[serde(rename = "shared atomic")]
    SharedAtomic,
    /// The writes to shared memory of cp.async.
    #[serde(rename = "shared copy")]
    SharedCopy,
    #[serde(rename = "ldmatrix")]
    LoadMatrix,
    /// The reads of shared memory of wgmma.
    #[serde(rename = "wgmma operand")]
    OperandRead,
    #[serde(rename = "product")]
    Product,
    #[serde(rename = "wait")]
    Wait,
    #[serde(rename = "barrier")]
    Barrier,
    #[serde(rename = "fence")]
    Fence,
}

impl Event {
    /// True for an instruction that accesses memory.
    pub fn is_access(self) -> bool {
        // The two sides of a cp.async are one instruction; wgmma reads its operands by itself.
        !matches!(self, Event::SharedCopy | Event::OperandRead | Event::Product | Event::Wait)
            && !matches!(self, Event::Barrier | Event::Fence)
    }

    /// True for an access that brings data from global memory.
    pub fn reads_global(self) -> bool {
        matches!(self, Event::GlobalLoad | Event::AsyncCopy | Event::TmaLoad)
    }
}

/// As many blocks as a launch has.
pub const ALL_BLOCKS: usize = usize::MAX >> 1;

/// Blocks that follow one another in a sample of the simulator's.
const SAMPLE: usize = 16;

type ReceiveLine = extern "C" fn(*mut c_void, *const c_char);

impl Cuda {
    /// Runs about `blocks` blocks of each launch of `unit` on the simulated driver, or all of them where more than 16
    /// share a sum, which the last of them adds up; returns the counts of the launches. The values of all buffers are
    /// meaningless afterwards.
    ///
    /// # Errors
    /// When the GPU is not the simulator's check build, or the driver refuses a launch.
    pub fn count(&mut self, unit: Unit, blocks: usize) -> Result<Vec<LaunchCounts>> {
        ensure!(
            self.gpu.info.is_simulated,
            "{} does not count: the simulator of tools/cudasim does",
            self.gpu.info.name
        );
        let shares = match unit {
            Unit::Crops => 0,
            Unit::Step(step) => self.chosen[step].shares,
            Unit::Pair { patch, wgrad } => self.chosen[patch].shares.max(self.chosen[wgrad].shares),
        };
        let blocks = if shares > SAMPLE { ALL_BLOCKS } else { blocks };
        let launches = self.launches_of_unit(unit);
        permit_shared_memory(&self.gpu, &launches)?;
        count_blocks(blocks)?;
        let launched = launches.iter().try_for_each(|launch| run(&self.stream, &self.gpu.functions, launch));
        let finished = launched.and_then(|()| self.wait());
        count_blocks(0)?;
        finished.and_then(|()| take())
    }
}

/// Has the simulator count `blocks` blocks of each launch of this thread from here on; 0 ends that.
fn count_blocks(blocks: usize) -> Result<()> {
    type Set = extern "C" fn(*const c_char, *const c_char) -> *const c_char;
    // SAFETY: the library of the simulated driver has this function, with this signature (driver/control.cpp).
    let set = unsafe { sys::culib().get::<Set>("cudasim_set") }.context("the simulated driver cannot count")?;
    let value = CString::new(blocks.to_string())?;
    let refusal = set(c"CUDASIM_COUNT".as_ptr(), value.as_ptr());
    if refusal.is_null() {
        return Ok(());
    }
    // SAFETY: a text of the driver, which ends with a zero byte and stays until its next call.
    Err(anyhow!("the simulated driver: {}", unsafe { CStr::from_ptr(refusal) }.to_string_lossy()))
}

/// The counts of the launches since the last call.
fn take() -> Result<Vec<LaunchCounts>> {
    extern "C" fn receive(lines: *mut c_void, line: *const c_char) {
        // SAFETY: the driver passes on the vector below, which is not accessed otherwise meanwhile, and a text that
        // ends with a zero byte.
        let (lines, line) = unsafe { (&mut *lines.cast::<Vec<String>>(), CStr::from_ptr(line)) };
        lines.push(line.to_string_lossy().into_owned());
    }
    type Take = extern "C" fn(ReceiveLine, *mut c_void);
    // SAFETY: as in `count_blocks`.
    let take =
        unsafe { sys::culib().get::<Take>("cudasim_take_counts") }.context("the simulated driver cannot count")?;
    let mut lines: Vec<String> = Vec::new();
    take(receive, (&raw mut lines).cast());
    let parse = |line: &String| serde_json::from_str(line).with_context(|| format!("counts of the simulator: {line}"));
    lines.iter().map(parse).collect()
}
