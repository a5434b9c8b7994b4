//! Finds nvcc and has it compile the kernels.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// One file of machine code for each source.
pub struct Fatbins {
    pub files: Vec<PathBuf>,
    /// Release of nvcc in the driver's numbers: 13000 is 13.0.
    pub version: i32,
}

/// Targets of the compilation unless `PIXTAPE_CUDA_ARCHS` names others: machine code of sm_80 (which every 8.x GPU
/// runs) and of sm_90a, and PTX that newer drivers compile for newer GPUs. The list is never taken from the GPU of the
/// machine that builds: a binary should run elsewhere too.
const ARCHS: &str = "sm_80,sm_90a,compute_80";

/// Variable that, set to 1, lets profilers and compute-sanitizer name lines of the source. nvcc writes the absolute
/// folder of the source beside the numbers, and knows no option against it, so an ordinary build has none.
const LINE_NUMBERS: &str = "PIXTAPE_CUDA_LINE_NUMBERS";

/// The folder into which `tools/install-nvcc` puts nvcc. Cargo cannot be told to look out for a file that is not there
/// yet, so the tool touches `build.rs` when it is done.
const OWN_ENVIRONMENT: &str = ".venv-nvcc";

/// Variables that affect the choice and the options of the compiler. `PATH` does so only where [`find`] comes to it.
const VARIABLES: [&str; 5] = ["NVCC", "CUDA_HOME", REQUIRE, ARCHITECTURES, LINE_NUMBERS];

/// Variable that, set to 1, makes it an error if there is no nvcc that works.
const REQUIRE: &str = "PIXTAPE_REQUIRE_NVCC";

const ARCHITECTURES: &str = "PIXTAPE_CUDA_ARCHS";

/// The value of an environment variable by its name; `None` if it is not set, or empty.
pub type Environment<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);

/// Compiles `sources` into `out`. `None`, with a warning, where there is no nvcc, or none that compiles a kernel
/// without a body.
///
/// # Errors
/// When an nvcc that works does not compile a kernel; when `PIXTAPE_REQUIRE_NVCC` is 1 and there is none that works; or
/// when a variable has an unknown value.
pub fn compile_all(
    sources: &[PathBuf],
    root: &Path,
    out: &Path,
    environment: Environment<'_>,
) -> Result<Option<Fatbins>, String> {
    for variable in VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let without = |why: String| match is_set_to_1(environment, REQUIRE) {
        true => Err(format!("{why}, and {REQUIRE}=1 asks for it")),
        false => {
            println!("cargo::warning={why}, so this build has no CUDA kernels");
            Ok(None)
        }
    };
    let Some(nvcc) = find(root, environment)? else {
        let how = "tools/install-nvcc fetches it; NVCC or CUDA_HOME point to one that is there";
        return without(format!("nvcc was not found ({how})"));
    };
    println!("cargo::rerun-if-changed={}", nvcc.display());
    let compiler = Compiler {
        nvcc: &nvcc,
        targets: targets(environment)?,
        line_numbers: is_set_to_1(environment, LINE_NUMBERS),
        out,
    };
    let version = match version(&nvcc) {
        Ok(version) => version,
        Err(why) => return without(format!("nvcc does not run ({why})")),
    };
    if let Err(why) = compiler.try_out(&[]) {
        return without(format!("nvcc does not compile an empty kernel ({why})"));
    }
    match compiler.try_out(&compiler.targets) {
        Ok(()) => (),
        Err(why) if environment(ARCHITECTURES).is_some() => {
            return Err(format!("with {ARCHITECTURES} as it is set, nvcc does not compile an empty kernel: {why}"));
        }
        Err(why) => return without(format!("nvcc does not compile an empty kernel for {ARCHS} ({why})")),
    }
    let files = thread::scope(|scope| {
        let running: Vec<_> =
            sources.iter().map(|source| scope.spawn(|| compiler.compile(source, &compiler.targets))).collect();
        let joined = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread died".into())));
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Some(Fatbins { files, version }))
}

fn is_set_to_1(environment: Environment<'_>, variable: &str) -> bool {
    environment(variable).is_some_and(|value| value == "1")
}

/// Finds nvcc by `NVCC`, then `CUDA_HOME`, then in the project's own environment, then by the search path. That is
/// asked last, and watched only when it is asked: it differs from one shell to the next, and each time all kernels
/// would be compiled again.
fn find(root: &Path, environment: Environment<'_>) -> Result<Option<PathBuf>, String> {
    let search_path = || {
        println!("cargo::rerun-if-env-changed=PATH");
        env::split_paths(&environment("PATH").unwrap_or_default()).collect::<Vec<PathBuf>>()
    };
    let first = |folders: &mut dyn Iterator<Item = PathBuf>, name: &Path| {
        folders.map(|folder| folder.join(name)).find(|program| program.is_file())
    };
    if let Some(nvcc) = environment("NVCC").map(PathBuf::from) {
        // A bare name is searched for in the search path, as by a shell.
        let found = match nvcc.file_name() == Some(nvcc.as_os_str()) {
            true => first(&mut search_path().into_iter(), &nvcc),
            false => nvcc.is_file().then(|| nvcc.clone()),
        };
        return found.map(Some).ok_or_else(|| format!("NVCC names {}, which is not there", nvcc.display()));
    }
    let home = environment("CUDA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let known = first(&mut home.into_iter().chain(own_folders(root)), Path::new("nvcc"));
    Ok(known.or_else(|| first(&mut search_path().into_iter(), Path::new("nvcc"))))
}

/// The folders into which the wheels put the compiler: `lib/python3.x/site-packages/nvidia/cu13/bin`.
fn own_folders(root: &Path) -> Vec<PathBuf> {
    let pythons = fs::read_dir(root.join(OWN_ENVIRONMENT).join("lib")).into_iter().flatten().flatten();
    let nvidia = pythons.map(|python| python.path().join("site-packages/nvidia"));
    let toolkits = nvidia.flat_map(|nvidia| fs::read_dir(nvidia).into_iter().flatten().flatten());
    toolkits.map(|toolkit| toolkit.path().join("bin")).collect()
}

fn version(nvcc: &Path) -> Result<i32, String> {
    let text = run(Command::new(nvcc).arg("--version"))?;
    let numbers = text.split("release ").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next());
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i32>().ok());
    let mut parts = numbers.unwrap_or_default().split('.');
    match (number(parts.next()), number(parts.next())) {
        (Some(major), Some(minor)) => Ok(1000 * major + 10 * minor),
        _ => Err(format!("{} --version does not say its release: {}", nvcc.display(), one_line(&text))),
    }
}

/// The `-gencode` values.
fn targets(environment: Environment<'_>) -> Result<Vec<String>, String> {
    let wanted = environment(ARCHITECTURES).map_or_else(|| ARCHS.into(), |value| value.to_string_lossy().into_owned());
    let target = |code: &str| {
        let number = code.strip_prefix("sm_").or(code.strip_prefix("compute_"));
        let number = number.ok_or_else(|| format!("{ARCHITECTURES}: '{code}' is neither sm_NN nor compute_NN"))?;
        Ok(format!("arch=compute_{number},code={code}"))
    };
    wanted.split(',').map(|code| target(code.trim())).collect()
}

/// A call of nvcc.
struct Compiler<'a> {
    nvcc: &'a Path,
    /// The `-gencode` values.
    targets: Vec<String>,
    line_numbers: bool,
    out: &'a Path,
}

impl Compiler<'_> {
    /// Compiles an empty kernel for `targets`, or for nvcc's own if there are none: a failure is then not the fault of
    /// a kernel of the project.
    fn try_out(&self, targets: &[String]) -> Result<(), String> {
        let source = self.out.join("empty.cu");
        let written = fs::write(&source, "extern \"C\" __global__ void empty() {}\n");
        written.map_err(|error| format!("cannot write {}: {error}", source.display()))?;
        self.compile(&source, targets).map(drop)
    }

    /// Compiles `source`. The assembler's report on each kernel (registers, shared memory, spills) is written beside
    /// the machine code, for `tools/check-kernels`.
    fn compile(&self, source: &Path, targets: &[String]) -> Result<PathBuf, String> {
        let stem = source.file_stem().unwrap_or(OsStr::new("kernel"));
        let fatbin = self.out.join(stem).with_extension("fatbin");
        let mut command = Command::new(self.nvcc);
        command.args(["--fatbin", "-std=c++20", "-O3", "-Werror", "all-warnings", "-Xptxas", "-v", "-I", "."]);
        if self.line_numbers {
            command.arg("-lineinfo");
        }
        targets.iter().for_each(|target| {
            command.args(["-gencode", target]);
        });
        command.arg("-o").arg(&fatbin).arg(source);
        let report = run(&mut command)?;
        let path = fatbin.with_extension("ptxas");
        fs::write(&path, report).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(fatbin)
    }
}

/// The output of `command`, standard output and standard error together.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    let text = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{:?} failed: {}", command.get_program(), one_line(&text))),
    }
}

/// `text` on one line, as cargo takes a warning.
fn one_line(text: &str) -> String {
    text.trim().replace('\n', " | ")
}
