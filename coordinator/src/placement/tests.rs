//! Every candidate is ranked once, the same way everywhere, and shares follow free space.

use super::{Candidate, Circuit, Health, Ranked, Reason, Standing, WEIGHT_PERCENT_DEFAULT, choose};
use crate::code::Code;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use protocol::{ChunkId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const GIB: u64 = 1 << 30;
const CODE: Code = Code::REPLICATION;
const CHUNKS: u128 = 10_000;

fn node(name: &str) -> Candidate {
    Candidate {
        id: name.parse().unwrap(),
        zone: String::new(),
        weight_percent: WEIGHT_PERCENT_DEFAULT,
        free_bytes: 100 * GIB,
        capacity_bytes: 200 * GIB,
        load_percent: 0,
        health: Health::Healthy,
        circuit: Circuit::Closed,
        accepts_writes: true,
    }
}

fn nodes(count: usize) -> Vec<Candidate> {
    (1..=count).map(|n| node(&format!("n{n}"))).collect()
}

/// Ids as they are made: a rising time in front, and little else that differs.
fn chunk(n: u128) -> ChunkId {
    ChunkId(Uuid::from_u128(0x0192_aabb_0000_7000_8000_0000_0000_0000 + (n << 80) + n))
}

fn placed(ranked: &Ranked) -> BTreeSet<NodeId> {
    ranked.nodes.iter().filter(|node| node.wanted).map(|node| node.id.clone()).collect()
}

/// How many chunks have a shard on each node, and how many their first one.
fn spread(nodes: &[Candidate]) -> (BTreeMap<NodeId, u64>, BTreeMap<NodeId, u64>) {
    let (mut all, mut first) = (BTreeMap::new(), BTreeMap::new());
    for n in 0..CHUNKS {
        let ranked = choose(chunk(n), CODE, nodes);
        *first.entry(ranked.nodes[0].id.clone()).or_default() += 1;
        for id in placed(&ranked) {
            *all.entry(id).or_default() += 1;
        }
    }
    (all, first)
}

fn assert_about(found: u64, wanted: f64, what: &str) {
    let off = (found as f64 - wanted).abs() / wanted;
    assert!(off < 0.04, "{what}: {found}, wanted about {wanted:.0}");
}

#[test]
fn equal_nodes_get_equally_many() {
    for count in [4, 5, 9] {
        let (all, first) = spread(&nodes(count));
        for (id, found) in &all {
            assert_about(*found, 3.0 * CHUNKS as f64 / count as f64, id.as_str());
        }
        let least = first.values().min().unwrap();
        assert!(*least as f64 > 0.9 * CHUNKS as f64 / count as f64, "first places: {first:?}");
    }
}

/// The first place falls to each node in proportion to its share exactly; with three places of nine the small one still gets about
/// half (a little more, since a chunk cannot use a large node twice).
#[test]
fn a_node_with_half_the_free_space_gets_about_half() {
    let mut nodes = nodes(9);
    nodes[0].free_bytes /= 2;
    let (all, first) = spread(&nodes);
    let part = |counts: &BTreeMap<NodeId, u64>| counts[&nodes[0].id] as f64 / counts[&nodes[1].id] as f64;
    assert!((0.45..0.55).contains(&part(&first)), "{first:?}");
    assert!((0.47..0.60).contains(&part(&all)), "{all:?}");
}

#[test]
fn a_busy_node_gets_less_and_so_does_one_of_less_weight() {
    let mut nodes = nodes(8);
    nodes[0].load_percent = 100;
    nodes[1].weight_percent = 50;
    let (_, first) = spread(&nodes);
    for slow in &nodes[..2] {
        let part = first[&slow.id] as f64 / (CHUNKS as f64 / 7.0);
        assert!((0.43..0.57).contains(&part), "{}: {first:?}", slow.id);
    }
}

#[test]
fn when_a_node_leaves_only_its_chunks_move() {
    for zones in [1, 4] {
        let mut all = nodes(7);
        for (n, node) in all.iter_mut().enumerate() {
            node.zone = format!("z{}", n % zones);
            node.free_bytes = (n as u64 + 1) * 10 * GIB;
        }
        for gone in 0..all.len() {
            let mut rest = all.clone();
            let gone = rest.remove(gone).id;
            let mut moved = 0;
            for n in 0..500 {
                let (before, after) = (placed(&choose(chunk(n), CODE, &all)), placed(&choose(chunk(n), CODE, &rest)));
                let kept: BTreeSet<_> = before.iter().filter(|id| **id != gone).cloned().collect();
                assert!(kept.is_subset(&after), "chunk {n} without {gone}: {before:?} became {after:?}");
                moved += usize::from(before != after);
            }
            assert!((1..500).contains(&moved), "{gone} held {moved} of 500");
        }
    }
}

#[test]
fn a_chunk_keeps_its_place_for_ever() {
    // Placement is not stored as a rule, but a change of the hash would move work on every restart of a mixed cluster.
    let ranked = choose(chunk(1), CODE, &nodes(4));
    let names: Vec<&str> = ranked.ids().map(NodeId::as_str).collect();
    assert_eq!(names, ["n4", "n3", "n2", "n1"]);
}

#[test]
fn distinct_zones_come_first() {
    let mut nodes = nodes(9);
    for (n, node) in nodes.iter_mut().enumerate() {
        node.zone = ["a", "b", "c"][n / 3].to_owned();
    }
    nodes[0].free_bytes *= 100; // however much one zone would attract
    nodes[1].free_bytes *= 100;
    for n in 0..200 {
        let zone = |name: &NodeId| nodes.iter().find(|node| node.id == *name).unwrap().zone.clone();
        let ranked = choose(chunk(n), CODE, &nodes);
        let zones: BTreeSet<String> = placed(&ranked).iter().map(zone).collect();
        assert_eq!(zones.len(), 3, "{ranked:?}");
        let ranked = choose(chunk(n), Code { data: 4, parity: 2 }, &nodes);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        placed(&ranked).iter().for_each(|id| *counts.entry(zone(id)).or_default() += 1);
        assert!(counts.values().all(|count| *count == 2), "4+2 over three zones: {counts:?}");
    }
}

#[test]
fn reasons_read_well() {
    let mut nodes = nodes(6);
    for (n, node) in nodes.iter_mut().enumerate() {
        node.zone = ["a", "b"][n % 2].to_owned();
    }
    nodes[0].health = Health::Down;
    nodes[1].circuit = Circuit::Open;
    nodes[2].free_bytes = 0;
    nodes[3].load_percent = 150;
    nodes[4].accepts_writes = false;
    let ranked = choose(chunk(1), CODE, &nodes);
    let told = |name: &str| {
        let node = ranked.nodes.iter().find(|node| node.id.as_str() == name).unwrap();
        node.reasons(&nodes).iter().map(Reason::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(told("n1").contains("down"), "{}", told("n1"));
    assert!(told("n2").contains("circuit OPEN"), "{}", told("n2"));
    assert!(told("n3").starts_with("spare, should a better one fail; full"), "{}", told("n3"));
    let wanted = "chosen for a shard; busy: gets 40 % of what its space would give it; \
                  best of zone \"b\"; 102400 MiB free, 20 % of the cluster's free space";
    assert_eq!(told("n4"), wanted);
    assert!(told("n5").contains("refuses writes"), "{}", told("n5"));
    assert!(told("n6").starts_with("chosen for a shard; a better node of zone \"b\" comes first"), "{}", told("n6"));
    assert_eq!(ranked.usable(), 2);
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let health = prop_oneof![3 => Just(Health::Healthy), 1 => Just(Health::Suspect), 1 => Just(Health::Down)];
    let circuit = prop_oneof![3 => Just(Circuit::Closed), 1 => Just(Circuit::HalfOpen), 1 => Just(Circuit::Open)];
    let one = (0..4u8, any::<u32>(), any::<u64>(), any::<u32>(), health, circuit, any::<bool>());
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let build =
            |(n, (zone, weight_percent, free_bytes, load_percent, health, circuit, accepts_writes))| Candidate {
                zone: ["", "a", "b", "c"][usize::from(zone)].to_owned(),
                weight_percent,
                free_bytes,
                capacity_bytes: u64::MAX,
                load_percent,
                health,
                circuit,
                accepts_writes,
                ..node(&format!("n{n}"))
            };
        all.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #[test]
    fn every_candidate_is_ranked_once_and_the_order_given_does_not_matter(
        nodes in candidates(), id in any::<u128>(), seed in any::<u64>(), data in 1..9u8, parity in 0..4u8,
    ) {
        let (id, code) = (ChunkId(Uuid::from_u128(id)), Code { data, parity });
        let ranked = choose(id, code, &nodes);
        let names: Vec<&NodeId> = ranked.ids().collect();
        prop_assert_eq!(names.len(), nodes.len());
        prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), nodes.len());
        for node in &ranked.nodes {
            prop_assert_eq!(&nodes[node.candidate].id, &node.id);
            prop_assert!(!node.reasons(&nodes).is_empty());
        }
        let mut shuffled = nodes.clone();
        shuffled.sort_by_key(|node| node.id.as_str().bytes().fold(seed, |hash, byte| hash.rotate_left(9) ^ u64::from(byte)));
        let again = choose(id, code, &shuffled);
        prop_assert_eq!(names, again.ids().collect::<Vec<_>>());
    }

    #[test]
    fn nodes_that_should_not_be_written_come_after_all_others(nodes in candidates(), id in any::<u128>()) {
        let ranked = choose(ChunkId(Uuid::from_u128(id)), CODE, &nodes);
        let out = |node: &Candidate| {
            node.health == Health::Down || node.circuit == Circuit::Open || !node.accepts_writes || node.free_bytes == 0
        };
        let mut standing = Standing::Ready;
        for node in &ranked.nodes {
            prop_assert!(standing <= node.standing, "{:?}", ranked);
            standing = node.standing;
            prop_assert!(!out(&nodes[node.candidate]) || standing == Standing::LastResort);
        }
        let usable: Vec<_> = ranked.nodes[..ranked.usable()].iter().filter(|node| node.standing == Standing::Ready).collect();
        let zone = |index: usize| nodes[index].zone.as_str();
        let zones: BTreeSet<&str> = usable.iter().map(|node| zone(node.candidate)).collect();
        let first: BTreeSet<&str> = usable.iter().take(zones.len()).map(|node| zone(node.candidate)).collect();
        prop_assert_eq!(zones, first, "each zone once before any zone twice");
    }
}
