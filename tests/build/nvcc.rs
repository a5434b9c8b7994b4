//! The build with an nvcc that is missing, does not work, or does not compile a kernel.

#[expect(dead_code, reason = "the build script alone writes bindings from what is compiled")]
#[path = "../../build/nvcc.rs"]
mod compiler;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A project of one kernel, and a program called nvcc that behaves as a test wants it to.
struct Project {
    folder: TempDir,
    variables: HashMap<&'static str, OsString>,
}

/// A script in place of nvcc. It prints a release, and compiles files whose names match a pattern of the shell.
fn nvcc(compiles: &str) -> String {
    format!(
        "#!/bin/sh\ncase \"$*\" in\n*--version*) echo 'Cuda compilation tools, release 13.0, V13.0.88' ;;\n{compiles}) \
         while [ \"$1\" != -o ]; do shift; done; echo code >\"$2\"; echo 'ptxas info' ;;\n\
         *) echo 'it is broken' >&2; exit 1 ;;\nesac\n"
    )
}

/// Writes a program.
fn install(script: &str, program: &Path) {
    // Another process writes it. If this one opened it for writing, programs started by other tests meanwhile would
    // inherit the open file, and Linux runs no program that is open for writing.
    let text = program.with_extension("txt");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&text, script).unwrap();
    let installed = Command::new("install").args(["-m", "755"]).args([&text, program]).status().unwrap();
    assert!(installed.success(), "install: {installed}");
}

impl Project {
    fn new(nvcc: Option<&str>) -> Project {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scale.cu"), "").unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        let mut variables = HashMap::from([("PATH", OsString::from("/nowhere"))]);
        if let Some(script) = nvcc {
            let program = folder.path().join("nvcc");
            install(script, &program);
            variables.insert("NVCC", program.into());
        }
        Project { folder, variables }
    }

    fn with(mut self, variable: &'static str, value: &str) -> Project {
        self.variables.insert(variable, value.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files of machine code; `None` for a build without CUDA.
    fn build(&self) -> Result<Option<Vec<PathBuf>>, String> {
        let variable = |name: &str| self.variables.get(name).cloned();
        let compiled =
            compiler::compile_all(&[self.path("scale.cu")], self.folder.path(), &self.path("out"), &variable)?;
        Ok(compiled.map(|fatbins| fatbins.files))
    }

    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        let error = self.build().expect_err("a refusal");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}

#[test]
fn without_nvcc_the_build_goes_on_unless_it_is_asked_for() {
    assert_eq!(Project::new(None).build(), Ok(None));
    Project::new(None).with("PIXTAPE_REQUIRE_NVCC", "1").assert_refused(&["was not found", "tools/install-nvcc"]);
    Project::new(None).with("NVCC", "/no/such/nvcc").assert_refused(&["/no/such/nvcc", "not there"]);
}

#[test]
fn an_nvcc_that_compiles_no_empty_kernel_counts_as_none() {
    let broken = nvcc("nothing");
    assert_eq!(Project::new(Some(&broken)).build(), Ok(None));
    let words = ["does not compile an empty kernel", "it is broken", "PIXTAPE_REQUIRE_NVCC"];
    Project::new(Some(&broken)).with("PIXTAPE_REQUIRE_NVCC", "1").assert_refused(&words);
    let silent = "#!/bin/sh\necho none of\necho your business\n";
    assert_eq!(Project::new(Some(silent)).build(), Ok(None));
    let words = ["does not run", "--version does not say its release", "none of | your business"];
    Project::new(Some(silent)).with("PIXTAPE_REQUIRE_NVCC", "1").assert_refused(&words);
    // A compiler that works, but not for the targets that it is asked for.
    let old = nvcc("*-gencode*) false ;;\n*empty.cu");
    assert_eq!(Project::new(Some(&old)).build(), Ok(None));
    Project::new(Some(&old))
        .with("PIXTAPE_CUDA_ARCHS", "sm_50")
        .assert_refused(&["PIXTAPE_CUDA_ARCHS", "empty kernel"]);
    Project::new(Some(&old)).with("PIXTAPE_CUDA_ARCHS", "hopper").assert_refused(&["hopper", "sm_NN"]);
    // A compiler that does not work at all is not the fault of the architectures.
    assert_eq!(Project::new(Some(&broken)).with("PIXTAPE_CUDA_ARCHS", "sm_90a").build(), Ok(None));
}

/// The search path differs between shells, and must not decide where there is an nvcc for the project.
#[test]
fn the_nvcc_of_the_project_comes_before_that_of_the_search_path() {
    let (works, broken) = (nvcc("*.cu"), nvcc("nothing"));
    for (own, on_path, compiles) in [(&works, &broken, true), (&broken, &works, false)] {
        let project = Project::new(None);
        install(own, &project.path(".venv-nvcc/lib/python3.11/site-packages/nvidia/cu13/bin/nvcc"));
        install(on_path, &project.path("bin/nvcc"));
        let project = Project { variables: HashMap::from([("PATH", project.path("bin").into())]), ..project };
        assert_eq!(project.build().map(|files| files.is_some()), Ok(compiles));
    }
    let project = Project::new(None);
    install(&works, &project.path("bin/nvcc"));
    let project = Project { variables: HashMap::from([("PATH", project.path("bin").into())]), ..project };
    assert!(project.build().is_ok_and(|files| files.is_some()));
}

#[test]
fn a_kernel_that_a_working_nvcc_refuses_is_an_error() {
    Project::new(Some(&nvcc("*empty.cu"))).assert_refused(&["nvcc", "it is broken"]);
    let works = Project::new(Some(&nvcc("*.cu")));
    assert_eq!(works.build(), Ok(Some(vec![works.path("out/scale.fatbin")])));
    assert!(works.path("out/scale.ptxas").is_file());
}
