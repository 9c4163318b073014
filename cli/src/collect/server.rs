//! The collector's HTTP face.
//!
//! - `POST /v1/evidence`: a batch. 200 with `{"origin","size","root"}` once it is durable, a [`Problem`] otherwise.
//! - `GET /v1/last?gateway=ID[&boot=OWN]`: where the logs of the gateway's newest other boot ended.
//! - `GET /metrics`: what is counted, for Prometheus.
//! - `GET /healthz`: 200 while the process runs, without a token too.

use super::batch::Submission;
use super::keyring::Keyring;
use super::metrics::Metrics;
use super::problem::Problem;
use super::token::ExpectedToken;
use super::writer::Writer;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use exeat_engine::evidence::{LastHeads, LogHead};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Largest batch that is read, in bytes.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
/// Batches that are read and checked at the same time. With the largest body this bounds the memory of requests.
const AT_ONCE: usize = 16;
/// Time in which a body must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where batches go.
const EVIDENCE: &str = "/v1/evidence";

struct Shared {
    keys: Keyring,
    writer: Writer,
    metrics: Metrics,
    slots: Semaphore,
}

/// The routes.
pub fn router(keys: Keyring, writer: Writer, metrics: Metrics, token: Option<ExpectedToken>) -> Router {
    let counted = metrics.clone();
    let shared = Arc::new(Shared { keys, writer, metrics, slots: Semaphore::new(AT_ONCE) });
    let router = Router::new()
        .route(EVIDENCE, post(evidence))
        .route("/v1/last", get(last))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(shared);
    match token {
        Some(token) => router.layer(axum::middleware::from_fn(move |request: Request, next| {
            let (metrics, is_batch) = (counted.clone(), request.uri().path() == EVIDENCE);
            async move {
                let answer = token.check(request, next).await;
                // A batch that nobody read has its verdict all the same.
                if is_batch
                    && answer.status() == StatusCode::UNAUTHORIZED
                    && answer.headers().contains_key(header::WWW_AUTHENTICATE)
                {
                    metrics.turned_away(&Problem::token());
                }
                answer
            }
        })),
        None => router,
    }
}

async fn evidence(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<LogHead>, Problem> {
    let stopping = || Problem::unavailable("the collector is stopping; send it again later");
    let _slot = shared.slots.acquire().await.map_err(|_| stopping())?;
    let body = read(request.into_body()).await?;
    let (checker, begun) = (Arc::clone(&shared), Instant::now());
    // Parsing and hashing megabytes would hold up other connections.
    let batch = tokio::task::spawn_blocking(move || Submission::check(&body, &checker.keys));
    let verdict = match batch.await.map_err(|_| stopping())? {
        Ok(batch) => shared.writer.store(batch).await,
        Err(problem) => Err(problem),
    };
    shared.metrics.batch(&verdict, begun.elapsed());
    Ok(Json(verdict?))
}

async fn metrics_text(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    // OpenMetrics 1.0 text, which Prometheus reads.
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], shared.metrics.text())
}

async fn read(body: Body) -> Result<axum::body::Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let detail = format!("it is larger than {MAX_BODY} bytes, or broke off");
            Err(Problem::body(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Err(_) => {
            let detail = format!("it did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::body(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

#[derive(serde::Deserialize)]
struct LastQuery {
    gateway: String,
    boot: Option<String>,
}

async fn last(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<LastQuery>, QueryRejection>,
) -> Result<Json<LastHeads>, Problem> {
    let Query(LastQuery { gateway, boot }) =
        query.map_err(|_| Problem::query("it must be gateway=ID, and may have boot=ID".to_owned()))?;
    if !shared.keys.knows(&gateway) {
        return Err(Problem::key_unknown(&gateway, false));
    }
    Ok(Json(shared.writer.last(gateway, boot).await?))
}
