//! Analyses of the base as bytes.

use super::{Reader, Writer};
use crate::{
    domain::{CustomerKey, Timestamp},
    predict::{
        Analysis, BaseModel, Fitted, Overlap, Quantiles, RepeatModel, RfmQuantiles, SegmentFound, SegmentsChanged,
    },
    store::StoreError,
};

const VERSION: u8 = 1;
/// Fewest bytes of a segment, of an overlap, of a name.
const SEGMENT_BYTES_MIN: usize = 4;
const OVERLAP_BYTES_MIN: usize = 3;

/// An analysis as decisions read it, as bytes.
pub fn encode_base(base: &BaseModel) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let w = &mut Writer::new(&mut bytes);
    w.u8(VERSION);
    write_base(w, base);
    bytes
}

/// Reads an analysis as decisions read it.
///
/// # Errors
/// The bytes are not exactly one encoding of it.
pub fn decode_base(bytes: &[u8]) -> Result<BaseModel, StoreError> {
    let r = &mut Reader::new("analysis of the base", bytes);
    r.version(VERSION)?;
    let base = read_base(r)?;
    r.end()?;
    Ok(base)
}

/// A whole analysis as bytes.
pub fn encode_analysis(found: &Analysis) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1_024);
    let w = &mut Writer::new(&mut bytes);
    w.u8(VERSION);
    w.signed(found.at.0);
    w.varint(found.elapsed_us);
    w.varint(found.customers);
    w.varint(found.buyers);
    w.list(&found.segments, |w, segment| {
        w.text(&segment.name);
        w.varint(segment.customers);
        w.varint(segment.entered);
        w.varint(segment.left);
    });
    w.list(&found.overlaps, |w, overlap| {
        w.varint(u64::from(overlap.one));
        w.varint(u64::from(overlap.other));
        w.varint(overlap.customers);
    });
    write_base(w, &found.base);
    w.option(found.fitted.as_ref(), |w, fitted| {
        w.option(fitted.standard_errors.as_ref(), |w, errors| errors.iter().for_each(|error| double(w, *error)));
        double(w, fitted.ln_likelihood);
        w.varint(fitted.customers);
    });
    w.option(found.no_model.as_ref(), |w, why| w.text(why));
    bytes
}

/// Reads a whole analysis.
///
/// # Errors
/// The bytes are not exactly one analysis.
pub fn decode_analysis(bytes: &[u8]) -> Result<Analysis, StoreError> {
    let r = &mut Reader::new("analysis", bytes);
    r.version(VERSION)?;
    // The fields are read in the order they are written in.
    let found = Analysis {
        at: Timestamp(r.signed()?),
        elapsed_us: r.varint()?,
        customers: r.varint()?,
        buyers: r.varint()?,
        segments: r.list(SEGMENT_BYTES_MIN, |r| {
            let name = r.text()?.into();
            Ok(SegmentFound { name, customers: r.varint()?, entered: r.varint()?, left: r.varint()? })
        })?,
        overlaps: r.list(OVERLAP_BYTES_MIN, |r| {
            Ok(Overlap { one: r.narrow()?, other: r.narrow()?, customers: r.varint()? })
        })?,
        base: read_base(r)?,
        fitted: r.option(|r| {
            let standard_errors = r.option(read_doubles)?;
            Ok(Fitted { standard_errors, ln_likelihood: read_double(r)?, customers: r.varint()? })
        })?,
        no_model: r.option(|r| Ok(r.text()?.into()))?,
    };
    r.end()?;
    Ok(found)
}

/// The segments that somebody entered and left, as bytes; whose they are is not
/// among them.
pub fn encode_segments(changed: &SegmentsChanged, into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    w.u8(VERSION);
    w.list(&changed.entered, |w, name| w.text(name));
    w.list(&changed.left, |w, name| w.text(name));
}

/// Reads the segments that a customer entered and left.
///
/// # Errors
/// The bytes are not exactly one such change.
pub fn decode_segments(customer: CustomerKey, bytes: &[u8]) -> Result<SegmentsChanged, StoreError> {
    let r = &mut Reader::new("change of segments", bytes);
    r.version(VERSION)?;
    let entered = r.list(1, |r| Ok(r.text()?.into()))?;
    let left = r.list(1, |r| Ok(r.text()?.into()))?;
    r.end()?;
    Ok(SegmentsChanged { customer, entered, left })
}

/// The names behind the bits of members, as bytes.
pub fn encode_names_of_segments(names: &[Box<str>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let w = &mut Writer::new(&mut bytes);
    w.u8(VERSION);
    w.list(names, |w, name| w.text(name));
    bytes
}

/// Reads the names behind the bits of members.
///
/// # Errors
/// The bytes are not exactly one list of names.
pub fn decode_names_of_segments(bytes: &[u8]) -> Result<Vec<Box<str>>, StoreError> {
    let r = &mut Reader::new("names of segments", bytes);
    r.version(VERSION)?;
    let names = r.list(1, |r| Ok(r.text()?.into()))?;
    r.end()?;
    Ok(names)
}

fn write_base(w: &mut Writer<'_>, base: &BaseModel) {
    w.varint(base.version);
    w.signed(base.observed_until.0);
    w.option(base.rfm.as_ref(), |w, rfm| {
        rfm.recency_days.0.iter().for_each(|days| w.u32(*days));
        rfm.frequency.0.iter().for_each(|days| w.u32(*days));
        rfm.monetary.0.iter().for_each(|spent| w.signed(*spent));
    });
    w.option(base.repeat.as_ref(), |w, model| {
        [model.r, model.alpha, model.a, model.b].into_iter().for_each(|value| double(w, value));
    });
}

fn read_base(r: &mut Reader<'_>) -> Result<BaseModel, StoreError> {
    Ok(BaseModel {
        version: r.varint()?,
        observed_until: Timestamp(r.signed()?),
        rfm: r.option(|r| {
            let recency_days = Quantiles([r.u32()?, r.u32()?, r.u32()?, r.u32()?]);
            let frequency = Quantiles([r.u32()?, r.u32()?, r.u32()?, r.u32()?]);
            let monetary = Quantiles([r.signed()?, r.signed()?, r.signed()?, r.signed()?]);
            Ok(RfmQuantiles { recency_days, frequency, monetary })
        })?,
        repeat: r.option(|r| {
            let [r, alpha, a, b] = read_doubles(r)?;
            Ok(RepeatModel { r, alpha, a, b })
        })?,
    })
}

fn double(w: &mut Writer<'_>, value: f64) {
    w.u64(value.to_bits());
}

fn read_double(r: &mut Reader<'_>) -> Result<f64, StoreError> {
    Ok(f64::from_bits(r.u64()?))
}

fn read_doubles(r: &mut Reader<'_>) -> Result<[f64; 4], StoreError> {
    Ok([read_double(r)?, read_double(r)?, read_double(r)?, read_double(r)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis() -> Analysis {
        let quantiles = Quantiles([1, 5, 9, 400]);
        let rfm =
            RfmQuantiles { recency_days: quantiles, frequency: quantiles, monetary: Quantiles([-5, 0, 70, i64::MAX]) };
        let repeat = RepeatModel { r: 0.8, alpha: 68.9, a: 0.003, b: 6.7 };
        let base = BaseModel { version: 3, observed_until: Timestamp(77), rfm: Some(rfm), repeat: Some(repeat) };
        Analysis {
            at: Timestamp(-4),
            elapsed_us: 12,
            customers: 1 << 40,
            buyers: 9,
            segments: vec![SegmentFound { name: "loyal".into(), customers: 4, entered: 3, left: 1 }],
            overlaps: vec![Overlap { one: 0, other: 255, customers: 2 }],
            base,
            fitted: Some(Fitted { standard_errors: Some([0.1, 0.2, 0.3, 0.4]), ln_likelihood: -14.2, customers: 9 }),
            no_model: None,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for found in
            [analysis(), Analysis::default(), Analysis { fitted: None, no_model: Some("too few".into()), ..analysis() }]
        {
            assert_eq!(decode_analysis(&encode_analysis(&found)).unwrap(), found);
            assert_eq!(decode_base(&encode_base(&found.base)).unwrap(), found.base);
        }
        let changed = SegmentsChanged {
            customer: CustomerKey(7 << 100),
            entered: vec!["loyal".into(), "new".into()],
            left: vec!["lost".into()],
        };
        let mut bytes = Vec::new();
        encode_segments(&changed, &mut bytes);
        assert_eq!(decode_segments(changed.customer, &bytes).unwrap(), changed);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let bytes = encode_analysis(&analysis());
        (0..bytes.len()).for_each(|len| assert!(decode_analysis(&bytes[..len]).is_err(), "{len}"));
        let base = encode_base(&analysis().base);
        (0..base.len()).for_each(|len| assert!(decode_base(&base[..len]).is_err(), "{len}"));
        assert!(decode_segments(CustomerKey(7), &[VERSION]).is_err());
    }
}
