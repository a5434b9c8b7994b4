//! Calls of the C++ compiler: the runtime once, kernels for each flavour, and the library that replaces the driver.
//! Plain functions without dependencies, because the build script includes this file too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The flavour of a build: how its kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Optimised, without checks.
    Fast,
    /// Instrumented: every memory access is checked.
    Check,
}

impl Build {
    pub const ALL: [Build; 2] = [Build::Fast, Build::Check];

    /// The folder's name, and the word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Build::Fast => "fast",
            Build::Check => "check",
        }
    }
}

/// An error message; of a failed compilation, the compiler's.
#[derive(Debug)]
pub struct Error(pub(crate) String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

fn error<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error(message.into()))
}

/// The name under which every program finds the driver.
pub const LIBRARY: &str = "libcuda.so";

const COMMON: &[&str] = &[
    "-std=c++20",
    "-fPIC",
    "-march=x86-64-v3",
    "-ffp-contract=fast",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
];
const RUNTIME: &[&str] = &["-O3", "-g1"];
// CUDA's pragmas mean nothing here, and kernels may leave helpers unused.
const KERNEL: &[&str] =
    &["-O2", "-g1", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-psabi"];
// The instrumentation without its libraries: the runtime has the callbacks.
const CHECKED: &[&str] = &["-fsanitize=thread,alignment,bounds"];
// No calls at the entry of every function, which are not needed; the two compilers spell the option differently.
const WITHOUT_ENTRY_CALLS: &[&str] = &["--param", "tsan-instrument-func-entry-exit=0"];
const WITHOUT_ENTRY_CALLS_CLANG: &[&str] = &["-mllvm", "-tsan-instrument-func-entry-exit=0"];

/// The machine's C++ compiler, and where cudasim's sources are.
pub struct Compiler {
    command: String,
    is_clang: bool,
    sources: PathBuf,
}

impl Compiler {
    /// `CXX` if it is set, else `c++`. `sources` is the folder of this package.
    pub fn find(sources: &Path) -> Result<Self, Error> {
        let command = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let version = match Command::new(&command).arg("--version").output() {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            _ => {
                return error(format!(
                    "cudasim needs a C++20 compiler, and {command:?} is none: install g++ or set CXX"
                ));
            }
        };
        Ok(Self { command, is_clang: version.contains("clang"), sources: sources.to_owned() })
    }

    /// Compiles runtime and driver, for both flavours, to objects in `out`.
    pub fn runtime(&self, out: &Path, jobs: usize) -> Result<(), Error> {
        std::fs::create_dir_all(out).map_err(|e| Error(format!("{}: {e}", out.display())))?;
        let mut units = Vec::new();
        for folder in ["runtime", "driver"] {
            for source in files_with_extension(&self.sources.join(folder), "cpp")? {
                match stem(&source).as_str() {
                    "flavour" => {
                        for build in Build::ALL {
                            let object = out.join(format!("flavour-{}.o", build.name()));
                            units.push((source.clone(), object, Some(build)));
                        }
                    }
                    name => units.push((source.clone(), out.join(format!("{folder}-{name}.o")), None)),
                }
            }
        }
        in_parallel(jobs, units, |(source, object, build)| {
            let mut command = Command::new(&self.command);
            command.args(COMMON).args(RUNTIME);
            if let Some(build) = build {
                command.arg(format!("-DCUDASIM_INSTRUMENTED={}", (build == Build::Check) as u8));
            }
            whole(&object, |unfinished| {
                command.arg("-c").arg(&source).arg("-o").arg(unfinished);
                succeed(&source.display().to_string(), command.output())
            })
        })
    }

    /// Compiles `kernels` and links them with the objects in `runtime` to `out/libcuda.so`. What ends in `.o` is
    /// compiled already.
    pub fn driver(
        &self,
        kernels: &[PathBuf],
        build: Build,
        runtime: &Path,
        out: &Path,
        jobs: usize,
    ) -> Result<PathBuf, Error> {
        std::fs::create_dir_all(out).map_err(|e| Error(format!("{}: {e}", out.display())))?;
        let is_object = |kernel: &Path| kernel.extension().is_some_and(|extension| extension == "o");
        let object = |kernel: &PathBuf| match is_object(kernel) {
            true => kernel.clone(),
            false => out.join(format!("{}.o", stem(kernel))),
        };
        let objects: Vec<PathBuf> = kernels.iter().map(object).collect();
        let units: Vec<_> = kernels.iter().zip(&objects).filter(|(kernel, _)| !is_object(kernel)).collect();
        in_parallel(jobs, units, |(kernel, object)| self.kernel(kernel, build, object))?;

        let library = out.join(LIBRARY);
        let flavour = format!("flavour-{}", build.name());
        let mut command = Command::new(&self.command);
        command.args(["-shared", "-Wl,-soname,libcuda.so", "-Wl,--no-undefined"]).args(&objects);
        for object in files_with_extension(runtime, "o")? {
            if !stem(&object).starts_with("flavour-") || stem(&object) == flavour {
                command.arg(object);
            }
        }
        command.args(["-lpthread", "-ldl"]);
        whole(&library, |unfinished| {
            succeed("linking the simulated driver", command.arg("-o").arg(unfinished).output())
        })?;

        // Some programs ask for the driver by this name.
        let versioned = out.join("libcuda.so.1");
        whole(&versioned, |unfinished| {
            let _ = std::fs::remove_file(unfinished);
            std::os::unix::fs::symlink(LIBRARY, unfinished).map_err(|e| Error(format!("{}: {e}", versioned.display())))
        })?;
        Ok(library)
    }

    /// One source file. It is compiled through a few lines on standard input, which add what the file says about launch
    /// bounds, where a compiler for the CPU sees nothing.
    fn kernel(&self, kernel: &Path, build: Build, object: &Path) -> Result<(), Error> {
        let path = kernel.canonicalize().map_err(|e| Error(format!("{}: {e}", kernel.display())))?;
        let source = std::fs::read_to_string(&path).map_err(|e| Error(format!("{}: {e}", kernel.display())))?;
        let mut unit = format!("#include \"{}\"\n", path.display());
        for (name, bound) in launch_bounds(&source) {
            unit += &format!("static const ::cudasim::LaunchBounds cudasim_bounds_{name}(\"{name}\", ({bound}));\n");
        }
        let mut command = Command::new(&self.command);
        command.args(COMMON).args(KERNEL);
        if build == Build::Check {
            command.args(CHECKED);
            command.args(if self.is_clang { WITHOUT_ENTRY_CALLS_CLANG } else { WITHOUT_ENTRY_CALLS });
        }
        command.arg("-I").arg(self.sources.join("include"));
        command.arg("-I").arg(self.sources.join("../../kernels"));
        // The user's own flags come last, so that -O0 -g makes kernels that a debugger can look into.
        command.args(std::env::var("CXXFLAGS").unwrap_or_default().split_whitespace());
        whole(object, |unfinished| {
            command.args(["-x", "c++", "-c", "-", "-o"]).arg(unfinished);
            succeed(&kernel.display().to_string(), output_with_input(command, &unit))
        })
    }
}

/// The kernels of a folder, by name.
pub fn kernels_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files_with_extension(folder, "cu")
}

/// Registered kernels of a source file with the first argument of their `__launch_bounds__`. Kernels whose names a
/// macro puts together are not found.
fn launch_bounds(source: &str) -> Vec<(&str, &str)> {
    const KEYWORD: &str = "__launch_bounds__(";
    let mut bounds = Vec::new();
    for (start, _) in source.match_indices(KEYWORD) {
        let arguments = &source[start + KEYWORD.len()..];
        let Some(end) = closing_parenthesis(arguments) else { continue };
        let bound = &arguments[..first_comma(&arguments[..end]).unwrap_or(end)];
        let declaration = &arguments[end + 1..];
        let Some(parenthesis) = declaration.find('(') else { continue };
        let name = declaration[..parenthesis].split_whitespace().last().unwrap_or("");
        let is_identifier = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_identifier && source.contains(&format!("REGISTER_KERNEL({name})")) {
            bounds.push((name, bound.trim()));
        }
    }
    bounds
}

/// The index in `text` of the parenthesis that closes one opened before it.
fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(i, c)| match c {
        '(' => {
            depth += 1;
            None
        }
        ')' if depth == 0 => Some(i),
        ')' => {
            depth -= 1;
            None
        }
        _ => None,
    })
}

/// The first comma outside of parentheses.
fn first_comma(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(i, c)| {
        depth += (c == '(') as i32 - (c == ')') as i32;
        (c == ',' && depth == 0).then_some(i)
    })
}

/// Has `make` write `file` under another name, and gives it its own when it is whole. Another process may be making,
/// linking or reading the same file at this moment: tests do so when they run in processes of their own.
fn whole(file: &Path, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    make(Path::new(&unfinished))?;
    std::fs::rename(&unfinished, file).map_err(|e| Error(format!("{}: {e}", file.display())))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn files_with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error(format!("{}: {e}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    Ok(files)
}

fn output_with_input(mut command: Command, input: &str) -> std::io::Result<Output> {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().expect("standard input is piped").write_all(input.as_bytes())?;
    child.wait_with_output()
}

fn succeed(what: &str, output: std::io::Result<Output>) -> Result<(), Error> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => error(format!("{what}: the C++ compiler says\n{}", String::from_utf8_lossy(&output.stderr))),
        Err(e) => error(format!("{what}: the C++ compiler could not be run: {e}")),
    }
}

/// Calls `work` for every unit, on up to `jobs` threads. Gives the first error.
fn in_parallel<T: Send + Clone + Sync>(
    jobs: usize,
    units: Vec<T>,
    work: impl Fn(T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, units.len().max(1)) {
            scope.spawn(|| {
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(e) = work(unit.clone()) {
                        failure.lock().expect("no thread panics with the lock").get_or_insert(e);
                    }
                }
            });
        }
    });
    match failure.into_inner().expect("no thread panics with the lock") {
        Some(e) => Err(e),
        None => Ok(()),
    }
}
