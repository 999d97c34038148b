//! `google.protobuf.Timestamp` with the canonical JSON: RFC 3339 in UTC with a
//! `Z` and 0, 3, 6 or 9 digits of a second.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor, ser::Error as _};

/// A moment; the wire format of `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds of the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// The last moment that can be given and written.
pub const LAST: &str = "9999-12-30T22:00:00Z";
/// [`LAST`] in seconds since 1970.
pub const LAST_SECONDS: i64 = 253_402_207_200;

/// Whether a text is a moment in form, but after [`LAST`].
pub fn is_too_late(text: &str) -> bool {
    let pieces = jiff::fmt::temporal::Pieces::parse(text);
    pieces.is_ok_and(|pieces| pieces.offset().is_some() && pieces.date() >= jiff::civil::date(9999, 12, 30))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = jiff::Timestamp::new(self.seconds, self.nanos)
            .map_err(|_| S::Error::custom("writing a moment outside of the years 1 to 9999"))?;
        let digits = match self.nanos {
            0 => 0,
            nanos if nanos % 1_000_000 == 0 => 3,
            nanos if nanos % 1_000 == 0 => 6,
            _ => 9,
        };
        serializer.collect_str(&format_args!("{moment:.digits$}"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Rfc3339)
    }
}

struct Rfc3339;

impl Visitor<'_> for Rfc3339 {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 moment, for example \"2026-01-31T12:00:00Z\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| match is_too_late(text) {
            true => E::custom(format_args!("the moment is too late: the last one is `{LAST}`")),
            false => E::invalid_value(serde::de::Unexpected::Str(text.get(..64).unwrap_or_default()), &self),
        })?;
        // Rounded down, so that the nanoseconds are never negative.
        let nanos = moment.as_nanosecond().rem_euclid(1_000_000_000);
        let seconds = moment.as_nanosecond().div_euclid(1_000_000_000);
        let seconds = i64::try_from(seconds).map_err(E::custom)?;
        Ok(Timestamp { seconds, nanos: i32::try_from(nanos).map_err(E::custom)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip_in_the_canonical_form() {
        let cases = [
            (Timestamp { seconds: 0, nanos: 0 }, "\"1970-01-01T00:00:00Z\""),
            (Timestamp { seconds: 1, nanos: 500_000_000 }, "\"1970-01-01T00:00:01.500Z\""),
            (Timestamp { seconds: -1, nanos: 999_999_000 }, "\"1969-12-31T23:59:59.999999Z\""),
            (Timestamp { seconds: 1, nanos: 1 }, "\"1970-01-01T00:00:01.000000001Z\""),
        ];
        for (moment, text) in cases {
            assert_eq!(serde_json::to_string(&moment).unwrap(), text);
            assert_eq!(serde_json::from_str::<Timestamp>(text).unwrap(), moment);
        }
        let offset: Timestamp = serde_json::from_str("\"1970-01-01T01:00:00+01:00\"").unwrap();
        assert_eq!(offset.seconds, 0);
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
        assert!(serde_json::to_string(&Timestamp { seconds: i64::MAX, nanos: 0 }).is_err());
    }
}
