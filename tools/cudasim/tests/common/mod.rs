//! A client of the driver: cudarc, unmodified, with the test kernels.

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DriverError, LaunchArgs, LaunchConfig};
use cudasim::{Build, LaunchRecord, Settings, Simulator};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The source of a test kernel file.
pub fn kernel_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels").join(name)
}

/// One host thread's client: a context, a stream of its own, and the simulator's controls.
pub struct Gpu {
    #[allow(dead_code)] // not every test binary asks it
    pub context: Arc<CudaContext>,
    pub stream: Arc<CudaStream>,
    pub module: Arc<CudaModule>,
    pub simulator: Simulator,
}

/// Quiet settings: what is reported is asserted, not printed.
pub const QUIET: Settings = Settings {
    schedule: cudasim::Schedule::Forward,
    asynchrony: cudasim::Async::Lazy,
    check: true,
    count: 0,
    skew: false,
    quiet: true,
    threads: 1,
};

impl Gpu {
    /// Builds and loads the test kernels once per process.
    pub fn new(build: Build, settings: Settings) -> Self {
        static LIBRARY: OnceLock<()> = OnceLock::new();
        LIBRARY.get_or_init(|| {
            let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(build.name());
            let kernels = ["bugs", "conv", "counts", "gemm_mma", "gemm_wgmma", "probes", "tickets"]
                .map(|name| kernel_file(&format!("{name}.cu")));
            let library = cudasim::build(&kernels, build, &out).unwrap_or_else(|e| panic!("{e}"));
            cudasim::load(&library).unwrap_or_else(|e| panic!("{e}"));
        });
        let simulator = Simulator::attach().unwrap();
        simulator.configure(settings).unwrap();
        let context = CudaContext::new(0).unwrap();
        // SAFETY: these tests order their streams by events themselves.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().unwrap();
        let module = context.load_module(cudarc::nvrtc::Ptx::from_src("")).unwrap();
        Self { context, stream, module, simulator }
    }

    pub fn function(&self, kernel: &str) -> CudaFunction {
        self.module.load_function(kernel).unwrap()
    }

    /// The result of a synchronisation, and the reports.
    pub fn synchronize(&self) -> (Result<(), DriverError>, Vec<String>) {
        (self.stream.synchronize(), self.simulator.take_reports())
    }

    /// The launches since recording began.
    #[allow(dead_code)] // not every test binary records
    pub fn recorded(&self, work: impl FnOnce()) -> Vec<LaunchRecord> {
        self.simulator.record_launches(true);
        work();
        self.stream.synchronize().unwrap();
        self.simulator.record_launches(false);
        self.simulator.take_launches()
    }
}

pub fn grid(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

pub fn launch(mut launch: LaunchArgs<'_>, config: LaunchConfig) -> Result<(), DriverError> {
    // SAFETY: kernels of the tests; what they do wrong is what is tested, and it happens in simulated memory.
    unsafe { launch.launch(config) }.map(|_| ())
}

/// `launch!(stream, function, config, argument...)`
#[macro_export]
macro_rules! launch {
    ($stream:expr, $function:expr, $config:expr $(, $argument:expr)* $(,)?) => {{
        use cudarc::driver::PushKernelArg;
        let function = $function;
        let mut builder = $stream.launch_builder(&function);
        $(builder.arg($argument);)*
        $crate::common::launch(builder, $config)
    }};
}
