//! Takes a framed body apart as its pieces arrive, without copying them.
//!
//! What it keeps true: nothing is stored of a body that is cut, padded or misframed; a frame whose bytes do not match its CRC costs
//! only itself.

use crate::store::Arrived;
use bytes::Bytes;
use protocol::{Error, ErrorKind, FRAME_HEADER_BYTES, FrameHeader, PutOutcome, Result};

/// The frames of one body so far.
pub(super) struct Frames {
    shards_max: usize,
    /// Bytes of a header that is not whole yet.
    head: Vec<u8>,
    open: Option<Open>,
    sound: Vec<Arrived>,
    outcomes: Vec<PutOutcome>,
}

/// The frame that is arriving.
struct Open {
    header: FrameHeader,
    data: Vec<Bytes>,
    missing: usize,
    hasher: crc32fast::Hasher,
}

impl Frames {
    pub(super) fn new(shards_max: usize) -> Frames {
        let head = Vec::with_capacity(FRAME_HEADER_BYTES);
        Frames { shards_max, head, open: None, sound: Vec::new(), outcomes: Vec::new() }
    }

    /// Adds the next piece of the body.
    pub(super) fn push(&mut self, mut piece: Bytes) -> Result<()> {
        while !piece.is_empty() {
            match self.open.take() {
                Some(open) => self.take_data(open, &mut piece),
                None => self.take_header(&mut piece)?,
            }
        }
        Ok(())
    }

    fn take_header(&mut self, piece: &mut Bytes) -> Result<()> {
        let count = piece.len().min(FRAME_HEADER_BYTES - self.head.len());
        self.head.extend_from_slice(&piece.split_to(count));
        let Ok(bytes) = <&[u8; FRAME_HEADER_BYTES]>::try_from(&self.head[..]) else { return Ok(()) };
        let header = FrameHeader::decode(bytes)?;
        if self.outcomes.len() == self.shards_max {
            return Err(Error::invalid(format!("more than {} shards in one request", self.shards_max)));
        }
        self.head.clear();
        let open = Open { header, data: Vec::new(), missing: header.length, hasher: crc32fast::Hasher::new() };
        self.keep(open);
        Ok(())
    }

    fn take_data(&mut self, mut open: Open, piece: &mut Bytes) {
        let data = piece.split_to(piece.len().min(open.missing));
        open.missing -= data.len();
        open.hasher.update(&data);
        open.data.push(data);
        self.keep(open);
    }

    /// Goes on with a frame, or counts it if it is whole.
    fn keep(&mut self, open: Open) {
        if open.missing > 0 {
            self.open = Some(open);
            return;
        }
        let FrameHeader { id, crc, .. } = open.header;
        let sound = open.hasher.finalize() == crc;
        self.outcomes.push(if sound { Ok(()) } else { Err(ErrorKind::Corrupt) });
        if sound {
            self.sound.push(Arrived { id, crc, data: open.data });
        }
    }

    /// The shards whose bytes matched; and one outcome for each frame, `Ok` for these.
    pub(super) fn finish(self) -> Result<(Vec<Arrived>, Vec<PutOutcome>)> {
        if !self.head.is_empty() || self.open.is_some() {
            return Err(Error::invalid("frame: the body ends inside one"));
        }
        Ok((self.sound, self.outcomes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{ChunkId, Shard, ShardId, encode_frame_header};
    use uuid::Uuid;

    fn shard(n: u128, length: usize) -> Shard {
        Shard::new(ShardId { chunk: ChunkId(Uuid::from_u128(n)), index: 1 }, vec![n as u8; length].into())
    }

    fn body(shards: &[Shard]) -> Vec<u8> {
        let frame = |shard: &Shard| [&encode_frame_header(shard)[..], &shard.data].concat();
        shards.iter().flat_map(frame).collect()
    }

    fn decode(pieces: &[&[u8]], shards_max: usize) -> Result<(Vec<Arrived>, Vec<PutOutcome>)> {
        let mut frames = Frames::new(shards_max);
        pieces.iter().try_for_each(|piece| frames.push(Bytes::copy_from_slice(piece)))?;
        frames.finish()
    }

    #[test]
    fn a_body_cut_in_pieces_anywhere_decodes_to_the_same_shards() {
        let shards = [shard(1, 0), shard(2, 5), shard(3, 90), shard(4, 0)];
        let body = body(&shards);
        for cut in 0..=body.len() {
            let (found, outcomes) = decode(&[&body[..cut], &body[cut..]], 9).unwrap();
            assert_eq!(outcomes, [Ok(()); 4]);
            for (found, shard) in found.iter().zip(&shards) {
                assert_eq!((found.id, found.crc, found.data.concat()), (shard.id, shard.crc, shard.data.to_vec()));
            }
        }
    }

    #[test]
    fn a_body_that_ends_inside_a_frame_is_invalid_whole() {
        let body = body(&[shard(1, 4), shard(2, 5)]);
        for cut in (1..body.len()).filter(|cut| *cut != FRAME_HEADER_BYTES + 4) {
            assert_eq!(decode(&[&body[..cut]], 9).unwrap_err().kind, ErrorKind::Invalid, "{cut}");
        }
    }

    #[test]
    fn a_damaged_frame_costs_itself_and_too_many_frames_all() {
        let shards = [shard(1, 4), shard(2, 5), shard(3, 6)];
        let mut bytes = body(&shards);
        bytes[FRAME_HEADER_BYTES * 2 + 4] ^= 1;
        let (found, outcomes) = decode(&[&bytes], 3).unwrap();
        assert_eq!(outcomes, [Ok(()), Err(ErrorKind::Corrupt), Ok(())]);
        assert_eq!(found.len(), 2);
        assert_eq!(decode(&[&bytes], 2).unwrap_err().kind, ErrorKind::Invalid);
    }
}
