//! gRPC health checking (grpc.health.v1): the readiness of the server, for load balancers and clients that watch it.
//!
//! Contract: the whole server (the empty name) and the Flight service are `SERVING` while new requests are taken, else `NOT_SERVING`; other
//! names are unknown. A watch ends after it has told that the server drains: tonic-health's own would stay open and hold up the exit.

use crate::telemetry::{Phase, Readiness};
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

const FLIGHT: &str = "arrow.flight.protocol.FlightService";

/// The service, for `add_service`.
pub fn service(readiness: Readiness) -> HealthServer<Checks> {
    HealthServer::new(Checks { readiness })
}

pub struct Checks {
    readiness: Readiness,
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn status_in(phase: Phase) -> HealthCheckResponse {
    response(if phase == Phase::Serving { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == FLIGHT
}

#[tonic::async_trait]
impl Health for Checks {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("no such service"));
        }
        Ok(Response::new(status_in(self.readiness.phase())))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request.get_ref().service);
        // The first status at once, then every change; the one that says that the server drains is the last.
        let statuses = futures::stream::unfold(Some((self.readiness.watch(), true)), move |state| async move {
            let (mut phases, first) = state?;
            if !first {
                phases.changed().await.ok()?;
            }
            let phase = *phases.borrow_and_update();
            let status = if known { status_in(phase) } else { response(ServingStatus::ServiceUnknown) };
            Some((Ok(status), (phase != Phase::Draining).then_some((phases, false))))
        });
        Ok(Response::new(statuses.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Format;
    use crate::telemetry::Telemetry;
    use futures::TryStreamExt;
    use tonic::Code;

    fn request(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.into() })
    }

    #[tokio::test]
    async fn health_follows_readiness_and_a_watch_ends_with_the_drain() {
        let readiness = Telemetry::with_sink(Format::Json, Box::new(std::io::sink())).unwrap().readiness;
        let checks = Checks { readiness: readiness.clone() };
        let mut watched = checks.watch(request(FLIGHT)).await.unwrap().into_inner();
        let serving = |status: HealthCheckResponse| status.status() == ServingStatus::Serving;
        for (advance, expected) in [(None, false), (Some(Readiness::serving as fn(&Readiness)), true), (Some(Readiness::draining), false)] {
            if let Some(advance) = advance {
                advance(&readiness);
            }
            for service in ["", FLIGHT] {
                let checked = checks.check(request(service)).await.unwrap().into_inner();
                assert_eq!(serving(checked), expected, "{:?} of '{service}'", readiness.phase());
            }
            assert_eq!(serving(watched.try_next().await.unwrap().unwrap()), expected);
        }
        assert_eq!(watched.try_next().await.unwrap(), None, "an open watch would hold up the exit");
        readiness.serving();
        assert_eq!(readiness.phase(), Phase::Draining, "there is no way back");
    }

    #[tokio::test]
    async fn an_unknown_service_is_not_found_and_a_watch_says_so() {
        let readiness = Telemetry::with_sink(Format::Json, Box::new(std::io::sink())).unwrap().readiness;
        readiness.serving();
        let checks = Checks { readiness };
        assert_eq!(checks.check(request("other")).await.unwrap_err().code(), Code::NotFound);
        let first = checks.watch(request("other")).await.unwrap().into_inner().try_next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    }
}
