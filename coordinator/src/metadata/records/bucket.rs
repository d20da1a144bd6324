//! `bucket/<name>`: a bucket and its settings.
//!
//! What it keeps true: every commit that makes something visible in a bucket checks this record, so whoever changes it (a deletion
//! of the bucket first of all) is seen by every writer under way.

pub use v1::{BucketState, CorsRule, DefaultRetention, ObjectLock, Quota, RuleFilter, Versioning};
pub use v3::{BucketRecord, LifecycleRule, NoncurrentTransition, Transition, TransitionMinimum};

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::RetentionMode;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// What becomes of the version before when a key is written or deleted.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Versioning {
        /// It goes: a key has one version at most, the null version.
        #[default]
        #[serde(rename = "o")]
        Off,
        /// It stays.
        #[serde(rename = "e")]
        Enabled,
        /// It stays, unless it is the null version.
        #[serde(rename = "s")]
        Suspended,
    }

    /// Whether a bucket is there to stay.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum BucketState {
        /// It is.
        #[default]
        #[serde(rename = "l")]
        Live,
        /// Somebody looks whether it is empty, to delete it. Whoever writes into it makes it live again, which ends the deletion.
        #[serde(rename = "d")]
        Deleting,
        /// It is gone; names that were purged in it are still to be forgotten, and this record goes after the last of them.
        #[serde(rename = "g")]
        Gone,
    }

    /// What new versions of a bucket with object lock are kept for, if their writer does not say.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DefaultRetention {
        /// How strictly.
        pub mode: RetentionMode,
        /// For how many days, if it was given so,
        pub days: Option<u32>,
        /// or for how many years.
        pub years: Option<u32>,
    }

    /// That versions of a bucket can be locked.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ObjectLock {
        /// The lock of versions whose writer says nothing of it.
        pub default: Option<DefaultRetention>,
    }

    /// What pages of other origins may do.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CorsRule {
        /// Its name, as given.
        pub id: Option<String>,
        /// Origins, each with one `*` at most.
        pub origins: Vec<String>,
        /// Methods.
        pub methods: Vec<String>,
        /// Request headers, each with one `*` at most.
        pub headers: Vec<String>,
        /// Response headers that a page may see.
        pub exposed: Vec<String>,
        /// For how long a browser may remember it.
        pub max_age_s: Option<u32>,
    }

    /// Which objects a lifecycle rule is about: those of which all of it holds.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RuleFilter {
        /// Their keys start so.
        pub prefix: String,
        /// They have these tags.
        pub tags: BTreeMap<String, String>,
        /// They are larger, in bytes.
        pub larger_than: Option<u64>,
        /// They are smaller, in bytes.
        pub smaller_than: Option<u64>,
    }

    /// What happens to objects as they grow old.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct LifecycleRule {
        /// Its name.
        pub id: String,
        /// Whether it is in force.
        pub enabled: bool,
        /// Which objects it is about.
        pub filter: RuleFilter,
        /// Whether the prefix was given outside a filter, as older clients do; it is shown as it was given.
        pub prefix_outside: bool,
        /// Current versions are deleted after so many days,
        pub expire_days: Option<u32>,
        /// or at this time, in milliseconds since 1970.
        pub expire_at_ms: Option<u64>,
        /// Whether a marker goes that has no version below it.
        pub expire_markers: bool,
        /// Versions go so many days after another one took their place,
        pub noncurrent_days: Option<u32>,
        /// save for the newest of them.
        pub noncurrent_kept: Option<u32>,
        /// Multipart uploads are given up after so many days.
        pub abort_uploads_days: Option<u32>,
    }

    /// How much a bucket may hold.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Quota {
        /// Bytes of all versions.
        pub bytes: Option<u64>,
        /// Versions.
        pub objects: Option<u64>,
    }

    /// A bucket.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BucketRecord {
        /// When it was made, in milliseconds since 1970.
        pub created_ms: u64,
        /// The id of the access key that made it; empty if none did.
        pub owner: String,
        /// What becomes of older versions.
        pub versioning: Versioning,
        /// Whether it is being deleted.
        pub state: BucketState,
        /// Whether its versions can be locked.
        pub object_lock: Option<ObjectLock>,
        /// Its tags.
        pub tags: BTreeMap<String, String>,
        /// What pages of other origins may do.
        pub cors: Vec<CorsRule>,
        /// What happens as time goes by.
        pub lifecycle: Vec<LifecycleRule>,
        /// Whether anybody may read its objects.
        pub public_read: bool,
        /// How much it may hold.
        pub quota: Option<Quota>,
    }

    impl Migrate for BucketRecord {
        const NAME: &'static str = "bucket record";
        const TYPE: u8 = 17;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> BucketRecord {
            match previous {}
        }
    }
}

/// The second layout: how a bucket stores what is written to it.
pub mod v2 {
    use super::v1::{self, BucketState, CorsRule, LifecycleRule, ObjectLock, Quota, Versioning};
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::Strategy;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// A bucket.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BucketRecord {
        /// When it was made, in milliseconds since 1970.
        pub created_ms: u64,
        /// The id of the access key that made it; empty if none did.
        pub owner: String,
        /// What becomes of older versions.
        pub versioning: Versioning,
        /// Whether it is being deleted.
        pub state: BucketState,
        /// Whether its versions can be locked.
        pub object_lock: Option<ObjectLock>,
        /// Its tags.
        pub tags: BTreeMap<String, String>,
        /// What pages of other origins may do.
        pub cors: Vec<CorsRule>,
        /// What happens as time goes by.
        pub lifecycle: Vec<LifecycleRule>,
        /// Whether anybody may read its objects.
        pub public_read: bool,
        /// How much it may hold.
        pub quota: Option<Quota>,
        /// How what is written to it is stored, where its writer does not say; `None`: as copies.
        pub strategy: Option<Strategy>,
    }

    impl Migrate for BucketRecord {
        const NAME: &'static str = "bucket record";
        const TYPE: u8 = 17;
        const VERSION: u8 = 2;
        type Previous = v1::BucketRecord;

        fn migrate(previous: v1::BucketRecord) -> BucketRecord {
            BucketRecord {
                created_ms: previous.created_ms,
                owner: previous.owner,
                versioning: previous.versioning,
                state: previous.state,
                object_lock: previous.object_lock,
                tags: previous.tags,
                cors: previous.cors,
                lifecycle: previous.lifecycle,
                public_read: previous.public_read,
                quota: previous.quota,
                strategy: None,
            }
        }
    }
}

/// The third layout: rules that move versions to another class.
pub mod v3 {
    use super::v1::{self, BucketState, CorsRule, ObjectLock, Quota, RuleFilter, Versioning};
    use super::v2;
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::{StorageClass, Strategy};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// That current versions are moved to another class: after so many days, or at a time.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Transition {
        /// After so many days,
        pub days: Option<u32>,
        /// or at this time, in milliseconds since 1970.
        pub at_ms: Option<u64>,
        /// To which class.
        pub class: StorageClass,
    }

    /// That versions are moved to another class after another one took their place.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct NoncurrentTransition {
        /// So many days after it did,
        pub days: u32,
        /// save for the newest of them.
        pub kept: Option<u32>,
        /// To which class.
        pub class: StorageClass,
    }

    /// From which size on versions are moved by rules whose filters say nothing of sizes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum TransitionMinimum {
        /// From 128 KiB on, whatever the class.
        #[default]
        #[serde(rename = "a")]
        AllClasses,
        /// As S3 does for each class; of those that are here that is 128 KiB, too.
        #[serde(rename = "v")]
        VariesByClass,
    }

    impl TransitionMinimum {
        /// As S3 spells it.
        pub fn as_str(self) -> &'static str {
            match self {
                TransitionMinimum::AllClasses => "all_storage_classes_128K",
                TransitionMinimum::VariesByClass => "varies_by_storage_class",
            }
        }
    }

    /// What happens to objects as they grow old.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct LifecycleRule {
        /// Its name.
        pub id: String,
        /// Whether it is in force.
        pub enabled: bool,
        /// Which objects it is about.
        pub filter: RuleFilter,
        /// Whether the prefix was given outside a filter, as older clients do; it is shown as it was given.
        pub prefix_outside: bool,
        /// Current versions are deleted after so many days,
        pub expire_days: Option<u32>,
        /// or at this time, in milliseconds since 1970.
        pub expire_at_ms: Option<u64>,
        /// Whether a marker goes that has no version below it.
        pub expire_markers: bool,
        /// Versions go so many days after another one took their place,
        pub noncurrent_days: Option<u32>,
        /// save for the newest of them.
        pub noncurrent_kept: Option<u32>,
        /// Multipart uploads are given up after so many days.
        pub abort_uploads_days: Option<u32>,
        /// Current versions are moved to other classes.
        pub transitions: Vec<Transition>,
        /// Versions are moved to other classes after others took their place.
        pub noncurrent_transitions: Vec<NoncurrentTransition>,
    }

    impl From<v1::LifecycleRule> for LifecycleRule {
        fn from(previous: v1::LifecycleRule) -> LifecycleRule {
            LifecycleRule {
                id: previous.id,
                enabled: previous.enabled,
                filter: previous.filter,
                prefix_outside: previous.prefix_outside,
                expire_days: previous.expire_days,
                expire_at_ms: previous.expire_at_ms,
                expire_markers: previous.expire_markers,
                noncurrent_days: previous.noncurrent_days,
                noncurrent_kept: previous.noncurrent_kept,
                abort_uploads_days: previous.abort_uploads_days,
                transitions: Vec::new(),
                noncurrent_transitions: Vec::new(),
            }
        }
    }

    /// A bucket.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BucketRecord {
        /// When it was made, in milliseconds since 1970.
        pub created_ms: u64,
        /// The id of the access key that made it; empty if none did.
        pub owner: String,
        /// What becomes of older versions.
        pub versioning: Versioning,
        /// Whether it is being deleted.
        pub state: BucketState,
        /// Whether its versions can be locked.
        pub object_lock: Option<ObjectLock>,
        /// Its tags.
        pub tags: BTreeMap<String, String>,
        /// What pages of other origins may do.
        pub cors: Vec<CorsRule>,
        /// What happens as time goes by.
        pub lifecycle: Vec<LifecycleRule>,
        /// Whether anybody may read its objects.
        pub public_read: bool,
        /// How much it may hold.
        pub quota: Option<Quota>,
        /// How what is written to it is stored, where its writer does not say; `None`: as copies.
        pub strategy: Option<Strategy>,
        /// From which size on its rules move versions, where they do not say.
        pub transition_minimum: TransitionMinimum,
    }

    impl Migrate for BucketRecord {
        const NAME: &'static str = "bucket record";
        const TYPE: u8 = 17;
        const VERSION: u8 = 3;
        type Previous = v2::BucketRecord;

        fn migrate(previous: v2::BucketRecord) -> BucketRecord {
            BucketRecord {
                created_ms: previous.created_ms,
                owner: previous.owner,
                versioning: previous.versioning,
                state: previous.state,
                object_lock: previous.object_lock,
                tags: previous.tags,
                cors: previous.cors,
                lifecycle: previous.lifecycle.into_iter().map(LifecycleRule::from).collect(),
                public_read: previous.public_read,
                quota: previous.quota,
                strategy: previous.strategy,
                transition_minimum: TransitionMinimum::default(),
            }
        }
    }
}
