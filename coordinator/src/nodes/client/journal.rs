//! The catalog journal of a node behind HTTP.

use super::HttpNode;
use super::call::{Call, Verb};
use async_trait::async_trait;
use protocol::{
    JOURNAL_ENTRY_BYTES_MAX, JournalAppend, JournalAppended, JournalClaim, JournalEntry, JournalNode, JournalState,
    Result, routes,
};

#[async_trait]
impl JournalNode for HttpNode {
    async fn journal_state(&self) -> Result<JournalState> {
        self.json(Call::of_journal(Verb::Get, routes::JOURNAL)).await
    }

    async fn journal_claim(&self, claim: JournalClaim) -> Result<JournalState> {
        let mut call = Call::of_journal(Verb::Post, routes::JOURNAL_CLAIM);
        call.query = Some(format!("epoch={}&holder={}", claim.epoch, claim.holder));
        self.json(call).await
    }

    async fn journal_append(&self, append: JournalAppend) -> Result<JournalAppended> {
        let JournalAppend { claim, anew, entries } = append;
        let mut call = Call::of_journal(Verb::Post, routes::JOURNAL);
        call.query = Some(format!("epoch={}&holder={}&anew={anew}", claim.epoch, claim.holder));
        call.body = entries.iter().map(|entry| entry.frame().clone()).collect();
        self.json(call).await
    }

    async fn journal_read(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>> {
        let mut call = Call::of_journal(Verb::Get, routes::JOURNAL_ENTRIES);
        call.query = Some(format!("from={from}&limit_bytes={limit_bytes}"));
        call.work_bytes = limit_bytes.saturating_add(JOURNAL_ENTRY_BYTES_MAX as u64);
        let reply = self.wire.call(call).await?;
        reply.check_crc()?;
        JournalEntry::decode_all(reply.body)
    }
}
