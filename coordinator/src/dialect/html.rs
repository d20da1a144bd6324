//! Pages for people: plain HTML, no script, nothing to load. What clients named is escaped, always.

use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderMap, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpResponse, http::header::ContentType};
use std::fmt::{self, Write as _};

/// No script and nothing from elsewhere, whatever slipped in.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;\
vertical-align:top}th{background:#f3f3f3}code{font-size:.9em;word-break:break-all}.bad{color:#b00020;font-weight:600}\
.good{color:#0a6b2d}small{color:#555}";

/// Whether the client would rather have a page than JSON: it names HTML, as browsers do and programs do not.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.split(';').next().unwrap_or_default().trim() == "text/html")
}

/// Text as it may stand in an element or a quoted attribute.
pub fn escape(text: impl fmt::Display) -> String {
    text.to_string().chars().fold(String::new(), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Invisible characters could make one name look like another.
            c if c.is_control() => write!(escaped, "\\u{{{:x}}}", u32::from(c)).expect("a string takes writes"),
            c => escaped.push(c),
        }
        escaped
    })
}

/// A page with this title, which is escaped, and this body, which is HTML.
pub fn page(title: &str, body: &str) -> HttpResponse {
    let title = escape(title);
    HttpResponse::Ok()
        .insert_header(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn a_name_stays_a_name() {
        assert_eq!(
            escape("<img src=x onerror='a(\"b\")'>&\n"),
            "&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;&amp;\\u{a}"
        );
    }

    #[test]
    fn browsers_get_pages_and_programs_json() {
        let wanted =
            |accept: &'static str| is_wanted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        assert!(wanted("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(wanted("application/json, text/html;q=0.5"));
        assert!(!wanted("*/*") && !wanted("application/json") && !is_wanted(&HeaderMap::new()));
    }
}
