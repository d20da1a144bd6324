//! Calls that are joined: which leave together, what each caller hears, and what is not sent at all.

use super::*;

#[tokio::test]
async fn small_puts_are_joined_and_a_lone_one_is_not_delayed() {
    let (server, gate) = Server::gated(0, outcomes).await;
    let node = http_node(&server.url);
    let tasks = TaskTracker::new();
    let put = |n: u128| {
        let node = Arc::clone(&node);
        tasks.spawn(REQUEST_ID.scope(format!("r{n}").into(), async move { node.put(vec![shard(n, 1000)]).await }))
    };
    let first = put(0);
    server.wait_for(1).await;
    let second = put(1);
    server.wait_for(2).await;
    let waiting: Vec<_> = (2..22).map(put).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.asked().len(), 2, "two requests are under way, the rest waits");
    gate.add_permits(3);
    for put in [first, second].into_iter().chain(waiting) {
        assert_eq!(put.await.unwrap().unwrap(), [Ok(())]);
    }
    let asked = server.asked();
    let counts: Vec<usize> = asked.iter().map(|asked| stored(asked).len()).collect();
    assert_eq!(counts, [1, 1, 20], "all that waited went in one request");
    let told = asked[2].header(routes::HEADER_REQUEST).unwrap();
    assert_eq!(told.split(',').count(), 8, "{told}");
}

#[tokio::test]
async fn a_joined_request_keeps_its_bounds_and_tells_each_caller_its_own_outcome() {
    let (server, gate) = Server::gated(2, |asked: &Asked| {
        let outcome = |shard: &Shard| {
            if shard.id.chunk.0.as_u128().is_multiple_of(2) { Ok(()) } else { Err(ErrorKind::Conflict) }
        };
        let found: Vec<_> = stored(asked).iter().map(outcome).collect();
        match (asked.method.as_str(), &found[..]) {
            ("PUT", [Err(_)]) => Answer::error(409, "conflict", "taken"),
            ("PUT", _) => Answer::ok(Bytes::new()),
            _ => Answer::ok(encode_outcomes(&found)),
        }
    })
    .await;
    let node = http_node(&server.url);
    let tasks = TaskTracker::new();
    let puts: Vec<_> = (0..40u128)
        .map(|n| {
            let node = Arc::clone(&node);
            let shards = vec![shard(2 * n, 60_000), shard(2 * n + 1, 60_000)];
            tasks.spawn(async move { node.put(shards).await })
        })
        .collect();
    gate.add_permits(100);
    for put in puts {
        assert_eq!(put.await.unwrap().unwrap(), [Ok(()), Err(ErrorKind::Conflict)]);
    }
    for asked in server.asked() {
        assert!(asked.body.len() < (1 << 20) + 4096, "{} bytes", asked.body.len());
    }
    assert_eq!(node.put(vec![shard(1, 10)]).await.unwrap(), [Err(ErrorKind::Conflict)]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let server = Server::start(|_| std::future::pending()).await;
    let node = http_node(&server.url);
    let tasks = TaskTracker::new();
    let data = shard(1, JOINED_PUT_BYTES_MAX);
    let put = || {
        let (node, shards) = (Arc::clone(&node), vec![data.clone()]);
        tasks.spawn(async move { node.put(shards).await })
    };
    let mut puts = vec![put()];
    server.wait_for(1).await;
    puts.push(put());
    server.wait_for(2).await;
    puts.extend((0..64).map(|_| put()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let error = node.put(vec![data.clone()]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("64 shards of 16777216 bytes wait"), "{error}");
    assert!(began.elapsed() < Duration::from_millis(500));
    puts.iter().for_each(|put| put.abort());
}

#[tokio::test]
async fn questions_and_copies_are_joined_and_each_caller_hears_its_own_outcome() {
    let (server, gate) = Server::gated(0, |asked: &Asked| {
        let wrong = |id: ShardId| if id.index == 9 { Err(ErrorKind::NotFound) } else { Ok(()) };
        if asked.path == routes::SHARDS_HEAD {
            let head = |id: ShardId| wrong(id).map(|()| ShardHead { id, length: 7, crc: id.index.into() });
            let ids = decode_ids(&asked.body).unwrap();
            return Answer::ok(encode_heads(&ids.into_iter().map(head).collect::<Vec<_>>()));
        }
        let orders: Vec<CopyOrder> = serde_json::from_slice(&asked.body).unwrap();
        Answer::ok(encode_outcomes(&orders.iter().map(|order| wrong(order.id)).collect::<Vec<_>>()))
    })
    .await;
    let (node, tasks) = (http_node(&server.url), TaskTracker::new());
    let id = |index| ShardId { index, ..shard(1, 0).id };
    let ask = |index, copies| {
        let node = Arc::clone(&node);
        let copy = ShardCopy { source: "http://n1:1".into(), shard: id(0), length: 7, crc: 7, content: None };
        tasks.spawn(async move {
            match copies {
                true => node.copy_from(id(index), &copy).await,
                false => {
                    node.head(id(index)).await.map(|head| assert_eq!((head.id, head.crc), (id(index), index.into())))
                }
            }
        })
    };
    for (at, copies) in [(0, false), (3, true)] {
        let mut calls = Vec::new();
        for index in 0..2 {
            calls.push(ask(index, copies));
            server.wait_for(at + usize::from(index) + 1).await;
        }
        calls.extend((2..12).map(|index| ask(index, copies)));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.asked().len(), at + 2, "two requests are under way, the rest waits");
        gate.add_permits(3);
        for (index, call) in calls.into_iter().enumerate() {
            let kind = call.await.unwrap().map_err(|error| error.kind);
            assert_eq!(kind, if index == 9 { Err(ErrorKind::NotFound) } else { Ok(()) }, "{index}");
        }
        assert_eq!(server.asked().len(), at + 3, "all that waited went in one request");
    }
}
