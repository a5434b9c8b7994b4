//! Shared by the tests: a temporary folder to run commands in, and readers of the files that they write.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use image::imageops::crop_imm;
use image::{Rgb, RgbImage};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

use crate::cuda::driver::simulator_folder;

/// Variable with the path of the program, for tests that run on another machine than the one that built them, without
/// the build folder.
const PROGRAM: &str = "PIXTAPE_PROGRAM";

/// The smallest networks that the program takes; a step is a few milliseconds.
pub const TINY: &str = "--image-size 32 --ngf 2 --ndf 2 --threads 1";

/// As [`TINY`], for `options`, which may leave the run without a discriminator.
pub fn tiny_for(options: &str) -> String {
    TINY.replace("--ndf 2 ", if options.contains("--gan-loss none") { "" } else { "--ndf 2 " })
}

/// A learning rate that changes no f32 weight: differences in losses then come from the pictures alone.
pub const FROZEN: &str = "--lr 1e-30 --dropout 0";

/// Time limit of all waiting, far above any expected time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A temporary folder, the current one of all commands.
pub struct Scene {
    dir: TempDir,
    /// Environment variables of all commands.
    variables: Vec<(&'static str, OsString)>,
}

/// Output of a command.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
}

impl Scene {
    /// A scene whose program finds no GPU, even on a machine that has some.
    pub fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap(), variables: vec![("CUDA_VISIBLE_DEVICES", "".into())] }
    }

    /// A scene whose program finds the simulator's check build as the driver.
    pub fn simulated() -> Scene {
        let mut scene = Scene::new();
        scene.set("LD_LIBRARY_PATH", simulator_folder());
        scene
    }

    /// A scene whose program finds the driver that the tests of `cuda` run on.
    pub fn on_cuda() -> Scene {
        match crate::ON_GPU {
            true => Scene { variables: Vec::new(), ..Scene::new() },
            false => Scene::simulated(),
        }
    }

    /// The same folder, with the driver that the tests of `cuda` run on.
    pub fn with_cuda(self) -> Scene {
        Scene { variables: Scene::on_cuda().variables, ..self }
    }

    /// Sets a variable of the environment for the commands to come.
    pub fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with the words of `line` as arguments, not started yet.
    pub fn command(&self, line: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(program());
        command.current_dir(self.dir.path()).args(line.split_whitespace()).timeout(PATIENCE);
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Runs a command that has to succeed.
    pub fn run(&self, line: &str) -> Said {
        said(&self.command(line).assert().success())
    }

    /// Runs a command that has to fail: exit status 1, one error on stderr (a line, or a line and an indented one for
    /// each problem), an empty stdout, and every file unchanged. Returns the error.
    pub fn refused(&self, line: &str) -> String {
        let before = self.files();
        let Said { stdout, stderr } = said(&self.command(line).assert().code(1));
        let is_one_error = stderr.lines().skip(1).all(|line| line.starts_with("  "));
        assert!(stderr.starts_with("error: ") && is_one_error, "{line}: {stderr}");
        assert_eq!(stdout, "", "{line}");
        assert!(self.files() == before, "{line}: wrote something");
        stderr
    }

    /// Starts a command in the background.
    pub fn start(&self, line: &str) -> Child {
        self.start_as(std::process::Command::new(program()), line)
    }

    /// As [`Scene::start`], with signals at their default, also if the tests run with `nohup` or in the background.
    pub fn start_with_signals(&self, line: &str) -> Child {
        let mut command = std::process::Command::new("env");
        command.arg("--default-signal=HUP,INT,TERM").arg(program());
        self.start_as(command, line)
    }

    fn start_as(&self, mut command: std::process::Command, line: &str) -> Child {
        command
            .current_dir(self.dir.path())
            .args(line.split_whitespace())
            .envs(self.variables.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Every file and folder, with contents.
    fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                // Reading a FIFO would wait for a writer.
                let contents = path.is_file().then(|| fs::read(&path).unwrap());
                found.insert(path, contents);
            }
        }
        found
    }

    /// The sorted names in a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub fn draw(&self, name: &str, picture: &RgbImage) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
    }

    /// Draws a side-by-side pair of 32x32 pictures, each different, at each of `names`.
    pub fn draw_pairs(&self, names: &[&str]) {
        for (number, name) in names.iter().enumerate() {
            self.draw(name, &pair(number as u32, 64, 32));
        }
    }

    pub fn picture(&self, name: &str) -> RgbImage {
        image::open(self.path(name)).unwrap().into_rgb8()
    }

    /// The rows of a run's losses, without the header.
    pub fn rows(&self, run: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(run).join("losses.csv")).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        assert!(header.starts_with("epoch,step,d,adv,pixel,g,d_real,d_fake"), "{header}");
        assert!(text.ends_with('\n'), "the last row is cut");
        rows.lines().map(str::to_owned).collect()
    }

    /// One column of a run's losses, as text: equal texts are equal bits.
    pub fn column(&self, run: &str, index: usize) -> Vec<String> {
        self.rows(run).iter().map(|row| row.split(',').nth(index).unwrap().to_owned()).collect()
    }

    pub fn checkpoint(&self, run: &str, step: u64) -> Checkpoint {
        Checkpoint::read(&self.path(&checkpoint(run, step)))
    }

    /// Asserts that two runs did the same `steps` steps and hold the same state after them, bit for bit.
    pub fn assert_same_run(&self, a: &str, b: &str, steps: u64) {
        assert_eq!(self.rows(a).len() as u64, steps);
        assert_eq!(self.rows(a), self.rows(b));
        self.checkpoint(a, steps).assert_same(&self.checkpoint(b, steps));
    }
}

/// The program under test.
fn program() -> PathBuf {
    env::var_os(PROGRAM).map_or_else(|| assert_cmd::cargo::cargo_bin!("pixtape").to_owned(), PathBuf::from)
}

fn said(assert: &assert_cmd::assert::Assert) -> Said {
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said { stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Path of the checkpoint of a step of a run.
pub fn checkpoint(run: &str, step: u64) -> String {
    format!("{run}/checkpoints/step-{step:08}.safetensors")
}

/// Two pictures beside each other whose translation can be learned. They differ by `number`.
pub fn pair(number: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let middle = width.div_ceil(2);
        let (half, x) = (x / middle, x % middle);
        let stripe = ((x + number * 5) / 4 + (y * (number + 1)) / 9) % 2;
        match half {
            0 => Rgb([(stripe * 200) as u8, (x * 4) as u8, (40 * number) as u8]),
            _ => Rgb([(y * 5) as u8, (stripe * 120 + 60) as u8, (250 - 30 * number) as u8]),
        }
    })
}

/// One of two pictures beside each other, of 32x32 pixels: the left one is 0.
pub fn half(number: u32, index: u32) -> RgbImage {
    crop_imm(&pair(number, 64, 32), index * 32, 0, 32, 32).to_image()
}

/// Polls until `is_so` is true.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Shape and bytes.
type Tensor = (Vec<usize>, Vec<u8>);

/// A checkpoint as any safetensors program sees it.
pub struct Checkpoint {
    pub tensors: BTreeMap<String, Tensor>,
    /// Strings beside the tensors.
    pub about: HashMap<String, String>,
}

impl Checkpoint {
    pub fn read(path: &Path) -> Checkpoint {
        let bytes = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, view): (String, TensorView)| (name, (view.shape().to_vec(), view.data().to_vec()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        Checkpoint {
            tensors: file.tensors().into_iter().map(tensor).collect(),
            about: header.metadata().clone().unwrap(),
        }
    }

    pub fn write(&self, path: &Path) {
        let views = self
            .tensors
            .iter()
            .map(|(name, (shape, data))| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
        safetensors::serialize_to_file(views, Some(self.about.clone()), path).unwrap();
    }

    pub fn values(&self, name: &str) -> Vec<f32> {
        self.tensors[name].1.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    /// The tensors of both networks, without Adam's moments.
    pub fn weights(&self) -> Vec<(&String, &Tensor)> {
        self.tensors.iter().filter(|(name, _)| !name.starts_with("adam.")).collect()
    }

    /// Asserts tensors equal down to the bit, at the same position of the run.
    pub fn assert_same(&self, other: &Checkpoint) {
        assert!(self.tensors.keys().eq(other.tensors.keys()));
        assert!(self.tensors.keys().any(|name| name.starts_with("adam.second.generator.")));
        for (name, tensor) in &self.tensors {
            assert!(*tensor == other.tensors[name], "{name} differs");
        }
        for key in ["step", "epoch", "step-in-epoch", "seed", "data-fingerprint"] {
            let key = format!("pixtape.{key}");
            assert_eq!(self.about[&key], other.about[&key], "{key}");
        }
    }
}
