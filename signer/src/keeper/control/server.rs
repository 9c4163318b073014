//! Who is let in to the control socket, and the connections of those who are.

use super::routes::Role;
use crate::keeper::metrics::Counters;
use crate::keeper::table::Keeper;
use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once, of orchestrators and of tools each: tools cannot lock out orchestrators.
const CONNECTIONS: usize = 128;
/// Time in which the head of a request must have arrived; also how long a connection may wait for one.
const HEAD: Duration = Duration::from_secs(30);

/// Who may use the control socket, by user id as the kernel says it (`SO_PEERCRED`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// May do everything. Root is among them only if named.
    pub orchestrators: BTreeSet<u32>,
    /// May report tool and provenance.
    pub tools: BTreeSet<u32>,
    /// A process that may not, whatever its user: the proxy, which may run as the keeper's.
    pub shunned_pid: Option<i32>,
}

impl Access {
    /// As what a user is let in, if at all.
    pub fn role(&self, uid: u32) -> Option<Role> {
        if self.orchestrators.contains(&uid) {
            Some(Role::Orchestrator)
        } else {
            self.tools.contains(&uid).then_some(Role::Tool { uid })
        }
    }
}

/// Serves until `stop` is done; then open connections end with the request they are at.
pub async fn serve(
    listener: UnixListener,
    access: Access,
    router: Router,
    keeper: Arc<Keeper>,
    stop: impl Future<Output = ()>,
) {
    let (orchestrators, tools) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(CONNECTIONS)));
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Too many open files, most likely: they come back.
                    tracing::error!(%error, "control socket: accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Some(role) = admit(&stream, &access, &keeper.counters) else { continue };
        let slots = if role == Role::Orchestrator { &orchestrators } else { &tools };
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            tracing::warn!(?role, "control socket: too many connections");
            continue;
        };
        let service = TowerToHyperService::new(router.clone().layer(Extension(role)));
        let mut stopped = stopped.clone();
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = &mut connection => {}
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(slot);
        });
    }
    drop(listener);
    let _ = stopping.send(true);
    while connections.join_next().await.is_some() {}
}

/// Looks at the peer before a byte of it is read.
fn admit(stream: &UnixStream, access: &Access, counters: &Counters) -> Option<Role> {
    let peer = stream.peer_cred().ok();
    let uid = peer.map(|peer| peer.uid());
    let shunned = peer.is_some_and(|peer| access.shunned_pid.is_some() && peer.pid() == access.shunned_pid);
    let role = uid.filter(|_| !shunned).and_then(|uid| access.role(uid));
    if role.is_none() {
        counters.count_turned_away();
        tracing::warn!(uid, "control socket: a user who may not use it was turned away");
    }
    role
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_users_are_let_in() {
        let access =
            Access { orchestrators: BTreeSet::from([1000]), tools: BTreeSet::from([1000, 1001]), shunned_pid: None };
        for (uid, role) in [
            (1000, Some(Role::Orchestrator)),
            (1001, Some(Role::Tool { uid: 1001 })),
            (1002, None),
            (0, None),
            (u32::MAX, None),
        ] {
            assert_eq!(access.role(uid), role, "{uid}");
        }
    }

    #[tokio::test]
    async fn a_peer_who_may_not_is_cut_off_unread() {
        let own = rustix::process::geteuid().as_raw();
        let (near, far) = UnixStream::pair().unwrap();
        let counters = Counters::default();
        let access = |uid| Access { orchestrators: BTreeSet::from([uid]), tools: BTreeSet::new(), shunned_pid: None };
        assert_eq!(admit(&far, &access(own), &counters), Some(Role::Orchestrator));
        assert_eq!(admit(&far, &access(own.wrapping_add(1)), &counters), None);
        let shunned_pid = i32::try_from(std::process::id()).ok();
        assert_eq!(admit(&far, &Access { shunned_pid, ..access(own) }, &counters), None);
        assert!(counters.text(0, &[]).contains("control_peers_refused_total 2\n"));
        drop(near);
    }
}
