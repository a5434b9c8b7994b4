//! Broken drivers, and the oldest driver that works. Each is a library made by the test: some functions fail as they do
//! on real machines, others are the simulator's.
//!
//! A driver that cannot be used is one line with its cure for `--device cuda`, and a reason to compute on the CPU for
//! `auto`. With `--device cpu` it is not mentioned.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use pixtape::engine::device::cuda::FUNCTIONS;
use pixtape::engine::kernel::cuda::kernels;

use super::scene::{Scene, TINY};
use crate::cuda::driver::simulator_folder;

/// Names of the driver's library. A machine may have a real driver under the name that a test leaves out.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// Functions of the simulator that no driver has.
const SIMULATOR: [&str; 9] = [
    "is_check_build",
    "live",
    "operand_address",
    "parameter_bytes",
    "record_launches",
    "set",
    "take_counts",
    "take_launches",
    "take_reports",
];

/// Variable with the path of a file that lists the functions that a process called.
const CALLED: &str = "TEST_CALLED";

/// A test that times steps and executions on a GPU.
const TIMED: &str = "cuda::device::every_step_and_every_execution_has_a_time";

/// NVTX's library, which writes the names of ranges as they begin, and `end` where one ends, to the file [`RANGES`].
const NVTX: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    static int put(const char* line) {
        const char* path = getenv("TEST_RANGES");
        FILE* file = path ? fopen(path, "a") : 0;
        if (file) { fprintf(file, "%s\n", line); fclose(file); }
        return 0;
    }
    int nvtxRangePushA(const char* name) { return put(name); }
    int nvtxRangePop(void) { return put("end"); }
"#;

/// Variable with the path of that file.
const RANGES: &str = "TEST_RANGES";

/// A scene whose program looks for the driver in `driver/libcuda.so`, which is not there yet.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.set("LD_LIBRARY_PATH", scene.path("driver"));
    scene
}

/// Asserts that the driver of `scene` is refused in lines that hold all `words`, and that the CPU does the work for
/// `auto`.
#[track_caller]
fn assert_unusable(scene: &Scene, words: &[&str]) {
    let holds = |what: &str, text: &str| {
        for word in words {
            assert!(text.contains(word), "{what}: {word} is missing: {text}");
        }
    };
    let said = scene.run("devices");
    assert!(said.stdout.lines().next().is_some_and(|line| line.ends_with("<- auto")), "{}", said.stdout);
    assert_eq!(said.stdout.lines().count(), 2, "{}", said.stdout);
    holds("devices", said.stdout.lines().nth(1).unwrap());
    assert_eq!(said.stderr, "");

    let asked = scene.refused(&format!("train {TINY} --steps 1 --out new --device cuda"));
    assert_eq!(asked.lines().count(), 1, "{asked}");
    holds("--device cuda", &asked);
    assert!(asked.contains("--device cuda") && asked.contains("--device cpu works everywhere"), "{asked}");

    let auto = scene.run(&format!("train {TINY} --steps 1 --out auto --device auto")).stderr;
    let lines: Vec<&str> = auto.lines().filter(|line| line.contains(words[0])).collect();
    let [line] = *lines else { panic!("the reason is said once: {auto}") };
    assert!(line.contains("the CPU with 1 thread"), "{auto}");
    holds("--device auto", line);
    let cpu = scene.run(&format!("train {TINY} --steps 1 --out cpu --device cpu")).stderr;
    assert!(!cpu.contains(words[0]), "{cpu}");
    for run in ["auto", "cpu"] {
        fs::remove_dir_all(scene.path(run)).unwrap();
    }
}

/// Compiles C to the driver of `scene`.
fn compile(scene: &Scene, source: &str) {
    compile_library(scene, "libcuda.so", source);
    fs::copy(scene.path("driver/libcuda.so"), scene.path("driver/libcuda.so.1")).unwrap();
}

/// Compiles C to a library beside the driver of `scene`.
fn compile_library(scene: &Scene, name: &str, source: &str) {
    scene.write("driver.c", source);
    fs::create_dir_all(scene.path("driver")).unwrap();
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(compiler);
    // The library stays loaded and has its own name: that of the driver, under which the simulator, which a forwarding
    // library loads, would otherwise find it.
    let linked = format!("-Wl,-z,nodelete,-soname,{name}");
    command.args(["-x", "c", "-shared", "-fPIC", &linked, "-o"]);
    command.arg(scene.path("driver").join(name)).arg(scene.path("driver.c"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A driver that has `functions`, all of which fail with the code in `TEST_CODE`, and that reports its version.
fn failing(functions: &[&str], version: i32) -> String {
    let mut source = "#include <stdlib.h>\n".to_owned();
    for function in functions {
        source += &match *function {
            "cuDriverGetVersion" => {
                format!("int cuDriverGetVersion(int* version) {{ *version = {version}; return 0; }}\n")
            }
            name => format!("int {name}(void) {{ return atoi(getenv(\"TEST_CODE\")); }}\n"),
        };
    }
    source
}

/// A driver that has `functions`, which are those of the simulator. It writes the names of those that were called to
/// the file [`CALLED`]. `TEST_EXCLUSIVE`: another process has the GPU. `TEST_NO_POOLS`: it has no memory pools.
/// `TEST_NO_KERNEL`: the kernels are not found. `TEST_LOAD`: the code with which machine code is refused. `TEST_NAME`:
/// its name.
fn forwarding(functions: &[&str], simulator: &Path) -> String {
    let names: Vec<String> = functions.iter().map(|name| format!("\"{name}\"")).collect();
    let count = names.len();
    let mut source = format!(
        "#include <dlfcn.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
         static const char* const names[] = {{{}}};\n\
         __attribute__((visibility(\"hidden\"))) void* real[{count}];\n\
         __attribute__((visibility(\"hidden\"))) char called[{count}];\n\
         __attribute__((constructor)) static void find(void) {{\n\
             void* library = dlopen(\"{}\", RTLD_NOW | RTLD_LOCAL);\n\
             if (!library) {{ fputs(dlerror(), stderr); abort(); }}\n\
             for (int i = 0; i < {count}; i++)\n\
                 if (!(real[i] = dlsym(library, names[i]))) {{ fputs(dlerror(), stderr); abort(); }}\n\
         }}\n\
         __attribute__((destructor)) static void tell(void) {{\n\
             const char* path = getenv(\"{CALLED}\");\n\
             FILE* file = path ? fopen(path, \"a\") : 0;\n\
             if (!file) return;\n\
             for (int i = 0; i < {count}; i++) if (called[i]) fprintf(file, \"%s\\n\", names[i]);\n\
             fclose(file);\n\
         }}\n",
        names.join(", "),
        simulator.display()
    );
    for (i, name) in functions.iter().enumerate() {
        let special = match *name {
            "cuDevicePrimaryCtxRetain" => "(void* context, int device) { if (getenv(\"TEST_EXCLUSIVE\")) return 46;",
            "cuModuleLoadData" => {
                "(void* module, void* image) { if (getenv(\"TEST_LOAD\")) return atoi(getenv(\"TEST_LOAD\"));"
            }
            "cuModuleGetFunction" => {
                "(void* function, void* module, const char* name) { if (getenv(\"TEST_NO_KERNEL\")) return 500;"
            }
            "cuDeviceGetAttribute" => {
                "(int* value, int which, int device) { if (which == 115 && getenv(\"TEST_NO_POOLS\")) \
                 return *value = 0;"
            }
            "cuDeviceGetName" => {
                "(char* name, int length, int device) { if (getenv(\"TEST_NAME\")) \
                 return !snprintf(name, length, \"%s\", getenv(\"TEST_NAME\"));"
            }
            _ => {
                // The arguments stay in their registers and on the stack, whatever they are.
                source += &format!(
                    "__asm__(\".text\\n.globl {name}\\n.type {name}, @function\\n{name}:\\n\
                     movb $1, called+{i}(%rip)\\njmp *real+{}(%rip)\\n\");\n",
                    8 * i
                );
                continue;
            }
        };
        let arguments: Vec<&str> = special[1..special.find(')').unwrap()].split(", ").collect();
        let types: Vec<&str> = arguments.iter().map(|argument| argument.rsplit_once(' ').unwrap().0).collect();
        let values: Vec<&str> = arguments.iter().map(|argument| argument.rsplit_once(' ').unwrap().1).collect();
        source += &format!(
            "int {name}{special} called[{i}] = 1; return ((int (*)({}))real[{i}])({}); }}\n",
            types.join(", "),
            values.join(", ")
        );
    }
    source
}

#[test]
fn a_driver_that_cannot_be_loaded_is_named() {
    let scene = scene();
    for (contents, why) in [("no library", "libcuda.so: "), ("", "libcuda.so: file too short")] {
        NAMES.iter().for_each(|name| scene.write(&format!("driver/{name}"), contents));
        let folder = scene.path("driver");
        let words = ["cannot be loaded: ", folder.to_str().unwrap(), why, "install the NVIDIA driver again"];
        assert_unusable(&scene, &words);
    }
    // A library of a 32-bit system: glibc skips it and says so.
    let mut elf = fs::read(env::current_exe().unwrap()).unwrap();
    elf.truncate(4096);
    elf[4] = 1;
    NAMES.iter().for_each(|name| scene.write(&format!("driver/{name}"), &elf));
    assert_unusable(&scene, &["cannot be loaded: ", "libcuda.so: wrong ELF class: ELFCLASS32"]);
}

#[test]
fn a_driver_that_lacks_functions_is_named_with_the_first_of_them() {
    let scene = scene();
    let library = scene.path("driver/libcuda.so").canonicalize().unwrap_or_else(|_| scene.path("driver/libcuda.so"));
    let all_but = |missing: &[&str]| -> Vec<&str> {
        FUNCTIONS.into_iter().filter(|function| !missing.contains(function)).collect()
    };
    compile(&scene, &failing(&all_but(&["cuGraphLaunch"]), 13_000));
    let words = ["lacks cuGraphLaunch: ", library.to_str().unwrap(), "install the driver again, 525."];
    assert_unusable(&scene, &words);

    compile(&scene, &failing(&all_but(&["cuInit", "cuGraphLaunch", "cuStreamCreate"]), 12_000));
    assert_unusable(&scene, &["lacks cuGraphLaunch and 2 other functions: "]);
    compile(&scene, "int nothing;\n");
    assert_unusable(&scene, &["lacks cuCtxGetCurrent and ", "other functions"]);

    // A driver that is too old is refused for its version, not for a missing function.
    compile(&scene, &failing(&all_but(&["cuGraphInstantiateWithFlags"]), 11_020));
    assert_unusable(&scene, &["too old: it supports CUDA 11.2", "12.0", "525."]);
}

/// Codes that `cuInit` returns on real machines, also from drivers without a text for them.
#[test]
fn a_driver_that_does_not_start_is_explained() {
    let mut scene = scene();
    compile(&scene, &failing(&FUNCTIONS, 13_000));
    for (code, words) in [
        (34, ["the stub that CUDA toolkits have for linking", "out of LD_LIBRARY_PATH"]),
        (101, ["does not know a GPU of this number", "CUDA_VISIBLE_DEVICES"]),
        (304, ["/dev/nvidia*", "container"]),
        (802, ["is not ready", "nvidia-fabricmanager"]),
        (803, ["of different versions", "restart the machine"]),
        (804, ["compatibility package", "out of LD_LIBRARY_PATH"]),
        (999, ["after a suspend", "modprobe nvidia_uvm"]),
    ] {
        scene.set("TEST_CODE", code.to_string());
        let error = format!("(error {code})");
        assert_unusable(&scene, &["the NVIDIA driver does not start: ", words[0], words[1], &error]);
    }
    scene.set("TEST_CODE", "100");
    assert_unusable(&scene, &["the NVIDIA driver finds no GPU on this machine"]);
}

#[test]
fn a_gpu_that_another_process_has_is_left_to_it() {
    let mut scene = scene();
    let simulator = simulator_folder().join("libcuda.so");
    compile(&scene, &forwarding(&FUNCTIONS, &simulator));
    scene.set("TEST_EXCLUSIVE", "1");
    let words = ["cannot use cuda:0: another process has the GPU for itself", "nvidia-smi", "error 46"];
    let holds = |text: &str| assert!(words.iter().all(|word| text.contains(word)), "{text}");
    holds(scene.run("devices").stdout.lines().find(|line| line.starts_with("cuda:0")).unwrap());
    holds(&scene.refused(&format!("train {TINY} --steps 1 --out new --device cuda")));
    // `auto` ignores simulated GPUs, and other GPUs that no kernel was compiled for.
    if kernels::COMPILED_BY.is_some() {
        scene.set("TEST_NAME", "a GPU");
        scene.set("CUDASIM_DRIVER_VERSION", "99000");
        assert_unusable(&scene, &words);
    }
}

/// Machine code for other cards, and PTX of a version that the driver does not know.
#[test]
fn machine_code_that_the_gpu_does_not_run_is_a_line() {
    let mut scene = scene();
    let simulator = simulator_folder().join("libcuda.so");
    compile(&scene, &forwarding(&FUNCTIONS, &simulator));
    for (code, words) in [
        (209, ["were not compiled for cudasim", "compute capability 9.0", "PIXTAPE_CUDA_ARCHS"]),
        (222, ["the NVIDIA driver is too old for cudasim", "update the driver", "PIXTAPE_CUDA_ARCHS"]),
    ] {
        scene.set("TEST_LOAD", code.to_string());
        let refused = scene.refused(&format!("train {TINY} --steps 1 --out new --device cuda"));
        assert_eq!(refused.lines().count(), 1, "{refused}");
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
}

/// Profilers see the layers where NVTX is installed, by CUDA 13 or by CUDA 12. Elsewhere, as in the other tests,
/// nothing is missed.
#[test]
fn the_launches_of_a_layer_are_in_a_range_of_nvtx() {
    for library in ["libnvtx3interop.so", "libnvToolsExt.so.1"] {
        let scene = scene();
        compile_library(&scene, library, NVTX);
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", TIMED]).env("LD_LIBRARY_PATH", scene.path("driver")).env(RANGES, scene.path("ranges"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let ranges = fs::read_to_string(scene.path("ranges")).unwrap();
        let expected = ["first", "second", "no layer", "execution", "execution", "execution", "execution"];
        let lines: Vec<&str> = ranges.lines().collect();
        assert_eq!(lines, expected.map(|name| [name, "end"]).concat(), "{library}");
    }
}

/// Every command that uses a GPU, and what the examples and benches call, on a driver that has the functions of the
/// list alone, which are those of CUDA 12.0; and each of them is called.
#[test]
fn the_least_driver_is_all_that_is_called() {
    let mut scene = scene();
    let simulator = simulator_folder().join("libcuda.so");
    let functions: Vec<String> = SIMULATOR.iter().map(|name| format!("cudasim_{name}")).collect();
    let functions: Vec<&str> = FUNCTIONS.into_iter().chain(functions.iter().map(String::as_str)).collect();
    compile(&scene, &forwarding(&functions, &simulator));
    let (called, driver) = (scene.path("called"), scene.path("driver"));
    scene.set(CALLED, &called);
    scene.set("CUDASIM_DRIVER_VERSION", "12000");
    scene.draw_pairs(&["data/train/1.png", "data/train/2.png", "data/val/1.png"]);

    let train = format!("train {TINY} --data data --device cuda --steps 3 --sample-every 2 --validate-every 1");
    scene.run(&format!("{train} --out run"));
    scene.run(&format!("{train} --out launched --cuda-graph false"));
    scene.run("train --resume run --steps 4 --device cuda");
    scene.run("translate run data/val --pairs --out made --device cuda");
    scene.run("evaluate run --data data --device cuda");
    scene.run("inspect run");
    assert!(scene.run("profile run --device cuda").stdout.contains("modelled"));
    assert!(scene.run("devices").stdout.contains("cuda:0  "));

    // The calls of those that measure are made in a process of these tests with that driver; the examples themselves
    // run if they are built.
    let in_process_as = |program: &Path, arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(program);
        command.args(arguments).env("LD_LIBRARY_PATH", &driver).env("PIXTAPE_SIMULATOR", &driver);
        command.env(CALLED, &called).env("CUDASIM_DRIVER_VERSION", "12000").envs(variables.iter().copied());
        let output = command.output().unwrap();
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{}: {stdout}\n{stderr}", program.display());
        stdout
    };
    let in_process = |program: &Path, arguments: &[&str]| in_process_as(program, arguments, &[]);
    let tests = env::current_exe().unwrap();
    for test in [TIMED, "cuda::cast::casts_round_and_widen"] {
        let said = in_process(&tests, &["--exact", test]);
        assert!(said.contains("1 passed"), "{said}");
    }
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    // `cargo test --test main` builds no examples, and those that exist may be outdated.
    let is_fresh = |program: &Path| {
        let sources = ["Cargo.toml", "src/engine/device/cuda/library.rs", "src/engine/device/cuda/timing.rs"];
        let sources = sources.iter().filter_map(|name| modified(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)));
        modified(program) >= sources.max()
    };
    let examples = |name: &str| -> Option<PathBuf> {
        let example = tests.parent()?.parent()?.join("examples").join(name);
        is_fresh(&example).then_some(example)
    };
    if let Some(step_time) = examples("step_time") {
        let tiny = ["--device=cuda", "--size=32", "--width=2", "--steps=1"];
        in_process(&step_time, &tiny);
    }
    if let Some(gpu_rates) = examples("gpu_rates") {
        in_process(&gpu_rates, &["--launches=3", "--elements=1000", "--repeat=1"]);
    }
    let benches = fs::read_dir(tests.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_bench = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("cuda-") && path.extension().is_none() && is_fresh(path)
    };
    let bench = benches.filter(is_bench).max_by_key(|path| modified(path));
    if let Some(bench) = bench {
        let said = in_process_as(&bench, &["--test", "tanh"], &[("PIXTAPE_TAKE_SIMULATED_GPU", "1")]);
        assert!(
            said.contains("cuda isola/generator.last tanh_forward 1x256x256x3 warm")
                && said.contains("the times mean nothing"),
            "{said}"
        );
        assert!(said.contains("tanh_forward, 768 blocks, ") && said.contains(" % coalesced, "), "{said}");
        let said = in_process_as(&bench, &["--test", "tanh"], &[]);
        assert!(said.contains("not measured") && said.contains("simulated"), "{said}");
    }

    // Other branches: a GPU without memory pools, one with little memory, one without the kernels, and one that another
    // process uses.
    scene.set("TEST_NO_POOLS", "1");
    scene.run(&format!("train {TINY} --device cuda --steps 1 --out pools"));
    scene.set("CUDASIM_MEMORY", (2 << 20).to_string());
    let error = scene.command("train --image-size 64 --steps 1 --device cuda --out little").assert().code(1);
    let error = String::from_utf8_lossy(&error.get_output().stderr).into_owned();
    assert!(error.contains("not enough GPU memory"), "{error}");
    scene.set("TEST_NO_KERNEL", "1");
    scene.command(&format!("train {TINY} --device cuda --steps 1 --out none")).assert().code(1);
    scene.set("TEST_EXCLUSIVE", "1");
    scene.command(&format!("train {TINY} --device cuda --steps 1 --out none")).assert().code(1);

    let called: BTreeSet<String> = fs::read_to_string(called).unwrap().lines().map(str::to_owned).collect();
    let drivers = called.iter().map(String::as_str).filter(|name| !name.starts_with("cudasim_"));
    assert_eq!(drivers.collect::<Vec<_>>(), FUNCTIONS);
}
