//! Sets of message numbers (RFC 9051 §9, `sequence-set`).

use std::fmt;

/// As many ranges as one set may have: a hostile set costs no more than this.
pub(super) const RANGES: usize = 10_000;

/// A sequence set, such as `1:3,7,9:*`. `None` if it is none, or has too many ranges.
pub fn parse(text: &[u8]) -> Option<SequenceSet> {
    let mut ranges = Vec::new();
    for part in text.split(|&byte| byte == b',') {
        if ranges.len() == RANGES {
            return None;
        }
        let colon = part.iter().position(|&byte| byte == b':');
        let (from, to) = colon.map_or((part, part), |colon| (&part[..colon], &part[colon + 1..]));
        ranges.push(Range { from: number(from)?, to: number(to)? });
    }
    Some(SequenceSet(ranges))
}

/// A number or `*`. 2^32-1 is no message's number, and must not be taken for `*`: the number before it is none either
/// for as long as UIDs are given in order.
fn number(text: &[u8]) -> Option<u32> {
    if text == b"*" {
        return Some(u32::MAX);
    }
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number > 0).then_some(number.min(u32::MAX - 1))
}

/// Ascending numbers as a sequence set, such as `1:3,7`; empty if there are none.
pub fn compact(numbers: impl Iterator<Item = u32>) -> String {
    let mut ranges: Vec<Range> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if number <= last.to.saturating_add(1) => last.to = last.to.max(number),
            _ => ranges.push(Range { from: number, to: number }),
        }
    }
    SequenceSet(ranges).to_string()
}

/// A range of numbers; `u32::MAX` stands for `*`, the largest number in use (no message has that number: a UID or
/// sequence number of 2^32-1 is never given).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// One end.
    pub from: u32,
    /// The other, which may be the smaller one.
    pub to: u32,
}

/// A sequence set as it was written: at least one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(pub Vec<Range>);

/// The messages a command speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbers {
    /// A sequence set.
    Set(SequenceSet),
    /// `$`, the result of the last SEARCH that saved it (RFC 5182).
    Saved,
}

impl SequenceSet {
    /// The numbers as ascending ranges that do not touch, with `*` resolved to `largest`; nothing when there is no
    /// message at all (`largest` is 0).
    pub fn resolve(&self, largest: u32) -> Vec<(u32, u32)> {
        let end = |number: u32| if number == u32::MAX { largest } else { number };
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(self.0.len());
        if largest == 0 {
            return ranges;
        }
        ranges.extend(self.0.iter().map(|range| {
            let (from, to) = (end(range.from), end(range.to));
            (from.min(to), from.max(to))
        }));
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match joined.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        joined
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            end(range.from, out)?;
            if range.from != range.to {
                out.write_str(":")?;
                end(range.to, out)?;
            }
        }
        Ok(())
    }
}

/// One end of a range.
fn end(number: u32, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if number == u32::MAX { out.write_str("*") } else { write!(out, "{number}") }
}
