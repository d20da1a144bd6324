//! `credential/<id>`: who may come in, how that is proved, and what for.

pub use v1::{CredentialRecord, GrantRecord};

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::Sha256;
    use serde::{Deserialize, Serialize};

    /// Something that a key may do.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GrantRecord {
        /// Patterns of bucket names, in which `*` stands for any run of characters.
        pub buckets: Vec<String>,
        /// One bit for each action: read 1, write 2, list 4, delete 8, admin 16.
        pub actions: u8,
        /// Whether it reaches buckets of other owners, too.
        pub any_owner: bool,
    }

    /// A key: a bearer token of which only the hash is kept, and a secret for signatures, kept encrypted.
    #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CredentialRecord {
        /// Its name in requests and records; the access key id of signatures.
        pub id: String,
        /// What people call it.
        pub name: String,
        /// Whose buckets are its own: its id, or that of another key it stands in for.
        pub owner: String,
        /// SHA-256 of the bearer token.
        pub token_sha256: Sha256,
        /// The secret for signatures, encrypted (`identity::seal`).
        #[serde(with = "serde_bytes")]
        pub sealed_secret: Vec<u8>,
        /// What it may do; whatever no grant names it may not.
        pub grants: Vec<GrantRecord>,
        /// Whether it is refused, whatever it may do.
        pub disabled: bool,
        /// Whether its secrets were shown to somebody. What was not shown yet lets nobody in.
        pub shown: bool,
        /// When it was made, in milliseconds since 1970.
        pub created_ms: u64,
        /// When its secrets were made.
        pub rotated_ms: u64,
        /// From when on it is refused; 0 = never.
        pub expires_ms: u64,
    }

    impl std::fmt::Debug for CredentialRecord {
        /// Neither the hash nor the encrypted secret: what is printed lies around.
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("CredentialRecord").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
        }
    }

    impl Migrate for CredentialRecord {
        const NAME: &'static str = "credential record";
        const TYPE: u8 = 40;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> CredentialRecord {
            match previous {}
        }
    }
}
