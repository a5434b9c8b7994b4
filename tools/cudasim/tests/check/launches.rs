//! Launches that the device would refuse, and what the driver says about itself.

use crate::common::grid;
use crate::{gpu, launch};
use cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute, CUresult};
use cudarc::driver::{DriverError, LaunchConfig};

fn refusal(result: Result<(), DriverError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.0, CUresult::CUDA_ERROR_INVALID_VALUE);
    error.error_string().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn bad_configurations_are_refused_with_a_reason() {
    let gpu = gpu();
    let mut out = gpu.stream.alloc_zeros::<f32>(2048).unwrap();
    let mut fill =
        |config: LaunchConfig| refusal(launch!(gpu.stream, gpu.function("fill"), config, &mut out, &1f32, &1i32));
    assert!(fill(grid(0, 32)).contains("a grid of (0,1,1)"));
    assert!(fill(grid(1, 0)).contains("a block of (0,1,1)"));
    assert!(fill(grid(1, 1025)).contains("a block of (1025,1,1)"));
    assert!(fill(LaunchConfig { block_dim: (64, 32, 1), ..grid(1, 1) }).contains("the device permits 1024"));
    assert!(fill(LaunchConfig { grid_dim: (1, 65536, 1), ..grid(1, 1) }).contains("a grid of (1,65536,1)"));
    let over = LaunchConfig { shared_mem_bytes: 49153, ..grid(1, 1) };
    assert!(fill(over).contains("cuFuncSetAttribute permits 49152"));
    let text = refusal(launch!(gpu.stream, gpu.function("probe_ldmatrix"), grid(1, 64), &mut out, &0i32));
    assert!(text.contains("probe_ldmatrix: 64 threads in a block; its __launch_bounds__ permit 32"), "{text}");
}

#[test]
fn functions_know_their_bounds() {
    let gpu = gpu();
    let max_threads = |kernel: &str| {
        gpu.function(kernel).get_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK).unwrap()
    };
    assert_eq!((max_threads("fill"), max_threads("correlate"), max_threads("im2col")), (1024, 256, 32));
    let error = gpu.module.load_function("no_such_kernel").err().unwrap();
    assert_eq!(error.0, CUresult::CUDA_ERROR_NOT_FOUND);
    let text = error.error_string().unwrap().to_str().unwrap().to_owned();
    assert!(text.contains("no kernel no_such_kernel"), "{text}");
}

#[test]
fn the_device_says_that_it_is_simulated() {
    let gpu = gpu();
    assert!(gpu.context.name().unwrap().starts_with("cudasim"));
    assert_eq!(gpu.context.compute_capability().unwrap(), (9, 0));
    let processors = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    assert_eq!(gpu.context.attribute(processors).unwrap(), 132);
    assert_eq!(gpu.context.uuid().unwrap(), gpu.context.uuid().unwrap());
}

#[test]
fn threads_know_where_they_are() {
    let gpu = gpu();
    let (grid_dim, block_dim) = ((3, 4, 2), (5, 3, 2));
    let count = 24 * 30;
    let mut out = gpu.stream.alloc_zeros::<u32>(count).unwrap();
    for settings in crate::all_settings() {
        gpu.simulator.configure(settings).unwrap();
        let config = LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 };
        launch!(gpu.stream, gpu.function("where_am_i"), config, &mut out).unwrap();
        assert_eq!(gpu.stream.clone_dtoh(&out).unwrap(), (0..count as u32).collect::<Vec<_>>());
    }
}

#[test]
fn unknown_settings_are_errors() {
    let gpu = gpu();
    for (name, value, expected) in [
        ("CUDASIM_SCHEDULE", "sideways", "expected forward, reverse or random:SEED"),
        ("CUDASIM_SCHEDULE", "random:x", "expected forward, reverse or random:SEED"),
        ("CUDASIM_ASYNC", "", "expected lazy, eager or random"),
        ("CUDASIM_THREADS", "0", "from 1 to 1024"),
        ("CUDASIM_SKEW", "2", "expected 0 or 1"),
        ("CUDASIM_SPEED", "9", "there is no such setting"),
    ] {
        let error = gpu.simulator.set(name, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}={value}: {error}");
    }
}
