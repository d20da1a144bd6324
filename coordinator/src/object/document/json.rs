//! Reads JSON documents (RFC 8259) as text: what is wrong with one is found before anything is stored, and what is right stays as it was
//! written, but for the white space between tokens.
//!
//! What it keeps true:
//! - Numbers, strings and the order of keys come through letter by letter; no number passes through a float.
//! - What different readers take differently is refused: a key that is there twice in one object, however it is spelt, and half of a
//!   surrogate pair.
//! - Depth is bounded, so that no document exhausts a stack, here or in its reader.

use protocol::{Error, Result};
use std::borrow::Cow;

/// Objects and arrays within one another at most.
pub const DEPTH_MAX: usize = 128;

/// A member of an object, as it stands in compact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its key without escapes.
    pub name: Cow<'a, str>,
    /// Its key as it is written, with quotes.
    pub key: &'a str,
    /// Its value as it is written.
    pub value: &'a str,
}

/// The text of one value without white space between its tokens; `Invalid` says what is wrong, and at which byte.
pub fn compact(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::invalid(format!("the document is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut reader = Reader { text, at: 0, out: String::with_capacity(text.len()) };
    reader.value(0)?;
    reader.skip_space();
    match reader.at == text.len() {
        true => Ok(reader.out),
        false => Err(reader.wrong("there is more behind the value")),
    }
}

/// The members in a piece of compact text: of a whole object, or of a run of members with what separates them from others.
pub fn members(text: &str) -> Vec<Member<'_>> {
    let bytes = text.as_bytes();
    let mut members = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'"' {
            at += 1; // One of `{`, `,` and `}`.
            continue;
        }
        let colon = end_of_value(bytes, at);
        let end = end_of_value(bytes, colon + 1);
        let key = &text[at..colon];
        members.push(Member { name: unescaped(key), key, value: &text[colon + 1..end] });
        at = end;
    }
    members
}

/// One past the last byte of the value that starts here, in compact text that was checked.
fn end_of_value(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' => {
                at += 1;
                continue;
            }
            _ => at += bytes[at..].iter().take_while(|byte| !matches!(byte, b',' | b'}' | b']')).count(),
        }
        if depth == 0 {
            return at;
        }
    }
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What a string says. It was checked, so it is well formed.
fn unescaped(quoted: &str) -> Cow<'_, str> {
    match quoted.contains('\\') {
        false => Cow::Borrowed(&quoted[1..quoted.len() - 1]),
        true => Cow::Owned(serde_json::from_str(quoted).expect("a string that was checked")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    out: String,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &str) -> Error {
        Error::invalid(format!("the body is not a JSON document: {what}, at byte {}", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Copies what was read since `from`.
    fn keep(&mut self, from: usize) -> &'a str {
        let read = &self.text[from..self.at];
        self.out.push_str(read);
        read
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.wrong(what));
        }
        self.at += 1;
        self.out.push(char::from(byte));
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<()> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.wrong("a value was expected")),
            None => Err(self.wrong("it ends too early")),
        }
    }

    fn refuse_deeper(&self, depth: usize) -> Result<()> {
        match depth > DEPTH_MAX {
            true => Err(self.wrong(&format!("it is deeper than {DEPTH_MAX} levels"))),
            false => Ok(()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<()> {
        self.refuse_deeper(depth)?;
        self.take(b'{', "an object was expected")?;
        let mut names = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            return self.take(b'}', "");
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in quotes was expected"));
            }
            names.push(unescaped(self.string()?));
            self.skip_space();
            self.take(b':', "a colon was expected behind a key")?;
            self.value(depth)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.take(b',', "")?,
                _ => break,
            }
        }
        self.take(b'}', "a comma or the object's end was expected")?;
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(self.wrong(&format!("the key {:?} is there twice in one object", twice[0]))),
            None => Ok(()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<()> {
        self.refuse_deeper(depth)?;
        self.take(b'[', "an array was expected")?;
        self.skip_space();
        if self.peek() == Some(b']') {
            return self.take(b']', "");
        }
        loop {
            self.value(depth)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.take(b',', "")?,
                _ => return self.take(b']', "a comma or the array's end was expected"),
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("a value was expected"));
        }
        self.at += word.len();
        self.out.push_str(word);
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let digits = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits == 0 { Err(self.wrong("a digit was expected")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<()> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.keep(from);
        Ok(())
    }

    /// A string; what is returned has its quotes.
    fn string(&mut self) -> Result<&'a str> {
        let from = self.at;
        self.at += 1;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            self.at += rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.keep(from));
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.wrong("a control character in a string must be escaped")),
                None => return Err(self.wrong("a string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.code_unit()? {
                0xd800..=0xdbff => {
                    let is_pair = self.text[self.at..].starts_with("\\u") && {
                        self.at += 1;
                        matches!(self.code_unit()?, 0xdc00..=0xdfff)
                    };
                    if is_pair { Ok(()) } else { Err(self.wrong("half of a surrogate pair stands alone")) }
                }
                0xdc00..=0xdfff => Err(self.wrong("half of a surrogate pair stands alone")),
                _ => Ok(()),
            },
            _ => Err(self.wrong("no such escape")),
        }
    }

    /// The four digits behind `u`.
    fn code_unit(&mut self) -> Result<u16> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.wrong("four hexadecimal digits were expected"))?;
        let unit = digits.iter().fold(0, |unit, digit| unit << 4 | char::from(*digit).to_digit(16).unwrap_or(0) as u16);
        self.at += 5;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests;
