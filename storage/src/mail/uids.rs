//! Numbers of messages as ranges.

/// Ranges of UIDs: first and last, ascending.
pub type Uids = Vec<(u32, u32)>;

/// Ascending numbers as few ranges.
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> Uids {
    let mut ranges: Uids = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.1 + 1 == number => last.1 = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Whether a number is in one of the ranges.
pub fn is_among(ranges: &[(u32, u32)], number: u32) -> bool {
    let at = ranges.partition_point(|&(_, to)| to < number);
    ranges.get(at).is_some_and(|&(from, _)| from <= number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ranges() {
        let ranges = ranges([1, 2, 3, 7, 9, 10]);
        assert_eq!(ranges, [(1, 3), (7, 7), (9, 10)]);
        let among: Vec<u32> = (0..12).filter(|&number| is_among(&ranges, number)).collect();
        assert_eq!(among, [1, 2, 3, 7, 9, 10]);
        assert!(!is_among(&[], 1));
    }
}
