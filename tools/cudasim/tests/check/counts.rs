//! Counts of kernels that are simple enough to be counted by hand, line by line.

use crate::common::{Gpu, QUIET, grid, kernel_file};
use crate::{gpu, launch};
use cudasim::Settings;
use serde_json::Value;

/// The counts of one launch, and the source that its lines are in.
struct Counted {
    launch: Value,
    source: String,
}

impl Counted {
    fn new(gpu: &Gpu, kernel: &str, blocks: u32, threads: u32, count: usize) -> Counted {
        gpu.simulator.configure(Settings { count, ..QUIET }).unwrap();
        let mut out = gpu.stream.alloc_zeros::<f32>(1 << 15).unwrap();
        launch!(gpu.stream, gpu.function(kernel), grid(blocks, threads), &mut out).unwrap();
        assert_eq!(gpu.synchronize(), (Ok(()), vec![]));
        let counts = gpu.simulator.take_counts();
        assert_eq!(counts.len(), 1, "{counts:?}");
        let launch: Value = serde_json::from_str(&counts[0]).unwrap();
        assert_eq!(launch["kernel"], kernel);
        Counted { launch, source: std::fs::read_to_string(kernel_file("counts.cu")).unwrap() }
    }

    /// The counts of `event` at the line that ends in `// MARK`, by the names of the fields.
    fn at<const N: usize>(&self, mark: &str, event: &str, fields: [&str; N]) -> [u64; N] {
        let line = self.source.lines().position(|line| line.ends_with(&format!("// {mark}"))).expect(mark) + 1;
        let place = format!("counts.cu:{line}");
        let lines = self.launch["lines"].as_array().unwrap();
        let found: Vec<&Value> = lines.iter().filter(|l| l["line"] == *place && l["event"] == event).collect();
        assert_eq!(found.len(), 1, "{event} at {place}: {:#}", self.launch);
        fields.map(|field| found[0][field].as_u64().unwrap())
    }
}

#[test]
fn requests_to_global_memory_are_sectors_and_lines() {
    let counted = Counted::new(&gpu(), "count_global", 1, 32, usize::MAX);
    let fields = ["requests", "lanes", "bytes", "lines", "sectors", "least_sectors", "l2_sectors"];
    for (mark, event, expected) in [
        ("COALESCED", "global load", [1, 32, 128, 1, 4, 4, 4]),
        ("STRIDE2", "global load", [1, 32, 128, 2, 8, 4, 4]), // half of it is in the cache by then
        ("STRIDE32", "global load", [1, 32, 128, 32, 32, 4, 30]),
        ("SAME", "global load", [1, 32, 4, 1, 1, 1, 0]),
        ("SHIFTED", "global load", [1, 32, 128, 2, 5, 4, 0]),
        ("STORE", "global store", [1, 32, 128, 1, 4, 4, 4]),
        ("AGAIN", "global load", [1, 32, 128, 32, 32, 4, 0]),
        ("ATOMIC", "global atomic", [1, 32, 4, 1, 1, 1, 1]),
    ] {
        assert_eq!(counted.at(mark, event, fields), expected, "{mark}");
    }
}

#[test]
fn requests_to_shared_memory_are_wavefronts() {
    let counted = Counted::new(&gpu(), "count_shared", 1, 32, usize::MAX);
    let fields = ["requests", "wavefronts", "least_wavefronts"];
    for (mark, event, expected) in [
        ("WIDE", "shared store", [1, 4, 4]),
        ("WORDS", "shared load", [1, 1, 1]),
        ("TWO_WAY", "shared load", [1, 2, 1]),
        ("THIRTYTWO_WAY", "shared load", [1, 32, 1]),
        ("PADDED", "shared load", [1, 1, 1]),
        ("BROADCAST", "shared load", [1, 1, 1]),
        ("QUARTERS_TWO_WAY", "shared load", [1, 8, 4]),
        ("PAIRED", "shared load", [1, 2, 2]),
        ("PAIRED_BY_TWO", "shared load", [1, 2, 2]),
        ("HALVES", "shared load", [1, 2, 2]),
        ("SHARED_ATOMIC", "shared atomic", [1, 32, 1]),
    ] {
        assert_eq!(counted.at(mark, event, fields), expected, "{mark}");
    }
    assert_eq!(counted.at("WIDE", "global load", ["requests", "bytes", "sectors"]), [1, 512, 16]);
}

#[test]
fn copies_matrices_products_and_waits_are_counted() {
    let counted = Counted::new(&gpu(), "count_copies", 1, 32, usize::MAX);
    let global = ["requests", "lanes", "sectors", "l2_sectors"];
    assert_eq!(counted.at("COPY", "async copy", global), [1, 32, 16, 16]);
    assert_eq!(counted.at("PART", "async copy", global), [1, 8, 4, 4]);
    // 4 bytes go through the L1 cache; copies of 16 bytes have not put anything there.
    assert_eq!(counted.at("SMALL", "async copy", global), [1, 32, 4, 4]);
    let shared = ["requests", "wavefronts", "least_wavefronts"];
    assert_eq!(counted.at("PART", "shared copy", shared), [1, 4, 4]);
    assert_eq!(counted.at("ROWS", "ldmatrix", shared), [1, 4, 4]);
    assert_eq!(counted.at("SAME_BANKS", "ldmatrix", shared), [1, 32, 4]);
    assert_eq!(counted.at("PRODUCT", "product", ["requests", "multiply_adds"]), [1, 2048]);
    assert_eq!(counted.at("FIRST_WAIT", "wait", ["lanes", "bytes_in_flight"]), [32, 512 + 128 + 128]);
    assert_eq!(counted.at("SECOND_WAIT", "wait", ["lanes", "bytes_in_flight"]), [32, 128]);
    assert_eq!(counted.at("BARRIER", "barrier", ["requests", "lanes"]), [1, 32]);
    assert_eq!(counted.at("FENCE", "fence", ["lanes"]), [32]);
}

#[test]
fn some_blocks_stand_for_all() {
    let gpu = gpu();
    for (blocks, count, counted) in [(16, usize::MAX, 16), (16, 1, 16), (320, 32, 32), (320, 1000, 320), (100, 48, 48)]
    {
        let all = Counted::new(&gpu, "count_blocks", blocks, 32, count);
        assert_eq!(all.launch["blocks"], blocks);
        assert_eq!(all.launch["blocks_counted"], counted, "{count} of {blocks}");
        assert_eq!(all.launch["distinct_sectors"], 4 * counted);
        assert_eq!(all.at("SCALE", "global load", ["requests", "sectors"]), [counted, 4 * counted]);
    }
}

/// Matrix units of warp groups, TMA and mbarriers, in a kernel whose sizes are known.
#[test]
fn a_pipelined_product_moves_what_it_multiplies() {
    let gpu = gpu();
    gpu.simulator.configure(Settings { count: usize::MAX, ..QUIET }).unwrap();
    crate::tiles::run_wgmma_tma(&gpu, 0);
    let launches: Vec<Value> =
        gpu.simulator.take_counts().iter().map(|counts| serde_json::from_str(counts).unwrap()).collect();
    let sum = |launch: &Value, event: &str, field: &str| -> u64 {
        let lines = launch["lines"].as_array().unwrap().iter();
        lines.filter(|line| line["event"] == event).map(|line| line[field].as_u64().unwrap()).sum()
    };
    let launch = launches.iter().find(|launch| sum(launch, "product", "requests") > 0).expect("a product");
    // Each warp of a product reads its 16 rows of A, and one of the four B: 2 KB and 2 KB for 64 x 64 x 16.
    let macs = sum(launch, "product", "multiply_adds");
    assert!(macs > 0 && macs % (64 * 64 * 16) == 0, "{macs}");
    assert_eq!(sum(launch, "wgmma operand", "bytes"), macs / (64 * 64 * 16) * 4096);
    assert_eq!(sum(launch, "wgmma operand", "wavefronts"), sum(launch, "wgmma operand", "bytes") / 128);
    assert!(sum(launch, "TMA load", "sectors") * 32 >= sum(launch, "TMA load", "bytes"));
    assert!(sum(launch, "TMA load", "bytes") > 0 && sum(launch, "wait", "bytes_in_flight") > 0);
}
