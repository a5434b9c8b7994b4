//! The tensors of a file by name, and the dictionaries that hold them, from PyTorch's pickles or a safetensors header.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use half::{bf16, f16};
use safetensors::tensor::Metadata;

use super::archive::{self, Archive};
use super::pickle::{Object, Pickle, Value};
use crate::base::words::shortened;

/// Maximum number of tensors in a file: more than a network, its averages and its optimiser have.
const MOST_TENSORS: usize = 100_000;
/// Length in bytes of the longest name of a tensor or key of a storage.
const LONGEST_NAME: usize = 1000;
/// Maximum number of dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;
/// Maximum depth of nested dictionaries; deeper ones are ignored.
const DEEPEST: usize = 4;

/// The type of a tensor's elements: a floating-point format, or an integer of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F16,
    Bf16,
    F32,
    F64,
    /// An integer or boolean of this many bytes. No weight has this type; the counters of batches in batch norms do.
    Integer(usize),
}

impl Dtype {
    /// The type of the elements of a storage of the Python class `class`; `None` for another class.
    fn from_storage(class: &str) -> Option<Dtype> {
        Some(match class {
            "torch.HalfStorage" => Dtype::F16,
            "torch.BFloat16Storage" => Dtype::Bf16,
            "torch.FloatStorage" => Dtype::F32,
            "torch.DoubleStorage" => Dtype::F64,
            "torch.ByteStorage" | "torch.CharStorage" | "torch.BoolStorage" => Dtype::Integer(1),
            "torch.ShortStorage" => Dtype::Integer(2),
            "torch.IntStorage" => Dtype::Integer(4),
            "torch.LongStorage" => Dtype::Integer(8),
            _ => return None,
        })
    }

    /// `None` for a type that no network is stored in.
    fn from_safetensors(dtype: safetensors::Dtype) -> Option<Dtype> {
        use safetensors::Dtype as Stored;
        Some(match dtype {
            Stored::F16 => Dtype::F16,
            Stored::BF16 => Dtype::Bf16,
            Stored::F32 => Dtype::F32,
            Stored::F64 => Dtype::F64,
            Stored::BOOL | Stored::U8 | Stored::I8 => Dtype::Integer(1),
            Stored::U16 | Stored::I16 => Dtype::Integer(2),
            Stored::U32 | Stored::I32 => Dtype::Integer(4),
            Stored::U64 | Stored::I64 => Dtype::Integer(8),
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
            Dtype::F64 => 8,
            Dtype::Integer(size) => size,
        }
    }

    /// The element that begins at the start of `bytes`, converted to f32.
    fn read(self, bytes: &[u8]) -> f32 {
        fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
            *bytes.first_chunk().expect("the storage was checked to be long enough")
        }
        match self {
            Dtype::F16 => f16::from_le_bytes(first(bytes)).to_f32(),
            Dtype::Bf16 => bf16::from_le_bytes(first(bytes)).to_f32(),
            Dtype::F32 => f32::from_le_bytes(first(bytes)),
            Dtype::F64 => f64::from_le_bytes(first(bytes)) as f32,
            Dtype::Integer(_) => unreachable!("integer tensors are left out"),
        }
    }
}

/// The description of a tensor in a file: its storage (the flat buffer that it is a view of), type, shape, offset and
/// strides. It has no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorchTensor {
    /// Key of the storage.
    storage: String,
    dtype: Dtype,
    /// Offset of the first element in the storage, in elements.
    offset: usize,
    pub shape: Vec<usize>,
    /// Distances in the storage between neighbours in each dimension, in elements.
    strides: Vec<usize>,
}

impl TorchTensor {
    /// A tensor that is its whole storage, row-major.
    fn contiguous(storage: String, dtype: Dtype, shape: Vec<usize>) -> TorchTensor {
        let mut strides = vec![1; shape.len()];
        for dimension in (1..shape.len()).rev() {
            strides[dimension - 1] = shape[dimension].saturating_mul(strides[dimension]);
        }
        TorchTensor { storage, dtype, offset: 0, shape, strides }
    }

    #[cfg(test)]
    pub fn with_shape(shape: Vec<usize>) -> TorchTensor {
        TorchTensor { storage: String::new(), dtype: Dtype::F32, offset: 0, strides: vec![0; shape.len()], shape }
    }

    /// The number of elements of the storage up to the last one of this tensor, or `None` if it overflows.
    fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut last = self.offset;
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        last.checked_add(1)
    }
}

/// The tensors of one dictionary in a file, by name.
#[derive(Clone, Debug)]
pub struct StateDict {
    /// Keys that lead to the dictionary, joined by dots; empty for the outermost.
    pub path: String,
    pub tensors: BTreeMap<String, TorchTensor>,
}

/// The description of all tensors in a file, of their storages and of the header, without any values.
#[derive(Debug)]
pub struct Contents {
    /// The dictionaries that hold tensors of real numbers, in the order of the file.
    pub dicts: Vec<StateDict>,
    /// Number of bytes of an element of each storage, by key; empty for safetensors.
    pub element_sizes: HashMap<String, usize>,
    /// Keys and values of `__metadata__` in a safetensors header; empty for other files.
    pub about: HashMap<String, String>,
}

/// True for the names of the functions and classes that a pickle of tensors needs, such as
/// `torch._utils._rebuild_tensor_v2` and `torch.FloatStorage`.
pub fn may_name(name: &str) -> bool {
    const FUNCTIONS: [&str; 4] = [
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
    ];
    FUNCTIONS.contains(&name) || Dtype::from_storage(name).is_some()
}

/// Finds the tensors that a pickle of `torch.save` describes, in dictionaries up to four levels deep.
///
/// # Errors
/// When a tensor or storage is not described as PyTorch does it, or there are too many.
pub fn contents(pickle: &Pickle) -> Result<Contents> {
    // Sizes of all storages, also of those without interest: in the older form they lie one behind the other.
    let mut element_sizes = HashMap::new();
    for name in pickle.persistent_names() {
        let (key, dtype, _) = storage(pickle, name)?;
        element_sizes.insert(key, dtype.size());
    }
    let mut finder = Finder { pickle, seen: HashSet::new(), count: 0, dicts: Vec::new() };
    finder.find("", pickle.root, 0)?;
    Ok(Contents { dicts: finder.dicts, element_sizes, about: HashMap::new() })
}

/// Lists the tensors in the header of a safetensors file, without those of integers. Each is a storage of its own,
/// whose key is the tensor's name. Returns also where each storage lies: `[start, end]` in bytes from the end of the
/// header.
///
/// # Errors
/// When a tensor has a type that is not read, a name or shape that is too long, or there are too many.
pub fn safetensors_contents(header: &Metadata) -> Result<(Contents, HashMap<String, [usize; 2]>)> {
    let mut tensors = BTreeMap::new();
    let mut storages = HashMap::new();
    ensure!(header.tensors().len() <= MOST_TENSORS, "it has more than {MOST_TENSORS} tensors");
    for (name, info) in header.tensors() {
        ensure!(name.len() <= LONGEST_NAME, "a name in it has {} characters", name.len());
        ensure!(
            info.shape.len() <= MOST_DIMENSIONS,
            "its tensor {} has {} dimensions",
            shortened(&name),
            info.shape.len()
        );
        let dtype = Dtype::from_safetensors(info.dtype);
        let dtype = dtype.with_context(|| {
            format!("its tensor {} is of type {}, which is not read: convert it to F32", shortened(&name), info.dtype)
        })?;
        if matches!(dtype, Dtype::Integer(_)) {
            continue;
        }
        storages.insert(name.clone(), [info.data_offsets.0, info.data_offsets.1]);
        tensors.insert(name.clone(), TorchTensor::contiguous(name, dtype, info.shape.clone()));
    }
    let dicts = if tensors.is_empty() { Vec::new() } else { vec![StateDict { path: String::new(), tensors }] };
    let about = header.metadata().clone().unwrap_or_default();
    Ok((Contents { dicts, element_sizes: HashMap::new(), about }, storages))
}

struct Finder<'a> {
    pickle: &'a Pickle<'a>,
    seen: HashSet<usize>,
    count: usize,
    dicts: Vec<StateDict>,
}

impl<'a> Finder<'a> {
    /// Collects the tensors of the dictionary `value` and of the dictionaries in it. `path` leads to `value`.
    fn find(&mut self, path: &str, value: Value<'a>, depth: usize) -> Result<()> {
        let Value::Object(number) = value else { return Ok(()) };
        let Some(items) = self.pickle.dict(value).filter(|_| depth < DEEPEST && self.seen.insert(number)) else {
            return Ok(());
        };
        let mut tensors = BTreeMap::new();
        for (key, value) in items {
            let Value::Text(key) = *key else { continue };
            ensure!(key.len() <= LONGEST_NAME, "a name in it has {} characters", key.len());
            if let Some(tensor) =
                self.tensor(*value).with_context(|| format!("its tensor {} cannot be read", shortened(key)))?
            {
                self.count += 1;
                ensure!(self.count <= MOST_TENSORS, "it has more than {MOST_TENSORS} tensors");
                if !matches!(tensor.dtype, Dtype::Integer(_)) {
                    tensors.insert(key.to_owned(), tensor);
                }
            }
        }
        if !tensors.is_empty() {
            self.dicts.push(StateDict { path: path.to_owned(), tensors });
        }
        for (key, value) in items {
            if let Value::Text(key) = *key {
                let inner = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                self.find(&inner, *value, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The tensor in `value`, if it is one.
    fn tensor(&self, value: Value<'a>) -> Result<Option<TorchTensor>> {
        let Some((function, arguments)) = self.pickle.call(value) else { return Ok(None) };
        let arguments = match (function, arguments) {
            ("torch._utils._rebuild_parameter", [data, ..]) => match self.pickle.call(*data) {
                Some((_, arguments)) => arguments,
                None => bail!("it is a parameter without a tensor"),
            },
            ("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", arguments) => arguments,
            _ => return Ok(None),
        };
        let [storage, offset, shape, strides, ..] = *arguments else { bail!("too few arguments") };
        let Some(Object::Persistent(name)) = self.pickle.object(storage) else { bail!("it has no storage") };
        let (storage, dtype, start) = self::storage(self.pickle, *name)?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        ensure!(shape.len() == strides.len(), "as many strides as dimensions are needed");
        let offset = start.checked_add(size(offset)?).context("its offset is beyond all numbers")?;
        Ok(Some(TorchTensor { storage, dtype, offset, shape, strides }))
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>> {
        let value = match self.pickle.call(value) {
            Some(("torch.Size", [sizes])) => *sizes,
            _ => value,
        };
        let sizes = self.pickle.tuple(value).context("its shape is no tuple")?;
        ensure!(sizes.len() <= MOST_DIMENSIONS, "it has {} dimensions", sizes.len());
        sizes.iter().map(|value| size(*value)).collect()
    }
}

/// Key, type and first element of the storage called `name`: `('storage', torch.FloatStorage, key, device, count)`, in
/// the older form with what it is a view of, `(key, offset, count)`, or `None`.
fn storage<'a>(pickle: &Pickle<'a>, name: Value<'a>) -> Result<(String, Dtype, usize)> {
    let (class, key, view) = match pickle.tuple(name) {
        Some([Value::Text("storage"), class, Value::Text(key), _, _, view @ ..]) => (class, *key, view.first()),
        _ => bail!("a storage is not as PyTorch writes them"),
    };
    let dtype = pickle.global(*class).and_then(Dtype::from_storage).context("a storage is of no known type")?;
    ensure!(key.len() <= LONGEST_NAME, "the key of a storage has {} characters", key.len());
    let start = match view.and_then(|view| pickle.tuple(*view)) {
        Some([_, offset, ..]) => size(*offset)?,
        _ => 0,
    };
    Ok((key.to_owned(), dtype, start))
}

fn size(value: Value) -> Result<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).ok().with_context(|| format!("{number} is no size")),
        _ => bail!("a size that is no number"),
    }
}

/// An open file of `torch.save` or of safetensors, with the list of its tensors. Values are read one tensor at a time.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    archive: Archive,
    /// The dictionaries that hold tensors of real numbers, in the order of the file.
    pub dicts: Vec<StateDict>,
    /// Keys and values of `__metadata__` in a safetensors header; empty for other files.
    pub about: HashMap<String, String>,
}

impl TorchFile {
    /// Opens a file and lists its tensors, without reading their values.
    ///
    /// # Errors
    /// When the file is neither of `torch.save` nor of safetensors, is damaged, or refers to Python functions or
    /// classes other than those of tensors ([`may_name`]).
    pub fn open(path: &Path) -> Result<TorchFile> {
        let (archive, Contents { dicts, about, .. }) = archive::open(path)?;
        Ok(TorchFile { path: path.to_owned(), archive, dicts, about })
    }

    /// Reads the values of `tensor`, row-major, converted to f32. `name` is only used in the error.
    ///
    /// # Errors
    /// When its storage is missing, too short or cannot be read, or the tensor has no elements.
    pub fn read(&mut self, name: &str, tensor: &TorchTensor) -> Result<Vec<f32>> {
        let mut read = || -> Result<Vec<f32>> {
            let size = tensor.dtype.size();
            let end = tensor.end().and_then(|end| end.checked_mul(size)).context("it ends beyond all numbers")?;
            let storage = self.archive.storage(&tensor.storage, end as u64)?;
            let count = tensor.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
            // A tensor that repeats one element many times could be of any size.
            let count = count.filter(|count| *count > 0 && *count <= storage.len() / size);
            let count = count.context("it has no elements, or more than its storage")?;
            let mut values = Vec::with_capacity(count);
            gather(tensor, &storage, tensor.offset, 0, &mut values);
            Ok(values)
        };
        let path = self.path.display().to_string();
        read().with_context(|| format!("{path}: its tensor {}", shortened(name)))
    }
}

/// Appends the elements of `tensor` from the dimension `dimension` on, the first of which is element `at` of the
/// storage.
fn gather(tensor: &TorchTensor, storage: &[u8], at: usize, dimension: usize, values: &mut Vec<f32>) {
    match (tensor.shape.get(dimension), tensor.strides.get(dimension)) {
        (Some(size), Some(stride)) => {
            (0..*size).for_each(|i| gather(tensor, storage, at + i * stride, dimension + 1, values));
        }
        _ => values.push(tensor.dtype.read(&storage[at * tensor.dtype.size()..])),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(format!("{name}.pth"))
    }

    /// All tensors of a file, if it can be read to its end.
    fn read_all(path: &Path) -> Result<Vec<(String, Vec<f32>)>> {
        let mut file = TorchFile::open(path)?;
        let tensors: Vec<_> = file.dicts.iter().flat_map(|dict| dict.tensors.clone()).collect();
        tensors.into_iter().map(|(name, tensor)| Ok((name.clone(), file.read(&name, &tensor)?))).collect()
    }

    #[test]
    fn both_forms_and_all_types_are_read() {
        for (name, path, tensors) in [
            ("isola-batch", "", 39),
            ("pytorch-gan", "", 11),
            ("pytorch-gan-batch", "", 39),
            ("block-ck", "generator", 20),
            ("discriminator", "", 9),
        ] {
            let file = TorchFile::open(&fixture(name)).unwrap();
            assert_eq!(file.dicts[0].path, path, "{name}");
            assert_eq!(file.dicts[0].tensors.len(), tensors, "{name}");
            for (tensor, values) in read_all(&fixture(name)).unwrap() {
                assert!(values.iter().all(|x| x.is_finite() && x.abs() < 8.0), "{name}: {tensor}");
            }
        }
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.pth");
        for name in ["discriminator", "block-ck"] {
            let whole = fs::read(fixture(name)).unwrap();
            fs::write(&path, &whole).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            // Bytes of the description of the tensors are changed everywhere, bytes of their values in a few spots.
            assert!(read_all(&path).is_ok(), "{name}");
            let lengths = (0..whole.len()).filter(|&at| at < 3000 || at + 3000 > whole.len() || at % 97 == 0);
            for length in lengths.rev() {
                file.set_len(length as u64).unwrap();
                assert!(read_all(&path).is_err(), "{name} of {length} bytes");
            }
        }
    }

    /// Flips every bit of the description of the tensors, one at a time. Some flips only change a number or a name.
    #[test]
    fn a_garbled_file_is_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("garbled.pth");
        for (name, described) in [("discriminator", 1..2000), ("discriminator", 14_000..16_803), ("block-ck", 1..3000)]
        {
            let whole = fs::read(fixture(name)).unwrap();
            for at in described {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                fs::write(&path, bytes).unwrap();
                let _ = read_all(&path);
            }
        }
    }

    #[test]
    fn a_garbled_safetensors_file_is_no_panic_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("garbled.safetensors");
        let data = [0_u8; 24];
        let view = |shape: &[usize], bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap()
        };
        let tensors = [("down1.model.0.weight", view(&[2, 2], &data[..16])), ("b", view(&[2], &data[16..]))];
        let whole = safetensors::serialize(tensors, None).unwrap();
        fs::write(&path, &whole).unwrap();
        assert_eq!(read_all(&path).unwrap().len(), 2);
        for at in 0..whole.len() - data.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&path, bytes).unwrap();
                let _ = read_all(&path);
            }
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(read_all(&path).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_tensor_is_never_larger_than_its_storage() {
        let (archive, contents) = archive::open(&fixture("discriminator")).unwrap();
        let whole = contents.dicts[0].tensors["model.0.weight"].clone();
        let mut file = TorchFile { path: "x".into(), archive, dicts: Vec::new(), about: HashMap::new() };
        let mut error = |shape: &[usize], strides: &[usize], offset: usize| {
            let tensor = TorchTensor { shape: shape.into(), strides: strides.into(), offset, ..whole.clone() };
            format!("{:#}", file.read("it", &tensor).unwrap_err())
        };
        for (shape, strides) in [(&[1 << 40, 1 << 40][..], &[0, 0][..]), (&[1 << 40], &[0]), (&[1 << 40, 0], &[0, 0])] {
            assert!(error(shape, strides, 0).contains("no elements, or more than its storage"));
        }
        assert!(error(&[2], &[1], 191).contains("has 768 bytes, and 772 are needed"));
        assert!(error(&[2], &[usize::MAX], 1).contains("beyond all numbers"));
        assert!(error(&[1], &[1], usize::MAX / 2).contains("beyond all numbers"));
    }
}
