//! Counts the bytes of a form's parts by its delimiters, beside the parser that hands them out.
//!
//! What it keeps true: a form is taken only if its parts had all bytes that lie between their delimiters. The parser takes a carriage return
//! alone before `--boundary` for the end of a part, believes a part's own `Content-Length`, and passes over what is left either way: the
//! file would be stored without its end, and acknowledged.

use memchr::memmem::Finder;

const LINE_BREAK: &[u8] = b"\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What has been seen of a form.
pub(super) struct PartBytes {
    /// A line break, two dashes and the boundary (RFC 2046, 5.1.1).
    delimiter: Finder<'static>,
    head_end: Finder<'static>,
    at: At,
    /// The last bytes seen of what `at` says, one too few to hold the end of it.
    tail: Vec<u8>,
    total: u64,
}

/// What the next bytes belong to.
#[derive(Clone, Copy)]
enum At {
    Preamble,
    Head,
    /// So many bytes of it have come, or of the delimiter behind it.
    Body(u64),
}

impl PartBytes {
    /// Of a form with this boundary, of which nothing has come.
    pub(super) fn new(boundary: &str) -> PartBytes {
        let delimiter = [LINE_BREAK, b"--", boundary.as_bytes()].concat();
        PartBytes {
            delimiter: Finder::new(&delimiter).into_owned(),
            head_end: Finder::new(HEAD_END),
            at: At::Preamble,
            // The first delimiter may open the form, with no line before it.
            tail: LINE_BREAK.to_vec(),
            total: 0,
        }
    }

    /// The bytes of all parts that have ended.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes note of the next bytes of the form.
    pub(super) fn see(&mut self, mut piece: &[u8]) {
        while let Some(end) = self.find(piece) {
            self.at = match self.at {
                At::Preamble => At::Head,
                At::Head => At::Body(0),
                At::Body(bytes) => {
                    self.total += bytes + end as u64 - self.delimiter.needle().len() as u64;
                    At::Head
                }
            };
            self.tail.clear();
            piece = &piece[end..];
        }
        if let At::Body(bytes) = &mut self.at {
            *bytes += piece.len() as u64;
        }
        let most = self.end().needle().len() - 1;
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(most)..]);
        let surplus = self.tail.len().saturating_sub(most);
        self.tail.drain(..surplus);
    }

    /// What ends it.
    fn end(&self) -> &Finder<'static> {
        match self.at {
            At::Preamble | At::Body(_) => &self.delimiter,
            At::Head => &self.head_end,
        }
    }

    /// Where in `piece` that is past; it may have begun in the tail.
    fn find(&self, piece: &[u8]) -> Option<usize> {
        let end = self.end();
        let length = end.needle().len();
        let across = [&self.tail, &piece[..piece.len().min(length - 1)]].concat();
        let begun_before = end.find(&across).map(|at| at + length - self.tail.len());
        begun_before.or_else(|| end.find(piece).map(|at| at + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(form: &[u8], piece: usize) -> u64 {
        let mut seen = PartBytes::new("QQ");
        form.chunks(piece).for_each(|piece| seen.see(piece));
        seen.total()
    }

    #[test]
    fn parts_are_counted_however_the_form_is_cut_into_pieces() {
        let forms: [(&[u8], u64); 7] = [
            (b"--QQ\r\nA: b\r\n\r\nhello\r\n--QQ--\r\n", 5),
            (b"before\r\n--QQ\r\nA: b\r\n\r\nhello\r\n--QQ\r\nC: d\r\n\r\n\r\n--QQ\r\nE: f\r\n\r\nyou\r\n--QQ--\r\nafter\r\n\r\n", 8),
            (b"--QQ\r\nA: b\r\n\r\nhello \r--QQ rest\r\n--QQ--\r\n", 16),
            (b"--QQ\r\nA: b\r\n\r\nhello \n--QQ\r\r\n-\r\n--Q\r\n--QQ--", 20),
            (b"--QQ\r\nA: b\r\n\r\n\r\n\r\n\r\n--QQ--\r\n", 4),
            (b"--QQ\r\nA: b\r\n\r\nhel", 0),
            (b"--QQ--\r\n", 0),
        ];
        for (form, bytes) in forms {
            for piece in 1..=form.len() {
                assert_eq!(total(form, piece), bytes, "{} in pieces of {piece}", String::from_utf8_lossy(form));
            }
        }
    }
}
