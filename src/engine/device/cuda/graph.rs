//! Fixed sequences of launches, captured as CUDA graphs.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaFunction, CudaGraph, CudaStream};

use super::errors::explain;
use super::launching::run;
use crate::engine::kernel::cuda::Launch;

/// A fixed list of launches that always run together, in order: one by one, or as a CUDA graph.
#[derive(Debug, Default)]
pub struct Sequence {
    launches: Vec<Launch>,
    cuda_graph: bool,
    /// True after the first run.
    has_run: bool,
    graph: Option<Graph>,
}

impl Sequence {
    pub fn new(launches: Vec<Launch>, cuda_graph: bool) -> Sequence {
        Sequence { launches, cuda_graph, has_run: false, graph: None }
    }

    /// Adds launches in front of all others. The next run launches one by one again, and a graph is captured anew.
    pub fn prepend(&mut self, launches: Vec<Launch>) {
        self.launches.splice(0..0, launches);
        (self.has_run, self.graph) = (false, None);
    }

    /// Enqueues all launches on `stream`; `functions` are the loaded kernels in the order of the table `KERNELS`. The
    /// first time they are launched one by one, since the driver loads a kernel when it is first used, which cannot be
    /// captured. From the second time on they are replayed as one CUDA graph, if the sequence was created with
    /// `cuda_graph`.
    ///
    /// # Errors
    /// When the driver refuses, or an earlier kernel has failed.
    pub fn run(&mut self, stream: &Arc<CudaStream>, functions: &[CudaFunction]) -> Result<()> {
        if !self.has_run || !self.cuda_graph || self.launches.is_empty() {
            self.has_run = true;
            return self.launch(stream, functions);
        }
        let Graph(graph) = match self.graph.take() {
            Some(graph) => self.graph.insert(graph),
            None => self.graph.insert(self.capture(stream, functions)?),
        };
        graph.launch().map_err(|error| explain("cannot replay the CUDA graph", error))
    }

    fn launch(&self, stream: &Arc<CudaStream>, functions: &[CudaFunction]) -> Result<()> {
        self.launches.iter().try_for_each(|launch| run(stream, functions, launch))
    }

    fn capture(&self, stream: &Arc<CudaStream>, functions: &[CudaFunction]) -> Result<Graph> {
        let cannot = |error| explain("cannot capture the CUDA graph", error);
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(cannot)?;
        let launched = self.launch(stream, functions);
        // Also after a failed launch: a stream that is left in capture mode cannot be used otherwise.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0));
        launched?;
        let graph = graph.map_err(cannot)?.context("the CUDA graph was captured empty")?;
        Ok(Graph(graph))
    }
}

/// A captured graph that may move to another thread.
struct Graph(CudaGraph);

// SAFETY: the driver lets any thread use a graph, one at a time; `Sequence::run` borrows it mutably.
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CudaGraph")
    }
}
