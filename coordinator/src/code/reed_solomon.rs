//! Reed-Solomon by `reed-solomon-simd`: the FFT algorithm of Lin, Al-Naffouri, Han and Chung, "Novel Polynomial Basis With Fast
//! Fourier Transform and Its Application to Reed-Solomon Erasure Codes", IEEE Trans. Inf. Theory 62(11), 2016, over words of two bytes.
//!
//! What it keeps true: what was encoded once is decoded for ever. Parity is not the same bytes in every implementation, nor in every
//! version of this one; the tests beside [`super::Code`] hold it to bytes that are written down.

use super::Code;
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use std::collections::BTreeMap;

/// `parity` shards of `length` bytes for data shards of that length.
pub(super) fn parity(data: &[Bytes], parity: usize, length: usize) -> Vec<Bytes> {
    if parity == 0 {
        return Vec::new();
    }
    let mut encoder = ReedSolomonEncoder::new(data.len(), parity, length).expect("a length that the encoder works on");
    for shard in data {
        encoder.add_original_shard(shard).expect("as many shards as were announced, of the length that was");
    }
    let encoded = encoder.encode().expect("every data shard was given");
    encoded.recovery_iter().map(Bytes::copy_from_slice).collect()
}

/// The data pieces that are not among `pieces`. `Corrupt` if these do not give them.
pub(super) fn restore(code: Code, pieces: &[(u8, Bytes)], length: usize) -> Result<BTreeMap<u8, Vec<u8>>> {
    let Code { data, parity } = code;
    // Nothing is missing: the decoder would restore nothing, and a code without parity has none.
    if pieces.iter().all(|(piece, _)| *piece < data) {
        return Ok(BTreeMap::new());
    }
    let not_pieces = |error| Error::caused(ErrorKind::Corrupt, "these are no pieces of a chunk", error);
    let mut decoder = ReedSolomonDecoder::new(usize::from(data), usize::from(parity), length).map_err(not_pieces)?;
    for (piece, shard) in pieces {
        match piece.checked_sub(data) {
            None => decoder.add_original_shard(usize::from(*piece), shard),
            Some(recovery) => decoder.add_recovery_shard(usize::from(recovery), shard),
        }
        .map_err(not_pieces)?;
    }
    let decoded = decoder.decode().map_err(not_pieces)?;
    Ok(decoded.restored_original_iter().map(|(piece, shard)| (piece as u8, shard.to_vec())).collect())
}
