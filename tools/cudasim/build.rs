//! Compiles the runtime, and the project's kernels against it, so that the library is there before the first test runs.

#[allow(dead_code)] // the library uses the rest
#[path = "src/compile.rs"]
mod compile;

use std::path::PathBuf;

/// Kernels with which tools/gpu measures a GPU and probes its instructions.
const MEASURED: &str = "../gpu/kernels";

fn main() {
    if let Err(e) = build() {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), compile::Error> {
    let sources = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let jobs = variable("NUM_JOBS").parse().unwrap_or(1);
    for watched in ["include", "runtime", "driver", "../../kernels", MEASURED, "src/compile.rs"] {
        println!("cargo::rerun-if-changed={}", sources.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=CXX");
    println!("cargo::rerun-if-env-changed=CXXFLAGS");

    let compiler = compile::Compiler::find(&sources)?;
    let runtime = out.join("runtime");
    let _ = std::fs::remove_dir_all(&runtime); // objects of sources that are gone would be linked
    compiler.runtime(&runtime, jobs)?;
    let mut kernels = compile::kernels_in(&sources.join("../../kernels"))?;
    kernels.extend(compile::kernels_in(&sources.join(MEASURED))?);
    for build in compile::Build::ALL {
        compiler.driver(&kernels, build, &runtime, &out.join(build.name()), jobs)?;
    }
    Ok(())
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
