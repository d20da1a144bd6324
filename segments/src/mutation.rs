//! Bugs that can be planted in the log, so that a test can show that the crash tests find them. Nothing plants one outside
//! feature `sim`.

/// One bug that a log of this kind has had somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Appends are never synced.
    NoFsync,
    /// Names are never synced.
    NoDirectoryFsync,
    /// An append is acknowledged first and synced with the next one.
    AckBeforeSync,
    /// A failed sync is tried again, and its second answer believed.
    RetryFsync,
    /// Payloads are not checked.
    PayloadCrcIgnored,
    /// Headers are not checked: the CRC covers the payload only.
    HeaderCrcIgnored,
    /// Records count wherever they are found.
    PositionIgnored,
    /// Recovery ends at the first bad record.
    StopAtFirstBadRecord,
    /// The log goes on in the segment with the torn tail.
    AppendAfterTornTail,
    /// Recovery believes what the page cache shows.
    RecoveryNotSynced,
    /// A segment given up is forgotten by the next start.
    PoisonNotMarked,
    /// Recovery writes a footer behind damaged records, too.
    FooterBehindDamage,
}

impl Mutation {
    /// Every bug.
    #[cfg(feature = "sim")]
    pub const ALL: [Mutation; 12] = [
        Mutation::NoFsync,
        Mutation::NoDirectoryFsync,
        Mutation::AckBeforeSync,
        Mutation::RetryFsync,
        Mutation::PayloadCrcIgnored,
        Mutation::HeaderCrcIgnored,
        Mutation::PositionIgnored,
        Mutation::StopAtFirstBadRecord,
        Mutation::AppendAfterTornTail,
        Mutation::RecoveryNotSynced,
        Mutation::PoisonNotMarked,
        Mutation::FooterBehindDamage,
    ];
}
