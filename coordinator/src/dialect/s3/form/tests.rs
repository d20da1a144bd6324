//! What a form is read as: its fields, its policy, its key.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[test]
fn only_the_fields_before_the_file_lose_their_names() {
    let mut form = b"name=\"key\" name=\"X-Amz-Signature\" abc name=\"file\" name=\"signature\"".to_vec();
    let length = form.len();
    rename_signature(&mut form);
    assert_eq!(form.len(), length);
    assert_eq!(form, b"name=\"key\" name=\"x-ignore-signed\" abc name=\"file\" name=\"signature\"");
    for (name, ignored) in SIGNING {
        assert_eq!(name.len(), ignored.len());
    }
}

#[test]
fn a_key_may_ask_for_the_file_s_name() {
    let key = |key: &str, file: &str| {
        let mut form = form(&[
            &format!("form-data; name=\"Key\"\r\n\r\n{key}"),
            file,
            "form-data; name=\"after\"\r\n\r\n${filename}",
        ]);
        form.expand_keys().ok()?;
        assert!(form.bytes.ends_with(b"${filename}\r\n--x--\r\n"), "what follows the file is no field");
        Some(String::from_utf8(form.value("key")?.to_vec()).unwrap())
    };
    let cat = "form-data; name=\"file\"; filename=\"C:\\pictures\\cat.jpg\"\r\n\r\nfilename=\"x\"";
    assert_eq!(key("a/${filename}", cat).as_deref(), Some("a/cat.jpg"));
    assert_eq!(key("${filename}/b/${filename}", cat).as_deref(), Some("cat.jpg/b/cat.jpg"));
    assert_eq!(key("plain", cat).as_deref(), Some("plain"));
    assert_eq!(key("a/${filename}", "form-data; name=\"file\"\r\n\r\nfilename=\"x\"").as_deref(), Some("a/"));
    let named = |name: &str| format!("form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    assert_eq!(
        key("${filename}", &named("${filename}")).as_deref(),
        Some("${filename}"),
        "what is put in is no variable"
    );
    assert_eq!(key("${filename}", &named("a\nb")), None);
    assert_eq!(key(&"${filename}".repeat(200), &named("123456")), None, "such a key is too long");
}

/// A form of these parts.
fn form(parts: &[&str]) -> Form {
    let parts: String = parts.iter().map(|part| format!("--x\r\ncontent-disposition: {part}\r\n")).collect();
    Form { bytes: BytesMut::from(format!("{parts}--x--\r\n").as_bytes()), delimiter: b"\r\n--x".to_vec() }
}

#[test]
fn fields_are_told_by_their_names() {
    let form = form(&[
        "form-data; name=\"Key\"\r\n\r\nk name=\"acl\"\r\n\r\nname=\"file\"",
        "form-data; name=\"X-Amz-Checksum-SHA512\"\r\n\r\nAA==",
        "form-data; name=\"file\"; filename=\"a\"\r\n\r\nname=\"content\"",
        "form-data; name=\"after\"\r\n\r\nit",
    ]);
    let names = form.field_names();
    assert_eq!(names, ["key", "x-amz-checksum-sha512"], "what a value says is no field, nor is what follows the file");
    assert!(refuse_unknown_names(names.iter().map(String::as_str)).is_err());
    assert_eq!(form.value("x-amz-checksum-sha512"), Some(&b"AA=="[..]));
}

#[test]
fn no_policy_hides_behind_another() {
    let policy = |conditions: &str| {
        let text = format!("{{\"expiration\":\"2030-01-01T00:00:00Z\",\"conditions\":{conditions}}}");
        format!("form-data; name=\"Policy\"\r\n\r\n{}", STANDARD.encode(text))
    };
    let (good, bad) = (policy(r#"[{"bucket":"b"}]"#), policy("[]"));
    let file = "form-data; name=\"file\"\r\n\r\nbytes";
    let tight = bad.replace("; ", ";");
    let decoy = "form-data; name=\"x-ignore-a\"\r\n\r\nname=\"file\"";
    assert!(form(&[&good, file]).require_policy_of_bucket().is_ok());
    for parts in [&[&bad, file][..], &[&good, &bad, file], &[&bad, &good, file], &[decoy, &bad, file], &[&tight, file]]
    {
        assert!(form(parts).require_policy_of_bucket().is_err(), "{parts:?}");
    }
    assert!(form(&[file]).require_policy_of_bucket().is_ok(), "there is none");
    // What other parsers make something else of.
    let line_feeds = bad.replace("\r\n\r\n", "\n\n");
    let of_type = "form-data; name=\"a\"\r\nx: name=\"file\"\r\n\r\n--x";
    let nested = format!("form-data; name=\"a\"\r\n\r\n\r\n--xzz\r\ncontent-disposition: {file}");
    let far = format!("form-data; name=\"a\"\r\n\r\n{}", "a".repeat(FORM_FIELDS_BYTES_MAX));
    for parts in [&[&*line_feeds, file][..], &[&nested, &bad, file], &[&far, &bad, file]] {
        assert!(form(parts).require_policy_of_bucket().is_err(), "{}", parts[0].len());
    }
    assert!(form(&[of_type, &good, file]).require_policy_of_bucket().is_ok());
}

#[test]
fn tags_are_those_that_every_policy_lets() {
    let policy = |conditions: &str| {
        let text = format!("{{\"expiration\":\"2030-01-01T00:00:00Z\",\"conditions\":{conditions}}}");
        format!("form-data; name=\"policy\"\r\n\r\n{}", STANDARD.encode(text))
    };
    let document =
        |key: &str| format!("<Tagging><TagSet><Tag><Key>{key}</Key><Value>1</Value></Tag></TagSet></Tagging>");
    let field = |key: &str| format!("form-data; name=\"tagging\"\r\n\r\n{}", document(key));
    let exact = policy(&format!(r#"[{{"bucket":"b"}},{{"tagging":"{}"}}]"#, document("a")));
    let any = policy(r#"[{"bucket":"b"},["starts-with","$tagging",""]]"#);
    let silent = policy(r#"[{"bucket":"b"}]"#);
    let file = "form-data; name=\"file\"\r\n\r\nbytes";
    let (a, other) = (field("a"), field("other"));
    for parts in [&[&*a, file][..], &[&exact, &a, file], &[&any, &other, file], &[&any, &exact, &a, file]] {
        let SentTags(tags) = form(parts).tags().unwrap().unwrap();
        assert_eq!(tags.len(), 1, "{parts:?}");
    }
    for parts in
        [&[&*exact, &other, file][..], &[&silent, &a, file], &[&any, &exact, &other, file], &[&any, &a, &a, file]]
    {
        assert!(form(parts).tags().is_err(), "{parts:?}");
    }
    assert!(form(&[&exact, file]).tags().is_err(), "the policy wants them, whatever the library takes for them");
    for parts in [&[file][..], &[&silent, file], &[&any, file]] {
        assert!(form(parts).tags().unwrap().is_none(), "{parts:?}");
    }
    // What the library takes for another field, whose policy it does not ask about tags.
    let hidden = format!("form-data; name=\"x-ignore-a\"\r\n\r\n{}", document("b"));
    let posing = format!("x: ; name=\"tagging\"\r\ncontent-disposition: {hidden}");
    assert!(form(&[&silent, &posing, file]).tags().is_err());
}

#[test]
fn a_policy_is_about_a_bucket() {
    let policy = |conditions: &str| {
        let text = format!("{{\"expiration\":\"2030-01-01T00:00:00Z\",\"conditions\":{conditions}}}");
        names_a_bucket(&PostPolicy::from_json(&text).unwrap())
    };
    assert!(policy(r#"[{"key":"k"},{"bucket":"b"}]"#) && policy(r#"[["eq","$Bucket","b"]]"#));
    assert!(!policy("[]") && !policy(r#"[{"key":"bucket"},["starts-with","$key","bucket"]]"#));
}
