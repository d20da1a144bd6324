//! The last events of degradation ([`DEGRADATION`]), kept in memory for whoever watches them live.
//!
//! What it keeps true:
//! - No more than [`EVENTS_KEPT_MAX`] events are kept, none longer than about [`TEXT_BYTES_MAX`] per field; the log has them whole.
//! - Ids rise by one from event to event, and from one process to the next as far as the machine's clock does. So a watcher
//!   that comes back with the last id it saw misses nothing that is still kept, and is told how much is not.
//! - Whoever logs never waits for whoever watches: a slow watcher loses events and is told how many.
//! - There are [`WATCHERS_MAX`] watchers at most.

use crate::logs::{DEGRADATION, fields_of};
use crate::timestamp::rfc3339_ms;
use protocol::{Clock, SystemClock};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{Event as TracingEvent, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The most events kept.
pub const EVENTS_KEPT_MAX: usize = 1_024;
/// The longest text of one field, in bytes; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// The most who watch at once.
pub const WATCHERS_MAX: usize = 64;
/// Ids of a process start at its start in milliseconds, times this: what it can count before it meets those of the next.
const IDS_PER_MS: u64 = 1_000;

/// An event of degradation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id; the next one's is one more.
    pub id: u64,
    /// What it is, as one line of JSON: `id`, `timestamp`, `level`, `service`, `message` and `fields`.
    pub data: Arc<str>,
}

/// The events of this process; cheap to clone.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    service: &'static str,
    first_id: u64,
    kept: Mutex<Kept>,
    news: watch::Sender<News>,
    watchers: Arc<Semaphore>,
}

struct Kept {
    next_id: u64,
    events: VecDeque<Event>,
}

/// What wakes watchers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct News {
    next_id: u64,
    closed: bool,
}

impl Events {
    /// Events of `service`; none yet.
    pub fn new(service: &'static str) -> Events {
        Events::starting_at(service, SystemClock.now_ms().saturating_mul(IDS_PER_MS))
    }

    fn starting_at(service: &'static str, next_id: u64) -> Events {
        let kept = Mutex::new(Kept { next_id, events: VecDeque::new() });
        let news = watch::Sender::new(News { next_id, closed: false });
        let watchers = Arc::new(Semaphore::new(WATCHERS_MAX));
        Events { shared: Arc::new(Shared { service, first_id: next_id, kept, news, watchers }) }
    }

    /// The part of the subscriber that takes note of degradation.
    pub(crate) fn layer<S>(self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // Spans as well: an event is told with the request it belongs to.
        let seen = |metadata: &Metadata<'_>| {
            let wanted = metadata.is_span() || metadata.target() == DEGRADATION;
            wanted && *metadata.level() <= tracing::Level::INFO
        };
        self.with_filter(filter_fn(seen).with_max_level_hint(LevelFilter::INFO)).boxed()
    }

    /// Watches events after the one with id `after`, kept ones first; only new ones without it. `None` where too many watch already.
    pub fn watch(&self, after: Option<u64>) -> Option<Watcher> {
        let permit = Arc::clone(&self.shared.watchers).try_acquire_owned().ok()?;
        let news = self.shared.news.subscribe();
        let kept = self.shared.kept();
        // An id from the future is another clock's: there is no telling what was missed.
        let next_id = after.map_or(kept.next_id, |after| after.saturating_add(1)).min(kept.next_id);
        drop(kept);
        Some(Watcher { shared: Arc::clone(&self.shared), news, next_id, _permit: permit })
    }

    /// The last `count` events that are kept, the newest first.
    pub fn last(&self, count: usize) -> Vec<Event> {
        self.shared.kept().events.iter().rev().take(count).cloned().collect()
    }

    /// Ends every watch, now and later: the process is about to stop.
    pub fn close(&self) {
        self.shared.news.send_modify(|news| news.closed = true);
    }

    /// Returns once the process is about to stop.
    pub async fn closed(&self) {
        // An error means that the sender is gone, which this holds.
        drop(self.shared.news.subscribe().wait_for(|news| news.closed).await);
    }

    fn push(&self, now_ms: u64, level: &str, message: &str, fields: Map<String, Value>) {
        let mut kept = self.shared.kept();
        let id = kept.next_id;
        let data = json!({
            "id": id,
            "timestamp": rfc3339_ms(now_ms),
            "level": level,
            "service": self.shared.service,
            "message": cut(message),
            "fields": fields,
        });
        if kept.events.len() == EVENTS_KEPT_MAX {
            kept.events.pop_front();
        }
        kept.events.push_back(Event { id, data: data.to_string().into() });
        kept.next_id += 1;
        let next_id = kept.next_id;
        drop(kept);
        // Two that push at once may tell in either order.
        self.shared.news.send_modify(|news| news.next_id = news.next_id.max(next_id));
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Events {
    fn on_event(&self, event: &TracingEvent<'_>, context: Context<'_, S>) {
        let mut fields = fields_of(event, &context);
        let message = fields.remove("message").unwrap_or_default();
        for value in fields.values_mut() {
            if let Value::String(text) = value {
                *text = cut(text).to_owned();
            }
        }
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        self.push(SystemClock.now_ms(), &level, message.as_str().unwrap_or_default(), fields);
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// What a watcher is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An event.
    Event(Event),
    /// So many events before the next one are not kept any more; `None` where those of an earlier process are among them.
    Missed(Option<u64>),
}

/// One who watches.
pub struct Watcher {
    shared: Arc<Shared>,
    news: watch::Receiver<News>,
    next_id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next event; waits for it. `None` once events are closed and all that is kept was told.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.next_kept() {
                return Some(told);
            }
            let from = self.next_id;
            let woken = self.news.wait_for(|news| news.closed || news.next_id > from).await;
            if woken.map_or(true, |news| news.closed) {
                return self.next_kept();
            }
        }
    }

    fn next_kept(&mut self) -> Option<Told> {
        let kept = self.shared.kept();
        let oldest = kept.next_id - kept.events.len() as u64;
        if self.next_id < oldest {
            let missed = (self.next_id >= self.shared.first_id).then(|| oldest - self.next_id);
            self.next_id = oldest;
            return Some(Told::Missed(missed));
        }
        let event = kept.events.get((self.next_id - oldest) as usize)?.clone();
        self.next_id += 1;
        Some(Told::Event(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn say(events: &Events, message: &str) {
        events.push(0, "warn", message, Map::new());
    }

    fn message(told: Option<Told>) -> String {
        let Some(Told::Event(event)) = told else { panic!("no event: {told:?}") };
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["id"], event.id);
        data["message"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_watcher_sees_what_comes_and_goes_on_where_it_was() {
        let events = Events::starting_at("test", 1_000);
        say(&events, "before");
        let mut watcher = events.watch(None).unwrap();
        say(&events, "one");
        say(&events, "two");
        assert_eq!(message(watcher.next().await), "one");
        let ids: Vec<u64> = events.last(2).iter().map(|event| event.id).collect();
        assert_eq!(ids, [1_002, 1_001]);
        drop(watcher);
        let mut again = events.watch(Some(1_001)).unwrap();
        assert_eq!(message(again.next().await), "two");
        let waiting = tokio::time::timeout(Duration::from_millis(10), again.next());
        assert!(waiting.await.is_err(), "there is nothing more");
        say(&events, "three");
        assert_eq!(message(again.next().await), "three");
    }

    #[tokio::test]
    async fn what_is_not_kept_any_more_is_told() {
        let events = Events::starting_at("test", 5_000);
        let mut slow = events.watch(None).unwrap();
        for n in 0..EVENTS_KEPT_MAX + 7 {
            say(&events, &n.to_string());
        }
        assert_eq!(slow.next().await, Some(Told::Missed(Some(7))));
        assert_eq!(message(slow.next().await), "7");
        assert_eq!(events.shared.kept().events.len(), EVENTS_KEPT_MAX);
        // An id of an earlier process: how many it counted after that, nobody knows.
        assert_eq!(events.watch(Some(4_000)).unwrap().next().await, Some(Told::Missed(None)));
        let mut from_the_future = events.watch(Some(u64::MAX)).unwrap();
        say(&events, "next");
        assert_eq!(message(from_the_future.next().await), "next");
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_end_when_the_process_does() {
        let events = Events::starting_at("test", 0);
        let mut watchers: Vec<Watcher> = (0..WATCHERS_MAX).map(|_| events.watch(None).unwrap()).collect();
        assert!(events.watch(None).is_none());
        watchers.pop();
        let mut last = events.watch(None).unwrap();
        say(&events, "last words");
        events.close();
        assert_eq!(message(last.next().await), "last words");
        assert_eq!(last.next().await, None);
        assert_eq!(watchers[0].next().await.map(|told| matches!(told, Told::Event(_))), Some(true));
        assert_eq!(watchers[0].next().await, None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(cut(&text).len(), TEXT_BYTES_MAX);
        assert_eq!(cut(&format!("x{text}")).len(), TEXT_BYTES_MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
