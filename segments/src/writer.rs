//! The segment that is being written.
//!
//! What it keeps true:
//! - Records go behind each other, none over another: the last, partly filled block is written again with what it held.
//! - After any failure of a write or sync the writer is never used again; its log poisons the segment (law 12).

use crate::blocks::Blocks;
use crate::disk::{BLOCK_BYTES, DiskFile};
use crate::record::{Header, HeaderSeal, Location, Position, RECORD_ALIGN, Record};
use crate::segment::{FIRST_OFFSET, Tally, encode_segment_header, write_footer};
use std::io;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct SegmentWriter<F> {
    pub number: u32,
    pub file: Arc<F>,
    /// The offset one past the last record written, acknowledged or not.
    end: u64,
    /// What the block that `end` lies in holds before it.
    tail: Vec<u8>,
    tally: Tally,
}

impl<F: DiskFile> SegmentWriter<F> {
    /// Writes and syncs the segment header into a fresh file of zeros.
    pub(crate) fn begin(file: F, seal: &HeaderSeal, number: u32) -> io::Result<SegmentWriter<F>> {
        let header = encode_segment_header(seal, number);
        file.write_at(&header, 0)?;
        file.sync_data()?;
        let (file, tail) = (Arc::new(file), header.to_vec());
        Ok(SegmentWriter { number, file, end: FIRST_OFFSET, tail, tally: Tally::default() })
    }

    /// A planted bug's way back into a segment written before.
    pub(crate) fn resume(file: F, number: u32, end: u64) -> io::Result<SegmentWriter<F>> {
        let mut tail = vec![0; (end % BLOCK_BYTES) as usize];
        file.read_at(&mut tail, end - end % BLOCK_BYTES, crate::disk::Source::Cache)?;
        Ok(SegmentWriter { number, file: Arc::new(file), end, tail, tally: Tally::default() })
    }

    /// The offset one past the last record written.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes records behind the others; durable after [`SegmentWriter::sync`].
    pub(crate) fn write(
        &mut self,
        records: &[Record],
        seal: &HeaderSeal,
        blocks: &mut Blocks,
        locations: &mut Vec<Location>,
    ) -> io::Result<()> {
        blocks.begin(&self.tail, self.end - self.tail.len() as u64);
        for record in records {
            let offset = u32::try_from(blocks.end()).expect("segments are shorter than 4 GiB");
            let length = u32::try_from(record.length()).expect("the log refuses longer records");
            let position = Position { segment: self.number, offset };
            let header = Header { kind: record.kind, id: record.id, length, crc: record.crc, position };
            let bytes = header.encode(seal);
            blocks.put(&bytes, &*self.file)?;
            for piece in &record.data {
                blocks.put(piece, &*self.file)?;
            }
            blocks.pad(RECORD_ALIGN, &*self.file)?;
            self.tally.add(&bytes);
            locations.push(header.location());
        }
        blocks.finish(&mut self.tail, &*self.file)?;
        self.end = blocks.end();
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Footer, cut, sync. Returns the file's length.
    pub(crate) fn seal(&self, seal: &HeaderSeal) -> io::Result<u64> {
        write_footer(&*self.file, seal, self.number, self.end, &self.tally)?;
        Ok(self.end + crate::segment::FOOTER_BYTES)
    }
}
