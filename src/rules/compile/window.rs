//! The time that a trait looks at.

use crate::{
    domain::series::{Period, SLOTS_MAX, SlotWidth, Window},
    rules::{report::Report, source::Node},
};

/// How many slots series keep: the least of these that is enough. Few sizes let
/// traits share series, and let a window grow without losing what was counted.
const HOURS_KEPT: [u16; 4] = [24, 72, 168, SLOTS_MAX];
const DAYS_KEPT: [u16; 4] = [7, 31, 92, SLOTS_MAX];

const WORDS: [(&str, Window); 5] = [
    ("lifetime", Window::Lifetime),
    ("today", Window::Calendar(Period::Day)),
    ("this_week", Window::Calendar(Period::Week)),
    ("this_month", Window::Calendar(Period::Month)),
    ("this_year", Window::Calendar(Period::Year)),
];

/// Reads a window.
pub fn read(report: &mut Report<'_>, node: &Node) -> Option<Window> {
    let text = report.text(node)?;
    if let Some((_, window)) = WORDS.iter().find(|(word, _)| *word == &**text) {
        return Some(*window);
    }
    let unit = text.chars().last().unwrap_or(' ');
    let count: Option<u32> = text.strip_suffix(unit).and_then(|digits| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    });
    let (width, slots) = match (unit, count) {
        ('h', Some(count)) => (SlotWidth::Hour, count),
        ('d', Some(count)) => (SlotWidth::Day, count),
        ('w', Some(count)) => (SlotWidth::Day, count.saturating_mul(7)),
        _ => {
            let hint = report.did_you_mean(text, WORDS.iter().map(|(word, _)| *word));
            let what =
                "a window like `24h`, `90d`, `4w`, `today`, `this_week`, `this_month`, `this_year` or `lifetime`";
            report.error(node.mark, format!("expected {what}, found {}{hint}", node.kind.describe()));
            return None;
        }
    };
    match u16::try_from(slots) {
        Ok(slots) if (1..=SLOTS_MAX).contains(&slots) => Some(Window::Rolling { width, slots }),
        _ => {
            let unit = if width == SlotWidth::Hour { "hours" } else { "days" };
            let more = if width == SlotWidth::Hour { "count in days" } else { "use `lifetime`" };
            let message = format!("a window of `{text}` is out of range: 1 to {SLOTS_MAX} {unit} are kept, {more}");
            report.error(node.mark, message);
            None
        }
    }
}

/// How long the slots are, and how many are kept; `None` when time does not count.
pub fn kept(window: Window) -> Option<(SlotWidth, u16)> {
    let (width, wanted) = match window {
        Window::Lifetime => return None,
        Window::Rolling { width, slots } => (width, slots),
        Window::Calendar(Period::Day | Period::Week) => (SlotWidth::Day, 7),
        Window::Calendar(Period::Month) => (SlotWidth::Day, 31),
        Window::Calendar(Period::Year) => (SlotWidth::Day, 366),
    };
    let sizes = if width == SlotWidth::Hour { HOURS_KEPT } else { DAYS_KEPT };
    Some((width, sizes.into_iter().find(|size| *size >= wanted).unwrap_or(SLOTS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sizes_are_kept() {
        let days = |slots| kept(Window::Rolling { width: SlotWidth::Day, slots });
        assert_eq!(days(1), Some((SlotWidth::Day, 7)));
        assert_eq!(days(30), kept(Window::Calendar(Period::Month)));
        assert_eq!(days(90), Some((SlotWidth::Day, 92)));
        assert_eq!(days(365), kept(Window::Calendar(Period::Year)));
        assert_eq!(kept(Window::Rolling { width: SlotWidth::Hour, slots: 25 }), Some((SlotWidth::Hour, 72)));
        assert_eq!(kept(Window::Lifetime), None);
    }
}
