//! Error messages for result codes of the driver.

use anyhow::{Error, anyhow};
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult::{self, *};

/// Makes an error of the form `WHAT: REASON (CODE)`, where `what` is what could not be done, such as "cannot read GPU
/// memory", and the code is the driver's name for `error`. The reason is the driver's text; for errors that a user can
/// do something about it is our own, with the cure.
pub fn explain(what: &str, error: DriverError) -> Error {
    let said = error.error_string().map(|text| text.to_string_lossy().into_owned());
    let why = match (cure(error.0), said) {
        (Some(cure), _) => cure.to_owned(),
        (None, Ok(said)) => said,
        (None, Err(_)) => "the driver does not say why".to_owned(),
    };
    let name = match error.error_name() {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("error {}", error.0 as u32),
    };
    anyhow!("{what}: {why} ({name})")
}

/// The reason and the cure of an error that the user can do something about; `None` for other errors. The driver's own
/// texts are too short for that, and a stub or an incomplete driver has none.
fn cure(code: CUresult) -> Option<&'static str> {
    Some(match code {
        CUDA_ERROR_OUT_OF_MEMORY => "its memory is full; `nvidia-smi` lists the processes that use it",
        CUDA_ERROR_STUB_LIBRARY => {
            "its library is the stub that CUDA toolkits have for linking; take the toolkit's folder `stubs` out of \
             LD_LIBRARY_PATH, and install the NVIDIA driver if there is none"
        }
        CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "another process has the GPU for itself, or the GPU allows none; `nvidia-smi` lists the processes, and \
             `nvidia-smi --compute-mode=DEFAULT` lets several use it"
        }
        CUDA_ERROR_INVALID_DEVICE => {
            "the driver does not know a GPU of this number; compare CUDA_VISIBLE_DEVICES with what `nvidia-smi` lists"
        }
        CUDA_ERROR_OPERATING_SYSTEM => {
            "the system refused the driver a call; `nvidia-smi` says more, /dev/nvidia* have to be accessible, and a \
             container has to be started with its GPUs"
        }
        CUDA_ERROR_SYSTEM_NOT_READY => {
            "the system is not ready for CUDA; on machines with NVSwitch the service nvidia-fabricmanager has to run"
        }
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "the driver's library and the kernel's module are of different versions, as after an update; restart the \
             machine, or in a container match its driver to the host's"
        }
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "its library is of a CUDA compatibility package, which this GPU or kernel module does not support; take \
             the folder `compat` out of LD_LIBRARY_PATH, or update the driver"
        }
        CUDA_ERROR_UNKNOWN => {
            "the driver does not know itself, as often after a suspend; load its module again (`sudo rmmod nvidia_uvm; \
             sudo modprobe nvidia_uvm`) or restart the machine"
        }
        _ => return None,
    })
}
