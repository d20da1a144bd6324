//! Whom reads ask first, and how loaded a node is taken to be.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_read_order_is_fastest_first_and_drops_no_one() {
    let (nodes, fakes) = probed(&["n1", "n2", "n3", "n4", "n5", "n6"]).await;
    for (n, fake) in fakes.iter().enumerate() {
        fake.set(|fake| fake.takes = Duration::from_millis(10 * (6 - n as u64)));
        let member = nodes.member(&id(&format!("n{}", n + 1))).unwrap();
        read(&member).await.unwrap();
    }
    let all: Vec<NodeId> = ["n1", "ghost", "n2", "n3", "n4", "n5", "n6"].map(id).into();
    let order = |nodes: &Nodes| nodes.read_order(&all).iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(order(&nodes), "n6 n5 n4 n3 n2 n1 ghost");
    refuse(&fakes[5]); // down
    nodes.probe_all().await;
    fail(&fakes[4]); // open
    fail(&fakes[3]); // suspect
    for _ in 0..12 {
        read(&nodes.member(&id("n5")).unwrap()).await.unwrap_err();
    }
    read(&nodes.member(&id("n4")).unwrap()).await.unwrap_err();
    assert_eq!(order(&nodes), "n3 n2 n1 n4 n5 n6 ghost");
    assert_eq!(nodes.read_order(&[]), []);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_slow_once_is_tried_again() {
    let (nodes, fakes) = probed(&["n1", "n2"]).await;
    fakes[0].set(|fake| fake.takes = Duration::from_millis(20));
    fakes[1].set(|fake| fake.takes = Duration::from_millis(5));
    let both = [id("n1"), id("n2")];
    let mut first = BTreeSet::new();
    for name in ["n1", "n2"] {
        read(&nodes.member(&id(name)).unwrap()).await.unwrap();
    }
    assert_eq!(nodes.read_order(&both)[0], id("n2"));
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        let order = nodes.read_order(&both);
        read(&nodes.member(&order[0]).unwrap()).await.unwrap();
        first.insert(order[0].clone());
    }
    assert_eq!(first.len(), 2, "the slower one had its turn, in case it is not slow any more");
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_and_slow_writes_raise_the_load() {
    let (nodes, fakes) = probed(&["n1", "n2", "n3", "n4"]).await;
    fakes[0].set(|fake| fake.takes = Duration::from_millis(100));
    fakes[1].set(|fake| fake.takes = Duration::from_millis(9));
    for n in 1..=4 {
        let member = nodes.member(&id(&format!("n{n}"))).unwrap();
        assert_eq!(member.put(vec![shard()]).await.unwrap(), [Ok(())]);
    }
    sleep(SNAPSHOT_FOR).await;
    let loads: Vec<u32> = nodes.candidates().iter().map(|node| node.load_percent).collect();
    assert!(loads[0] > 500 && loads[1] < 50 && loads[2] == 0, "{loads:?}");
    let busy = nodes.member(&id("n3")).unwrap();
    fakes[2].set(|fake| fake.takes = Duration::from_millis(200));
    let calls = (0..64).map(|_| read(&busy));
    let watched = async {
        sleep(Duration::from_millis(100)).await;
        let candidates = nodes.candidates();
        assert_eq!((candidates[2].load_percent, candidates[3].load_percent), (100, 0));
    };
    tokio::join!(futures_util::future::join_all(calls), watched);
    assert_eq!(nodes.status()[2].in_flight, 0);
}
