//! The routes of the control socket.

use super::problem::Problem;
use super::service::{OpenedSession, Service};
use crate::keeper::facts::{ProvenanceReport, SessionRequest};
use crate::keeper::session::SessionState;
use crate::keeper::table::Now;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The description of the control socket.
pub const OPENAPI: &str = include_str!("openapi.json");
/// Bytes of a body at most.
const MAX_BODY: usize = 64 * 1024;
/// Time in which it must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// As what a peer was let in, by its user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Orchestrator,
    /// May report.
    Tool {
        /// Its user id.
        uid: u32,
    },
}

/// Method, path, whether a tool may, and what does it. The one list from which the router is made.
type Route = (&'static str, &'static str, bool, MethodRouter<Arc<Service>>);

fn routes() -> Vec<Route> {
    vec![
        ("GET", "/healthz", true, get(|| async { "ok\n" })),
        ("GET", "/metrics", false, get(metrics)),
        ("GET", "/v1/openapi.json", true, get(openapi)),
        ("GET", "/v1/sessions", false, get(list)),
        ("POST", "/v1/sessions", false, post(open)),
        ("GET", "/v1/sessions/{id}", false, get(show)),
        ("PATCH", "/v1/sessions/{id}", false, patch(extend)),
        ("DELETE", "/v1/sessions/{id}", false, delete(close)),
        ("POST", "/v1/sessions/{id}/tool", true, post(report_tool)),
        ("POST", "/v1/sessions/{id}/provenance", true, post(report_provenance)),
        ("POST", "/v1/keys/rotate", false, post(rotate)),
    ]
}

/// The routes. Requests must carry the peer's [`Role`] as an extension.
pub fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new();
    for (_, path, for_tools, handler) in routes() {
        let handler = if for_tools { handler } else { handler.layer(middleware::from_fn(only_orchestrators)) };
        router = router.route(path, handler);
    }
    router
        .fallback(|| async { Problem::unknown_resource() })
        .method_not_allowed_fallback(|| async { Problem::method() })
        .with_state(service)
}

async fn only_orchestrators(Extension(role): Extension<Role>, request: Request, next: Next) -> Response {
    match role {
        Role::Orchestrator => next.run(request).await,
        Role::Tool { uid } => Problem::forbidden(uid).into_response(),
    }
}

/// A JSON body that fits its type to the last member.
struct Document<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Problem> {
        let too_large = |_| Problem::body(StatusCode::PAYLOAD_TOO_LARGE, format!("it is larger than {MAX_BODY} bytes"));
        let late = |_| Problem::body(StatusCode::REQUEST_TIMEOUT, "it did not arrive in time");
        let reading = to_bytes(request.into_body(), MAX_BODY);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(late)?.map_err(too_large)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Problem::unreadable(error.to_string()))
    }
}

/// A new life for a session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLife {
    life: u32,
}

/// The tool in use; null: none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolReport {
    // Without a default of its own, an absent member would count as null.
    #[serde(deserialize_with = "Option::deserialize")]
    tool: Option<String>,
}

#[derive(Debug, Serialize)]
struct Sessions {
    sessions: Vec<SessionState>,
}

#[derive(Debug, Serialize)]
struct Rotation {
    keyid: String,
    changed: bool,
}

type Shared = State<Arc<Service>>;

async fn open(
    State(service): Shared,
    Document(request): Document<SessionRequest>,
) -> Result<(StatusCode, Json<OpenedSession>), Problem> {
    Ok((StatusCode::CREATED, Json(service.open(request).await?)))
}

async fn list(State(service): Shared) -> Json<Sessions> {
    Json(Sessions { sessions: service.keeper.sessions(Now::read()) })
}

async fn show(State(service): Shared, Path(id): Path<String>) -> Result<Json<SessionState>, Problem> {
    Ok(Json(service.keeper.session(&id, Now::read())?))
}

async fn extend(
    State(service): Shared,
    Path(id): Path<String>,
    Document(NewLife { life }): Document<NewLife>,
) -> Result<Json<SessionState>, Problem> {
    Ok(Json(service.keeper.extend(&id, life, Now::read())?))
}

async fn close(State(service): Shared, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    service.close(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn report_tool(
    State(service): Shared,
    Path(id): Path<String>,
    Document(ToolReport { tool }): Document<ToolReport>,
) -> Result<Json<SessionState>, Problem> {
    Ok(Json(service.keeper.report_tool(&id, tool, Now::read())?))
}

async fn report_provenance(
    State(service): Shared,
    Path(id): Path<String>,
    Document(report): Document<ProvenanceReport>,
) -> Result<Json<SessionState>, Problem> {
    Ok(Json(service.keeper.report_provenance(&id, &report, Now::read())?))
}

async fn rotate(State(service): Shared) -> Result<Json<Rotation>, Problem> {
    let reader = Arc::clone(&service);
    let changed = tokio::task::spawn_blocking(move || reader.rotate()).await.map_err(|_| Problem::internal())?;
    let changed = changed.map_err(Problem::key)?;
    Ok(Json(Rotation { keyid: service.keeper.keyid(), changed }))
}

async fn metrics(State(service): Shared) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], service.metrics().await)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let served = routes().into_iter().map(|(method, path, ..)| (method.to_owned(), path.to_owned()));
        assert_eq!(described, served.collect());
        for (method, path, for_tools, handler) in routes() {
            let operation = &document["paths"][path][method.to_lowercase()];
            assert_eq!(operation["x-for-tools"], for_tools, "{method} {path}");
            // The list says of each handler which method it takes.
            let expected = method.parse::<axum::http::Method>().unwrap();
            assert!(
                format!("{handler:?}").contains(&format!("{}: Boxed", expected.as_str().to_lowercase())),
                "{method} {path}"
            );
        }
    }
}
