//! The build script's reader of kernel declarations: what it takes, and that it refuses what it does not understand.

#[path = "../../build/scan.rs"]
mod scan;

use std::fs;
use std::path::Path;

use pixtape::engine::kernel::cuda::kernels::{KERNELS, MODULES};
use scan::{Kernel, Parameter, kernels};

const GOOD: &str = r#"
constexpr int THREADS = 256;

// Of the form that all have. Not a kernel: extern "C" __global__ void nothing();
extern "C" __global__ void __launch_bounds__(THREADS) scale(
    const float* __restrict__ x,
    float *y,
    int count,
    double factor) {
}
KERNEL(scale);
extern "C" __global__ void __launch_bounds__(32) tick(Control* control) { control->step += 1; }
KERNEL(tick);
"#;

fn parameter(name: &str, rust: &'static str) -> Parameter {
    Parameter { name: name.to_owned(), rust }
}

#[test]
fn declarations_are_read_with_their_lines_and_types() {
    let scale = Kernel {
        name: "scale".to_owned(),
        line: 5,
        block: 256,
        parameters: vec![
            parameter("x", "Ptr<f32>"),
            parameter("y", "PtrMut<f32>"),
            parameter("count", "i32"),
            parameter("factor", "f64"),
        ],
    };
    let control = parameter("control", "PtrMut<DeviceControl>");
    let tick = Kernel { name: "tick".to_owned(), line: 12, block: 32, parameters: vec![control] };
    assert_eq!(kernels(GOOD), Ok(vec![scale, tick]));
}

/// One change to the good source each, and words of the refusal.
#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (from, to, words) in [
        ("int count", "long count", ["5: ", "long"]),
        ("int count", "const Shape* count", ["5: ", "const Shape*"]),
        ("int count", "int& count", ["5: ", "int&"]),
        ("KERNEL(scale);", "", ["5: ", "KERNEL(scale); is missing"]),
        ("KERNEL(scale);", "// KERNEL(scale);", ["5: ", "KERNEL(scale); is missing"]),
        ("__launch_bounds__(32)", "", ["12: ", "__launch_bounds__"]),
        ("__launch_bounds__(32)", "__launch_bounds__(WARP)", ["12: ", "WARP"]),
        ("__launch_bounds__(32)", "__launch_bounds__(2048)", ["12: ", "1 to 1024"]),
        ("__launch_bounds__(32)", "__launch_bounds__(32, 2)", ["12: ", "32, 2"]),
        ("THREADS = 256", "THREADS = 8 * LANES", ["5: ", "8 * LANES"]),
        ("void __launch_bounds__(32)", "int __launch_bounds__(32)", ["12: ", "void"]),
        ("extern \"C\" __global__ void __launch_bounds__(32)", "__global__ void", ["1: ", "extern \"C\""]),
        ("tick(Control* control)", "tick<float>(Control* control)", ["12: ", "tick<float>"]),
        ("float *y", "float *y /* what comes out */", ["7: ", "/*"]),
        ("KERNEL(tick);", "/*\nKERNEL(tick);\n*/", ["13: ", "/*"]),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = kernels(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(error.starts_with(words[0]) && error.contains(words[1]), "{to}: {error}");
    }
}

#[test]
fn the_programs_kernels_are_those_of_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "cu")).collect();
    files.sort();
    let sources: Vec<_> = files.iter().map(|path| scan::file(path).unwrap()).collect();
    assert!(sources.iter().map(|source| source.module.as_str()).eq(MODULES.iter().map(|module| module.name)));
    let scanned: Vec<&Kernel> = sources.iter().flat_map(|source| &source.kernels).collect();
    assert!(scanned.len() > 15);
    let ours = scanned.iter().map(|kernel| (kernel.name.as_str(), kernel.block));
    assert!(ours.eq(KERNELS.iter().map(|kernel| (kernel.name, kernel.block))));
    // With machine code for all files, or, without nvcc, for none.
    let with_code = MODULES.iter().filter(|module| !module.fatbin.is_empty()).count();
    assert!(with_code == 0 || with_code == MODULES.len(), "{with_code} of {} files", MODULES.len());
}
