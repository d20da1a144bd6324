//! What handlers ask of the guard: whose a new thing is, and whether the principal may do something that only body or answer names.

use super::principal;
use crate::identity::{Action, Principal, Resource, Verdict, authorize};
use crate::metadata::records::BucketRecord;
use crate::object::BucketName;
use actix_web::HttpRequest;

/// Whose a bucket or version that this request makes is. The one place where owners come from.
pub fn owner(request: &HttpRequest) -> String {
    principal(request).owner().to_owned()
}

/// Whether `principal` may do this in the bucket; without a record it is not there. A bucket that anybody may read opens no more than the
/// newest versions of its objects: `of_newest` says whether this is about one.
pub fn permit(
    principal: &Principal,
    action: Action,
    name: &BucketName,
    record: Option<&BucketRecord>,
    of_newest: bool,
) -> Verdict {
    let resource = match record {
        None => Resource::NoBucket { name: name.as_str() },
        Some(record) => {
            Resource::Bucket { name: name.as_str(), owner: &record.owner, opened: record.public_read && of_newest }
        }
    };
    authorize(principal, action, resource)
}
