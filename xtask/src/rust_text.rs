//! Rust source seen as text: enough of a lexer to look for names in code without finding them in prose or in literals.

/// The same text with comments and the insides of literals blanked. Lines keep their numbers.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end == at {
            let next = source[at..].chars().next().map_or(1, char::len_utf8);
            code.push_str(&source[at..at + next]);
            at += next;
        } else {
            code.extend(source[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Product code of a file: everything before its inner test module, which by custom is the last item.
pub(crate) fn before_tests(code: &str) -> &str {
    code.match_indices("#[cfg(test)]\n")
        .find(|(at, found)| code[at + found.len()..].trim_start().starts_with("mod "))
        .map_or(code, |(at, _)| &code[..at])
}

/// Names with the line they stand on, from 1. Numbers are not names.
pub(crate) fn names(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
            .map(move |word| (index + 1, word))
    })
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none does.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    match rest[0] {
        b'"' => at + quoted(rest),
        b'\'' => at + char_literal(rest),
        b'r' if at == 0 || !is_name(bytes[at - 1]) || bytes[at - 1] == b'b' || bytes[at - 1] == b'c' => {
            at + raw(rest)
        }
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `'a'` and `'\n'` are literals, `'a` is a lifetime.
fn char_literal(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|byte| *byte == b'\'');
        return close.map_or(0, |close| close + 4);
    }
    // One character is one to four bytes.
    (2..=5).find(|at| rest.get(*at) == Some(&b'\'') && one_char(&rest[1..*at])).map_or(0, |at| at + 1)
}

fn one_char(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

fn raw(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = 2 + hashes;
    rest[body..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(rest.len(), |at| body + at + close.len())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        for (source, gone) in [
            ("a // bad\nb", "bad"),
            ("a /* bad /* bad */ bad\n */ b", "bad"),
            ("a \"bad \\\" bad\" b", "bad"),
            ("a r#\"bad \" bad\"# b", "bad"),
            ("a br\"bad\\\" b", "bad"),
            ("a 'é' b", "é"),
            ("a '\\'' b", "\\"),
            ("a '\\u{e9}' b", "u"),
        ] {
            let code = code_only(source);
            assert!(!code.contains(gone), "{code}");
            assert!(code.starts_with('a') && code.ends_with('b'), "{source} became {code}");
            assert_eq!(code.lines().count(), source.lines().count());
        }
    }

    #[test]
    fn lifetimes_and_raw_names_stay() {
        let source = "fn f<'a>(x: &'a str, r#type: u8) -> &'a str { for_r }";
        assert_eq!(code_only(source), source);
    }

    #[test]
    fn names_carry_their_line() {
        let found: Vec<_> = names("let x1 = 2;\n  y_z()").collect();
        assert_eq!(found, [(1, "let"), (1, "x1"), (2, "y_z")]);
    }

    #[test]
    fn the_test_module_is_not_product_code() {
        assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests { b }"), "a\n");
        assert_eq!(before_tests("a\n#[cfg(test)]\nfn b() {}\nc"), "a\n#[cfg(test)]\nfn b() {}\nc");
    }
}
