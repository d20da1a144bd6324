//! Every code gives every chunk back from any pieces that suffice, and parity is what it always was.

use super::*;
use proptest::prelude::any;
use proptest::{prop_assert_eq, proptest};

fn wide() -> Code {
    Code::new(4, 2).unwrap()
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Bytes {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn pieces_of(code: Code, chunk: &Bytes) -> Vec<(u8, Bytes)> {
    (0..).zip(code.encode(chunk)).map(|(piece, (data, _))| (piece, data)).collect()
}

/// Every set of `size` of these, in order.
fn sets(pieces: &[(u8, Bytes)], size: usize) -> Vec<Vec<(u8, Bytes)>> {
    let Some((first, rest)) = pieces.split_first() else { return Vec::from_iter((size == 0).then(Vec::new)) };
    let mut all = sets(rest, size);
    if size > 0 {
        all.extend(sets(rest, size - 1).into_iter().map(|set| [vec![first.clone()], set].concat()));
    }
    all
}

#[test]
fn a_write_quorum_is_one_shard_more_than_reading_needs() {
    assert_eq!((Code::REPLICATION.shards(), Code::REPLICATION.write_quorum()), (3, 2));
    assert_eq!((wide().shards(), wide().write_quorum(), wide().read_quorum()), (6, 5, 4));
    let single = Code::new(1, 0).unwrap();
    assert_eq!(single.write_quorum(), 1, "a code without parity cannot promise more than it has");
}

#[test]
fn a_code_has_one_spelling() {
    assert_eq!("4+2".parse::<Code>().unwrap().to_string(), "4+2");
    for text in ["", "4", "+2", "4+", "0+2", "4+2+1", "255+1", "-1+2", " 1+2"] {
        assert!(text.parse::<Code>().is_err(), "{text:?}");
    }
    assert!(serde_json::from_str::<Code>("[0,2]").is_err());
}

#[test]
fn any_four_of_six_shards_give_the_chunk_back() {
    for length in [1, 2, 3, 7, 8, 9, 63, 64, 65, 4_095, 100_001] {
        let chunk = noise(length);
        let pieces = pieces_of(wide(), &chunk);
        let all = sets(&pieces, 4);
        assert_eq!(all.len(), 15);
        for set in all {
            assert_eq!(wide().decode(&set, length).unwrap(), chunk, "{length} bytes");
        }
    }
}

#[test]
fn a_short_chunk_is_not_padded_into_waste() {
    for (length, shard) in [(1, 2), (8, 2), (9, 4), (4_096, 1_024), (4_097, 1_026)] {
        assert_eq!(wide().shard_length(length), shard);
        assert!(wide().encode(&noise(length)).iter().all(|(data, _)| data.len() == shard));
    }
    let replicas = Code::REPLICATION.encode(&noise(7));
    assert!(replicas.len() == 3 && replicas.iter().all(|(data, _)| data.len() == 7));
}

#[test]
fn an_index_says_which_piece_it_is() {
    assert_eq!([0, 5, 6, 11, 254].map(|index| wide().piece(index)), [0, 5, 0, 5, 2]);
}

#[test]
fn parity_is_the_bytes_that_are_written_down() {
    let shards = wide().encode(&Bytes::from_static(b"Hello, distributed world"));
    let text: Vec<String> = shards.iter().map(|(data, _)| hex::encode(data)).collect();
    assert_eq!(text[..4].concat(), hex::encode("Hello, distributed world"));
    assert_eq!(text[4..], ["79ea813d2ad1", "58fe9e24388f"]);
    assert_eq!(crc32fast::hash(&shards[4].0), shards[4].1);
}

#[test]
fn what_are_no_pieces_is_refused() {
    let pieces = pieces_of(wide(), &noise(1_000));
    let mut shorter = pieces[..4].to_vec();
    shorter[2].1.truncate(248);
    assert!(wide().decode(&shorter, 1_000).is_err());
    let twice = [&pieces[..3], &pieces[..1]].concat();
    assert!(wide().decode(&twice, 1_000).is_err());
    let parity_twice = [&pieces[..2], &pieces[4..5], &pieces[4..5]].concat();
    assert!(wide().decode(&parity_twice, 1_000).is_err());
}

/// Tells how fast, too: `scripts/bench.sh --codes` runs it with more rounds, in a release build.
#[test]
fn what_is_encoded_again_and_again_is_the_same() {
    let rounds = std::env::var("HOLDFAST_CODE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2u32);
    let chunk = noise(1 << 20);
    let told = |what: &str, began: std::time::Instant| {
        let gib = f64::from(rounds) * chunk.len() as f64 / f64::from(1 << 30);
        println!("{what} 4+2, chunks of 1 MiB: {:.2} GiB/s on one core", gib / began.elapsed().as_secs_f64());
    };
    let began = std::time::Instant::now();
    let mut shards = Vec::new();
    (0..rounds).for_each(|_| shards = wide().encode(std::hint::black_box(&chunk)));
    told("encode, with CRC32s,", began);
    let pieces: Vec<(u8, Bytes)> = (0..).zip(shards).map(|(piece, (data, _))| (piece, data)).collect();
    for (what, set) in [("join", &pieces[..4]), ("decode without two data shards", &pieces[2..])] {
        let began = std::time::Instant::now();
        for _ in 0..rounds {
            assert_eq!(wide().decode(std::hint::black_box(set), chunk.len()).unwrap(), chunk);
        }
        told(what, began);
    }
}

proptest! {
    #[test]
    fn any_pieces_of_any_code_give_any_chunk_back(
        data in 1u8..9, parity in 0u8..5, chunk in proptest::collection::vec(any::<u8>(), 1..3_000), seed in any::<u64>(),
    ) {
        let (code, chunk) = (Code::new(data, parity).unwrap(), Bytes::from(chunk));
        let mut pieces = pieces_of(code, &chunk);
        let mut seed = seed | 1;
        while pieces.len() > code.read_quorum() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pieces.swap_remove((seed >> 33) as usize % pieces.len());
        }
        prop_assert_eq!(code.decode(&pieces, chunk.len()).unwrap(), chunk);
    }
}
