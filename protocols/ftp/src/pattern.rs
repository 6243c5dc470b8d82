//! File name patterns as `mget` sends them: `*` for any letters, `?` for one.

/// Whether `name` is one of those that `pattern` means. Linear in their product at worst: only the last star can be
/// worth going back to.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let ahead = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                name = ahead;
                retry = Some((pattern.clone(), name.clone()));
                continue;
            }
            (Some(wanted), Some(letter)) if wanted == '?' || wanted == letter => continue,
            _ => {}
        }
        let Some((behind, mut from)) = retry.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        (pattern, name) = (behind.clone(), from.clone());
        retry = Some((behind, from));
    }
}

/// Whether a name is a pattern.
pub(crate) fn is_one(name: &str) -> bool {
    name.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_a_shell_means() {
        for (pattern, name) in
            [("*", ""), ("*", "a"), ("a*", "a"), ("*.txt", "a.b.txt"), ("a?c*e", "abcde"), ("ä?", "äö")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("?", ""), ("a", "ab"), ("*.txt", "a.txt~"), ("a*b*c", "acb"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)), "and in time");
    }
}
