//! The NVIDIA driver: whether it is there, which GPUs it knows, and what its errors mean.
//!
//! The one idea: everything that can be missing is asked for in the order in which it can be missing, and each answer is a
//! line that says what to do.

use std::sync::Arc;

use anyhow::{Error, Result, anyhow, bail, ensure};
use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::kernels;

/// What the kernels' machine code needs: `mma` and `cp.async` as of Ampere.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// The driver interface that the program calls: CUDA 12.
const LEAST_VERSION: i32 = 12_000;

/// How the simulator's devices are called; see `tools/cudasim`.
const SIMULATED: &str = "cudasim";

/// A CUDA device, as far as it can be known without using it.
#[derive(Clone, Debug)]
pub struct Info {
    pub ordinal: usize,
    pub name: String,
    /// Bytes.
    pub memory: usize,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// A CPU that pretends, for tests.
    pub is_simulated: bool,
}

/// The devices of this machine, at least one.
///
/// # Errors
/// When there is no driver, it is too old, or it knows no GPU.
pub fn devices() -> Result<Vec<Info>> {
    // SAFETY: loads the driver library and forgets it again; its initialisers are NVIDIA's (or the simulator's) own.
    ensure!(
        unsafe { sys::is_culib_present() },
        "no NVIDIA driver: its library libcuda.so was not found on this machine"
    );
    let started = result::init();
    if started == Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) {
        bail!("the NVIDIA driver finds no GPU on this machine");
    }
    started.map_err(|error| explain("the NVIDIA driver does not start", error))?;
    let version = version()?;
    ensure!(
        version >= LEAST_VERSION,
        "the NVIDIA driver is too old: it supports CUDA {}, at least {} is needed; update the driver",
        readable(version),
        readable(LEAST_VERSION)
    );
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
    let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    // SAFETY: as above.
    let memory = unsafe { result::device::total_mem(device)? };
    let is_simulated = name.starts_with(SIMULATED);
    Ok(Info { ordinal, name, memory, capability: (major, minor), is_simulated })
}

/// What the driver supports, as it counts: 13000 is CUDA 13.0.
fn version() -> Result<i32> {
    let mut version = 0;
    // SAFETY: writes one number to where it is told.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    status.result().map_err(|error| explain("the NVIDIA driver does not say its version", error))?;
    Ok(version)
}

/// `13.0` for 13000.
fn readable(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

impl Info {
    /// Whether the kernels of this build run on the device.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn ensure_usable(&self) -> Result<()> {
        if self.is_simulated {
            return Ok(());
        }
        let Some(compiled_by) = kernels::COMPILED_BY else {
            bail!(
                "this build has no CUDA kernels, because nvcc was not found when it was built: run tools/install-nvcc, \
                 or set CUDA_HOME to a CUDA toolkit, and build again"
            );
        };
        let (major, minor) = self.capability;
        ensure!(
            self.capability >= LEAST_CAPABILITY,
            "{} has compute capability {major}.{minor}; at least {}.{} is needed",
            self.name,
            LEAST_CAPABILITY.0,
            LEAST_CAPABILITY.1
        );
        let version = version()?;
        // Machine code of a toolkit runs on drivers of the same major version and of later ones.
        ensure!(
            version / 1000 >= compiled_by / 1000,
            "the NVIDIA driver is too old: it supports CUDA {}, and the kernels of this build were compiled by nvcc {}; \
             update the driver, or build with an nvcc of CUDA {}",
            readable(version),
            readable(compiled_by),
            version / 1000
        );
        Ok(())
    }
}

/// What is known of device `ordinal`.
///
/// # Errors
/// When it is not there, or the kernels of this build do not run on it.
pub fn usable(ordinal: usize) -> Result<Info> {
    let devices = devices()?;
    let Some(info) = devices.get(ordinal) else {
        let last = devices.len() - 1;
        let there = if last == 0 { "cuda:0 alone".to_owned() } else { format!("cuda:0 to cuda:{last}") };
        bail!("this machine has {there}");
    };
    info.ensure_usable()?;
    Ok(info.clone())
}

/// Device `ordinal`, ready to be used.
///
/// # Errors
/// When it is not there, or not usable.
pub fn open(ordinal: usize) -> Result<(Arc<CudaContext>, Info)> {
    let info = usable(ordinal)?;
    let context = CudaContext::new(ordinal).map_err(|error| explain(&format!("cannot use cuda:{ordinal}"), error))?;
    // SAFETY: all work of this crate on a context goes through one stream, in order; without tracking, the driver is not
    // asked for an event per allocation, and graphs can be captured.
    unsafe { context.disable_event_tracking() };
    Ok((context, info))
}

/// An error of the driver as a person can read it.
pub fn explain(what: &str, error: DriverError) -> Error {
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned());
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|_| format!("error {:?}", error.0));
    anyhow!("{what}: {} ({name})", text.unwrap_or_else(|_| "the driver does not say why".into()))
}
