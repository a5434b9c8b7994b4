//! The struct that a kernel takes, as it lies in memory: fields in order, each at a multiple of its alignment, as C++ has it.

use std::marker::PhantomData;

/// Size and alignment of a value, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub bytes: usize,
    pub align: usize,
}

impl Layout {
    pub const fn of<T>() -> Layout {
        Layout { bytes: size_of::<T>(), align: align_of::<T>() }
    }

    /// A struct of these fields.
    pub const fn of_struct(fields: &[Layout]) -> Layout {
        let (mut bytes, mut align, mut index) = (0_usize, 1, 0);
        while index < fields.len() {
            let field = fields[index];
            bytes = bytes.next_multiple_of(field.align) + field.bytes;
            align = if field.align > align { field.align } else { align };
            index += 1;
        }
        Layout { bytes: bytes.next_multiple_of(align), align }
    }
}

/// A value that a kernel can take.
pub trait Pack {
    const LAYOUT: Layout;

    /// Appends the value's bytes, the padding behind its last field left out.
    fn pack(&self, packed: &mut Packed);
}

/// The bytes of a kernel's argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Appends `value` at the next multiple of its alignment. Padding is zero.
    pub fn push<T: Pack>(&mut self, value: &T) {
        let start = self.0.len().next_multiple_of(T::LAYOUT.align);
        self.0.resize(start, 0);
        value.pack(self);
        self.0.resize(start + T::LAYOUT.bytes, 0);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Pack for $number {
            const LAYOUT: Layout = Layout::of::<$number>();

            fn pack(&self, packed: &mut Packed) {
                packed.0.extend_from_slice(&self.to_ne_bytes());
            }
        })*
    };
}

numbers!(i32, u32, u64, f32, f64);

/// The address of `T`s on the device that a kernel reads.
#[derive(Debug, PartialEq)]
pub struct Ptr<T> {
    address: u64,
    element: PhantomData<fn() -> T>,
}

/// The address of `T`s on the device that a kernel writes.
#[derive(Debug, PartialEq)]
pub struct PtrMut<T> {
    address: u64,
    element: PhantomData<fn() -> T>,
}

impl<T> Ptr<T> {
    /// What a kernel takes for something that is not there.
    pub const NULL: Ptr<T> = Ptr::new(0);

    pub(in crate::engine) const fn new(address: u64) -> Ptr<T> {
        Ptr { address, element: PhantomData }
    }
}

impl<T> PtrMut<T> {
    /// What a kernel takes for something that is not wanted.
    pub const NULL: PtrMut<T> = PtrMut::new(0);

    pub(in crate::engine) const fn new(address: u64) -> PtrMut<T> {
        PtrMut { address, element: PhantomData }
    }

    pub fn as_ptr(&self) -> Ptr<T> {
        Ptr::new(self.address)
    }
}

// By hand, since a derived one would ask it of `T` too.
impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Ptr<T> {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T> Clone for PtrMut<T> {
    fn clone(&self) -> PtrMut<T> {
        *self
    }
}

impl<T> Copy for PtrMut<T> {}

impl<T> Pack for Ptr<T> {
    const LAYOUT: Layout = u64::LAYOUT;

    fn pack(&self, packed: &mut Packed) {
        self.address.pack(packed);
    }
}

impl<T> Pack for PtrMut<T> {
    const LAYOUT: Layout = u64::LAYOUT;

    fn pack(&self, packed: &mut Packed) {
        self.address.pack(packed);
    }
}

/// Where a tensor lies, as the tensor memory accelerator takes it: `CUtensorMap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMap(pub(in crate::engine) [u64; 16]);

impl Pack for TensorMap {
    const LAYOUT: Layout = Layout { bytes: 128, align: 64 };

    fn pack(&self, packed: &mut Packed) {
        self.0.iter().for_each(|word| word.pack(packed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Inner {
        a: i32,
        b: f64,
    }

    impl Pack for Inner {
        const LAYOUT: Layout = Layout::of_struct(&[i32::LAYOUT, f64::LAYOUT]);

        fn pack(&self, packed: &mut Packed) {
            packed.push(&self.a);
            packed.push(&self.b);
        }
    }

    struct Outer {
        first: f32,
        inner: Inner,
        last: i32,
    }

    impl Pack for Outer {
        const LAYOUT: Layout = Layout::of_struct(&[f32::LAYOUT, Inner::LAYOUT, i32::LAYOUT]);

        fn pack(&self, packed: &mut Packed) {
            packed.push(&self.first);
            packed.push(&self.inner);
            packed.push(&self.last);
        }
    }

    #[test]
    fn fields_lie_where_a_c_compiler_puts_them() {
        #[repr(C)]
        struct C {
            first: f32,
            inner: (i32, f64),
            last: i32,
        }
        assert_eq!(Outer::LAYOUT, Layout::of::<C>());
        let mut packed = Packed::default();
        packed.push(&Outer { first: 1.5, inner: Inner { a: -2, b: 0.25 }, last: 7 });
        let mut expected = [0; 32];
        expected[..4].copy_from_slice(&1.5_f32.to_ne_bytes());
        expected[8..12].copy_from_slice(&(-2_i32).to_ne_bytes());
        expected[16..24].copy_from_slice(&0.25_f64.to_ne_bytes());
        expected[24..28].copy_from_slice(&7_i32.to_ne_bytes());
        assert_eq!(packed.bytes(), expected);
    }
}
