//! Settings from the environment, which are read once per process: each case runs in a process of its own.

#[path = "common/mod.rs"]
#[allow(dead_code)] // most of it is for the other test binaries
mod common;

use cudarc::driver::{CudaContext, sys};
use std::process::{Command, Output};

/// Runs a test of this binary that is ignored otherwise, with these variables.
fn run(test: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn passes(test: &str, variables: &[(&str, &str)]) {
    let output = run(test, variables);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn load() {
    cudasim::load(cudasim::folder(cudasim::Build::Check)).unwrap();
}

#[test]
fn the_driver_of_the_folder_can_have_little_memory_another_version_or_no_device() {
    passes("little_memory", &[("CUDASIM_MEMORY", "1048576")]);
    passes("another_version", &[("CUDASIM_DRIVER_VERSION", "12040")]);
    passes("no_device", &[("CUDASIM_DEVICES", "0")]);
}

#[test]
#[ignore = "run with CUDASIM_MEMORY"]
fn little_memory() {
    load();
    let context = CudaContext::new(0).unwrap();
    assert_eq!(context.total_mem().unwrap(), 1 << 20);
    let stream = context.new_stream().unwrap();
    let half = stream.alloc_zeros::<u8>(1 << 19).unwrap();
    let rest = stream.alloc_zeros::<u8>(1 << 19).unwrap();
    let error = stream.alloc_zeros::<u8>(1).unwrap_err();
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    drop((half, rest));
    stream.synchronize().unwrap();
    // Freed memory can be allocated again, many times over.
    for _ in 0..100 {
        stream.alloc_zeros::<u8>(1 << 20).unwrap();
        stream.synchronize().unwrap();
    }
}

#[test]
#[ignore = "run with CUDASIM_DRIVER_VERSION"]
fn another_version() {
    load();
    cudarc::driver::result::init().unwrap();
    let mut version = 0;
    // SAFETY: the pointer is to a live integer.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().unwrap();
    assert_eq!(version, 12040);
}

#[test]
#[ignore = "run with CUDASIM_DEVICES"]
fn no_device() {
    load();
    assert_eq!(CudaContext::new(0).unwrap_err().0, sys::CUresult::CUDA_ERROR_NO_DEVICE);
}

#[test]
fn values_that_do_not_exist_are_errors_with_a_line() {
    for (name, value, expected) in [
        (
            "CUDASIM_SCHEDULE",
            "backward",
            "cudasim: CUDASIM_SCHEDULE=backward: expected forward, reverse or random:SEED",
        ),
        ("CUDASIM_MEMORY", "lots", "cudasim: CUDASIM_MEMORY=lots: expected a number from 1048576 to"),
        ("CUDASIM_DEVICES", "2", "cudasim: CUDASIM_DEVICES=2: expected a number from 0 to 1"),
    ] {
        let output = run("initialisation_fails", &[(name, value)]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains(expected), "{text}");
    }
}

#[test]
#[ignore = "run with values that do not exist"]
fn initialisation_fails() {
    load();
    assert_eq!(CudaContext::new(0).unwrap_err().0, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
}

/// The command line, and a program that knows nothing of cudasim but LD_LIBRARY_PATH.
#[test]
fn the_command_prints_a_folder_that_holds_the_driver() {
    for (arguments, build) in [(&["path"][..], "fast"), (&["path", "fast"], "fast"), (&["path", "check"], "check")] {
        let output = Command::new(env!("CARGO_BIN_EXE_cudasim")).args(arguments).output().unwrap();
        let folder = String::from_utf8(output.stdout).unwrap();
        assert!(folder.trim_end().ends_with(build), "{folder}");
        passes("driver_by_name", &[("LD_LIBRARY_PATH", folder.trim_end())]);
    }
}

#[test]
#[ignore = "run with LD_LIBRARY_PATH"]
fn driver_by_name() {
    assert!(CudaContext::new(0).unwrap().name().unwrap().starts_with("cudasim"));
}

#[test]
fn the_command_builds_others_kernels_and_says_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("mine.cu");
    let cudasim = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_cudasim")).args(arguments).output().unwrap();
    let (out, path) = (folder.path().to_str().unwrap(), source.to_str().unwrap());

    let kernel =
        "#include \"prelude.cuh\"\nextern \"C\" __global__ void mine(float* x) { *x = 1; }\nREGISTER_KERNEL(mine);\n";
    std::fs::write(&source, kernel).unwrap();
    let built = cudasim(&["build", "check", "--out", out, path]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(folder.path().join("libcuda.so").exists());

    std::fs::write(&source, kernel.replace("*x = 1", "*x = y")).unwrap();
    let failed = cudasim(&["build", "fast", "--out", out, path]);
    let text = String::from_utf8_lossy(&failed.stderr);
    assert!(
        !failed.status.success() && text.contains("mine.cu") && text.contains("'y'") | text.contains("‘y’"),
        "{text}"
    );

    for (arguments, expected) in [
        (&["path", "slow"][..], "expected fast or check"),
        (&["build", "fast", path], "--out FOLDER is missing"),
        (&["polish"], "is not a command"),
    ] {
        let failed = cudasim(arguments);
        let text = String::from_utf8_lossy(&failed.stderr);
        assert!(!failed.status.success() && text.contains(expected), "{text}");
    }
}
