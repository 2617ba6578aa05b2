//! Iceberg's storage properties, resolved once into what a request needs.
//!
//! Problem: the same setting comes under several names from the configuration, a catalog's answer and the environment. Contract: every
//! problem is reported at once, as `config`; nothing is taken from table metadata; plain http only where the endpoint says so; credentials are
//! never put together from two sources; instance-metadata credentials only where `fastdata.s3.instance-credentials` is true. How: properties
//! win over the standard AWS environment variables, which win over defaults.

use crate::environment::{Environment, Provider};
use crate::http::Fault;
use crate::location::shown;
use crate::peer::Peer;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};
use object_store::aws::AwsCredential;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

pub(crate) type Properties = BTreeMap<String, String>;

pub(crate) struct Settings {
    /// What all of this was resolved from.
    pub(crate) properties: Properties,
    /// `None` is AWS itself.
    pub(crate) endpoint: Option<Url>,
    pub(crate) region: String,
    pub(crate) path_style: bool,
    pub(crate) access: Access,
    pub(crate) connect_timeout: Duration,
    /// Longest silence of a store that has been asked.
    pub(crate) silence: Duration,
    /// How long faults are retried without any progress.
    pub(crate) patience: Duration,
    /// Whether a late request gets a second one beside it.
    pub(crate) hedges: bool,
    /// What the process knows of the endpoint.
    pub(crate) peer: Arc<Peer>,
}

pub(crate) enum Access {
    Anonymous,
    Fixed(Arc<AwsCredential>),
    Provider(Arc<Provider>),
    Missing(&'static str),
}

impl Settings {
    pub(crate) fn resolve(properties: &Properties, environment: &Environment) -> Result<Settings> {
        let mut problems = Vec::new();
        let variables = &environment.variables;
        let endpoint = resolve_endpoint(properties, variables, &mut problems);
        let region = first(properties, &["s3.region", "client.region"])
            .or_else(|| first(variables, &["AWS_REGION", "AWS_DEFAULT_REGION"]))
            .unwrap_or("us-east-1")
            .to_string();
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            problems.push("s3.region: letters, digits and '-' only".to_string());
        }
        let path_style = flag(properties, "s3.path-style-access", &mut problems).unwrap_or(endpoint.is_some());
        let mut seconds = |name: &str, default: f64| match properties.get(name).map(|text| (text, text.trim().parse::<f64>())) {
            None => Duration::from_secs_f64(default),
            Some((_, Ok(value))) if (0.001..=86_400.0).contains(&value) => Duration::from_secs_f64(value),
            Some((text, _)) => {
                problems.push(format!("{name}: '{text}' is not a number of seconds"));
                Duration::from_secs_f64(default)
            }
        };
        let connect_timeout = seconds("s3.connect-timeout", 5.0);
        let silence = seconds("s3.request-timeout", 20.0);
        let patience = seconds("fastdata.s3.retry-timeout", 60.0);
        let hedges = flag(properties, "fastdata.s3.hedging", &mut problems).unwrap_or(true);
        let access = resolve_access(properties, environment, &region, &mut problems);
        if problems.is_empty() {
            let (properties, peer) = (properties.clone(), Arc::default());
            Ok(Settings { properties, endpoint, region, path_style, access, connect_timeout, silence, patience, hedges, peer })
        } else {
            Err(Error::new(ErrorKind::Config, Stage::Store, format!("storage properties: {}", problems.join("; ")))
                .advice("correct the properties of the catalog in fastdata.toml, or the AWS_* environment variables"))
        }
    }

    /// The URL of a bucket, without a slash at the end.
    pub(crate) fn bucket_url(&self, bucket: &str) -> String {
        let Some(endpoint) = &self.endpoint else {
            let region = &self.region;
            // A wildcard certificate covers one label: buckets with dots need path style.
            return match self.path_style || bucket.contains('.') {
                true => format!("https://s3.{region}.amazonaws.com/{bucket}"),
                false => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            };
        };
        let host = &endpoint[url::Position::BeforeHost..url::Position::AfterPort];
        let (scheme, path) = (endpoint.scheme(), endpoint.path().trim_end_matches('/'));
        match self.path_style {
            true => format!("{scheme}://{host}{path}/{bucket}"),
            false => format!("{scheme}://{bucket}.{host}{path}"),
        }
    }

    /// The endpoint as messages name it.
    pub(crate) fn endpoint_name(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.as_str().trim_end_matches('/').to_string(),
            None => format!("https://s3.{}.amazonaws.com", self.region),
        }
    }

    /// What signs a request for this location now; nothing signs anonymous ones.
    pub(crate) async fn credential(&self, bucket: &str, location: &str) -> Result<Option<Arc<AwsCredential>>, Fault> {
        match &self.access {
            Access::Anonymous => Ok(None),
            Access::Fixed(credential) => Ok(Some(credential.clone())),
            Access::Provider(provider) => provider.lend(self.silence, location).await.map(Some),
            Access::Missing(advice) => {
                let message = format!("{}: there are no credentials for bucket '{bucket}'", shown(location));
                Err(Error::new(ErrorKind::Unauthenticated, Stage::Store, message).advice(*advice).into())
            }
        }
    }

    pub(crate) fn allows_http(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http")
    }
}

pub(crate) fn first<'a>(properties: &'a Properties, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| properties.get(*name)).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn flag(properties: &Properties, name: &str, problems: &mut Vec<String>) -> Option<bool> {
    let text = properties.get(name)?;
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => {
            problems.push(format!("{name}: '{text}' is neither true nor false"));
            None
        }
    }
}

fn resolve_endpoint(properties: &Properties, variables: &Properties, problems: &mut Vec<String>) -> Option<Url> {
    let text = first(properties, &["s3.endpoint"]).or_else(|| first(variables, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]))?;
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            problems.push("s3.endpoint: credentials do not belong into a URL".to_string())
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none() => {
            return Some(url);
        }
        // Without the text: what does not parse may hold credentials.
        _ => problems.push("s3.endpoint: not of the form http://HOST:PORT or https://HOST:PORT".to_string()),
    }
    None
}

fn resolve_access(properties: &Properties, environment: &Environment, region: &str, problems: &mut Vec<String>) -> Access {
    if flag(properties, "s3.anonymous", problems) == Some(true) {
        return Access::Anonymous;
    }
    let sources = [
        (properties, ["s3.access-key-id", "s3.secret-access-key", "s3.session-token"]),
        (properties, ["client.access-key-id", "client.secret-access-key", "client.session-token"]),
        (&environment.variables, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]),
    ];
    for (source, [key_name, secret_name, token_name]) in sources {
        let token = first(source, &[token_name]);
        match (first(source, &[key_name]), first(source, &[secret_name])) {
            (None, None) => {}
            (Some(_), None) => problems.push(format!("{key_name} is set and {secret_name} is not")),
            (None, Some(_)) => problems.push(format!("{secret_name} is set and {key_name} is not")),
            // They become header values, for which anything else would be an error much later.
            (Some(key), Some(secret))
                if [Some(key), Some(secret), token].into_iter().flatten().any(|text| !text.bytes().all(|b| b.is_ascii_graphic())) =>
            {
                problems.push(format!("{key_name}, {secret_name} or {token_name} holds a space or a character that is not ASCII"));
            }
            (Some(key), Some(secret)) => {
                let credential =
                    AwsCredential { key_id: key.to_string(), secret_key: secret.to_string(), token: token.map(str::to_string) };
                return Access::Fixed(Arc::new(credential));
            }
        }
    }
    let instance = flag(properties, "fastdata.s3.instance-credentials", problems) == Some(true);
    match environment.provider(region, instance) {
        Some(Ok(provider)) => return Access::Provider(provider),
        Some(Err(error)) => problems.push(format!("credentials of the environment: {error}")),
        None => {}
    }
    Access::Missing(match properties.get("s3.remote-signing-enabled").is_some_and(|value| value.trim() == "true") {
        true => "the catalog asks for remote signing, which is not supported: let it vend credentials",
        false => {
            "set s3.access-key-id and s3.secret-access-key (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or s3.anonymous=true for a public bucket"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn settings(properties: &[(&str, &str)], environment: &[(&str, &str)]) -> Settings {
        Settings::resolve(&map(properties), &Environment::new(map(environment))).map_err(|error| error.message().to_string()).ok().unwrap()
    }

    fn key(settings: &Settings) -> Option<(&str, Option<&str>)> {
        match &settings.access {
            Access::Fixed(credential) => Some((&credential.key_id, credential.token.as_deref())),
            _ => None,
        }
    }

    #[test]
    fn an_endpoint_means_path_style_unless_told_otherwise() {
        let minio = ("s3.endpoint", "http://127.0.0.1:9000");
        assert_eq!(settings(&[minio], &[]).bucket_url("wh"), "http://127.0.0.1:9000/wh");
        assert_eq!(settings(&[minio, ("s3.path-style-access", "false")], &[]).bucket_url("wh"), "http://wh.127.0.0.1:9000");
        assert_eq!(settings(&[("s3.endpoint", "https://gw/s3/")], &[]).bucket_url("wh"), "https://gw/s3/wh");
        assert_eq!(settings(&[("client.region", "eu-west-1")], &[]).bucket_url("wh"), "https://wh.s3.eu-west-1.amazonaws.com");
        assert_eq!(settings(&[], &[("AWS_REGION", "eu-west-1")]).bucket_url("a.b"), "https://s3.eu-west-1.amazonaws.com/a.b");
        assert_eq!(settings(&[("s3.path-style-access", "true")], &[]).bucket_url("wh"), "https://s3.us-east-1.amazonaws.com/wh");
    }

    #[test]
    fn plain_http_only_where_the_endpoint_says_so() {
        assert!(settings(&[("s3.endpoint", "http://127.0.0.1:9000")], &[]).allows_http());
        assert!(!settings(&[("s3.endpoint", "https://127.0.0.1:9000")], &[]).allows_http());
        assert!(!settings(&[], &[]).allows_http());
    }

    #[test]
    fn properties_win_over_the_environment_and_sources_are_never_mixed() {
        let environment = [("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        assert_eq!(key(&settings(&[], &environment)), Some(("env", Some("t"))));
        let own = [("s3.access-key-id", "own"), ("s3.secret-access-key", "s")];
        assert_eq!(key(&settings(&own, &environment)), Some(("own", None)));
        assert!(matches!(settings(&[("s3.anonymous", "true")], &environment).access, Access::Anonymous));
    }

    #[test]
    fn instance_credentials_are_used_only_on_request() {
        assert!(matches!(settings(&[], &[]).access, Access::Missing(_)));
        assert!(matches!(settings(&[("fastdata.s3.instance-credentials", "true")], &[]).access, Access::Provider(_)));
        let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")];
        assert!(matches!(settings(&[], &container).access, Access::Provider(_)));
    }

    #[test]
    fn a_provider_is_made_once_for_its_region() {
        let environment = Environment::new(map(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")]));
        let provider = |region: &str| match Settings::resolve(&map(&[("s3.region", region)]), &environment).ok().unwrap().access {
            Access::Provider(provider) => provider,
            _ => panic!("no provider"),
        };
        assert!(Arc::ptr_eq(&provider("eu-west-1"), &provider("eu-west-1")));
        assert!(!Arc::ptr_eq(&provider("eu-west-1"), &provider("eu-west-2")));
    }

    #[test]
    fn every_problem_is_listed_at_once_and_no_secret_is() {
        let wrong = map(&[
            ("s3.endpoint", "minio:9000"),
            ("s3.path-style-access", "yes"),
            ("s3.request-timeout", "soon"),
            ("s3.region", "eu west"),
            ("s3.access-key-id", "AKIA"),
            ("s3.secret-access-key", "hush hush"),
        ]);
        let refused = |properties: &Properties| Settings::resolve(properties, &Environment::new(map(&[]))).map(|_| ()).unwrap_err();
        let error = refused(&wrong);
        assert_eq!(error.kind(), ErrorKind::Config);
        for name in ["s3.endpoint", "s3.path-style-access", "s3.request-timeout", "s3.region", "s3.secret-access-key"] {
            assert!(error.message().contains(name), "{name}: {}", error.message());
        }
        assert!(!error.message().contains("hush"));
        let half = refused(&map(&[("s3.access-key-id", "AKIA")]));
        assert!(half.message().contains("s3.secret-access-key is not"));
        for endpoint in ["http://u:pw@h", "u:pw@h:9000", "u:pw@h", "http://u:pw@", "ftp://h/pw", "http://h?pw"] {
            let refused = refused(&map(&[("s3.endpoint", endpoint)]));
            assert!(refused.message().contains("s3.endpoint") && !refused.message().contains("pw"), "{endpoint}: {refused}");
        }
    }
}
