//! Reads a Python pickle without executing it.
//!
//! A pickle is a program for a small stack machine, and two of its instructions together call any function of any
//! Python module: loading a foreign pickle with Python runs a foreign program. Here nothing is called. A function must
//! be on the caller's list to be named at all, and a call of it stays a [record](Object::Call) of function and
//! arguments.
//!
//! A file may be hostile in other ways. Objects refer to each other by number, so that no depth of nesting and no cycle
//! overflows this program's own stack, and no instruction makes more than one value: what a pickle takes in memory is
//! bounded by its length, and by how many objects it may make.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

use crate::base::words::shortened;

/// A Python value: a plain one, or, for any other, the index of an [`Object`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// The index of an object, to be looked up with [`Pickle::object`].
    Object(usize),
}

/// A Python value that consists of other values, or refers to something outside of the pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    /// Entries of a `dict` or an `OrderedDict`.
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// A function or class, by its name: `module.name`.
    Global(String),
    /// A call that was not carried out: the function, as the index of its `Global`, and its arguments, a `Tuple`.
    Call {
        function: usize,
        arguments: Value<'a>,
    },
    /// Something outside of the pickle, by its persistent ID; in a file of `torch.save`, a storage.
    Persistent(Value<'a>),
}

/// A pickle that has been read: its value, and the objects that this value consists of.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub root: Value<'a>,
    /// Length of the pickle in bytes, from the start of the input.
    pub length: usize,
    objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    /// Returns the object that `value` refers to; `None` for a plain value.
    pub fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    /// Returns the items of `value` if it is a tuple, else `None`.
    pub fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value) {
            Some(Object::Tuple(items)) => Some(items),
            _ => None,
        }
    }

    /// Returns the keys and values of `value` if it is a `dict` or an `OrderedDict`, else `None`.
    pub fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value) {
            Some(Object::Dict(items)) => Some(items),
            _ => None,
        }
    }

    /// Returns the name, `module.name`, of the function or class `value`; `None` if it is none.
    pub fn global(&self, value: Value<'a>) -> Option<&str> {
        match self.object(value) {
            Some(Object::Global(name)) => Some(name),
            _ => None,
        }
    }

    /// Returns the persistent IDs by which the pickle refers to objects outside of it, in the order in which it does.
    /// Those in a file of `torch.save` describe its storages.
    pub fn persistent_names(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        self.objects.iter().filter_map(|object| match object {
            Object::Persistent(name) => Some(*name),
            _ => None,
        })
    }

    /// Returns the function, as `module.name`, and the arguments of the call `value`, which was recorded and not
    /// carried out; `None` if `value` is no call.
    pub fn call(&self, value: Value<'a>) -> Option<(&str, &[Value<'a>])> {
        match self.object(value) {
            Some(Object::Call { function, arguments }) => {
                Some((self.global(Value::Object(*function))?, self.tuple(*arguments)?))
            }
            _ => None,
        }
    }
}

/// The most objects that a pickle may make. A byte is enough for an object of a hundred bytes; the description of a
/// network of a hundred thousand tensors, with its optimiser, makes one million.
const MOST_OBJECTS: usize = 4_000_000;

/// The only class whose calls are carried out, into a [dict](Object::Dict).
const ORDERED_DICT: &str = "collections.OrderedDict";

/// Parses the pickle at the start of `input`, in any of the protocols 2 to 5, without calling anything. `may_name`
/// returns true for the functions and classes, as `module.name`, that the pickle may refer to beside
/// `collections.OrderedDict`.
///
/// # Errors
/// When it refers to another one, is cut short or damaged, makes more than four million objects, or uses an instruction
/// that plain data does not need.
pub fn read<'a>(input: &'a [u8], may_name: fn(&str) -> bool) -> Result<Pickle<'a>> {
    let mut machine = Machine {
        input,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        may_name,
    };
    let root = machine.run().with_context(|| format!("the pickle fails at its byte {}", machine.at))?;
    Ok(Pickle { root, length: machine.at, objects: machine.objects })
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    objects: Vec<Object<'a>>,
    may_name: fn(&str) -> bool,
}

impl<'a> Machine<'a> {
    /// Runs until the pickle's end and returns its value.
    fn run(&mut self) -> Result<Value<'a>> {
        loop {
            let instruction = self.byte()?;
            if instruction == b'.' {
                return self.pop();
            }
            self.step(instruction)?;
            ensure!(self.objects.len() <= MOST_OBJECTS, "it makes more than {MOST_OBJECTS} objects");
        }
    }

    /// The instructions of `pickletools.opcodes` that plain data is made of.
    fn step(&mut self, instruction: u8) -> Result<()> {
        match instruction {
            // PROTO, FRAME
            0x80 => ensure!((2..=5).contains(&self.byte()?), "it is of a protocol other than 2 to 5"),
            0x95 => drop(self.bytes(8)?),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.push(self.top()?),
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(number));
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, and BINSTRING, SHORT_BINSTRING of Python 2
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            // BINBYTES, SHORT_BINBYTES, BINBYTES8
            b'B' => self.binary(4)?,
            b'C' => self.binary(1)?,
            0x8e => self.binary(8)?,
            // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b')' => self.make(Object::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.make(Object::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = (0x85..=instruction).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                self.make(Object::Tuple(items));
            }
            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.make(Object::List(Vec::new())),
            b'l' => {
                let items = self.pop_to_mark()?;
                self.make(Object::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.make(Object::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.make(Object::Dict(Vec::new()));
                self.set(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let index = self.number(1)?;
                self.memo.insert(index, self.top()?);
            }
            b'r' => {
                let index = self.number(4)?;
                self.memo.insert(index, self.top()?);
            }
            0x94 => drop(self.memo.insert(self.memo.len(), self.top()?)),
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else { bail!("it is damaged") };
                self.global(module, name)?;
            }
            // REDUCE, BUILD, BINPERSID
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            // BUILD sets attributes (`_metadata` of a state dict, hooks of tensors) of the object under them on the
            // stack. They are dropped.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let name = self.pop()?;
                self.make(Object::Persistent(name));
            }
            other => bail!("it uses the instruction {other:#04x}, which plain data does not need"),
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into()?)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.input[self.at..];
        let bytes = rest.get(..count).context("it is cut short")?;
        self.at += count;
        Ok(bytes)
    }

    /// An unsigned number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<usize> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.bytes(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).context("it is damaged")
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').context("it is cut short")?;
        let line = std::str::from_utf8(self.bytes(length)?).context("it is damaged")?;
        self.at += 1;
        Ok(line)
    }

    /// A two's-complement number whose length is a number of `width` bytes.
    fn long(&mut self, width: usize) -> Result<()> {
        let length = self.number(width)?;
        let bytes = self.bytes(length)?;
        let mut number = [if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 }; 16];
        number.get_mut(..length).context("it holds a number beyond all use")?.copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(number)));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let length = self.number(width)?;
        let text = std::str::from_utf8(self.bytes(length)?).context("it holds text that is not UTF-8")?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn binary(&mut self, width: usize) -> Result<()> {
        let length = self.number(width)?;
        let bytes = self.bytes(length)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    fn make(&mut self, object: Object<'a>) {
        self.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    /// The height of the stack that the last mark protects.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>> {
        ensure!(self.stack.len() > self.floor(), "it is damaged");
        self.stack.last().copied().context("it is damaged")
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>> {
        let height = self.marks.pop().context("it is damaged")?;
        Ok(self.stack.split_off(height))
    }

    fn top_object(&mut self) -> Result<&mut Object<'a>> {
        let Value::Object(index) = self.top()? else { bail!("it is damaged") };
        Ok(&mut self.objects[index])
    }

    fn append(&mut self, mut new: Vec<Value<'a>>) -> Result<()> {
        let Object::List(items) = self.top_object()? else { bail!("it is damaged") };
        items.append(&mut new);
        Ok(())
    }

    fn set(&mut self, keys_and_values: &[Value<'a>]) -> Result<()> {
        let Object::Dict(items) = self.top_object()? else { bail!("it is damaged") };
        let (pairs, rest) = keys_and_values.as_chunks();
        ensure!(rest.is_empty(), "it is damaged");
        items.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<()> {
        let index = self.number(width)?;
        let value = *self.memo.get(&index).context("it is damaged")?;
        self.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let name = format!("{module}.{name}");
        ensure!(
            name == ORDERED_DICT || (self.may_name)(&name),
            "it asks for {}, which no tensor needs: refused, nothing was executed",
            shortened(&name)
        );
        self.make(Object::Global(name));
        Ok(())
    }

    fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<()> {
        let Value::Object(function) = function else { bail!("it is damaged") };
        match &self.objects[function] {
            Object::Global(name) if name == ORDERED_DICT => self.ordered_dict(arguments),
            Object::Global(_) => {
                self.make(Object::Call { function, arguments });
                Ok(())
            }
            _ => bail!("it is damaged"),
        }
    }

    /// `OrderedDict()`, or Python 2's `OrderedDict([[key, value], ...])`.
    fn ordered_dict(&mut self, arguments: Value<'a>) -> Result<()> {
        let Value::Object(arguments) = arguments else { bail!("it is damaged") };
        let list = match &self.objects[arguments] {
            Object::Tuple(items) if items.is_empty() => None,
            Object::Tuple(items) => items.first().copied(),
            _ => bail!("it is damaged"),
        };
        let mut pairs = Vec::new();
        if let Some(list) = list {
            let Value::Object(list) = list else { bail!("it is damaged") };
            let Object::List(items) = &mut self.objects[list] else { bail!("it is damaged") };
            // Taken, not copied: a second call with the same list cannot make a second copy.
            for item in std::mem::take(items) {
                let Value::Object(item) = item else { bail!("it is damaged") };
                match &self.objects[item] {
                    Object::List(pair) | Object::Tuple(pair) => {
                        let [key, value] = pair[..] else { bail!("it is damaged") };
                        pairs.push((key, value));
                    }
                    _ => bail!("it is damaged"),
                }
            }
        }
        self.make(Object::Dict(pairs));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_f(name: &str) -> bool {
        name == "m.f"
    }

    fn read(bytes: &[u8]) -> Result<Pickle<'_>> {
        super::read(bytes, only_f)
    }

    fn error(bytes: &[u8]) -> String {
        format!("{:#}", read(bytes).unwrap_err())
    }

    /// `pickle.dumps({"a": [1, -2, 300, 70000, 1.5], "b": (None, True, b"xy")}, protocol)`
    const PLAIN: [&[u8]; 3] = [
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00G?\xf8\x00\x00\x00\
          \x00\x00\x00eX\x01\x00\x00\x00bq\x03N\x88c_codecs\nencode\nq\x04X\x02\x00\x00\x00xyq\x05X\x06\x00\x00\x00lat\
          in1q\x06\x86q\x07Rq\x08\x87q\tu.",
        b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00G?\xf8\x00\x00\x00\
          \x00\x00\x00eX\x01\x00\x00\x00bq\x03N\x88C\x02xyq\x04\x87q\x05u.",
        b"\x80\x04\x95.\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\
          G?\xf8\x00\x00\x00\x00\x00\x00e\x8c\x01b\x94N\x88C\x02xy\x94\x87\x94u.",
    ];

    #[test]
    fn plain_data_is_read_in_every_protocol() {
        for bytes in &PLAIN[1..] {
            let pickle = read(bytes).unwrap();
            assert_eq!(pickle.length, bytes.len());
            let [(a, list), (b, tuple)] = pickle.dict(pickle.root).unwrap() else { panic!() };
            assert_eq!([*a, *b], [Value::Text("a"), Value::Text("b")]);
            let numbers = [1, -2, 300, 70000].map(Value::Int);
            let Some(Object::List(items)) = pickle.object(*list) else { panic!() };
            assert_eq!(items[..4], numbers);
            assert_eq!(items[4], Value::Float(1.5));
            assert_eq!(pickle.tuple(*tuple).unwrap(), [Value::None, Value::Bool(true), Value::Bytes(b"xy")]);
        }
        // In protocol 2 Python asks for a function to make bytes of text.
        assert!(error(PLAIN[0]).contains("it asks for _codecs.encode"));
    }

    #[test]
    fn a_file_cut_short_or_garbled_anywhere_is_no_panic() {
        for bytes in PLAIN {
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).is_err(), "{length}");
            }
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= 1 << bit;
                    // Any result will do.
                    let _ = read(&bytes);
                }
            }
        }
    }

    #[test]
    fn a_call_is_recorded_and_not_made() {
        let pickle = read(b"\x80\x02cm\nf\n(K\x01K\x02tR.").unwrap();
        assert_eq!(pickle.call(pickle.root).unwrap(), ("m.f", &[Value::Int(1), Value::Int(2)][..]));
    }

    #[test]
    fn what_is_not_on_the_list_is_refused_by_name() {
        let expected = "it asks for posix.system, which no tensor needs: refused, nothing was executed";
        assert!(error(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.").contains(expected));
        assert!(error(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.").contains(expected));
        // INST, OBJ and NEWOBJ call as well, and extension registries name functions by number.
        for bytes in
            [&b"\x80\x02(iposix\nsystem\n."[..], b"\x80\x02(cm\nf\no.", b"\x80\x02cm\nf\n)\x81.", b"\x80\x02\x82\x01."]
        {
            assert!(error(bytes).contains("which plain data does not need"), "{}", error(bytes));
        }
    }

    #[test]
    fn ordered_dicts_of_python_3_and_of_python_2_are_dicts() {
        let three = b"\x80\x02ccollections\nOrderedDict\n)R(U\x01aK\x01U\x01bK\x02u}b.";
        let two = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R}b.";
        for bytes in [&three[..], two] {
            let pickle = read(bytes).unwrap();
            let expected = [(Value::Text("a"), Value::Int(1)), (Value::Text("b"), Value::Int(2))];
            assert_eq!(pickle.dict(pickle.root).unwrap(), expected);
        }
    }

    #[test]
    fn long_numbers_have_a_sign_and_an_end() {
        assert_eq!(read(b"\x80\x02\x8a\x00.").unwrap().root, Value::Int(0));
        assert_eq!(read(b"\x80\x02\x8a\x02\x00\xff.").unwrap().root, Value::Int(-256));
        assert_eq!(
            read(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").unwrap().root,
            Value::Int(0x1950_a86a_20f9_469c_fc6c)
        );
        assert!(error(b"\x80\x02\x8a\x1112345678901234567.").contains("beyond all use"));
    }

    #[test]
    fn objects_have_an_end() {
        assert!(
            error(&[&b"\x80\x02("[..], &vec![b')'; MOST_OBJECTS + 1], b"t."].concat()).contains("more than 4000000")
        );
    }

    /// A million tuples in each other, and a list that holds itself.
    #[test]
    fn neither_depth_nor_cycles_matter() {
        let deep = [&b"\x80\x02N"[..], &vec![0x85; 1_000_000], b"."].concat();
        drop(read(&deep).unwrap());
        drop(read(b"\x80\x02]q\x00h\x00a.").unwrap());
    }
}
