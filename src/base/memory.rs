//! Memory: the amount that this process may still take, refusals of work that needs more, and turns for work that needs
//! much.
//!
//! A refusal before the work names numbers and a cure. The allocator of the program turns a failed allocation into a
//! plain error.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Result, bail};

use crate::base::bytes::ByteSize;
use crate::base::words::count;

/// Bytes that work done at the same time may take together, unless half of the free memory is less. Work that takes
/// more is done alone.
const TOGETHER: u64 = 1 << 30;

/// Address space of a thread: the stack that Rust gives it, its guard pages and what the C library keeps for it.
const STACK: u64 = (2 << 20) + (128 << 10);

/// Address space for everything else a command does, and for the main thread's stack to grow in.
const SPARE: u64 = 16 << 20;

/// Host memory in bytes that this process can still allocate, and the limit that decides it: the machine's, a cgroup's
/// or `ulimit`'s. Displayed as a clause: `this machine has 3.0 GiB free`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AvailableMemory {
    pub bytes: u64,
    bound: Bound,
}

/// The limit on the memory of a process: free memory of the machine, a cgroup, or `ulimit -v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Machine,
    Container,
    AddressSpace,
}

impl Display for AvailableMemory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bytes = ByteSize(self.bytes);
        match self.bound {
            Bound::Machine => write!(f, "this machine has {bytes} free"),
            Bound::Container => write!(f, "the memory limit of this container or service leaves {bytes}"),
            Bound::AddressSpace => write!(f, "`ulimit -v` leaves {bytes}"),
        }
    }
}

/// Returns the host memory that is left to this process: the least of what the machine has free, its cgroups leave and
/// `ulimit -v` leaves. `None` if the system reports none of them.
pub fn available() -> Option<AvailableMemory> {
    let rooms = [(machine(), Bound::Machine), (container(), Bound::Container), (address_space(), Bound::AddressSpace)];
    rooms.into_iter().filter_map(|(bytes, bound)| Some(AvailableMemory { bytes: bytes?, bound })).min()
}

/// Checks that this process can still allocate `bytes` bytes, which `what` needs, such as "translating a.png"; `cure`
/// says which setting needs less. Passes if the limit is unknown.
///
/// # Errors
/// When less is left; the message names both amounts, `what` and `cure`.
pub fn require(bytes: u64, what: impl Display, cure: impl FnOnce() -> String) -> Result<()> {
    require_of(available(), bytes, what, cure)
}

fn require_of(
    room: Option<AvailableMemory>,
    bytes: u64,
    what: impl Display,
    cure: impl FnOnce() -> String,
) -> Result<()> {
    match room.filter(|room| room.bytes < bytes) {
        Some(room) => bail!("{what} takes {} of memory, and {room}: {}", ByteSize(bytes), cure()),
        None => Ok(()),
    }
}

/// Checks that `ulimit -v` leaves address space for the stacks of `threads` more threads, and 16 MiB for all else that
/// a command does. Passes without such a limit. A thread that gets no stack later could only abort the process.
///
/// # Errors
/// When there is too little.
pub fn require_stacks(threads: usize) -> Result<()> {
    let room = address_space().map(|bytes| AvailableMemory { bytes, bound: Bound::AddressSpace });
    let what = match threads {
        0 => "this command".to_owned(),
        threads => format!("starting {}", count(threads, "more thread")),
    };
    let cure = || "raise it, or take fewer --threads".to_owned();
    require_of(room, threads as u64 * STACK + SPARE, what, cure)
}

/// Returns the size in bytes that an optional buffer, such as a cache, may have: `wanted`, but at most half of the
/// memory that is [`available`] less `needed`, the bytes that all else will still allocate. `wanted` if the memory that
/// is available is unknown.
pub fn spare(wanted: usize, needed: u64) -> usize {
    let left = available().map_or(u64::MAX, |room| room.bytes.saturating_sub(needed) / 2);
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Memory and swap that the machine can give without taking any from another process.
fn machine() -> Option<u64> {
    let text = read("/proc/meminfo")?;
    Some(field(&text, "MemAvailable:")? + field(&text, "SwapFree:").unwrap_or(0))
}

/// Bytes that the control groups of this process leave, whichever is the tightest.
fn container() -> Option<u64> {
    container_in(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup")?)
}

/// As [`container`], for control groups mounted at `root`; `own` has a line for each group of this process.
fn container_in(root: &Path, own: &str) -> Option<u64> {
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (mount, files) = match controllers {
            "" => (root.to_path_buf(), ["memory.max", "memory.current", "inactive_file"]),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (root.join("memory"), ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"])
            }
            _ => return None,
        };
        // Inside of a container the path may be that outside, and the container's own group is the mounted one.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| left_in(&mount.join(group), files)).min()
    };
    own.lines().filter_map(group).min()
}

/// The limit of a control group less its use. Cached file contents, which are dropped when memory is short, do not
/// count as used.
fn left_in(group: &Path, [limit, usage, kept]: [&str; 3]) -> Option<u64> {
    let number = |name: &str| read(group.join(name))?.trim().parse::<u64>().ok();
    let kept = read(group.join("memory.stat")).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix(kept)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    });
    Some(number(limit)?.saturating_sub(number(usage)?.saturating_sub(kept.unwrap_or(0))))
}

/// Bytes that `ulimit -v` leaves: the limit less what is mapped.
#[cfg(unix)]
fn address_space() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    Some(limit.saturating_sub(field(&read("/proc/self/status")?, "VmSize:")?))
}

#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number of bytes in a line such as `VmSize:   1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A reservation of some bytes of host memory for one piece of work, released when it is dropped.
#[derive(Debug)]
pub struct Reservation(u64);

/// Bytes of all reservations together.
static TAKEN: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Reservation {
    /// Reserves `bytes` bytes, waiting until they fit beside the reservations of other threads: together these take at
    /// most 1 GiB, or half of the free memory if that is less. Work that takes more waits until there is no other
    /// reservation. `what` and `cure` are for the error, as in [`require`].
    ///
    /// A thread holds one reservation at a time, and does nothing in parallel meanwhile: rayon might have it begin
    /// other work that waits for this very reservation.
    ///
    /// # Errors
    /// When `bytes` are more than that bound and this process cannot allocate them.
    pub fn take(bytes: u64, what: impl Display, cure: &str) -> Result<Reservation> {
        static BOUND: OnceLock<u64> = OnceLock::new();
        let bound = *BOUND.get_or_init(|| available().map_or(TOGETHER, |room| TOGETHER.min(room.bytes / 2)));
        let mut taken = lock();
        while *taken > 0 && taken.saturating_add(bytes) > bound {
            taken = FREED.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        // Bytes within the bound are not checked: it is at most half of the room.
        if bytes > bound {
            require(bytes, what, || cure.to_owned())?;
        }
        *taken += bytes;
        Ok(Reservation(bytes))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *lock() -= self.0;
        FREED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, u64> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn what_is_missing_is_told_with_numbers_the_bound_and_the_cure() {
        let refused = |bound| {
            let room = Some(AvailableMemory { bytes: 100 << 20, bound });
            require_of(room, 101 << 20, "a tile", || "take a smaller one".to_owned()).unwrap_err().to_string()
        };
        assert_eq!(
            refused(Bound::Machine),
            "a tile takes 101 MiB of memory, and this machine has 100 MiB free: take a smaller one"
        );
        assert!(refused(Bound::Container).contains("the memory limit of this container or service leaves 100 MiB"));
        assert!(refused(Bound::AddressSpace).contains("`ulimit -v` leaves 100 MiB"));
        let enough = Some(AvailableMemory { bytes: 100 << 20, bound: Bound::Machine });
        assert!(require_of(enough, 100 << 20, "", String::new).is_ok());
        assert!(require_of(None, u64::MAX, "", String::new).is_ok());
    }

    #[test]
    fn the_tightest_control_group_counts_and_kept_files_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let left = |own: &str| container_in(dir.path(), own);
        assert_eq!(left("0::/a/b\n"), None);
        write("a/memory.max", "1000\n");
        write("a/memory.current", "700\n");
        write("a/memory.stat", "anon 400\ninactive_file 250\nactive_file 50\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "300\n");
        assert_eq!(left("0::/a/b\n"), Some(550));
        // The first version, in a container that is told the path outside.
        write("memory/memory.limit_in_bytes", "500\n");
        write("memory/memory.usage_in_bytes", "450\n");
        write("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n");
        assert_eq!(left("5:cpu:/a\n4:memory:/outside/x\n0::/a/b\n"), Some(150));
        assert_eq!(left("5:cpu,memory:/a\n"), Some(150));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_its_memory() {
        assert!(available().is_some_and(|room| room.bytes > 1 << 20));
        assert_eq!(field("VmPeak: 7 kB\nVmSize:\t   12 kB\n", "VmSize:"), Some(12 * 1024));
    }

    #[test]
    fn large_work_is_done_alone_and_small_work_together() {
        let running = AtomicUsize::new(0);
        let (large, most) = (TOGETHER + 1, AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for bytes in [1, large, 1] {
                        let turn = Reservation::take(bytes, "", "").unwrap();
                        let others = running.fetch_add(1, Ordering::SeqCst);
                        assert!(bytes < large || others == 0, "{others} beside a large one");
                        most.fetch_max(others, Ordering::SeqCst);
                        thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        let (a, b) = (Reservation::take(1, "", "").unwrap(), Reservation::take(1, "", "").unwrap());
        drop((a, b));
        assert_eq!(*lock(), 0);
        assert!(Reservation::take(u64::MAX, "x.png", "cut it").unwrap_err().to_string().starts_with("x.png takes"));
    }
}
