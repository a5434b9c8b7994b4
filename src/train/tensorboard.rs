//! Event files for TensorBoard: `tensorboard --logdir RUN` shows losses, metrics and samples while a run goes on.
//!
//! An event file is a sequence of records (length, its checksum, data, its checksum) whose data are protocol buffers:
//! only the fields that are written here are declared, under the numbers of TensorFlow's `event.proto` and
//! `summary.proto`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use prost::Message;

/// Version of the event layout; TensorBoard looks for it in the first event.
const FILE_VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(enumeration = "Status", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Status {
    Unspecified = 0,
    Start = 1,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Data", tags = "2, 4")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Data {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// The number of channels.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// The bytes of a picture file, such as a JPEG.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// An event file of TensorBoard, open for appending. Events may wait in a buffer until [`EventFile::flush`].
pub struct EventFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventFile {
    /// Creates a new event file in `folder`, which is created if it is missing, for the steps after `steps_done`.
    /// TensorBoard then drops later steps in the earlier files of the folder: those of a run that was killed after its
    /// last checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(folder: &Path, steps_done: u64) -> Result<EventFile> {
        let now = since_1970();
        // The order of the names is the order in which files are read.
        let name = format!("events.out.tfevents.{:010}.{:09}.pixtape", now.as_secs(), now.subsec_nanos());
        let path = folder.join(name);
        let open = || File::create_new(&path).with_context(|| format!("cannot write {}", path.display()));
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut events = EventFile { file: BufWriter::new(open()?), path };
        events.add(0, What::FileVersion(FILE_VERSION.to_owned()))?;
        events.add(steps_done + 1, What::SessionLog(SessionLog { status: Status::Start.into() }))?;
        events.flush()?;
        Ok(events)
    }

    /// Appends one event with values of scalars at `step`. Each has a tag, the name of its chart in TensorBoard, and a
    /// value, which is stored as f32.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalars(&mut self, step: u64, scalars: impl IntoIterator<Item = (String, f64)>) -> Result<()> {
        let value =
            scalars.into_iter().map(|(tag, value)| Value { tag, data: Some(Data::Scalar(value as f32)) }).collect();
        self.add(step, What::Summary(Summary { value }))
    }

    /// Appends an event with a picture at `step`, and flushes the file. `tag` is its name in TensorBoard; `jpeg` holds
    /// the bytes of an RGB JPEG of `width` by `height` pixels.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn image(&mut self, step: u64, tag: &str, [width, height]: [u32; 2], jpeg: &[u8]) -> Result<()> {
        let image = Image { height: height as i32, width: width as i32, colorspace: 3, encoded: jpeg.to_vec() };
        let value = vec![Value { tag: tag.to_owned(), data: Some(Data::Image(image)) }];
        self.add(step, What::Summary(Summary { value }))?;
        self.flush()
    }

    /// Writes the buffered events to the file, where TensorBoard sees them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn add(&mut self, step: u64, what: What) -> Result<()> {
        let event = Event { wall_time: since_1970().as_secs_f64(), step: step as i64, what: Some(what) };
        self.file.write_all(&record(&event)).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn since_1970() -> Duration {
    // A clock that is set before 1970 only spoils the times that TensorBoard shows.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The bytes of an event in a file.
fn record(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), &data, &masked_crc(&data)].concat()
}

/// The checksum of TFRecord files: CRC-32C, rotated and offset, so that the checksum of data that itself holds
/// checksums is good too.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(tag: &str, value: f32) -> Value {
        Value { tag: tag.into(), data: Some(Data::Scalar(value)) }
    }

    /// The expected bytes were written by TensorBoard's own writer.
    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        let encoded = (250..=255).collect::<Vec<u8>>().repeat(50);
        let image = Image { height: 2, width: 3, colorspace: 3, encoded };
        let image = Value { tag: "samples".into(), data: Some(Data::Image(image)) };
        let event = |wall_time, step, what| Event { wall_time, step, what: Some(what) };
        let scalars = vec![scalar("loss/pixel", 0.125), scalar("learning_rate", 2e-4)];
        let events = [
            event(1.5, 0, What::FileVersion(FILE_VERSION.into())),
            event(1.5, 7, What::SessionLog(SessionLog { status: Status::Start.into() })),
            event(2.25, 7, What::Summary(Summary { value: scalars })),
            event(2.5, 300, What::Summary(Summary { value: vec![image] })),
        ];
        let bytes: Vec<u8> = events.iter().flat_map(record).collect();
        assert!(bytes == include_bytes!("../../tests/fixtures/events.tfevents"), "{bytes:?}");
    }

    #[test]
    fn files_of_a_run_are_in_order_and_start_at_the_next_step() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let below = folder.path().join("tensorboard");
        let paths = [0, 6].map(|done| EventFile::create(&below, done).map(|events| events.path));
        let [first, second] = paths.map(|path| path.unwrap());
        assert!(first < second, "{first:?} {second:?}");
        let bytes = fs::read(second)?;
        let length = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let start = 16 + length(0);
        let event = Event::decode(&bytes[start + 12..start + 12 + length(start)])?;
        assert_eq!((event.step, event.what), (7, Some(What::SessionLog(SessionLog { status: 1 }))));
        assert_eq!(bytes.len(), start + 16 + length(start));
        Ok(())
    }
}
