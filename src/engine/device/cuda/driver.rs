//! The NVIDIA driver: its GPUs, their properties, and the kernels loaded on them.
//!
//! Requirements (library, driver version, GPU, kernels in this build, compute capability) are checked in the order in
//! which they can be missing, and each error names the cure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow, bail, ensure};
use cudarc::driver::{CudaContext, CudaFunction, DriverError, result, sys};
use cudarc::nvrtc::Ptx;

use super::errors::explain;
use super::library;
use crate::engine::kernel::cuda::{GpuFacts, kernels};

/// The least compute capability, that of Ampere, for which the build makes machine code (`build/nvcc.rs`).
const MIN_CAPABILITY: (i32, i32) = (8, 0);

/// The lowest version of CUDA that a driver has to support, as the driver counts (12000 is CUDA 12.0): that of cudarc's
/// bindings.
pub const MIN_VERSION: i32 = sys::CUDA_VERSION as i32;

/// Prefix of the names of simulated devices; see `tools/cudasim`.
const SIMULATED: &str = "cudasim";

/// The number, name and properties of a CUDA device, which are known without a context on it.
#[derive(Clone, Debug)]
pub struct Info {
    pub ordinal: usize,
    pub name: String,
    /// Bytes of device memory.
    pub memory: usize,
    pub facts: GpuFacts,
    /// True for the simulator of `tools/cudasim`.
    pub is_simulated: bool,
}

/// Returns the properties of all CUDA devices of this machine, in the order of their numbers. There is at least one.
///
/// # Errors
/// When there is no driver, it is broken or too old, or it finds no GPU.
pub fn devices() -> Result<Vec<Info>> {
    library::load()?;
    let started = result::init();
    if started == Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) {
        bail!("the NVIDIA driver finds no GPU on this machine");
    }
    started.map_err(|error| explain("the NVIDIA driver does not start", error))?;
    let version = version()?;
    ensure!(version >= MIN_VERSION, library::too_old(version));
    let count = result::device::get_count().map_err(|error| explain("cannot count the GPUs", error))?;
    ensure!(count > 0, "the NVIDIA driver finds no GPU on this machine");
    let info = |ordinal| info(ordinal).map_err(|error| explain(&format!("cannot look at cuda:{ordinal}"), error));
    (0..count as usize).map(info).collect()
}

fn info(ordinal: usize) -> Result<Info, DriverError> {
    let device = result::device::get(ordinal as i32)?;
    let name = result::device::get_name(device)?;
    // SAFETY: `device` is one that the driver has just handed out.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) };
    let size = |which| attribute(which).map(|value| value.max(0) as usize);
    let facts = GpuFacts {
        capability: (
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: size(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_memory: size(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        l2_cache: size(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?,
    };
    // SAFETY: as above.
    let memory = unsafe { result::device::total_mem(device)? };
    let is_simulated = name.starts_with(SIMULATED);
    Ok(Info { ordinal, name, memory, facts, is_simulated })
}

/// Returns the version of CUDA that the driver supports, as the driver counts: 13000 is CUDA 13.0.
fn version() -> Result<i32> {
    let mut version = 0;
    // SAFETY: writes one number to where it is told.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    status.result().map_err(|error| explain("the NVIDIA driver does not say its version", error))?;
    Ok(version)
}

/// Formats a CUDA version, given as the driver counts: `13.0` for 13000.
pub fn version_in_words(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

impl Info {
    /// Checks that the kernels of this build run on the device. A simulated one always passes.
    ///
    /// # Errors
    /// When the build has no kernels, the compute capability is below 8.0, or the driver is too old for the nvcc of the
    /// build; with the cure.
    pub fn ensure_usable(&self) -> Result<()> {
        if self.is_simulated {
            return Ok(());
        }
        self.ensure_runs(kernels::COMPILED_BY, version()?)
    }

    /// Checks that kernels of nvcc `compiled_by` run on the device with a driver for CUDA `version`.
    fn ensure_runs(&self, compiled_by: Option<i32>, version: i32) -> Result<()> {
        let Some(compiled_by) = compiled_by else {
            bail!(
                "this build has no CUDA kernels, because it had no nvcc that works: run tools/install-nvcc, or set \
                 CUDA_HOME to a CUDA toolkit, and build again"
            );
        };
        let (major, minor) = self.facts.capability;
        ensure!(
            self.facts.capability >= MIN_CAPABILITY,
            "{} has compute capability {major}.{minor}; at least {}.{} is needed",
            self.name,
            MIN_CAPABILITY.0,
            MIN_CAPABILITY.1
        );
        // Machine code of a toolkit runs on drivers of the same major version and of later ones.
        ensure!(
            version / 1000 >= compiled_by / 1000,
            "the NVIDIA driver is too old: it supports CUDA {}, and the kernels of this build were compiled by nvcc \
             {}; update the driver, or build with an nvcc of CUDA {}",
            version_in_words(version),
            version_in_words(compiled_by),
            version / 1000
        );
        Ok(())
    }
}

/// Returns the properties of GPU `ordinal`, after a check that the kernels of this build run on it. Creates no context
/// and loads no kernels, unlike [`prepare_gpu`].
///
/// # Errors
/// When there is no driver or no such GPU, or the kernels of this build do not run on it.
pub fn check_gpu(ordinal: usize) -> Result<Info> {
    let devices = devices()?;
    let Some(info) = devices.get(ordinal) else {
        let last = devices.len() - 1;
        let there = if last == 0 { "cuda:0 alone".to_owned() } else { format!("cuda:0 to cuda:{last}") };
        bail!("this machine has {there}");
    };
    info.ensure_usable()?;
    Ok(info.clone())
}

/// A GPU in use by this process: its properties, and the kernels, loaded on it.
#[derive(Debug)]
pub struct Gpu {
    pub info: Info,
    /// The properties for the choice of implementations: those of `info`, but with the compute capability that the
    /// kernels were compiled for where that is lower.
    pub facts: GpuFacts,
    /// The kernels, by index in [`kernels::KERNELS`].
    pub functions: Vec<CudaFunction>,
}

/// All GPUs in use, by ordinal. They are kept until the process ends: when the last context on a GPU is destroyed, the
/// driver unloads everything, and the next context would wait for it to be loaded again.
static GPUS: Mutex<BTreeMap<usize, Arc<Gpu>>> = Mutex::new(BTreeMap::new());

/// Opens GPU `ordinal`: loads the kernels at the first call in this process, and returns a new [`CudaContext`] and the
/// GPU. All contexts on a GPU are its primary context, but each `CudaContext` has its own record of errors.
///
/// # Errors
/// When there is no such GPU, the kernels of this build do not run on it, or the driver refuses the context or the
/// kernels.
pub fn open(ordinal: usize) -> Result<(Arc<CudaContext>, Arc<Gpu>)> {
    let mut gpus = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
    let gpu = match gpus.get(&ordinal) {
        Some(gpu) => Arc::clone(gpu),
        None => {
            let info = check_gpu(ordinal)?;
            let functions = load_kernels(&context(ordinal)?, &info)?;
            let facts = GpuFacts { capability: info.facts.capability.min(compiled_for(&functions)?), ..info.facts };
            let gpu = Arc::new(Gpu { info, facts, functions });
            gpus.insert(ordinal, Arc::clone(&gpu));
            gpu
        }
    };
    Ok((context(ordinal)?, gpu))
}

/// Creates a context on GPU `ordinal` and loads the kernels, unless an earlier call has done so, and returns the GPU's
/// properties. Only this shows that no other process has the GPU for itself and that its memory suffices. The context
/// and the kernels are kept until the process ends.
///
/// # Errors
/// When there is no such GPU, or it cannot be used now.
pub fn prepare_gpu(ordinal: usize) -> Result<Info> {
    open(ordinal).map(|(_, gpu)| gpu.info.clone())
}

fn context(ordinal: usize) -> Result<Arc<CudaContext>> {
    let context = CudaContext::new(ordinal).map_err(|error| explain(&format!("cannot use cuda:{ordinal}"), error))?;
    // SAFETY: all work of this crate on a context goes through one stream, in order; without tracking, the driver is
    // not asked for an event per allocation, and graphs can be captured. Pinned memory has events of its own.
    unsafe { context.disable_event_tracking() };
    Ok(context)
}

fn load_kernels(context: &Arc<CudaContext>, info: &Info) -> Result<Vec<CudaFunction>> {
    let load = |module: &kernels::Module| {
        let image = match info.is_simulated {
            // The simulator ignores the image: the kernels are linked into it.
            true => Ptx::from_src(""),
            false => Ptx::from_binary(module.fatbin.to_vec()),
        };
        context.load_module(image).map_err(|error| match error {
            DriverError(sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU) => anyhow!(
                "the kernels of this build were not compiled for {} (compute capability {}.{}): name it in \
                 PIXTAPE_CUDA_ARCHS, or leave that out, and build again",
                info.name,
                info.facts.capability.0,
                info.facts.capability.1
            ),
            DriverError(sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION) => anyhow!(
                "the NVIDIA driver is too old for {}: it does not know the PTX that this build has for newer GPUs; \
                 update the driver, or name the GPU's own architecture in PIXTAPE_CUDA_ARCHS and build again",
                info.name
            ),
            other => explain(&format!("cannot load the kernels of {}.cu on {}", module.name, info.name), other),
        })
    };
    let modules = kernels::MODULES.iter().map(load).collect::<Result<Vec<_>>>()?;
    let find = |kernel: &kernels::Declared| {
        let function = modules[kernel.module].load_function(kernel.name);
        function.map_err(|error| explain(&format!("cannot find the kernel {}", kernel.name), error))
    };
    kernels::KERNELS.iter().map(find).collect()
}

/// Returns the compute capability that the loaded kernels were compiled for, the lowest of all. It can be lower than
/// the GPU's: then the kernels do not use the newer features.
fn compiled_for(functions: &[CudaFunction]) -> Result<(i32, i32)> {
    let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION;
    let versions = functions.iter().map(|function| function.get_attribute(attribute)).collect::<Result<Vec<_>, _>>();
    let versions = versions.map_err(|error| explain("cannot look at the kernels", error))?;
    let least = versions.into_iter().min().unwrap_or_default();
    Ok((least / 10, least % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(capability: (i32, i32)) -> Info {
        let facts = GpuFacts { capability, multiprocessors: 132, shared_memory: 232_448, l2_cache: 50 << 20 };
        Info { ordinal: 0, name: "a GPU".into(), memory: 1 << 30, facts, is_simulated: false }
    }

    #[test]
    fn what_keeps_kernels_from_running_is_said() {
        let refusal = |capability, compiled_by, version| {
            gpu(capability).ensure_runs(compiled_by, version).map_err(|error| error.to_string())
        };
        for (capability, compiled_by, version) in
            [((8, 0), 13_000, 13_000), ((9, 0), 12_040, 13_020), ((12, 0), 13_010, 13_000)]
        {
            assert_eq!(refusal(capability, Some(compiled_by), version), Ok(()));
        }
        let cases = [
            (refusal((9, 0), None, 13_000), "tools/install-nvcc"),
            (refusal((7, 5), Some(13_000), 13_000), "a GPU has compute capability 7.5; at least 8.0"),
            (
                refusal((9, 0), Some(13_000), 12_080),
                "supports CUDA 12.8, and the kernels of this build were compiled by nvcc 13.0",
            ),
        ];
        for (outcome, words) in cases {
            assert!(outcome.as_ref().is_err_and(|error| error.contains(words)), "{outcome:?}");
        }
    }
}
