//! Where CUDA runs in these tests: on the simulator, or on a GPU if there is one.

use std::io::{Write, stderr};
use std::sync::OnceLock;

use pixtape::device::cuda;

/// Whether a GPU that is missing is a failure.
const REQUIRE: &str = "PIXTAPE_REQUIRE_GPU";

/// Runs `test` where there is a CUDA device.
pub fn on_device(test: impl FnOnce()) {
    if crate::ON_GPU {
        if let Err(reason) = gpu() {
            assert!(!std::env::var_os(REQUIRE).is_some_and(|value| value == "1"), "{REQUIRE}=1, but {reason}");
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            // Past the capture of the test harness: nobody should take a skip for a success.
            writeln!(stderr(), "SKIPPED {name}: {reason}").expect("stderr");
            return;
        }
    }
    test();
}

/// Whether there is a GPU to run on; a simulated one is not meant.
fn gpu() -> Result<(), &'static str> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let look = || match cuda::usable(0) {
        Ok(info) if info.is_simulated => Err("cuda:0 is simulated".to_owned()),
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("{reason:#}")),
    };
    FOUND.get_or_init(look).as_ref().copied().map_err(String::as_str)
}
