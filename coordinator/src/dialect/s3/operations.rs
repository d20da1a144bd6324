//! Which operation of the library's is answered by what. Whatever is not named here the library answers `NotImplemented`.

use super::{attributes, bucket, copy, delete, lifecycle, list, lock, multipart, post, settings, uploads, versions};
use crate::dialect::Door;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketInput,
    DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, DeleteBucketOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, DeleteObjectsInput, DeleteObjectsOutput, GetBucketCorsInput, GetBucketCorsOutput,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketTaggingInput, GetBucketTaggingOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectLegalHoldInput,
    GetObjectLegalHoldOutput, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput,
    GetObjectRetentionInput, GetObjectRetentionOutput, GetObjectTaggingInput, GetObjectTaggingOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PostObjectInput, PostObjectOutput, PutBucketCorsInput,
    PutBucketCorsOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutBucketVersioningInput, PutBucketVersioningOutput,
    PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectRetentionInput, PutObjectRetentionOutput, PutObjectTaggingInput,
    PutObjectTaggingOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};
use std::sync::Arc;

/// The library's operations.
pub struct Operations {
    /// The door.
    pub door: Arc<Door>,
    /// Whether forms may be signed by version 2.
    pub takes_v2: bool,
}

/// The library's trait, a line for each operation: its method, what comes in, what goes out, and who answers.
macro_rules! answered {
    ($($method:ident: $input:ty => $output:ty, $answer:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            async fn post_object(&self, request: S3Request<PostObjectInput>) -> S3Result<S3Response<PostObjectOutput>> {
                post::object(&self.door, request, self.takes_v2).await
            }

            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $answer(&self.door, request).await
            })*
        }
    };
}

answered! {
    create_bucket: CreateBucketInput => CreateBucketOutput, bucket::create;
    head_bucket: HeadBucketInput => HeadBucketOutput, bucket::head;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket::delete;
    list_buckets: ListBucketsInput => ListBucketsOutput, bucket::list;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, settings::versioning;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, settings::set_versioning;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput, settings::bucket_tags;
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput, settings::set_bucket_tags;
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput, settings::forget_bucket_tags;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput, settings::cors;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput, settings::set_cors;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, settings::forget_cors;
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput,
        lifecycle::get;
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput,
        lifecycle::put;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, lifecycle::forget;
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, lock::of_bucket;
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput,
        lock::set_of_bucket;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput, lock::retention;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput, lock::set_retention;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, lock::legal_hold;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput, lock::set_legal_hold;
    list_objects: ListObjectsInput => ListObjectsOutput, list::v1;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list::v2;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, versions::list;
    delete_object: DeleteObjectInput => DeleteObjectOutput, delete::one;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, delete::many;
    copy_object: CopyObjectInput => CopyObjectOutput, copy::object;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, attributes::get;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, attributes::tags;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, attributes::set_tags;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, attributes::forget_tags;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart::create;
    upload_part: UploadPartInput => UploadPartOutput, multipart::part;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, multipart::part_copy;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, multipart::complete;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, multipart::abort;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, uploads::list;
    list_parts: ListPartsInput => ListPartsOutput, uploads::parts;
}
