//! Counts the bytes of a form's parts by its delimiters, beside the parser that hands them out.
//!
//! What it keeps true: a form is taken only if it has ended, and each of its parts had all bytes that lie between its delimiters. The parser
//! takes a carriage return alone before `--boundary` for the end of a part, believes a part's own `Content-Length`, and reads a head to an
//! empty line that a line feed alone may end, but passes over it to one of CRLF (decision 0099). What lies between is dropped: the file would
//! be stored without it, and acknowledged.

use memchr::memmem::Finder;

/// In bytes; RFC 2046 allows 70 (5.1.1), and some go further. Each piece is searched together with so many bytes before it.
pub(super) const BOUNDARY_BYTES_MAX: usize = 256;

/// What has been seen of a form.
pub(super) struct PartBytes {
    /// A line break, two dashes and the boundary (RFC 2046, 5.1.1).
    delimiter: Finder<'static>,
    /// The first one: what comes before it may have other line ends.
    first: Finder<'static>,
    at: At,
    /// The last bytes seen of a preamble or body, one too few to hold its end.
    tail: Vec<u8>,
    /// Bytes of each part that has ended.
    parts: Vec<u64>,
}

/// What the next bytes belong to.
#[derive(Clone, Copy)]
enum At {
    Preamble,
    /// The rest of a delimiter's line, of which so many dashes have come.
    Delimiter(u8),
    /// A head, whose line has so far come to nothing or not.
    Head {
        is_empty: bool,
    },
    /// So many bytes of it have come, or of the delimiter behind it.
    Body(u64),
    /// Behind the last delimiter, where nothing counts.
    Epilogue,
}

impl PartBytes {
    /// Of a form with this boundary, of which nothing has come.
    pub(super) fn new(boundary: &str) -> PartBytes {
        let delimiter = ["\r\n--", boundary].concat();
        PartBytes {
            delimiter: Finder::new(&delimiter).into_owned(),
            first: Finder::new(&delimiter[1..]).into_owned(),
            at: At::Preamble,
            // The first delimiter may open the form, with no line before it.
            tail: b"\n".to_vec(),
            parts: Vec::new(),
        }
    }

    /// The bytes of each part; `None` before the form has ended.
    pub(super) fn of_parts(&self) -> Option<&[u64]> {
        matches!(self.at, At::Epilogue).then_some(&self.parts)
    }

    /// Takes note of the next bytes of the form.
    pub(super) fn see(&mut self, mut piece: &[u8]) {
        while let Some((&byte, rest)) = piece.split_first() {
            piece = match self.at {
                At::Preamble => self.pass(piece, 0),
                At::Body(bytes) => self.pass(piece, bytes),
                At::Delimiter(dashes) => {
                    self.at = match (byte, dashes) {
                        (b'\n', _) => At::Head { is_empty: true },
                        (b'-', 1) => At::Epilogue,
                        (b'-', 0) => At::Delimiter(1),
                        _ => At::Delimiter(u8::MAX),
                    };
                    rest
                }
                At::Head { is_empty } => {
                    self.at = match byte {
                        b'\n' if is_empty => At::Body(0),
                        b'\n' => At::Head { is_empty: true },
                        b'\r' => At::Head { is_empty },
                        _ => At::Head { is_empty: false },
                    };
                    rest
                }
                At::Epilogue => return,
            };
        }
    }

    /// Passes a preamble, or a body of which `bytes` came before; gives what comes behind its delimiter.
    fn pass<'a>(&mut self, piece: &'a [u8], bytes: u64) -> &'a [u8] {
        let is_body = matches!(self.at, At::Body(_));
        let end = if is_body { &self.delimiter } else { &self.first };
        let length = end.needle().len();
        let across = [&self.tail, &piece[..piece.len().min(length - 1)]].concat();
        let begun_before = end.find(&across).map(|at| at + length - self.tail.len());
        if let Some(end) = begun_before.or_else(|| end.find(piece).map(|at| at + length)) {
            if is_body {
                self.parts.push(bytes + end as u64 - length as u64);
            }
            self.at = At::Delimiter(0);
            self.tail.clear();
            return &piece[end..];
        }
        if is_body {
            self.at = At::Body(bytes + piece.len() as u64);
        }
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(length - 1)..]);
        let surplus = self.tail.len().saturating_sub(length - 1);
        self.tail.drain(..surplus);
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(form: &[u8], piece: usize) -> Option<Vec<u64>> {
        let mut seen = PartBytes::new("QQ");
        form.chunks(piece).for_each(|piece| seen.see(piece));
        seen.of_parts().map(<[u64]>::to_vec)
    }

    #[test]
    fn parts_are_counted_however_the_form_is_cut_into_pieces() {
        let forms: [(&[u8], &[u64]); 8] = [
            (b"--QQ\r\nA: b\r\n\r\nhello\r\n--QQ--\r\n", &[5]),
            (b"before\r\n--QQ\r\nA: b\r\n\r\nhello\r\n--QQ\r\nC: d\r\n\r\n\r\n--QQ\r\nE: f\r\n\r\nyou\r\n--QQ--\r\nafter", &[5, 0, 3]),
            (b"--QQ\r\nA: b\r\n\r\nhello \r--QQ rest\r\n--QQ--\r\n", &[16]),
            (b"--QQ\r\nA: b\r\n\r\nhello \n--QQ\r\r\n-\r\n--Q\r\n--QQ--", &[20]),
            (b"--QQ\r\nA: b\r\n\r\n\r\n\r\n\r\n--QQ--\r\n", &[4]),
            (b"before\n--QQ\r\nA: b\r\n\r\nhello\r\n--QQ--\r\n\r\n\r\n--QQ\r\n\r\nno part\r\n--QQ--\r\n", &[5]),
            (b"--QQ\r\nA: b\r\n\nhello\r\n\r\nyou\r\n--QQ--\r\n", &[12]),
            (b"--QQ--\r\n", &[]),
        ];
        for (form, bytes) in forms {
            for piece in 1..=form.len() {
                let told = String::from_utf8_lossy(form);
                assert_eq!(parts(form, piece).as_deref(), Some(bytes), "{told} in pieces of {piece}");
            }
        }
        assert_eq!(parts(b"--QQ\r\nA: b\r\n\r\nhello\n--QQ--\r\n", 7), None, "it has not ended");
    }
}
