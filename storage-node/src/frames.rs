//! Takes a framed body apart as its pieces arrive: checked and copied while they are in the processor's cache. (Keeping the pieces
//! instead costs more: the server then cannot use its read buffer again, and grows a new one for each.)
//!
//! What it keeps true: nothing is stored of a body that is cut, padded or misframed; a frame whose bytes do not match its CRC costs
//! only itself.

use protocol::{Error, ErrorKind, FRAME_HEADER_BYTES, FrameHeader, PutOutcome, Result, Shard};
use segments::buffers::{self, Buffer};

/// The frames of one body so far.
pub(crate) struct Frames {
    shards_max: usize,
    /// Bytes of a header that is not whole yet.
    head: Vec<u8>,
    open: Option<Open>,
    sound: Vec<Shard>,
    outcomes: Vec<PutOutcome>,
}

/// The frame that is arriving.
struct Open {
    header: FrameHeader,
    data: Buffer,
    hasher: crc32fast::Hasher,
}

impl Frames {
    pub(crate) fn new(shards_max: usize) -> Frames {
        let head = Vec::with_capacity(FRAME_HEADER_BYTES);
        Frames { shards_max, head, open: None, sound: Vec::new(), outcomes: Vec::new() }
    }

    /// Adds the next piece of the body.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            piece = match self.open.take() {
                Some(open) => self.take_data(open, piece),
                None => self.take_header(piece)?,
            };
        }
        Ok(())
    }

    /// Takes of a piece what belongs to a header; returns the rest.
    fn take_header<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8]> {
        let (part, rest) = piece.split_at(piece.len().min(FRAME_HEADER_BYTES - self.head.len()));
        self.head.extend_from_slice(part);
        let Ok(bytes) = <&[u8; FRAME_HEADER_BYTES]>::try_from(&self.head[..]) else { return Ok(rest) };
        let header = FrameHeader::decode(bytes)?;
        if self.outcomes.len() == self.shards_max {
            return Err(Error::invalid(format!("more than {} shards in one request", self.shards_max)));
        }
        self.head.clear();
        // The length was checked against its bound, and the body's against the memory there is.
        self.keep(Open { header, data: buffers::take(header.length), hasher: crc32fast::Hasher::new() });
        Ok(rest)
    }

    /// Takes of a piece what belongs to the open frame; returns the rest.
    fn take_data<'a>(&mut self, mut open: Open, piece: &'a [u8]) -> &'a [u8] {
        let rest = open.data.fill(piece);
        open.hasher.update(&piece[..piece.len() - rest.len()]);
        self.keep(open);
        rest
    }

    /// Goes on with a frame, or counts it if it is whole.
    fn keep(&mut self, open: Open) {
        if !open.data.is_full() {
            self.open = Some(open);
            return;
        }
        let FrameHeader { id, crc, .. } = open.header;
        let sound = open.hasher.finalize() == crc;
        self.outcomes.push(if sound { Ok(()) } else { Err(ErrorKind::Corrupt) });
        if sound {
            self.sound.push(Shard { id, crc, data: open.data.freeze() });
        }
    }

    /// The shards whose bytes matched; and one outcome for each frame, `Ok` for these.
    pub(crate) fn finish(self) -> Result<(Vec<Shard>, Vec<PutOutcome>)> {
        if !self.head.is_empty() || self.open.is_some() {
            return Err(Error::invalid("frame: the body ends inside one"));
        }
        Ok((self.sound, self.outcomes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{ChunkId, ShardId, encode_frame_header};
    use uuid::Uuid;

    fn shard(n: u128, length: usize) -> Shard {
        Shard::new(ShardId { chunk: ChunkId(Uuid::from_u128(n)), index: 1 }, vec![n as u8; length].into())
    }

    fn body(shards: &[Shard]) -> Vec<u8> {
        let frame = |shard: &Shard| [&encode_frame_header(shard)[..], &shard.data].concat();
        shards.iter().flat_map(frame).collect()
    }

    fn decode(pieces: &[&[u8]], shards_max: usize) -> Result<(Vec<Shard>, Vec<PutOutcome>)> {
        let mut frames = Frames::new(shards_max);
        pieces.iter().try_for_each(|piece| frames.push(piece))?;
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
                assert_eq!((found.id, found.crc, &found.data), (shard.id, shard.crc, &shard.data));
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
