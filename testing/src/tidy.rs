//! Reads the source as text, so that a test can hold it to the house rules: a lexer just good enough to tell code from comments
//! and literals, and the functions in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the project.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The same with comments and the contents of literals blanked, line for line.
    pub code: String,
}

/// A function and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from there to its closing brace.
    pub lines: usize,
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Every file that git tracks or would track, as a path from the root; without git, every file but what is built.
pub fn tracked_files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files: Vec<String> = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => files_below(&root()),
    };
    files.retain(|path| root().join(path).is_file());
    files.sort();
    files.dedup();
    files
}

fn files_below(directory: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in directory.read_dir().expect("the source can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "data", ".git"].contains(&name.as_str()) {
                waiting.push(path);
            } else if path.is_file() {
                let relative = path.strip_prefix(root()).expect("it lies below the root");
                files.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    files
}

/// Every Rust file of the project.
pub fn sources() -> Vec<Source> {
    let rust = tracked_files().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).expect("source is UTF-8");
        let code = code_only(&text);
        Source { path, text, code }
    })
    .collect()
}

impl Source {
    /// Whether all of it is test: in a `tests` or `benches` directory, a `tests.rs`, or in a crate that is never shipped.
    pub fn is_test(&self) -> bool {
        let never_shipped = ["testing/", "bench/"].iter().any(|crate_| self.path.starts_with(crate_));
        never_shipped || self.is_test_file()
    }

    /// Whether it lies where tests lie.
    pub fn is_test_file(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.contains(&"tests") || parts.contains(&"benches") || parts.last() == Some(&"tests.rs")
    }

    /// The code before its inline test module.
    pub fn product(&self) -> &str {
        &self.code[..self.tests_begin()]
    }

    /// The text of its inline test module; all of a test file.
    pub fn tests(&self) -> &str {
        if self.is_test() { &self.text } else { &self.text[self.tests_begin()..] }
    }

    fn tests_begin(&self) -> usize {
        let inline = self.code.match_indices("#[cfg(test)]").find(|(at, marker)| {
            let after = self.code[at + marker.len()..].trim_start();
            after.starts_with("mod ") && after.find('{') < after.find(';').or(Some(usize::MAX))
        });
        inline.map_or(self.code.len(), |(at, _)| at)
    }

    /// The functions of its product code.
    pub fn functions(&self) -> Vec<Function> {
        functions_of(self.product())
    }
}

/// Blanks comments and the contents of string and character literals; every line stays where it is, every byte too.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
                at = end;
            }
            None => {
                code.push(if bytes[at].is_ascii() { bytes[at] } else { b' ' });
                at += 1;
            }
        }
    }
    String::from_utf8(code).expect("nothing but ASCII is left")
}

/// Where the comment or literal that starts at `at` ends; `None` if none starts there.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let within_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(find(bytes, at + 2, b"*/"));
    }
    let prefix = [&b"br"[..], b"r"].into_iter().find(|prefix| rest.starts_with(prefix));
    if let (Some(prefix), false) = (prefix, within_word) {
        let hashes = rest[prefix.len()..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(prefix.len() + hashes) == Some(&b'"') {
            let closing = [&b"\""[..], &b"#".repeat(hashes)].concat();
            return Some(find(bytes, at + prefix.len() + hashes + 1, &closing));
        }
    }
    match rest[0] {
        b'"' => Some(quoted_end(bytes, at + 1, b'"')),
        // A lifetime has no second quote where a character would have it.
        b'\'' if rest.get(1) == Some(&b'\\') => Some(quoted_end(bytes, at + 1, b'\'')),
        b'\'' => {
            let length = std::str::from_utf8(&rest[1..rest.len().min(5)])
                .map_or_else(|error| error.valid_up_to(), str::len)
                .min(first_char_bytes(rest.get(1)?));
            (rest.get(1 + length) == Some(&b'\'')).then_some(at + length + 2)
        }
        _ => None,
    }
}

fn first_char_bytes(first: &u8) -> usize {
    match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let found = bytes[from..].windows(needle.len()).position(|window| window == needle);
    found.map_or(bytes.len(), |at| from + at + needle.len())
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The functions in `code` that have a body.
pub fn functions_of(code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let within_word =
            at > 0 && (code.as_bytes()[at - 1].is_ascii_alphanumeric() || code.as_bytes()[at - 1] == b'_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if within_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(&code[at..]) {
            let line = code[..at].matches('\n').count() + 1;
            let lines = code[at..at + end].matches('\n').count() + 1;
            functions.push(Function { name, line, lines });
        }
    }
    functions
}

fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut brackets = 0usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if depth == 0 && brackets == 0 => return None,
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{code_only, functions_of};

    #[test]
    fn comments_and_literals_are_blank_and_code_stays() {
        let text = "let a = \"x{\\\"}\"; // {\nlet b = '{'; let c: &'a str = r#\"}\"#; /* { */ b'\\n' é";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.matches('\n').count(), 1);
        assert!(!code.contains(['{', '}', '"']), "{code}");
        assert!(code.contains("&'a str"), "{code}");
    }

    #[test]
    fn functions_are_found_with_their_lines() {
        let functions = functions_of("fn one();\nimpl X {\n    async fn two(a: [u8; 2]) {\n        {}\n    }\n}\n");
        assert_eq!(functions.len(), 1);
        assert_eq!((functions[0].name.as_str(), functions[0].line, functions[0].lines), ("two", 3, 3));
    }
}
