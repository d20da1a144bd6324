//! What S3 answers, check by check: `testing/s3/conformance` against a cluster that knows several keys.

use super::program::{Program, in_repository};
use super::store::{DOMAIN, Keys, Store};

#[tokio::test]
async fn every_answer_is_that_of_s3() {
    let Some(python) = Program::find_python("every_answer_is_that_of_s3") else { return };
    let store = Store::start().await;
    let script = in_repository("testing/s3/conformance").to_string_lossy().into_owned();
    let mut arguments: Vec<String> = ["-B", &script, "--endpoint", &store.endpoint].map(str::to_owned).into();
    if store.is_ours() {
        arguments.extend(["--sigv2", "--virtual-host", DOMAIN].map(str::to_owned));
        arguments.extend(["--known".to_owned(), format!("{script}/known.txt")]);
    }
    let mut give = |who: &str, keys: Option<Keys>| {
        if let Some(Keys { access_key, secret_key }) = keys {
            arguments.extend([format!("--{who}access-key={access_key}"), format!("--{who}secret-key={secret_key}")]);
        }
    };
    give("", Some(store.keys.clone()));
    give("other-", store.other_key().await);
    give("expired-", store.expired_key().await);
    give("disabled-", store.disabled_key().await);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    print!("{}", python.run(&arguments));
}
