//! What goes over the wire, seen by a server that answers what it is told to.

use super::*;
use crate::http::head;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// A server for one connection that answers each request with the next reply and hands back what it was sent.
fn server(replies: Vec<String>) -> (Endpoint, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::local(listener.local_addr().unwrap().port());
    let server = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        replies.iter().map(|reply| exchange(&mut reader, &stream, reply)).collect()
    });
    (endpoint, server)
}

fn exchange(mut reader: &mut BufReader<std::net::TcpStream>, mut stream: &std::net::TcpStream, reply: &str) -> String {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut request).unwrap() > 0, "a whole head");
    }
    let length = request.split_once("content-length: ").map_or("0", |(_, rest)| rest.split_once("\r\n").unwrap().0);
    let mut body = vec![0; length.parse().unwrap()];
    (&mut reader).read_exact(&mut body).unwrap();
    stream.write_all(reply.as_bytes()).unwrap();
    request + &String::from_utf8_lossy(&body)
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\netag: \"e\"\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn bucket(endpoint: Endpoint) -> Driver {
    let keys = Keys { access_key: "a".to_owned(), secret_key: "s".to_owned(), region: "us-east-1".to_owned() };
    Driver::S3(Bucket { endpoint, name: "b".to_owned(), keys, payload: Payload::Unsigned })
}

#[test]
fn an_upload_is_sent_whole() {
    let (endpoint, server) = server(vec![reply("201 Created", "{}")]);
    let body = Body::Random(Random { seed: 1, length_bytes: 300_000 });
    Session::new(Driver::Native(endpoint)).put("a", &body).unwrap();
    let request = server.join().unwrap().remove(0);
    assert!(request.ends_with(&native::form_end()));
}

#[test]
fn other_bytes_than_were_put_are_an_error() {
    let expected = Random { seed: 1, length_bytes: 5 };
    for body in ["five!", "more than five"] {
        let (endpoint, _server) = server(vec![reply("200 OK", body)]);
        assert!(Session::new(Driver::Native(endpoint)).get("a", expected, Verify::Full).is_err());
        let (endpoint, _server) = server(vec![reply("200 OK", body)]);
        assert!(Session::new(bucket(endpoint)).get("a", expected, Verify::Full).is_err());
    }
}

#[test]
fn a_refusal_is_quoted_and_the_connection_goes_on() {
    let replies =
        vec![reply("503 Service Unavailable", "two nodes are down"), reply("404 Not Found", "{}"), reply("200 OK", "")];
    let (endpoint, server) = server(replies);
    let mut session = Session::new(Driver::Native(endpoint.clone()));
    let nothing = Random { seed: 1, length_bytes: 0 };
    let error = session.get("a", nothing, Verify::Sampled).unwrap_err();
    assert_eq!(error.to_string(), "status 503: two nodes are down");
    session.refuse(BadRequest::MissingFile).unwrap();
    assert!(session.refuse(BadRequest::MissingFile).is_err(), "what must be refused was not");
    let asked = head("GET", "/download?filename=bench-never-stored", &endpoint, "", 0);
    assert_eq!(server.join().unwrap()[2].as_bytes(), asked);
}

#[test]
fn parts_are_sent_and_named_when_the_upload_is_completed() {
    let begun = reply("200 OK", "<R><UploadId>u1</UploadId></R>");
    let completed = reply("200 OK", "<R><ETag>\"e-3\"</ETag></R>");
    let part = || reply("200 OK", "");
    let (endpoint, server) = server(vec![begun, part(), part(), part(), completed]);
    let body = Body::Random(Random { seed: 1, length_bytes: 2 * PIECE_BYTES as u64 + 5 });
    Session::new(bucket(endpoint)).put_in_parts("k", &body, PIECE_BYTES).unwrap();
    let requests = server.join().unwrap();
    assert!(requests[0].starts_with("POST /b/k?uploads= HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[3].starts_with("PUT /b/k?partNumber=3&uploadId=u1 HTTP/1.1\r\n"));
    assert!(requests[3].contains("content-length: 5\r\n"));
    let named = "<Part><PartNumber>3</PartNumber><ETag>\"e\"</ETag></Part></CompleteMultipartUpload>";
    assert!(requests[4].starts_with("POST /b/k?uploadId=u1 HTTP/1.1\r\n") && requests[4].ends_with(named));
}

#[test]
fn a_completion_that_turns_into_an_error_is_one() {
    let begun = reply("200 OK", "<R><UploadId>u1</UploadId></R>");
    let failed = reply("200 OK", "<Error><Code>InternalError</Code></Error>");
    let (endpoint, _server) = server(vec![begun, reply("200 OK", ""), failed]);
    let body = Body::Random(Random { seed: 1, length_bytes: 5 });
    let error = Session::new(bucket(endpoint)).put_in_parts("k", &body, PIECE_BYTES).unwrap_err();
    assert!(error.to_string().contains("InternalError"), "{error}");
}

#[test]
fn a_page_with_other_keys_is_an_error() {
    let page = || reply("200 OK", "<R><Key>p-1</Key><Key>p-2</Key></R>");
    let (endpoint, server) = server(vec![page(), page()]);
    let mut session = Session::new(bucket(endpoint));
    let names = |numbers: &[u32]| -> Vec<String> { numbers.iter().map(|number| format!("p-{number}")).collect() };
    session.list("p-", "p-0", &names(&[1, 2])).unwrap();
    assert!(session.list("p-", "p-0", &names(&[1, 3])).is_err());
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("GET /b?list-type=2&prefix=p-&start-after=p-0 HTTP/1.1\r\n"), "{request}");
}

#[test]
fn a_page_of_folders_is_compared_too() {
    let page = || reply("200 OK", "<R><Prefix>p/</Prefix><CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes></R>");
    let (endpoint, server) = server(vec![page(), page()]);
    let mut session = Session::new(bucket(endpoint));
    session.list_folders("p/", "p/0", &["p/a/".to_owned()]).unwrap();
    assert!(session.list_folders("p/", "p/0", &[]).is_err());
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("GET /b?delimiter=%2F&list-type=2&prefix=p%2F&start-after=p%2F0 HTTP"), "{request}");
}
