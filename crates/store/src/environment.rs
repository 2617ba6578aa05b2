//! What the process was started with: the AWS variables, and the credentials that its platform lends.
//!
//! Problem: a provider of credentials keeps what it was lent, so that one for each opened table would ask the platform for each of them anew; and
//! what it says of a failure may hold an address with a token, or a server's words. Contract: one provider for each region and kind; what is lent
//! is waited for as long as a silent store is; a failure names the kind of the provider and the status of the answer, and may pass unless the
//! platform refused the request.

use crate::http::Fault;
use crate::location::shown;
use crate::recent::Recent;
use crate::settings::{Properties, first};
use fastdata_types::error::{Error, ErrorKind, Stage};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Regions and kinds whose providers are kept.
const MOST_PROVIDERS: usize = 16;
const ADVICE: &str = "check the role, container or instance credentials of this process, or set s3.access-key-id and s3.secret-access-key";

pub(crate) struct Environment {
    pub(crate) variables: Properties,
    providers: Mutex<Recent<(String, &'static str), Provider>>,
}

/// Web identity, container or instance credentials, renewed before they end.
pub(crate) struct Provider {
    kind: &'static str,
    credentials: AwsCredentialProvider,
}

impl Environment {
    pub(crate) fn new(variables: Properties) -> Environment {
        Environment { variables, providers: Mutex::new(Recent::new(MOST_PROVIDERS)) }
    }

    /// The provider of this process, if it has one, or why it cannot be made. `instance`: the machine's metadata service may be asked.
    pub(crate) fn provider(&self, region: &str, instance: bool) -> Option<Result<Arc<Provider>, object_store::Error>> {
        let (kind, builder) = self.builder(instance)?;
        let make = || {
            let store = builder.with_bucket_name("any").with_region(region).build()?;
            Ok(((region.to_string(), kind), Arc::new(Provider { kind, credentials: store.credentials().clone() })))
        };
        let mut providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(providers.get_or_make(|(known, of)| known == region && *of == kind, make))
    }

    /// What the operator's platform gives to this process, in the order of the AWS SDKs.
    fn builder(&self, instance: bool) -> Option<(&'static str, AmazonS3Builder)> {
        let value = |name: &str| first(&self.variables, &[name]).map(str::to_string);
        let builder = AmazonS3Builder::new();
        if let (Some(file), Some(role)) = (value("AWS_WEB_IDENTITY_TOKEN_FILE"), value("AWS_ROLE_ARN")) {
            let builder = builder.with_config(AmazonS3ConfigKey::WebIdentityTokenFile, file).with_config(AmazonS3ConfigKey::RoleArn, role);
            let builder = match value("AWS_ROLE_SESSION_NAME") {
                Some(session) => builder.with_config(AmazonS3ConfigKey::RoleSessionName, session),
                None => builder,
            };
            return Some(("web identity", builder));
        }
        if let Some(uri) = value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return Some(("container", builder.with_config(AmazonS3ConfigKey::ContainerCredentialsRelativeUri, uri)));
        }
        if let (Some(uri), Some(file)) = (value("AWS_CONTAINER_CREDENTIALS_FULL_URI"), value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
            let builder = builder.with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, uri);
            return Some(("container", builder.with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, file)));
        }
        instance.then_some(("instance", builder))
    }
}

impl Provider {
    /// Credentials that are good now.
    pub(crate) async fn lend(&self, silence: Duration, location: &str) -> Result<Arc<AwsCredential>, Fault> {
        let unlent = |kind, why: &str| {
            let message = format!("{}: the {} credentials of this process cannot be had: {why}", shown(location), self.kind);
            Error::new(kind, Stage::Store, message).advice(ADVICE)
        };
        let credential = match tokio::time::timeout(silence, self.credentials.get_credential()).await {
            Err(_) => {
                return Err(Fault::Wanting(unlent(ErrorKind::Unavailable, &format!("no answer for {:.1} s", silence.as_secs_f64()))));
            }
            Ok(Err(error)) => {
                let (why, is_refusal) = failure(&error);
                return Err(match is_refusal {
                    true => Fault::Final(unlent(ErrorKind::Unauthenticated, &why)),
                    false => Fault::Wanting(unlent(ErrorKind::Unavailable, &why)),
                });
            }
            Ok(Ok(credential)) => credential,
        };
        let usable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !usable(&credential.key_id) || !credential.token.as_deref().is_none_or(usable) {
            return Err(Fault::Final(unlent(ErrorKind::Config, "they hold a space or a character that is not ASCII")));
        }
        Ok(credential)
    }
}

/// Why a provider failed, without addresses and words of others, and whether it was refused.
fn failure(error: &object_store::Error) -> (String, bool) {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            let what = match error.kind() {
                HttpErrorKind::Connect => "its service cannot be reached",
                HttpErrorKind::Timeout => "its service does not answer in time",
                _ => "its service does not answer as it should",
            };
            return (what.to_string(), false);
        }
        let text = error.to_string();
        if let Some(status) = status(&text) {
            return (format!("its service answered {status}"), matches!(status, 401 | 403 | 404));
        }
        if text.contains("token file") {
            return ("its token file cannot be read".to_string(), false);
        }
        next = error.source();
    }
    ("its service does not answer as it should".to_string(), false)
}

/// The status in object_store's words for an answer without success, whose type is not public.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}
