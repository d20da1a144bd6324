//! The body of a request that stores many shards.

use bytes::{Bytes, BytesMut};
use protocol::{FRAME_HEADER_BYTES, Shard, encode_frame_header};

/// Shards up to this size are copied into a batch's body: that costs less than writing them as pieces of their own.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// The pieces of a batch's body: small shards are copied together with the frame headers, large ones are shared.
pub(super) fn frame(shards: &[Shard]) -> Vec<Bytes> {
    let is_small = |shard: &Shard| shard.data.len() <= COPIED_BYTES_MAX;
    let copied: usize = shards.iter().filter(|shard| is_small(shard)).map(|shard| shard.data.len()).sum();
    let mut buffer = BytesMut::with_capacity(copied + shards.len() * FRAME_HEADER_BYTES);
    let mut pieces = Vec::new();
    for shard in shards {
        buffer.extend_from_slice(&encode_frame_header(shard));
        if is_small(shard) {
            buffer.extend_from_slice(&shard.data);
        } else {
            pieces.push(buffer.split().freeze());
            pieces.push(shard.data.clone());
        }
    }
    if !buffer.is_empty() {
        pieces.push(buffer.freeze());
    }
    pieces
}
