//! The CUDA device of these tests: the simulator, or a GPU if there is one.

use std::env;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::sync::OnceLock;

use cudasim::{Build, Simulator};
use pixtape::engine::device::cuda;

/// Set to 1, makes a missing GPU a failure.
const REQUIRE: &str = "PIXTAPE_REQUIRE_GPU";

/// Set to 1, lets a simulated GPU do where a real one is meant: for a trial of these tests without a GPU.
const TAKE_SIMULATED: &str = "PIXTAPE_TAKE_SIMULATED_GPU";

/// The folder of another simulator than that of this build: one whose kernels have been changed
/// (`tools/mutate-kernels`).
const SIMULATOR: &str = "PIXTAPE_SIMULATOR";

/// Runs `test` where there is a CUDA device. The simulator's schedule is the environment's (see
/// `tools/test-simulator`), and its checker must have nothing to say.
pub fn on_device(test: impl FnOnce()) {
    if !crate::ON_GPU {
        let simulator = simulator();
        test();
        assert_eq!(simulator.take_reports(), [""; 0], "reports of the checker");
        return;
    }
    match gpu() {
        Ok(()) => test(),
        Err(reason) => {
            assert!(!is_on(REQUIRE), "{REQUIRE}=1, but {reason}");
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            // Past the capture of the test harness: a skip must not look like a success.
            writeln!(stderr(), "SKIPPED {name}: {reason}").expect("stderr");
        }
    }
}

fn is_on(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| value == "1")
}

/// The folder of the driver of the tests on the simulator.
pub fn simulator_folder() -> PathBuf {
    env::var_os(SIMULATOR).map_or_else(|| cudasim::folder(Build::Check).to_owned(), PathBuf::from)
}

/// The driver of this process from now on: a simulator with checks.
pub fn simulator() -> &'static Simulator {
    static SIMULATOR: OnceLock<Simulator> = OnceLock::new();
    SIMULATOR.get_or_init(|| {
        cudasim::load(&simulator_folder()).expect("the simulator");
        let simulator = Simulator::attach().expect("the simulator");
        assert!(simulator.is_check_build());
        simulator
    })
}

/// Refuses where there is no GPU to run on. A simulated one is not meant, unless the environment says so.
fn gpu() -> Result<(), &'static str> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let look = || match cuda::check_gpu(0) {
        Ok(info) if info.is_simulated && !is_on(TAKE_SIMULATED) => Err("cuda:0 is simulated".to_owned()),
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("{reason:#}")),
    };
    FOUND.get_or_init(look).as_ref().copied().map_err(String::as_str)
}
