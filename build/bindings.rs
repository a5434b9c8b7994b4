//! Writes the Rust side of the kernels: for each a function that makes its launch, and its block size.

use std::collections::HashSet;
use std::fmt::Write;

use crate::nvcc::Fatbins;
use crate::scan::{Kernel, Source};

/// # Errors
/// When two kernels share a name.
pub fn generate(sources: &[Source], fatbins: Option<&Fatbins>) -> Result<String, String> {
    let mut names = HashSet::new();
    let mut code = String::new();
    let mut table = String::new();
    let mut number = 0;
    for (module, source) in sources.iter().enumerate() {
        for kernel in &source.kernels {
            if !names.insert(&kernel.name) {
                return Err(format!("kernels/{}.cu: there is another kernel named {}", source.module, kernel.name));
            }
            write_kernel(&mut code, &source.module, kernel, number);
            let (name, block) = (&kernel.name, kernel.block);
            table += &format!("    Kernel {{ name: {name:?}, module: {module}, block: {block} }},\n");
            number += 1;
        }
    }
    code += &format!(
        "/// All kernels; a launch names one by its place.\npub static KERNELS: &[Kernel] = &[\n{table}];\n\n"
    );
    code += "/// All kernel files, with their machine code where nvcc was found.\npub static MODULES: &[Module] = &[\n";
    for (place, source) in sources.iter().enumerate() {
        let fatbin = match fatbins {
            Some(fatbins) => format!("include_bytes!({:?})", fatbins.files[place].display().to_string()),
            None => "&[]".to_owned(),
        };
        code += &format!("    Module {{ name: {:?}, fatbin: {fatbin} }},\n", source.module);
    }
    let version = fatbins.map(|fatbins| fatbins.version);
    code += &format!(
        "];\n\n/// Of the nvcc that made the machine code, as the driver counts: 13000 is 13.0.\n\
         pub const COMPILED_BY: Option<i32> = {version:?};\n"
    );
    Ok(code)
}

fn write_kernel(code: &mut String, module: &str, kernel: &Kernel, number: usize) {
    let Kernel { name, line, block, parameters } = kernel;
    let declared: Vec<String> = parameters.iter().map(|p| format!("{}: {}", p.name, p.rust)).collect();
    let given: Vec<String> = parameters.iter().map(|p| format!("{}.into()", p.name)).collect();
    let written = write!(
        code,
        "/// Of the kernel in `kernels/{module}.cu`, line {line}.\n\
         pub mod {name} {{\n    pub const BLOCK: usize = {block};\n}}\n\n\
         /// A launch of the kernel in `kernels/{module}.cu`, line {line}.\n\
         #[allow(clippy::too_many_arguments)]\n\
         pub fn {name}(grid: impl Into<Grid>, {}) -> Launch {{\n    \
         Launch {{ kernel: {number}, grid: grid.into(), arguments: vec![{}] }}\n}}\n\n",
        declared.join(", "),
        given.join(", "),
    );
    written.expect("a string takes everything");
}
