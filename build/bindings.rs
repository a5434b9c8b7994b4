//! Bindings of the kernels: the structs of their arguments, a constant for each that makes its launches, and the tables
//! of all kernels and of their machine code.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::nvcc::Fatbins;
use crate::scan::{Field, Kind, Source, Struct, TYPES};

/// The Rust source of the bindings.
///
/// # Errors
/// When two kernels share a name, or two structs that differ do.
pub fn generate(sources: &[Source], fatbins: Option<&Fatbins>) -> Result<String, String> {
    let mut structs: BTreeMap<&str, &Struct> = BTreeMap::new();
    let mut names = HashSet::new();
    let (mut constants, mut table) = (String::new(), String::new());
    for (module, source) in sources.iter().enumerate() {
        let file = format!("kernels/{}.cu", source.module);
        for (name, found) in &source.structs {
            if structs.insert(name, found).is_some_and(|other| other != found) {
                return Err(format!("{file}: there is another struct {name}, with other fields"));
            }
        }
        for kernel in &source.kernels {
            if !names.insert(&kernel.name) {
                return Err(format!("{file}: there is another kernel named {}", kernel.name));
            }
            let (name, line, threads, arguments) = (&kernel.name, kernel.line, kernel.threads, &kernel.arguments);
            constants += &format!(
                "/// The kernel in `{file}`, line {line}.\n\
                 pub const {}: Kernel<{arguments}> = Kernel::new({}, {threads});\n\n",
                name.to_uppercase(),
                names.len() - 1
            );
            table += &format!(
                "    Declared {{ name: {name:?}, module: {module}, threads: {threads}, bytes: {arguments}::BYTES }},\n"
            );
        }
    }
    let known = |(_, rust, bytes): &(&str, &str, usize)| format!("const _: [(); {bytes}] = [(); <{rust}>::BYTES];\n");
    let mut code: String = TYPES.iter().map(known).collect();
    code.extend(structs.iter().map(|(name, fields)| write_struct(name, fields)));
    code += &constants;
    for source in sources.iter().filter(|source| !source.constants.is_empty()) {
        code += &format!("/// Numbers of `kernels/{0}.cu`.\npub mod {0} {{\n", source.module);
        let number = |(name, value): &(String, u32)| format!("    pub const {name}: usize = {value};\n");
        code.extend(source.constants.iter().map(number));
        code += "}\n\n";
    }
    code += &format!(
        "/// All kernels; a launch names one by its index.\npub static KERNELS: &[Declared] = &[\n{table}];\n\n\
         /// All kernel files, with their machine code where an nvcc compiled them.\n\
         pub static MODULES: &[Module] = &[\n"
    );
    for (index, source) in sources.iter().enumerate() {
        let fatbin = match fatbins {
            Some(fatbins) => format!("include_bytes!({:?})", fatbins.files[index].display().to_string()),
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

/// The type of a field in Rust.
fn type_of(kind: &Kind) -> String {
    match kind {
        Kind::Known(rust, _) => (*rust).to_owned(),
        Kind::Struct(name) => name.clone(),
        Kind::Array(element, count) => format!("[{}; {count}]", type_of(element)),
    }
}

/// A struct with the fields of the kernels' own, and assertions of its layout in memory.
fn write_struct(name: &str, Struct { fields, bytes, .. }: &Struct) -> String {
    let declared: String =
        fields.iter().map(|field| format!("    pub {}: {},\n", field.name, type_of(&field.kind))).collect();
    let pack = |Field { name, offset, .. }: &Field| format!("        self.{name}.pack(&mut bytes[{offset}..]);\n");
    let packed: String = fields.iter().map(pack).collect();
    let offsets: String = fields.iter().map(|Field { offset, .. }| format!("{offset}, ")).collect();
    format!(
        "/// `struct {name}` of the kernels.\n#[derive(Clone, Copy, Debug)]\npub struct {name} {{\n{declared}}}\n\n\
         impl {name} {{\n    /// Offsets of the fields in memory, in bytes.\n    \
         pub const OFFSETS: [usize; {}] = [{offsets}];\n}}\n\n\
         impl Pack for {name} {{\n    const BYTES: usize = {bytes};\n\n    \
         fn pack(&self, bytes: &mut [u8]) {{\n{packed}    }}\n}}\n\n",
        fields.len()
    )
}

/// The source that nvcc compiles for the file `path`: the file, and assertions that the structs of its kernels lie in
/// memory as Rust packs them.
pub fn with_layouts(path: &Path, structs: &BTreeMap<String, Struct>) -> String {
    let mut text = format!("#include \"{}\"\n", path.display());
    for (name, Struct { fields, bytes, .. }) in structs {
        text += &format!("static_assert(sizeof({name}) == {bytes}, \"the size of {name} in Rust\");\n");
        for Field { name: field, offset, .. } in fields {
            text += &format!(
                "static_assert(offsetof({name}, {field}) == {offset}, \"the offset of {name}::{field} in Rust\");\n"
            );
        }
    }
    text
}
