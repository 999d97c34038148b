//! What more than one noun is made of: values, identities, consents, lists of
//! moments, repeated ids.

use super::{Reader, Writer};
use crate::{
    domain::{ChannelId, Consent, ConsentPurpose, Date, IdentityTypeId, Permission, StoredIdentity, Timestamp, Value},
    store::StoreError,
};

/// Numbers of values at rest. A value that is absent is 0.
mod tag {
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const INT: u8 = 3;
    pub const DOUBLE: u8 = 4;
    /// A double that 32 bits hold exactly.
    pub const SHORT_DOUBLE: u8 = 5;
    pub const TEXT: u8 = 6;
    pub const SET: u8 = 7;
    pub const TIMESTAMP: u8 = 8;
    pub const DATE: u8 = 9;
    pub const MONEY: u8 = 10;
}

/// Fewest bytes of a consent, of an identity.
pub(super) const CONSENT_BYTES_MIN: usize = 4;
pub(super) const IDENTITY_BYTES_MIN: usize = 5;

pub(super) const PERMISSIONS: [Permission; 3] = [Permission::Unknown, Permission::Granted, Permission::Denied];
const PURPOSES: [ConsentPurpose; 3] = [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling];

pub(super) fn write_value(w: &mut Writer<'_>, value: Option<&Value>) {
    match value {
        None => w.u8(0),
        Some(Value::Bool(v)) => w.u8(if *v { tag::TRUE } else { tag::FALSE }),
        Some(Value::Int(v)) => tagged(w, tag::INT, *v),
        Some(Value::Double(v)) => write_double(w, *v),
        Some(Value::Text(v)) => {
            w.u8(tag::TEXT);
            w.text(v);
        }
        Some(Value::Set(v)) => {
            w.u8(tag::SET);
            w.list(v, |w, text| w.text(text));
        }
        Some(Value::Timestamp(v)) => tagged(w, tag::TIMESTAMP, v.0),
        Some(Value::Date(v)) => tagged(w, tag::DATE, i64::from(v.0)),
        Some(Value::Money(v)) => tagged(w, tag::MONEY, *v),
    }
}

fn tagged(w: &mut Writer<'_>, tag: u8, value: i64) {
    w.u8(tag);
    w.signed(value);
}

fn write_double(w: &mut Writer<'_>, value: f64) {
    let short = value as f32;
    if f64::from(short).to_bits() == value.to_bits() {
        w.u8(tag::SHORT_DOUBLE);
        w.u32(short.to_bits());
    } else {
        w.u8(tag::DOUBLE);
        w.u64(value.to_bits());
    }
}

pub(super) fn read_value(r: &mut Reader<'_>) -> Result<Option<Value>, StoreError> {
    let number = r.u8()?;
    Ok(Some(match number {
        0 => return Ok(None),
        tag::FALSE => Value::Bool(false),
        tag::TRUE => Value::Bool(true),
        tag::INT => Value::Int(r.signed()?),
        tag::DOUBLE => Value::Double(f64::from_bits(r.u64()?)),
        tag::SHORT_DOUBLE => Value::Double(f64::from(f32::from_bits(r.u32()?))),
        tag::TEXT => Value::Text(r.text()?.into()),
        tag::SET => Value::Set(r.list(1, |r| Ok(r.text()?.into()))?.into()),
        tag::TIMESTAMP => Value::Timestamp(Timestamp(r.signed()?)),
        tag::DATE => Value::Date(read_date(r)?),
        tag::MONEY => Value::Money(r.signed()?),
        other => return Err(r.error(&format!("`{other}` is no kind of value"))),
    }))
}

fn read_date(r: &mut Reader<'_>) -> Result<Date, StoreError> {
    let days = r.signed()?;
    i32::try_from(days).map(Date).map_err(|_| r.error("a date out of range"))
}

/// A value that must be there.
pub(super) fn read_present(r: &mut Reader<'_>) -> Result<Value, StoreError> {
    read_value(r)?.ok_or_else(|| r.error("no value where there must be one"))
}

pub(super) fn write_identity(w: &mut Writer<'_>, identity: &StoredIdentity) {
    w.u32(identity.kind.0);
    w.text(&identity.value);
}

pub(super) fn read_identity(r: &mut Reader<'_>) -> Result<StoredIdentity, StoreError> {
    Ok(StoredIdentity { kind: IdentityTypeId(r.u32()?), value: r.text()?.into() })
}

pub(super) fn write_consent(w: &mut Writer<'_>, consent: &Consent) {
    w.u8(consent.purpose as u8 | ((consent.permission as u8) << 2) | (u8::from(consent.channel.is_some()) << 4));
    if let Some(channel) = consent.channel {
        w.u32(channel.0);
    }
    w.signed(consent.at.0);
    w.text(&consent.source);
    w.text(&consent.proof);
}

pub(super) fn read_consent(r: &mut Reader<'_>) -> Result<Consent, StoreError> {
    let packed = r.u8()?;
    let purpose = (packed & 3).checked_sub(1).and_then(|at| PURPOSES.get(usize::from(at)));
    let permission = PERMISSIONS.get(usize::from((packed >> 2) & 3));
    let (Some(purpose), Some(permission), true) = (purpose, permission, packed < 32) else {
        return Err(r.error(&format!("`{packed}` is no consent")));
    };
    let channel = if packed & 16 == 0 { None } else { Some(ChannelId(r.u32()?)) };
    Ok(Consent {
        channel,
        purpose: *purpose,
        permission: *permission,
        at: Timestamp(r.signed()?),
        source: r.text()?.into(),
        proof: r.text()?.into(),
    })
}

/// The units moments are counted in, microseconds: the largest that divides
/// every moment of a list is used.
const UNITS_US: [i64; 3] = [1, 1_000, 1_000_000];

/// Moments as differences, each to the one before, in a unit of their list.
/// Differences wrap, so every moment comes back.
#[derive(Debug)]
pub(super) struct Moments {
    unit_us: i64,
    last: i64,
}

impl Moments {
    /// Chooses the unit and writes it.
    pub fn begin(w: &mut Writer<'_>, moments: impl Iterator<Item = Timestamp>) -> Self {
        let mut unit = UNITS_US.len() - 1;
        for moment in moments {
            while moment.0 % UNITS_US[unit] != 0 {
                unit -= 1;
            }
        }
        w.u8(unit as u8);
        Self { unit_us: UNITS_US[unit], last: 0 }
    }

    /// Reads the unit.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { unit_us: r.choice(0, &UNITS_US)?, last: 0 })
    }

    /// Writes the next moment.
    #[inline]
    pub fn write_next(&mut self, w: &mut Writer<'_>, moment: Timestamp) {
        let units = moment.0 / self.unit_us;
        w.signed(units.wrapping_sub(self.last));
        self.last = units;
    }

    /// Writes a moment near the last one, which stays the last.
    #[inline]
    pub fn write_aside(&mut self, w: &mut Writer<'_>, moment: Timestamp) {
        w.signed((moment.0 / self.unit_us).wrapping_sub(self.last));
    }

    /// Reads the next moment.
    #[inline]
    pub fn read_next(&mut self, r: &mut Reader<'_>) -> Result<Timestamp, StoreError> {
        self.last = self.last.wrapping_add(r.signed()?);
        Ok(Timestamp(self.last.wrapping_mul(self.unit_us)))
    }

    /// Reads a moment near the last one.
    #[inline]
    pub fn read_aside(&mut self, r: &mut Reader<'_>) -> Result<Timestamp, StoreError> {
        let units = self.last.wrapping_add(r.signed()?);
        Ok(Timestamp(units.wrapping_mul(self.unit_us)))
    }
}

/// Ids that repeat: the first time an id is written whole, after that as the
/// number it got.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    known: Vec<u64>,
}

impl Repeated {
    /// The number of an id, and whether it is new.
    fn number(&mut self, id: u64) -> (u64, bool) {
        match self.known.iter().position(|known| *known == id) {
            Some(at) => (at as u64, false),
            None => {
                self.known.push(id);
                (self.known.len() as u64 - 1, true)
            }
        }
    }

    /// Writes a 64-bit id with a flag.
    #[inline]
    pub fn write_flagged(&mut self, w: &mut Writer<'_>, id: u64, flag: bool) {
        let (number, new) = self.number(id);
        w.varint((number << 1) | u64::from(flag));
        if new {
            w.u64(id);
        }
    }

    /// Reads a 64-bit id with its flag.
    #[inline]
    pub fn read_flagged(&mut self, r: &mut Reader<'_>) -> Result<(u64, bool), StoreError> {
        let packed = r.varint()?;
        let id = self.resolve(r, packed >> 1, Reader::u64)?;
        Ok((id, packed & 1 == 1))
    }

    /// Writes a 64-bit id.
    #[inline]
    pub fn write_u64(&mut self, w: &mut Writer<'_>, id: u64) {
        let (number, new) = self.number(id);
        w.varint(number);
        if new {
            w.u64(id);
        }
    }

    /// Reads a 64-bit id.
    #[inline]
    pub fn read_u64(&mut self, r: &mut Reader<'_>) -> Result<u64, StoreError> {
        let number = r.varint()?;
        self.resolve(r, number, Reader::u64)
    }

    /// Writes a 32-bit id.
    #[inline]
    pub fn write_u32(&mut self, w: &mut Writer<'_>, id: u32) {
        let (number, new) = self.number(u64::from(id));
        w.varint(number);
        if new {
            w.u32(id);
        }
    }

    /// Reads a 32-bit id.
    #[inline]
    pub fn read_u32(&mut self, r: &mut Reader<'_>) -> Result<u32, StoreError> {
        let number = r.varint()?;
        let id = self.resolve(r, number, |r| r.u32().map(u64::from))?;
        // INVARIANT: an id comes from `u32` above; the two widths never share a list.
        Ok((id & 0xffff_ffff) as u32)
    }

    fn resolve<'a>(
        &mut self,
        r: &mut Reader<'a>,
        number: u64,
        whole: impl FnOnce(&mut Reader<'a>) -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if at == self.known.len() {
            self.known.push(whole(r)?);
        }
        self.known.get(at).copied().ok_or_else(|| r.error("an id that was not given before"))
    }
}
