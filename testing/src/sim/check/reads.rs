//! What must hold of everything that is read: it agrees with one of the states that the key had while it was being read (law 7),
//! and the bytes are those that were put (law 6).

use super::operations::told;
use super::view::{bucket_and_key, called};
use super::{Ended, Got, Moment, Oracle, State};
use crate::sim::world::World;
use coordinator::metadata::records::{VersionRecord, VersionState};
use coordinator::object::{HistoryPage, ListPage, VersionSelector};
use protocol::{Error, ErrorKind};
use std::collections::BTreeMap;

/// True if the read succeeded, false if it was told to come again; an error says what was wrong.
type Verdict = Result<bool, String>;

impl Oracle {
    /// A read ended that began at `began`.
    pub fn get_ends(&self, key: &str, selector: VersionSelector, began: u64, ended: &Ended<Got>) {
        self.world.tell(|| format!("get {key} {selector:?} {}", told(ended, shown)));
        let mut state = self.state();
        let window = state.moments_since(key, began);
        let verdict = match ended {
            Ended::Answered(Ok(Got::Version(version, bytes))) => {
                state.check_version(key, selector, version, bytes, &window)
            }
            Ended::Answered(Ok(got)) => state.check_absence(key, selector, got, &window),
            Ended::Answered(Err(_)) if purged_within(&window) || state.removed_within(key, selector, &window) => {
                Ok(false)
            }
            Ended::Answered(Err(error)) => refused(error),
            Ended::Died => Ok(false),
        };
        state.judge(&self.world, verdict, || format!("get of {key} {selector:?} within {window:?}"));
    }

    /// A listing of a whole bucket ended that began at `began`.
    pub fn list_ends(&self, bucket: &str, began: u64, ended: &Ended<ListPage>) {
        self.world.tell(|| format!("list {}", told(ended, |page| format!("{} objects", page.objects.len()))));
        let mut state = self.state();
        let verdict = match ended {
            Ended::Answered(Ok(page)) => state.check_listing(bucket, page, began),
            Ended::Answered(Err(error)) => refused(error),
            Ended::Died => Ok(false),
        };
        state.judge(&self.world, verdict, || "listing".to_owned());
    }

    /// The history of a key ended that began at `began`.
    pub fn history_ends(&self, key: &str, began: u64, ended: &Ended<Option<HistoryPage>>) {
        let length = |page: &Option<HistoryPage>| format!("{:?}", page.as_ref().map(|page| page.entries.len()));
        self.world.tell(|| format!("history {key} {}", told(ended, length)));
        let mut state = self.state();
        let window = state.moments_since(key, began);
        let verdict = match ended {
            Ended::Answered(_) if purged_within(&window) => Ok(false),
            Ended::Answered(Ok(page)) => state.check_history(key, page.as_ref(), &window),
            Ended::Answered(Err(error)) => refused(error),
            Ended::Died => Ok(false),
        };
        state.judge(&self.world, verdict, || format!("history of {key} within {window:?}"));
    }
}

/// A read that a purge overtook may end as the purge left it.
fn purged_within(window: &[Moment]) -> bool {
    window.iter().skip(1).any(|moment| moment.purged)
}

/// A read may be told to come again; it may not find corruption, since one good copy is always left, nor be sent away otherwise.
fn refused(error: &Error) -> Verdict {
    match error.kind {
        ErrorKind::Unavailable => Ok(false),
        kind => Err(format!("law 6: a read failed as {}: {error}", kind.as_str())),
    }
}

fn shown(got: &Got) -> String {
    match got {
        Got::Version(version, bytes) => format!("number {} of {} bytes", version.number, bytes.len()),
        Got::NoObject => "no object".to_owned(),
        Got::NoVersion => "no version".to_owned(),
    }
}

impl State {
    fn judge(&mut self, world: &World, verdict: Verdict, what: impl FnOnce() -> String) {
        match verdict {
            Ok(true) => self.counts.reads_done += 1,
            Ok(false) => self.counts.reads_refused += 1,
            Err(wrong) => self.violated(world, format!("{wrong}: {}", what())),
        }
    }

    /// Whether the version that was read was removed for good meanwhile: as with a purge, its bytes are kept for the trash window only.
    fn removed_within(&self, key: &str, selector: VersionSelector, window: &[Moment]) -> bool {
        let read = |moment: &Moment| match selector {
            VersionSelector::Latest => moment.live,
            VersionSelector::Number(number) => Some(number),
        };
        let removed = |number| window.iter().skip(1).any(|later| self.is_removed(key, number, later));
        window.iter().filter_map(read).any(removed)
    }

    fn check_version(
        &self,
        key: &str,
        selector: VersionSelector,
        version: &VersionRecord,
        bytes: &[u8],
        window: &[Moment],
    ) -> Verdict {
        let Some(number) = self.numbers.get(&version.id).copied() else {
            return Err(format!("law 3: number {} was never published", version.number));
        };
        let Some(published) = self.published.get(&(key.to_owned(), number)) else {
            return Err(format!("law 3: number {number} was never published"));
        };
        let Some(body) = self.body(published.op) else {
            return Err(format!("law 3: number {number} was made by no put"));
        };
        if bytes != body.data || version.id != published.id {
            return Err(format!("law 6: number {number} has other bytes than operation {} sent", published.op));
        }
        let fits = |moment: &Moment| match selector {
            VersionSelector::Latest => moment.live == Some(number),
            VersionSelector::Number(wanted) => {
                let there = moment.last_number >= number && moment.purged_through < number;
                wanted == version.number && there && !self.is_removed(key, number, moment)
            }
        };
        match window.iter().any(fits) {
            true => Ok(true),
            false => Err(format!("law 7: number {number} was not to be seen")),
        }
    }

    fn check_absence(&self, key: &str, selector: VersionSelector, got: &Got, window: &[Moment]) -> Verdict {
        let fits = |moment: &Moment| match selector {
            VersionSelector::Latest => moment.live.is_none(),
            VersionSelector::Number(number) => {
                let published = self.published.contains_key(&(key.to_owned(), number));
                let gone = moment.purged_through >= number || self.is_removed(key, number, moment);
                !published || moment.purged || gone || moment.last_number < number
            }
        };
        match window.iter().any(fits) {
            true => Ok(true),
            false => Err(format!("law 7: {} although it was there", shown(got))),
        }
    }

    fn check_listing(&self, bucket: &str, page: &ListPage, began: u64) -> Verdict {
        let listed: BTreeMap<String, u64> =
            page.objects.iter().map(|object| (called(bucket, &object.key), object.number)).collect();
        for key in self.keys.keys().filter(|key| bucket_and_key(key).0 == bucket) {
            let window = self.moments_since(key, began);
            let number = listed.get(key.as_str()).copied();
            let shown = |number: u64| self.published.get(&(key.clone(), number)).map(|published| published.shown);
            if !window.iter().any(|moment| moment.live.and_then(shown) == number) {
                return Err(format!("law 7: {key} is listed with {number:?} within {window:?}"));
            }
        }
        match listed.keys().find(|key| !self.keys.contains_key(*key)) {
            Some(key) => Err(format!("law 3: {key} is listed and was never published")),
            None => Ok(true),
        }
    }

    /// Every number since the last purge but those removed, in order; versions that came while it was read may be in it, too.
    fn check_history(&self, key: &str, page: Option<&HistoryPage>, window: &[Moment]) -> Verdict {
        let Some(page) = page else {
            return match window.iter().any(|moment| moment.purged) {
                true => Ok(true),
                false => Err("law 7: no history although there is one".to_owned()),
            };
        };
        for entry in &page.entries {
            let (number, id) = (entry.version.number, entry.version.id);
            let published = self.published.get(&(key.to_owned(), number)).map(|published| published.id);
            let expected = if entry.version.state == VersionState::Live { Some(id) } else { None };
            if published != expected {
                return Err(format!("law 3: number {number} is {id}, and {published:?} was published"));
            }
        }
        let numbers: Vec<u64> = page.entries.iter().map(|entry| entry.version.number).collect();
        let current: Vec<u64> =
            page.entries.iter().filter(|entry| entry.current).map(|entry| entry.version.number).collect();
        let fits = |moment: &Moment| {
            let last = numbers.last().copied().unwrap_or(0).max(moment.last_number);
            let kept = (moment.purged_through + 1..=last).filter(|number| !self.is_removed(key, *number, moment));
            let whole = numbers.iter().copied().eq(kept);
            !moment.purged && whole && current == Vec::from_iter(moment.live)
        };
        match window.iter().any(fits) {
            true => Ok(true),
            false => Err(format!("law 7: the history is {numbers:?} with {current:?} current")),
        }
    }
}
