//! The simulator's own functions, which a real driver lacks.

use crate::Error;
use libloading::os::unix::{Library, RTLD_NOW};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// The order in which threads of a block, blocks of a grid and independent nodes of a graph run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Forward,
    Reverse,
    /// Drawn from this seed.
    Random(u64),
}

/// The time at which queued work, asynchronous copies and matrix products take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Async {
    /// At the wait for them.
    Lazy,
    /// At once.
    Eager,
    /// At moments drawn from the seed of the schedule.
    Random,
}

/// The settings of one host thread. Its launches keep those they were enqueued with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub schedule: Schedule,
    pub asynchrony: Async,
    /// Only in the check build.
    pub check: bool,
    /// Blocks of each launch to count instead of checking them; `usize::MAX` counts all. Only in the check build.
    pub count: usize,
    /// Dynamic shared memory begins at the worst address that its alignment allows.
    pub skew: bool,
    /// Reports are not printed.
    pub quiet: bool,
    /// Host threads for the blocks of one grid; unchecked launches only.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schedule: Schedule::Forward,
            asynchrony: Async::Lazy,
            check: true,
            count: 0,
            skew: false,
            quiet: false,
            threads: 1,
        }
    }
}

/// Sizes of a grid or a block.
pub type Dim = [u32; 3];

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchRecord {
    pub kernel: String,
    pub grid: Dim,
    pub block: Dim,
    /// Distinct bytes of global memory; counted in the check build only.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub reports: Vec<String>,
}

/// Counts of the objects that exist in the driver, of all threads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    pub allocations: u64,
    /// Allocations of device memory.
    pub bytes: u64,
    /// Allocations of pinned host memory.
    pub pinned: u64,
    pub streams: u64,
    pub events: u64,
    pub graphs: u64,
    pub graph_execs: u64,
    pub modules: u64,
    /// Made so far; at most as many as grids have run at once.
    pub engines: u64,
}

#[repr(C)]
struct LaunchView {
    kernel: *const c_char,
    grid: Dim,
    block: Dim,
    bytes_read: u64,
    bytes_written: u64,
    reports: *const c_char,
}

type ReceiveLine = extern "C" fn(*mut c_void, *const c_char);
type ReceiveLaunch = extern "C" fn(*mut c_void, *const LaunchView);

/// The simulated driver that is loaded in this process. Everything but [`Simulator::live`] is about the calling thread.
pub struct Simulator {
    set: extern "C" fn(*const c_char, *const c_char) -> *const c_char,
    is_check_build: extern "C" fn() -> bool,
    take_reports: extern "C" fn(ReceiveLine, *mut c_void),
    record_launches: extern "C" fn(bool),
    take_launches: extern "C" fn(ReceiveLaunch, *mut c_void),
    take_counts: extern "C" fn(ReceiveLine, *mut c_void),
    live: extern "C" fn(*mut Live),
    operand_address: extern "C" fn(u64, c_int, c_int, bool) -> u32,
    parameter_bytes: extern "C" fn(*const c_char) -> i64,
}

impl Simulator {
    /// Finds the driver that programs of this process use, and fails when that is not a simulated one.
    pub fn attach() -> Result<Self, Error> {
        // SAFETY: the library's initialisers only register its kernels in its own tables.
        let library = unsafe { Library::open(Some(crate::compile::LIBRARY), RTLD_NOW) }
            .map_err(|e| Error(format!("no CUDA driver is loaded: {e}")))?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: driver/control.cpp defines the function with the signature of the field.
                *unsafe { library.get(concat!("cudasim_", $name).as_bytes()) }
                    .map_err(|_| Error("the CUDA driver of this process is not cudasim".to_owned()))?
            };
        }
        let simulator = Self {
            set: function!("set"),
            is_check_build: function!("is_check_build"),
            take_reports: function!("take_reports"),
            record_launches: function!("record_launches"),
            take_launches: function!("take_launches"),
            take_counts: function!("take_counts"),
            live: function!("live"),
            operand_address: function!("operand_address"),
            parameter_bytes: function!("parameter_bytes"),
        };
        std::mem::forget(library); // the functions stay for the rest of the process
        Ok(simulator)
    }

    /// Changes the settings of the calling thread.
    pub fn configure(&self, settings: Settings) -> Result<(), Error> {
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        let schedule = match settings.schedule {
            Schedule::Forward => "forward".to_owned(),
            Schedule::Reverse => "reverse".to_owned(),
            Schedule::Random(seed) => format!("random:{seed}"),
        };
        let asynchrony = match settings.asynchrony {
            Async::Lazy => "lazy",
            Async::Eager => "eager",
            Async::Random => "random",
        };
        self.set("CUDASIM_SCHEDULE", &schedule)?;
        self.set("CUDASIM_ASYNC", asynchrony)?;
        self.set("CUDASIM_CHECK", &flag(settings.check))?;
        self.set("CUDASIM_COUNT", &settings.count.to_string())?;
        self.set("CUDASIM_SKEW", &flag(settings.skew))?;
        self.set("CUDASIM_QUIET", &flag(settings.quiet))?;
        self.set("CUDASIM_THREADS", &settings.threads.to_string())
    }

    /// Changes one setting of the calling thread, by its name and value in the environment.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let text = |s: &str| CString::new(s).map_err(|_| Error(format!("{s:?} holds a zero byte")));
        let wrong = (self.set)(text(name)?.as_ptr(), text(value)?.as_ptr());
        if wrong.is_null() { Ok(()) } else { Err(Error(to_string(wrong))) }
    }

    /// True if launches of this driver can be checked.
    pub fn is_check_build(&self) -> bool {
        (self.is_check_build)()
    }

    /// The reports that synchronising calls of this thread have met. Their streams can be used again.
    pub fn take_reports(&self) -> Vec<String> {
        lines_of(self.take_reports)
    }

    /// The JSON of each launch that this thread enqueued and that was counted ([`Settings::count`]) since they were
    /// last taken, in the order they ran in. README.md says what the fields are.
    pub fn take_counts(&self) -> Vec<String> {
        lines_of(self.take_counts)
    }

    /// Turns the recording of launches that this thread enqueues on or off.
    pub fn record_launches(&self, on: bool) {
        (self.record_launches)(on)
    }

    /// The launches that this thread enqueued and that have run since they were last taken, in the order they ran in.
    pub fn take_launches(&self) -> Vec<LaunchRecord> {
        extern "C" fn receive(launches: *mut c_void, launch: *const LaunchView) {
            // SAFETY: take_launches passes on the vector below, which is not accessed otherwise meanwhile, and a view
            // that is valid during this call.
            let (launches, launch) = unsafe { (&mut *launches.cast::<Vec<LaunchRecord>>(), &*launch) };
            launches.push(LaunchRecord {
                kernel: to_string(launch.kernel),
                grid: launch.grid,
                block: launch.block,
                bytes_read: launch.bytes_read,
                bytes_written: launch.bytes_written,
                reports: to_string(launch.reports).lines().map(str::to_owned).collect(),
            });
        }
        let mut launches: Vec<LaunchRecord> = Vec::new();
        (self.take_launches)(receive, (&raw mut launches).cast());
        launches
    }

    /// The objects that exist in the driver.
    pub fn live(&self) -> Live {
        let mut live = Live::default();
        (self.live)(&mut live);
        live
    }

    /// Bytes of the one parameter of a kernel, if it has just one.
    pub fn parameter_bytes(&self, kernel: &str) -> Option<usize> {
        let name = CString::new(kernel).ok()?;
        usize::try_from((self.parameter_bytes)(name.as_ptr())).ok()
    }

    /// The shared address of element (`mn`, `k`) of a wgmma operand; `transposed` when `mn` is its contiguous
    /// dimension.
    pub fn operand_address(&self, descriptor: u64, mn: i32, k: i32, transposed: bool) -> u32 {
        (self.operand_address)(descriptor, mn, k, transposed)
    }
}

/// The lines that a function of the driver calls back with.
fn lines_of(take: extern "C" fn(ReceiveLine, *mut c_void)) -> Vec<String> {
    extern "C" fn receive(lines: *mut c_void, line: *const c_char) {
        // SAFETY: `take` passes on the vector below, which is not accessed otherwise meanwhile.
        unsafe { &mut *lines.cast::<Vec<String>>() }.push(to_string(line));
    }
    let mut lines: Vec<String> = Vec::new();
    take(receive, (&raw mut lines).cast());
    lines
}

fn to_string(text: *const c_char) -> String {
    // SAFETY: the driver's texts end with a zero byte and live until the call that they are part of returns.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
