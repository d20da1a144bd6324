//! The bodies of batches: many shards in one request, so that small ones share round trips and fsyncs.
//!
//! ```text
//! put batch    frame*            frame = chunk id 16 · index 1 · zero 3 · length u32 LE · CRC32 of data u32 LE · data
//! other batch  id*               id    = chunk id 16 · index 1
//! answers      outcome*          outcome byte = 0 done, else an ErrorKind; one for each frame or id, in order
//!   to a read  outcome* frame*   a frame for each outcome 0, in order
//!   to a head  head*             head  = outcome 1 · length u32 LE · CRC32 u32 LE; zeros behind an outcome that is not 0
//! ```
//!
//! What it keeps true: a decoder never trusts a length before it checked it against a bound, and a cut or padded body is
//! `Invalid`, never a shorter batch.

use crate::{Error, ErrorKind, HeadOutcome, PutOutcome, Result, SHARD_BYTES_MAX, Shard, ShardHead, ShardId};
use bytes::{Buf, Bytes, BytesMut};

/// Length of a frame's header, in bytes.
pub const FRAME_HEADER_BYTES: usize = 28;

/// Length of what is told of one shard, in bytes.
const HEAD_BYTES: usize = 9;

/// The header that goes before the shard's data.
pub fn encode_frame_header(shard: &Shard) -> [u8; FRAME_HEADER_BYTES] {
    let mut header = [0; FRAME_HEADER_BYTES];
    header[..ShardId::BYTES].copy_from_slice(&shard.id.to_bytes());
    let length = u32::try_from(shard.data.len()).expect("a shard is shorter than SHARD_BYTES_MAX");
    header[20..24].copy_from_slice(&length.to_le_bytes());
    header[24..28].copy_from_slice(&shard.crc.to_le_bytes());
    header
}

/// A decoded frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Which shard follows.
    pub id: ShardId,
    /// Its length in bytes, at most [`SHARD_BYTES_MAX`].
    pub length: usize,
    /// CRC32 of its bytes.
    pub crc: u32,
}

impl FrameHeader {
    /// The header in these bytes; `Invalid` if it cannot be one.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader> {
        let mut id = [0; ShardId::BYTES];
        id.copy_from_slice(&bytes[..ShardId::BYTES]);
        if bytes[ShardId::BYTES..20] != [0; 3] {
            return Err(Error::invalid("frame: reserved bytes are not zero"));
        }
        let length = (&bytes[20..24]).get_u32_le() as usize;
        let crc = (&bytes[24..28]).get_u32_le();
        if length > SHARD_BYTES_MAX {
            return Err(Error::invalid(format!("frame: {length} bytes, at most {SHARD_BYTES_MAX} are accepted")));
        }
        Ok(FrameHeader { id: ShardId::from_bytes(id), length, crc })
    }
}

/// Takes the pieces of a body as they arrive and gives out whole shards. Holds one unfinished frame at most.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl FrameDecoder {
    /// Adds the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole shard, unverified; `None` until more arrived. `Invalid` for a frame that cannot be.
    pub fn next_shard(&mut self) -> Result<Option<Shard>> {
        let Some(header) = self.buffer.first_chunk() else { return Ok(None) };
        let FrameHeader { id, length, crc } = FrameHeader::decode(header)?;
        if self.buffer.len() < FRAME_HEADER_BYTES + length {
            self.buffer.reserve(FRAME_HEADER_BYTES + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEADER_BYTES);
        let data = self.buffer.split_to(length).freeze();
        Ok(Some(Shard { id, crc, data }))
    }

    /// `Invalid` if the body ended inside a frame.
    pub fn finish(self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!("frame: body ends {} bytes into a frame", self.buffer.len())))
    }
}

/// The body of a batch that names shards.
pub fn encode_ids(ids: &[ShardId]) -> Bytes {
    let mut body = Vec::with_capacity(ids.len() * ShardId::BYTES);
    for id in ids {
        body.extend_from_slice(&id.to_bytes());
    }
    body.into()
}

/// The ids in such a body.
pub fn decode_ids(body: &[u8]) -> Result<Vec<ShardId>> {
    let (ids, rest) = body.as_chunks::<{ ShardId::BYTES }>();
    if !rest.is_empty() {
        return Err(Error::invalid(format!("id list: {} bytes is not a multiple of {}", body.len(), ShardId::BYTES)));
    }
    Ok(ids.iter().map(|id| ShardId::from_bytes(*id)).collect())
}

/// The answer to a batch.
pub fn encode_outcomes(outcomes: &[PutOutcome]) -> Bytes {
    outcomes.iter().map(|outcome| outcome.err().map_or(0, |kind| kind as u8)).collect::<Vec<u8>>().into()
}

/// The outcomes in an answer; `Invalid` unless there are exactly `expected`.
pub fn decode_outcomes(body: &[u8], expected: usize) -> Result<Vec<PutOutcome>> {
    if body.len() != expected {
        return Err(Error::invalid(format!("batch answer: {} outcomes for {expected} shards", body.len())));
    }
    body.iter().map(|byte| decode_outcome(*byte)).collect()
}

fn decode_outcome(byte: u8) -> Result<PutOutcome> {
    if byte == 0 {
        return Ok(Ok(()));
    }
    let kind = ErrorKind::from_byte(byte);
    kind.map(Err).ok_or_else(|| Error::invalid(format!("batch answer: unknown outcome {byte}")))
}

/// The answer to a batch of questions about shards.
pub fn encode_heads(heads: &[HeadOutcome]) -> Bytes {
    let mut body = Vec::with_capacity(heads.len() * HEAD_BYTES);
    for head in heads {
        let (outcome, length, crc) = head.map_or_else(|kind| (kind as u8, 0, 0), |head| (0, head.length, head.crc));
        body.push(outcome);
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&crc.to_le_bytes());
    }
    body.into()
}

/// What such an answer says of the shards that were asked for; `Invalid` unless it speaks of each.
pub fn decode_heads(body: &[u8], asked: &[ShardId]) -> Result<Vec<HeadOutcome>> {
    let (heads, rest) = body.as_chunks::<HEAD_BYTES>();
    if heads.len() != asked.len() || !rest.is_empty() {
        return Err(Error::invalid(format!("batch answer: {} bytes for {} shards", body.len(), asked.len())));
    }
    let decode = |(bytes, id): (&[u8; HEAD_BYTES], &ShardId)| {
        let mut bytes = &bytes[..];
        let (outcome, length, crc) = (bytes.get_u8(), bytes.get_u32_le(), bytes.get_u32_le());
        Ok(decode_outcome(outcome)?.map(|()| ShardHead { id: *id, length, crc }))
    };
    heads.iter().zip(asked).map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkId;
    use uuid::Uuid;

    fn shard(n: u128, length: usize) -> Shard {
        Shard::new(ShardId { chunk: ChunkId(Uuid::from_u128(n)), index: 2 }, vec![n as u8; length].into())
    }

    #[test]
    fn a_batch_cut_anywhere_decodes_to_the_same_shards() {
        let shards = [shard(1, 0), shard(2, 5), shard(3, 300)];
        let mut body = Vec::new();
        for shard in &shards {
            body.extend_from_slice(&encode_frame_header(shard));
            body.extend_from_slice(&shard.data);
        }
        for cut in 0..body.len() {
            let mut decoder = FrameDecoder::default();
            let mut found = Vec::new();
            for piece in [&body[..cut], &body[cut..]] {
                decoder.push(piece);
                while let Some(shard) = decoder.next_shard().unwrap() {
                    shard.verify().unwrap();
                    found.push((shard.id, shard.data));
                }
            }
            decoder.finish().unwrap();
            assert_eq!(found, shards.iter().map(|s| (s.id, s.data.clone())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_body_that_ends_inside_a_frame_is_invalid() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&encode_frame_header(&shard(1, 5)));
        assert!(decoder.next_shard().unwrap().is_none());
        assert_eq!(decoder.finish().unwrap_err().kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_memory_is_taken() {
        let mut header = encode_frame_header(&shard(1, 0));
        header[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut decoder = FrameDecoder::default();
        decoder.push(&header);
        assert_eq!(decoder.next_shard().unwrap_err().kind, ErrorKind::Invalid);
    }

    #[test]
    fn ids_and_outcomes_round_trip() {
        let ids = [shard(1, 0).id, shard(2, 0).id];
        assert_eq!(decode_ids(&encode_ids(&ids)).unwrap(), ids);
        assert!(decode_ids(&[0; 18]).is_err());
        let outcomes = [Ok(()), Err(ErrorKind::Full)];
        assert_eq!(decode_outcomes(&encode_outcomes(&outcomes), 2).unwrap(), outcomes);
        assert!(decode_outcomes(&[0], 2).is_err());
        assert!(decode_outcomes(&[99], 1).is_err());
        let heads = [Ok(ShardHead { id: ids[0], length: 7, crc: 0xbeef }), Err(ErrorKind::NotFound)];
        let body = encode_heads(&heads);
        assert_eq!(decode_heads(&body, &ids).unwrap(), heads);
        assert!(decode_heads(&body, &ids[..1]).is_err(), "one too many");
        assert!(decode_heads(&body[..17], &ids).is_err(), "a byte short");
        assert!(decode_heads(&[99; 18], &ids).is_err(), "no outcome");
    }
}
