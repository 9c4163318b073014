//! The collector's HTTP face.
//!
//! - `POST /v1/evidence`: a batch. 200 with `{"origin","size","root"}` once it is durable, a [`Problem`] otherwise.
//! - `GET /v1/last?gateway=ID[&boot=OWN]`: where the logs of the gateway's newest other boot ended.
//! - `GET /healthz`: 200 while the process runs.

use super::batch::Submission;
use super::keyring::Keyring;
use super::problem::Problem;
use super::writer::Writer;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use exeat_engine::evidence::{LastHeads, LogHead};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Largest batch that is read, in bytes.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
/// Batches that are read and checked at the same time. With the largest body this bounds the memory of requests.
const AT_ONCE: usize = 16;
/// Time in which a body must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

struct Shared {
    keys: Keyring,
    writer: Writer,
    slots: Semaphore,
}

/// The routes.
pub fn router(keys: Keyring, writer: Writer) -> Router {
    let shared = Arc::new(Shared { keys, writer, slots: Semaphore::new(AT_ONCE) });
    Router::new()
        .route("/v1/evidence", post(evidence))
        .route("/v1/last", get(last))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(shared)
}

/// Serves until `stop` is done; then no connection is taken any more, and those that are open get `grace` to end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> anyhow::Result<()> {
    let (stopping, mut stopped) = watch::channel(false);
    let mut begun = stopped.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        let _ = stopping.send(true);
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    let late = async move {
        let _ = begun.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        result = server => result?,
        () = late => eprintln!("exeat collect: gave up waiting for connections that do not end"),
    }
    Ok(())
}

async fn evidence(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<LogHead>, Problem> {
    let stopping = || Problem::unavailable("the collector is stopping; send it again later");
    let _slot = shared.slots.acquire().await.map_err(|_| stopping())?;
    let body = read(request.into_body()).await?;
    let checker = Arc::clone(&shared);
    // Parsing and hashing megabytes would hold up other connections.
    let batch = tokio::task::spawn_blocking(move || Submission::check(&body, &checker.keys));
    let batch = batch.await.map_err(|_| stopping())??;
    Ok(Json(shared.writer.store(batch).await?))
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
