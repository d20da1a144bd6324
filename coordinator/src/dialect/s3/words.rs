//! Metadata in headers: what is not plain ASCII travels as encoded words (RFC 2047), as S3 sends it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of text in an encoded word, which has 75 characters at most with its frame.
const WORD_BYTES_MAX: usize = 45;

/// The text as a header can carry it.
pub fn encoded(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t') {
        return text.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if word.len() + c.len_utf8() > WORD_BYTES_MAX {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let framed: Vec<String> = words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word))).collect();
    framed.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_and_other_text_is_framed() {
        assert_eq!(encoded("plain, =text="), "plain, =text=");
        assert_eq!(encoded("gr\u{fc}n"), "=?UTF-8?B?Z3LDvG4=?=");
        let long = "\u{e9}".repeat(50);
        let words = encoded(&long);
        assert!(words.split(' ').all(|word| word.len() <= 75 && word.starts_with("=?UTF-8?B?")), "{words}");
        let decode = |word: &str| STANDARD.decode(&word[10..word.len() - 2]).unwrap();
        let back: Vec<u8> = words.split(' ').flat_map(decode).collect();
        assert_eq!(String::from_utf8(back).unwrap(), long);
    }
}
