//! Names are opaque: they round-trip, they never collide, they never become paths (faults row 79).

use std::collections::BTreeSet;
use testing::real::{Cluster, Form, RawReply, encode, scan_for};

/// Part of every name that tries to leave; nothing on disk may be called so.
const ESCAPE: &str = "holdfast-escape-7f3a";

#[tokio::test]
async fn awkward_names_round_trip_and_stay_apart() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let names = awkward_names();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "the list names each once");
    for (n, name) in names.iter().enumerate() {
        let form = Form::new().text("filename", name).file("x", format!("content {n}").as_bytes());
        let reply = client.send(client.upload_form(form)).await.expect(201).json();
        assert_eq!((&reply["filename"], &reply["version"]), (&name.as_str().into(), &1.into()), "{name:?} collides");
    }
    for (n, name) in names.iter().enumerate() {
        let expected = format!("content {n}");
        let reply = client.download(name, None).await.expect(200);
        assert_eq!(reply.body, expected, "{name:?}");
        assert!(reply.headers.get("set-cookie").is_none(), "{name:?} broke out of its header");
        // The path door, by hand: client libraries tidy paths up.
        let request = format!("GET /files/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", encode(name.as_bytes()));
        let reply = RawReply::to(cluster.coordinator.port, request).await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, expected.as_bytes()), "{name:?} by path");
        assert_eq!(client.versions(name).await.len(), 1, "{name:?}");
    }
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(client.names("").await, sorted);
    for name in &names {
        assert_eq!(client.delete(name).await, format!("{name} deleted successfully"));
    }
    assert!(client.names("").await.is_empty());
    nothing_escaped(&cluster);
}

#[tokio::test]
async fn names_that_are_none_are_refused_everywhere() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let long = "k".repeat(1_025).into_bytes();
    let long_in_bytes = "é".repeat(513).into_bytes();
    for name in [&b""[..], b"a\0b", b"\0", b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xaf", &long, &long_in_bytes]
    {
        let form = Form::new().text("filename", name).file("x", b"content");
        let reply = client.send(client.upload_form(form)).await.expect(400);
        assert!(!reply.error().is_empty(), "{name:?}: {reply}");
        let late = Form::new().file("x", b"content").text("filename", name);
        client.send(client.upload_form(late)).await.expect(400);
        let encoded = encode(name);
        client.get(&format!("/download?filename={encoded}")).await.expect(400);
        client.get(&format!("/versions?filename={encoded}")).await.expect(400);
        client.send(client.request(reqwest::Method::DELETE, &format!("/delete?filename={encoded}"))).await.expect(400);
        let request = format!("GET /files/{encoded} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = RawReply::to(cluster.coordinator.port, request).await;
        assert_eq!(reply.status, 400, "{name:?} by path: {}", String::from_utf8_lossy(&reply.body));
    }
    assert!(client.names("").await.is_empty());
}

#[tokio::test]
async fn a_name_of_the_file_part_is_as_opaque_as_any() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for name in [format!("../../{ESCAPE}"), format!("/tmp/{ESCAPE}"), "C:\\\\x".to_owned(), "naïve.txt".to_owned()] {
        let reply = client.send(client.upload_form(Form::new().file(&name, b"content"))).await.expect(201).json();
        let told = reply["filename"].as_str().expect("a name").to_owned();
        assert_eq!(told.replace('\\', ""), name.replace('\\', ""), "{reply}");
        assert_eq!(client.download(&told, None).await.expect(200).body, "content");
    }
    nothing_escaped(&cluster);
}

/// Plain names all of them, however they look.
const AWKWARD_NAMES: [&str; 61] = [
    "..",
    ".",
    "...",
    "../..",
    "a/../b",
    "a/./b",
    "/",
    "//",
    "a//b",
    "/leading",
    "trailing/",
    "%2e%2e%2f",
    "..%2f..",
    "%00",
    "%ff",
    "%",
    "%zz",
    "a#b",
    "a?b=c",
    "a+b",
    "a b",
    "a%20b",
    "a&b=c",
    "a=b",
    "a;b",
    " ",
    "  ",
    " lead",
    "trail ",
    "\u{e9}",
    "e\u{301}",
    "日本語",
    "🙂",
    "\u{202e}rtl",
    "\u{feff}bom",
    "a\tb",
    "a\nb",
    "a\r\nSet-Cookie: x=1",
    "\u{1}",
    "\u{7f}",
    "\\",
    "..\\..\\x",
    "\"quoted\"",
    "'",
    "`id`",
    "$(id)",
    "<script>",
    "null",
    "files",
    "CON",
    "~",
    "-rf",
    "*",
    "A",
    "a",
    "x",
    "\u{fffd}",
    "İ",
    "ß",
    "SS",
    "版本/1?version=2",
];

fn awkward_names() -> Vec<String> {
    let mut names: Vec<String> = AWKWARD_NAMES.map(str::to_owned).to_vec();
    names.push("k".repeat(1_024));
    names.push("é".repeat(512));
    for place in ["../../../../../../tmp/", "/tmp/", "./", "~/", "data/n1/"] {
        names.push(format!("{place}{ESCAPE}"));
    }
    names
}

fn nothing_escaped(cluster: &Cluster) {
    let temporary = std::env::temp_dir();
    for dir in [cluster.root(), temporary.as_path()] {
        let deep = dir == cluster.root();
        let found = if deep { scan_for(dir, ESCAPE) } else { vec![dir.join(ESCAPE)] };
        let found: Vec<_> = found.into_iter().filter(|path| path.exists()).collect();
        assert!(found.is_empty(), "a client's name became a path: {found:?}");
    }
    assert!(scan_for(&cluster.root().join("cwd"), "").len() == 1, "something lies where the processes run");
    let mut entries: Vec<String> = std::fs::read_dir(cluster.root().join("data"))
        .expect("the data directory is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    entries.sort();
    assert_eq!(entries, ["cluster.json", "coordinator", "n1", "n2", "n3", "n4"]);
}
