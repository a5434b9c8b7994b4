//! The build script's reader of kernel declarations: the forms that it takes, and that it refuses all others.

mod nvcc;
#[path = "../../build/scan.rs"]
mod scan;

use std::fs;
use std::path::Path;

use pixtape::engine::kernel::cuda::kernels::{KERNELS, MODULES};
use scan::{Field, Kernel, Kind, Struct, kernels};

const GOOD: &str = r#"
constexpr int THREADS = 256, PARTS = 3;

// Of the form that all have. Not a kernel: KERNEL(nothing, 1, Nothing args)
struct Scale {
  const float* x;  // read
  float *y;
  int count, stride;
  Inner inner;
  double factor;
  Inner parts[PARTS];
  float* outs[2];
};

KERNEL(scale, THREADS, Scale args) {
}

struct Tick {
  Control* control;
  TensorMap map;
};

KERNEL(tick, 32, Tick args) { args.control->step += 1; }

template <class Function, int N>
void apply(const Scale& args) {}
INSTANCE(apply_tanh_4, THREADS, Scale, apply<Tanh, 4>);
"#;

const HEADER: &str = "// Beside the kernels.\nstruct Inner {\n  unsigned bits;\n};\n";

fn known(rust: &'static str, bytes: usize) -> Kind {
    Kind::Known(rust, bytes)
}

fn field(name: &str, kind: Kind, offset: usize) -> Field {
    Field { name: name.to_owned(), kind, offset }
}

#[test]
fn declarations_are_read_with_their_lines_and_types() {
    let (found, structs) = kernels(GOOD, &[HEADER]).unwrap();
    let kernel = |name: &str, line, threads, arguments: &str| Kernel {
        name: name.to_owned(),
        line,
        threads,
        arguments: arguments.to_owned(),
    };
    let expected =
        [kernel("scale", 15, 256, "Scale"), kernel("tick", 23, 32, "Tick"), kernel("apply_tanh_4", 27, 256, "Scale")];
    assert_eq!(found, expected);
    // Offsets and sizes in C++ on the GPUs and the 64-bit CPUs of CUDA.
    let scale = vec![
        field("x", known("Ptr<f32>", 8), 0),
        field("y", known("PtrMut<f32>", 8), 8),
        field("count", known("i32", 4), 16),
        field("stride", known("i32", 4), 20),
        field("inner", Kind::Struct("Inner".to_owned()), 24),
        field("factor", known("f64", 8), 32),
        field("parts", Kind::Array(Box::new(Kind::Struct("Inner".to_owned())), 3), 40),
        field("outs", Kind::Array(Box::new(known("PtrMut<f32>", 8)), 2), 56),
    ];
    assert_eq!(structs["Scale"], Struct { fields: scale, bytes: 72, align: 8 });
    assert_eq!(structs["Inner"], Struct { fields: vec![field("bits", known("u32", 4), 0)], bytes: 4, align: 4 });
    let tick = vec![field("control", known("PtrMut<DeviceControl>", 8), 0), field("map", known("TensorMap", 128), 128)];
    assert_eq!(structs["Tick"], Struct { fields: tick, bytes: 256, align: 128 });
    assert_eq!(structs.len(), 3);
}

/// Each case is a change to the good source, with words of the refusal.
#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (from, to, words) in [
        ("int count", "long count", ["15: ", "long"]),
        ("int count", "const Shape* count", ["15: ", "const Shape*"]),
        ("int count", "int& count", ["15: ", "int&"]),
        ("float *y;", "float *y, *z;", ["15: ", "float *y, *z"]),
        ("int count, stride", "int count, strides[2]", ["15: ", "int count, strides[2]"]),
        ("int count, stride", "int count[0]", ["15: ", "int count[0]"]),
        ("int count, stride", "int count[LANES]", ["15: ", "int count[LANES]"]),
        ("int count, stride", "int size() const", ["15: ", "int size() const"]),
        ("int count, stride", "int count = 1", ["15: ", "int count = 1"]),
        ("Inner inner", "Outer inner", ["15: ", "no struct Outer"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick, 32, Tock args)", ["23: ", "no struct Tock"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick, WARP, Tick args)", ["23: ", "WARP"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick, 2048, Tick args)", ["23: ", "1 to 1024"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick, 32, Tick a)", ["23: ", "args"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick, 32)", ["23: ", "name, threads and arguments"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick, 32, 2, Tick args)", ["23: ", "three parts"]),
        ("KERNEL(tick, 32, Tick args)", "KERNEL(tick<float>, 32, Tick args)", ["23: ", "tick<float>"]),
        (
            "INSTANCE(apply_tanh_4, THREADS, Scale, apply<Tanh, 4>)",
            "INSTANCE(apply_tanh_4, THREADS, Scale)",
            ["27: ", "a function"],
        ),
        ("THREADS = 256, PARTS", "THREADS = 8 * LANES, PARTS", ["15: ", "THREADS threads"]),
        ("KERNEL(tick, 32, Tick args)", "extern \"C\" __global__ void tick(Control* control)", ["23: ", "__global__"]),
        ("int count, stride;", "int count; /* and */ int stride;", ["8: ", "/*"]),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = kernels(&GOOD.replacen(from, to, 1), &[HEADER]).expect_err(to);
        assert!(error.starts_with(words[0]) && error.contains(words[1]), "{to}: {error}");
    }
    assert!(kernels(GOOD, &[]).is_err_and(|error| error.contains("no struct Inner")));
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
    let ours = scanned.iter().map(|kernel| (kernel.name.as_str(), kernel.threads));
    assert!(ours.eq(KERNELS.iter().map(|kernel| (kernel.name, kernel.threads))));
    // A build has machine code for all files or, without nvcc, for none.
    let with_code = MODULES.iter().filter(|module| !module.fatbin.is_empty()).count();
    assert!(with_code == 0 || with_code == MODULES.len(), "{with_code} of {} files", MODULES.len());
}
