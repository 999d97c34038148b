//! The alphabet of every encoding.

use crate::store::StoreError;

/// Most bytes of an encoded 64-bit number.
const VARINT_BYTES_MAX: u32 = 10;

/// Appends values to a buffer.
pub struct Writer<'a> {
    into: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to this buffer.
    pub fn new(into: &'a mut Vec<u8>) -> Self {
        Self { into }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.into.push(value);
    }

    /// A truth value, as 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.into.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.into.extend_from_slice(&value.to_le_bytes());
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) {
        self.into.extend_from_slice(&value.to_le_bytes());
    }

    /// An unsigned number in as few bytes as it needs.
    #[inline]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// A signed number in as few bytes as it needs.
    #[inline]
    pub fn signed(&mut self, value: i64) {
        self.varint((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    /// The length of what follows.
    pub fn len(&mut self, len: usize) {
        self.varint(len as u64);
    }

    /// Whether there is a value, and then the value.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// The length of a list and its entries.
    pub fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.len(list.len());
        for entry in list {
            write(self, entry);
        }
    }

    /// Text with its length.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.into.extend_from_slice(bytes);
    }
}

/// Reads values from bytes, and checks every one.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// Reads these bytes; `what` names them in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes, len: bytes.len() }
    }

    /// The error for what was found here.
    pub fn error(&self, found: &str) -> StoreError {
        let at = self.len - self.rest.len();
        StoreError::Corrupt(format!("decoding the {}: {found} at byte `{at}` of `{}`", self.what, self.len))
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks the version byte.
    ///
    /// # Errors
    /// Another version.
    pub fn version(&mut self, known: u8) -> Result<(), StoreError> {
        match self.u8()? {
            found if found == known => Ok(()),
            found => Err(self.error(&format!("unknown version `{found}`, this program reads `{known}`"))),
        }
    }

    /// The version byte, of a noun whose older versions are still read.
    ///
    /// # Errors
    /// An older or newer version.
    pub fn version_between(&mut self, oldest: u8, newest: u8) -> Result<u8, StoreError> {
        match self.u8()? {
            found if (oldest..=newest).contains(&found) => Ok(found),
            found => {
                Err(self.error(&format!("unknown version `{found}`, this program reads `{oldest}` to `{newest}`")))
            }
        }
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn end(&self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("bytes left over")) }
    }

    /// This many bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.too_short(len)),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.too_short(N)),
        }
    }

    // out of the way of what is read a hundred times a profile
    #[cold]
    fn too_short(&self, wanted: usize) -> StoreError {
        self.error(&format!("`{wanted}` bytes wanted, `{}` left", self.rest.len()))
    }

    /// One byte.
    ///
    /// # Errors
    /// There is none.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(self.array::<1>()?[0])
    }

    /// A truth value.
    ///
    /// # Errors
    /// Neither 0 nor 1.
    pub fn bool(&mut self) -> Result<bool, StoreError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(&format!("`{other}` is not a truth value"))),
        }
    }

    /// Four bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn u128(&mut self) -> Result<u128, StoreError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// An unsigned number.
    ///
    /// # Errors
    /// It does not end, or does not fit 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, StoreError> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, StoreError> {
        let mut value = 0_u64;
        for at in 0..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if at == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a number longer than 64 bits"))
    }

    /// A signed number.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    #[inline]
    pub fn signed(&mut self) -> Result<i64, StoreError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// An unsigned number of a narrower type.
    ///
    /// # Errors
    /// As [`Reader::varint`], or it does not fit.
    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, StoreError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.error(&format!("`{value}` is too large for its field")))
    }

    /// One of a closed choice, numbered from `first`.
    ///
    /// # Errors
    /// The number is none of theirs.
    pub fn choice<T: Copy>(&mut self, first: u8, all: &[T]) -> Result<T, StoreError> {
        let number = self.u8()?;
        let found = number.checked_sub(first).and_then(|at| all.get(usize::from(at)));
        found.copied().ok_or_else(|| self.error(&format!("`{number}` is none of the known choices")))
    }

    /// What is there when a truth value says so.
    ///
    /// # Errors
    /// Those of the truth value and of what is there.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A list whose entries take at least `entry_bytes` each.
    ///
    /// # Errors
    /// Those of the length and of the entries.
    pub fn list<T>(
        &mut self,
        entry_bytes: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let len = self.len(entry_bytes)?;
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(read(self)?);
        }
        Ok(list)
    }

    /// The length of a list whose entries take at least `entry_bytes` each;
    /// never more than the rest can hold, so it is safe to reserve.
    ///
    /// # Errors
    /// The rest cannot hold it.
    pub fn len(&mut self, entry_bytes: usize) -> Result<usize, StoreError> {
        let len = self.varint()?;
        let most = self.rest.len() / entry_bytes.max(1);
        match usize::try_from(len) {
            Ok(len) if len <= most => Ok(len),
            _ => Err(self.error(&format!("a length of `{len}`, room for `{most}`"))),
        }
    }

    /// Bytes with their length.
    ///
    /// # Errors
    /// There are fewer.
    pub fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.len(1)?;
        self.take(len)
    }

    /// Text with its length.
    ///
    /// # Errors
    /// There is less, or it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, StoreError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text that is not UTF-8"))
    }
}
