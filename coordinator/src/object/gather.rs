//! The shards of one chunk as they are read, and the chunk they come to.
//!
//! What it keeps true:
//! - What comes out has the chunk's digest (law 6), whatever came in.
//! - A shard that matched its own CRC32 and is wrong all the same keeps nobody from the chunk as long as enough others are right: every set
//!   of pieces that is large enough is tried, within [`SETS_TRIED_MAX`].

use crate::code::Code;
use crate::metadata::records::ChunkRecord;
use bytes::Bytes;
use protocol::{Content, Error, Result};

/// Sets of pieces that are tried when a piece more has come. All there are of 6+3; only damage that no CRC32 notices asks for more than one.
const SETS_TRIED_MAX: usize = 128;

/// Pieces of a chunk: shards that match their own CRC32s, or copies of which the digest is to say more than that.
#[derive(Clone, Debug)]
pub struct Gathered {
    code: Code,
    content: Content,
    stored_length: usize,
    pieces: Vec<(u8, Bytes)>,
}

/// A chunk that was proved.
#[derive(Clone, Debug)]
pub struct Proved {
    /// Its bytes.
    pub plain: Bytes,
    /// Its bytes as they were encoded: after compression, before the code.
    pub stored: Bytes,
}

impl Gathered {
    /// Nothing yet of the chunk of this record.
    pub fn of(record: &ChunkRecord) -> Gathered {
        let ChunkRecord { length, stored_length, sha256, compressed, code, .. } = *record;
        let content = Content { sha256, length, compressed };
        Gathered { code, content, stored_length: stored_length as usize, pieces: Vec::new() }
    }

    /// Adds the shard of this index.
    pub fn add(&mut self, index: u8, data: Bytes) {
        self.pieces.push((self.code.piece(index), data));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The chunk, from a set of pieces that holds the newest: those without it were tried before. `Corrupt` if none proves it.
    pub fn solve(&self) -> Result<Proved> {
        let Some((newest, before)) = self.pieces.split_last() else {
            return Err(Error::corrupt("no piece of a chunk was read"));
        };
        let mut why = too_few();
        for set in sets(before, self.code.read_quorum() - 1).take(SETS_TRIED_MAX) {
            let mut set: Vec<(u8, Bytes)> = set.into_iter().cloned().collect();
            set.push(newest.clone());
            match self.prove(&set) {
                Ok(proved) => return Ok(proved),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn prove(&self, set: &[(u8, Bytes)]) -> Result<Proved> {
        let stored = self.code.decode(set, self.stored_length)?;
        Ok(Proved { plain: self.content.unpack(stored.clone())?, stored })
    }

    /// The same of several chunks, in order; in less time than one after the other where the newest pieces of each come to it.
    pub fn solve_each(several: &[Gathered]) -> Vec<Result<Proved>> {
        let stored: Vec<Option<Bytes>> = several.iter().map(|read| read.newest_stored().ok()).collect();
        let newest = several.iter().zip(&stored).filter_map(|(read, stored)| Some((&read.content, stored.clone()?)));
        let mut plain = Content::unpack_each(newest.collect()).into_iter();
        let proved = |(read, stored): (&Gathered, Option<Bytes>)| match stored {
            Some(stored) => match plain.next().expect("one for each") {
                Ok(plain) => Ok(Proved { plain, stored }),
                Err(error) if read.has_one_set() => Err(error),
                Err(_) => read.solve(),
            },
            None => read.solve(),
        };
        several.iter().zip(stored).map(proved).collect()
    }

    fn newest_stored(&self) -> Result<Bytes> {
        let first = self.pieces.len().checked_sub(self.code.read_quorum()).ok_or_else(too_few)?;
        self.code.decode(&self.pieces[first..], self.stored_length)
    }

    /// Whether the newest pieces are all that is left to try.
    fn has_one_set(&self) -> bool {
        self.code.read_quorum() == 1 || self.pieces.len() == self.code.read_quorum()
    }
}

fn too_few() -> Error {
    Error::corrupt("too few pieces of a chunk were read")
}

/// Every set of `size` of these, each made when it is asked for: of wide codes there are millions.
fn sets<T>(of: &[T], size: usize) -> Box<dyn Iterator<Item = Vec<&T>> + '_> {
    match (size, of.split_first()) {
        (0, _) => Box::new(std::iter::once(Vec::new())),
        (_, Some((first, rest))) if size <= of.len() => {
            let with = sets(rest, size - 1).map(move |mut set| {
                set.push(first);
                set
            });
            Box::new(with.chain(std::iter::once_with(move || sets(rest, size)).flatten()))
        }
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
pub(super) use tests::sample_read;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::ChunkState;

    fn record(chunk: &Bytes, code: Code) -> ChunkRecord {
        ChunkRecord {
            length: chunk.len() as u32,
            stored_length: chunk.len() as u32,
            sha256: protocol::sha256(chunk),
            compressed: false,
            code,
            shards: Vec::new(),
            state: ChunkState::Live,
            fence: 0,
        }
    }

    /// A copy of a chunk of these bytes, read.
    pub(in crate::object) fn sample_read(text: &'static str) -> Gathered {
        let chunk = Bytes::from_static(text.as_bytes());
        let mut read = Gathered::of(&record(&chunk, Code::REPLICATION));
        read.add(0, chunk);
        read
    }

    #[test]
    fn every_set_comes_once() {
        let of = [1, 2, 3, 4];
        let mut all: Vec<Vec<i32>> = sets(&of, 2).map(|set| set.into_iter().copied().collect()).collect();
        all.iter_mut().for_each(|set| set.sort_unstable());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        assert_eq!(sets(&of, 0).count(), 1);
        assert_eq!(sets(&of, 5).count(), 0);
    }

    #[test]
    fn of_the_widest_code_the_first_sets_cost_no_more_than_they_are() {
        let of = [0_u8; 64];
        assert_eq!(sets(&of[..27], 27).count(), 1);
        assert_eq!(sets(&of, 31).take(SETS_TRIED_MAX).count(), SETS_TRIED_MAX);
    }

    #[test]
    fn two_wrong_shards_of_six_are_outvoted_and_three_are_not() {
        let code = Code::new(4, 2).unwrap();
        let chunk = Bytes::from("a chunk of some bytes that are not all alike".repeat(20));
        let shards = code.encode(&chunk);
        for wrong in [[0, 1], [0, 5], [4, 5], [2, 3]] {
            let mut read = Gathered::of(&record(&chunk, code));
            let mut solved = None;
            for (index, (data, _)) in (0..).zip(&shards) {
                let data = if wrong.contains(&index) { Bytes::from(vec![7; data.len()]) } else { data.clone() };
                read.add(index, data);
                if read.len() >= 4 && solved.is_none() {
                    solved = read.solve().ok();
                }
            }
            let proved = solved.expect("four of them are right");
            assert!(proved.plain == chunk && proved.stored == chunk);
        }
        let mut read = Gathered::of(&record(&chunk, code));
        for (index, (data, _)) in (0..).zip(&shards) {
            read.add(index, if index < 3 { Bytes::from(vec![7; data.len()]) } else { data.clone() });
            assert!(read.solve().is_err(), "law 6: what cannot be proved does not come out");
        }
    }

    #[test]
    fn a_piece_stored_anew_stands_for_the_one_it_was() {
        let code = Code::new(2, 1).unwrap();
        let chunk = Bytes::from_static(b"0123456789");
        let shards = code.encode(&chunk);
        let mut read = Gathered::of(&record(&chunk, code));
        read.add(7, shards[1].0.clone());
        read.add(5, shards[2].0.clone());
        assert_eq!(read.solve().unwrap().plain, chunk);
    }

    #[test]
    fn of_several_chunks_each_comes_out_as_by_itself() {
        let copied = Bytes::from_static(b"0123456789");
        let coded = Bytes::from("a chunk of some bytes".repeat(20));
        let code = Code::new(4, 2).unwrap();
        let shards = code.encode(&coded);
        let mut one = Gathered::of(&record(&copied, Code::REPLICATION));
        let mut other = Gathered::of(&record(&coded, code));
        let plain = |several: &[&Gathered]| -> Vec<Option<Bytes>> {
            let several: Vec<Gathered> = several.iter().map(|read| (*read).clone()).collect();
            Gathered::solve_each(&several).into_iter().map(|proved| proved.ok().map(|proved| proved.plain)).collect()
        };
        assert_eq!(plain(&[&one, &other]), [None, None], "nothing was read");
        one.add(0, copied.clone());
        for (index, (data, _)) in (0..).zip(&shards).take(4) {
            assert_eq!(plain(&[&one, &other]), [Some(copied.clone()), None], "{index} pieces are too few");
            other.add(index, if index == 1 { Bytes::from(vec![7; data.len()]) } else { data.clone() });
        }
        assert_eq!(plain(&[&other, &one]), [None, Some(copied.clone())], "law 6: one of its pieces is wrong");
        other.add(4, shards[4].0.clone());
        other.add(5, shards[5].0.clone());
        assert_eq!(plain(&[&one, &other, &one]), [Some(copied.clone()), Some(coded), Some(copied.clone())]);
        one.add(1, Bytes::from_static(b"012345678X"));
        assert_eq!(plain(&[&one, &one]), [None, None], "of copies the newest speaks for itself");
        one.add(2, copied.clone());
        assert_eq!(plain(&[&one]), [Some(copied)]);
        assert!(plain(&[]).is_empty());
    }

    #[test]
    fn of_copies_the_newest_speaks_for_itself() {
        let chunk = Bytes::from_static(b"0123456789");
        let mut read = Gathered::of(&record(&chunk, Code::REPLICATION));
        assert!(read.is_empty() && read.solve().is_err());
        read.add(0, Bytes::from_static(b"012345678X"));
        assert!(read.solve().is_err());
        read.add(1, chunk.clone());
        assert_eq!(read.solve().unwrap().plain, chunk);
    }
}
