//! `coordinator restore-catalog`: makes a catalog's directory from the journals that the storage nodes keep (law 11), and says what it
//! found. It ends with an error where the catalog is not known to be whole, and leaves no directory then.

use crate::config::{Config, RestoreCatalog};
use crate::metadata::journal::JournalMember;
use crate::metadata::journal::quorum::{Electorate, is_voter};
use crate::metadata::journal::restore::{ReadBack, Survey, claim, read_back, survey};
use crate::metadata::keys::{self, KeyRange};
use crate::metadata::records::{ChunkRecord, ChunkState, NodeRecord, Record};
use crate::metadata::sled::{RestoredDirectory, SledMetadata, SledSettings};
use crate::metadata::{Metadata, SCAN_ENTRIES_MAX};
use crate::nodes::client::{Connections, HttpNode};
use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use protocol::{Clock, ClusterFile, JournalState, NodeId, Starts, SystemClock};
use segments::durable;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::{Builder, Handle};
use tokio_util::task::TaskTracker;

/// What the restored catalog holds.
#[derive(Debug, Default)]
struct Census {
    objects: u64,
    versions: u64,
    chunks: u64,
    /// Those whose journals count.
    nodes: Vec<NodeRecord>,
}

/// Restores, and prints the report.
pub fn run(restore: &RestoreCatalog, config: &Config) -> Result<()> {
    let cluster = process::cluster_file::read(&config.cluster_file)?;
    let runtime = Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let started = Instant::now();
    let outcome = runtime.block_on(into_directory(restore, config, &cluster));
    let (survey, read, census) = match outcome {
        Ok(restored) => restored,
        Err(error) => {
            // It holds nothing that the nodes do not: one that is not whole must not be served by mistake.
            if error.downcast_ref::<NotOurs>().is_none() {
                durable::remove_dir_all(&restore.data)?;
            }
            return Err(error);
        }
    };
    print(restore, &survey, &read, &census, started.elapsed().as_secs_f64());
    Ok(())
}

/// The directory was there before, and stays as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotOurs(protocol::Error);

async fn into_directory(
    restore: &RestoreCatalog,
    config: &Config,
    cluster: &ClusterFile,
) -> Result<(Survey, ReadBack, Census)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = SledSettings::default();
    let begin = || RestoredDirectory::begin(&restore.data, cluster.cluster, &*clock, &settings);
    let directory = begin().map_err(NotOurs)?;
    let connections = Connections::new(cluster, TaskTracker::new(), Handle::current())?;
    let connections = connections.trusting(config.access.tls_ca.as_deref())?;
    let member = |url: &String| -> Result<JournalMember> {
        Ok(JournalMember { url: url.as_str().into(), node: Arc::new(HttpNode::new(url, &connections)?) })
    };
    let members = restore.node.iter().map(member).collect::<Result<Vec<_>>>()?;
    let mut seen = survey(&members).await?;
    let starts = starts_of(&members).await;
    let (mut read, mut census) = fill(directory, &seen, cluster, &clock).await?;
    require_enough(&seen, &starts, &census)?;
    // Whoever still wrote may do so no more; what came meanwhile is read, too.
    seen = claim(&seen, &*clock).await;
    if seen.answers.first().is_none_or(|(_, newest)| newest.last != read.last) {
        durable::remove_dir_all(&restore.data)?;
        (read, census) = fill(begin()?, &seen, cluster, &clock).await?;
    }
    require_enough(&seen, &starts, &census)?;
    RestoredDirectory::claim(&restore.data, seen.claim)?;
    Ok((seen, read, census))
}

/// Reads what the nodes hold into the directory, and counts it.
async fn fill(
    mut directory: RestoredDirectory,
    seen: &Survey,
    cluster: &ClusterFile,
    clock: &Arc<dyn Clock>,
) -> Result<(ReadBack, Census)> {
    let read = read_back(seen, &mut |entries| directory.append(entries)).await?;
    let metadata = SledMetadata::open(&directory.end()?, cluster.cluster, clock.clone(), SledSettings::default())?;
    let census = count(&metadata).await?;
    metadata.stop().await?;
    Ok((read, census))
}

async fn count(metadata: &SledMetadata) -> Result<Census> {
    let mut census = Census {
        objects: count_range(metadata, keys::every_object(), |_| Ok(())).await?,
        versions: count_range(metadata, keys::every_version(), |_| Ok(())).await?,
        chunks: 0,
        nodes: Vec::new(),
    };
    count_range(metadata, keys::chunks(), |value| {
        census.chunks += u64::from(ChunkRecord::decode(value)?.state == ChunkState::Live);
        Ok(())
    })
    .await?;
    count_range(metadata, keys::nodes(), |value| {
        census.nodes.extend(Some(NodeRecord::decode(value)?).filter(is_voter));
        Ok(())
    })
    .await?;
    Ok(census)
}

async fn count_range(
    metadata: &SledMetadata,
    range: KeyRange,
    mut see: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let (mut from, mut count) = (range.from, 0);
    loop {
        let page = metadata.scan(&from, &range.to, SCAN_ENTRIES_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        from = keys::after(last);
        count += page.len() as u64;
        page.iter().try_for_each(|(_, entry)| see(&entry.value))?;
    }
}

/// The starts that the nodes' disks remember.
async fn starts_of(members: &[JournalMember]) -> BTreeMap<NodeId, Starts> {
    let asked = members.iter().map(|member| member.node.health());
    let told = join_all(asked).await.into_iter().flatten();
    told.map(|health| (health.node, health.starts)).collect()
}

/// An error unless the journals that were read meet every group that was ever acknowledged. An older copy of a disk does not: it has forgotten
/// a start that the catalog knows of.
fn require_enough(survey: &Survey, starts: &BTreeMap<NodeId, Starts>, census: &Census) -> Result<()> {
    let voters = census.nodes.iter().map(|record| (record.node.clone(), record.disk)).collect();
    let electorate = Electorate { voters, members: survey.answers.len() };
    let newest = survey.newest();
    let holds = |record: &NodeRecord| {
        let told = starts.get(&record.node).filter(|starts| starts.number > 0);
        let is_current = record.start.zip(told).is_none_or(|(seen, told)| told.may_remember(seen));
        let of = |state: &JournalState| {
            state.node == record.node && electorate.remembers(state, newest) && state.last.sequence > 0
        };
        is_current && survey.answers.iter().any(|(_, state)| of(state))
    };
    let (held, missing): (Vec<&NodeRecord>, Vec<&NodeRecord>) = census.nodes.iter().partition(|record| holds(record));
    let needed = electorate.read_quorum();
    if !census.nodes.is_empty() && held.len() < needed {
        let missing: Vec<String> = missing.iter().map(|record| format!("{} ({})", record.node, record.url)).collect();
        bail!(
            "the catalog knows {} nodes, and only {} of them gave a journal that has not forgotten anything; {needed} are needed to know that nothing acknowledged is \
             missing. Start these as well, and name them with --node: {}. {}",
            census.nodes.len(),
            held.len(),
            missing.join(", "),
            survey.silent.join("; ")
        );
    }
    Ok(())
}

fn print(restore: &RestoreCatalog, survey: &Survey, read: &ReadBack, census: &Census, seconds: f64) {
    let (directory, last, claim) = (restore.data.display().to_string(), read.last, survey.claim);
    if restore.json {
        let nodes: Vec<_> = survey
            .answers
            .iter()
            .map(|(member, state)| {
                let groups = read.given.get(&state.node).copied().unwrap_or(0);
                json!({ "node": state.node, "url": &*member.url, "last_sequence": state.last.sequence,
                    "last_epoch": state.last.epoch, "whole": state.is_whole(), "groups_read": groups })
            })
            .collect();
        let report = json!({
            "directory": directory, "epoch": claim.epoch, "sequence": last.sequence, "first_sequence": read.first,
            "objects": census.objects, "versions": census.versions, "chunks": census.chunks, "bytes": read.bytes,
            "seconds": seconds, "nodes": nodes, "silent": survey.silent, "missing": [],
        });
        println!("{report}");
        return;
    }
    println!("catalog restored into {directory} in {seconds:.1} s");
    println!("  groups    {} to {}, {} bytes; nothing is missing", read.first, last.sequence, read.bytes);
    println!("  epoch     {} claimed; a coordinator of an earlier one commits nothing any more", claim.epoch);
    println!("  holds     {} objects, {} versions, {} chunks", census.objects, census.versions, census.chunks);
    for (member, state) in &survey.answers {
        let groups = read.given.get(&state.node).copied().unwrap_or(0);
        println!("  node      {} at {}: up to {}, gave {groups} groups", state.node, member.url, state.last);
    }
    survey.silent.iter().for_each(|why| println!("  silent    {why}"));
    println!("start the coordinator with --data {directory}");
}
