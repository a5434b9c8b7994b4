//! The instruction set of the CPU, chosen once at run time, and loops compiled for each of them.
//!
//! Every set has vectors of 64 bytes: 16 numbers of f32 or 8 of f64, in one register or in several. A sum over the
//! lanes of a vector, and with it every result, is therefore the same on all sets, bit for bit.

use std::env::{self, VarError};
use std::sync::OnceLock;

use anyhow::{Result, bail, ensure};
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V3_512b, V4};
use pulp::{Scalar512b, Simd, WithSimd};

/// The environment variable that forces an instruction set, for tests and benchmarks.
const VARIABLE: &str = "PIXTAPE_CPU";

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// The baseline of the target. A fused multiply-add is a function call where the baseline has none (x86).
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512, with its foundation, BW, CD, DQ and VL.
    Avx512,
    /// The same and BF16: the dot product of pairs of bf16.
    Avx512Bf16,
    /// The same and AMX with bf16, if the system lets the process use it.
    Amx,
}

impl InstructionSet {
    /// All instruction sets, the fastest last.
    pub const ALL: [InstructionSet; 5] = [
        InstructionSet::Portable,
        InstructionSet::Avx2,
        InstructionSet::Avx512,
        InstructionSet::Avx512Bf16,
        InstructionSet::Amx,
    ];

    /// The name by which `PIXTAPE_CPU` forces the set.
    pub fn name(self) -> &'static str {
        match self {
            InstructionSet::Portable => "portable",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::Avx512 => "avx512",
            InstructionSet::Avx512Bf16 => "avx512bf16",
            InstructionSet::Amx => "amx",
        }
    }

    /// True if this machine has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            InstructionSet::Portable => true,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Bf16 => {
                InstructionSet::Avx512.is_available() && std::arch::is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Amx => InstructionSet::Avx512Bf16.is_available() && has_amx(),
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx2 | InstructionSet::Avx512 | InstructionSet::Avx512Bf16 | InstructionSet::Amx => false,
        }
    }

    /// The set that all devices of this process use: the one that `PIXTAPE_CPU` names, or else the fastest that the
    /// machine has.
    ///
    /// # Errors
    /// When `PIXTAPE_CPU` names no set, or one that the machine does not have.
    pub fn chosen() -> Result<InstructionSet> {
        static CHOSEN: OnceLock<InstructionSet> = OnceLock::new();
        if let Some(chosen) = CHOSEN.get() {
            return Ok(*chosen);
        }
        let chosen = match env::var(VARIABLE) {
            Ok(name) => InstructionSet::named(&name)?,
            Err(VarError::NotPresent) => InstructionSet::fastest(),
            Err(VarError::NotUnicode(_)) => bail!("{VARIABLE} is not valid UTF-8; it takes one of {}", names()),
        };
        Ok(*CHOSEN.get_or_init(|| chosen))
    }

    /// The fastest set that this machine has.
    fn fastest() -> InstructionSet {
        InstructionSet::ALL.into_iter().rfind(|set| set.is_available()).unwrap_or(InstructionSet::Portable)
    }

    fn named(name: &str) -> Result<InstructionSet> {
        let Some(set) = InstructionSet::ALL.into_iter().find(|set| set.name() == name) else {
            bail!("{VARIABLE} is {name:?}, which is no instruction set; it takes one of {}", names());
        };
        ensure!(
            set.is_available(),
            "{VARIABLE} asks for {name}, which this machine does not have; unset it, and the fastest that it has is \
             used: {}",
            InstructionSet::fastest().name()
        );
        Ok(set)
    }

    /// Runs `work` in the version that was compiled for this set, and returns its result. All that it calls must be
    /// `#[inline(always)]`; otherwise that is compiled for the baseline.
    ///
    /// # Panics
    /// If the machine does not have the set.
    #[inline]
    pub fn run<W: WithSimd>(self, work: W) -> W::Output {
        match self {
            InstructionSet::Portable => InstructionSet::run_portable(work),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => Simd::vectorize(V3::try_new().expect("AVX2"), InPairs(work)),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => Simd::vectorize(V4::try_new().expect("AVX-512"), work),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Bf16 | InstructionSet::Amx => InstructionSet::run_bf16(work),
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx2 | InstructionSet::Avx512 | InstructionSet::Avx512Bf16 | InstructionSet::Amx => {
                panic!("not on this architecture")
            }
        }
    }
}

impl InstructionSet {
    /// As [`InstructionSet::run`], for the portable set alone.
    pub(crate) fn run_portable<W: WithSimd>(work: W) -> W::Output {
        Scalar512b.vectorize(work)
    }

    /// As [`InstructionSet::run`], for AVX-512 with BF16 alone.
    ///
    /// # Panics
    /// If the machine does not have it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn run_bf16<W: WithSimd>(work: W) -> W::Output {
        assert!(InstructionSet::Avx512Bf16.is_available(), "AVX-512 with BF16");
        // SAFETY: the line above.
        unsafe { with_bf16(V4::try_new().expect("AVX-512"), work) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn run_bf16<W: WithSimd>(_: W) -> W::Output {
        panic!("not on this architecture")
    }
}

/// Runs `work` in a version for AVX-512 with BF16, which pulp does not know.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,bmi1,bmi2,fma,lzcnt,popcnt")]
fn with_bf16<W: WithSimd>(simd: V4, work: W) -> W::Output {
    work.with_simd(simd)
}

/// True if the machine has the tiles of AMX with bf16, and the system lets this process use them, which is asked for
/// once.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_amx() -> bool {
    use std::arch::x86_64::__cpuid_count;
    /// Linux's arch_prctl: to ask for registers that are off at first.
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    /// The data of tiles.
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    /// AMX-BF16 and AMX-TILE, in EDX of leaf 7.
    const FEATURES: u32 = 1 << 22 | 1 << 24;
    static GIVEN: OnceLock<bool> = OnceLock::new();
    *GIVEN.get_or_init(|| {
        let has_instructions = __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & FEATURES == FEATURES;
        // SAFETY: the call has no pointers; a system that does not know it refuses it.
        has_instructions && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    })
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn has_amx() -> bool {
    false
}

/// Work on pairs of AVX2's registers, which are 64 bytes together.
#[cfg(target_arch = "x86_64")]
struct InPairs<W>(W);

#[cfg(target_arch = "x86_64")]
impl<W: WithSimd> WithSimd for InPairs<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> W::Output {
        // The features are those of the function that this is inlined into.
        self.0.with_simd(V3_512b(V3::try_new().expect("AVX2")))
    }
}

fn names() -> String {
    InstructionSet::ALL.map(InstructionSet::name).join(", ")
}

/// Runs `work`, in the version that was compiled for the chosen instruction set, and returns its result. `work` and all
/// that it calls must be `#[inline(always)]`; otherwise they are compiled for the baseline instruction set alone.
/// Results are the same with any of them: operations are neither contracted nor reordered.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnOnce() -> R> WithSimd for Work<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    // A name that is refused is reported where a device is created.
    InstructionSet::chosen().unwrap_or(InstructionSet::Portable).run(Work(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_found_by_its_name() {
        assert_eq!(InstructionSet::named("portable").unwrap(), InstructionSet::Portable);
        let refused = InstructionSet::named("sse9").unwrap_err().to_string();
        assert_eq!(
            refused,
            "PIXTAPE_CPU is \"sse9\", which is no instruction set; it takes one of portable, avx2, avx512, avx512bf16, \
             amx"
        );
    }

    #[test]
    fn a_set_that_the_machine_lacks_is_refused() {
        for set in InstructionSet::ALL.into_iter().filter(|set| !set.is_available()) {
            let refused = InstructionSet::named(set.name()).unwrap_err().to_string();
            assert!(refused.contains("which this machine does not have"), "{refused}");
        }
    }
}
