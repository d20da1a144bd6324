//! A server that takes whatever is posted to it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Takes requests until the test ends; `answer` is given each body and says the status.
pub async fn receive(listener: TcpListener, answer: impl Fn(&[u8]) -> &'static str + Clone + Send + 'static) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, answer.clone()));
    }
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&[u8]) -> &'static str) {
    let mut request = Vec::new();
    let status = loop {
        if let Some(body) = body_of(&request) {
            break answer(body);
        }
        let mut piece = [0; 16 << 10];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&piece[..length]),
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Whoever asked may have gone.
    stream.write_all(answer.as_bytes()).await.ok();
}

/// The body, once all of it is there.
fn body_of(request: &[u8]) -> Option<&[u8]> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a length is a number"));
    request.get(end + 4..end + 4 + length)
}
