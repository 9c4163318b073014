//! A signer, a gateway that verifies and remembers, and a client of the control socket that reads every byte.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use base64::Engine as _;
use exeat_cli::key::PrivateKey;
use exeat_engine::context::keyring::SignerKey;
use exeat_engine::context::{AgentContext, Expectations, Freshness, KeyRing, verify};
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::BodyDigest;
use exeat_engine::request::RequestHead;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Long enough for a slow, loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Users that no test machine gives a meaning to.
pub(crate) const AGENT: u32 = 54_321;
pub(crate) const OTHER: u32 = 54_322;

/// Whether tests can act as other users.
pub(crate) fn is_root() -> bool {
    exeat_signer::daemon::users::own_uid() == 0
}

/// The user that runs this test, as an option says it.
pub(crate) fn own() -> String {
    exeat_signer::daemon::users::own_uid().to_string()
}

pub(crate) fn exeat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
    command.env_remove("EXEAT_CONTROL");
    command
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(awaited: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        match ask() {
            Some(answer) => return answer,
            None => assert!(Instant::now() < end, "waited in vain for {awaited}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the gateway saw of a request, after it verified it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) keyid: String,
    pub(crate) context: AgentContext,
    pub(crate) body: Vec<u8>,
}

struct Seen {
    keys: Mutex<KeyRing>,
    arrivals: Mutex<Vec<Result<Arrival, String>>>,
}

/// A gateway: HTTP/2 on loopback. What does not verify gets 401.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let seen = Arc::new(Seen { keys: Mutex::new(KeyRing::default()), arrivals: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&seen));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, seen, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn trust(&self, keyid: &str, key: &PrivateKey) {
        let key = SignerKey { signer: 0, public: key.public().clone(), not_before: None, not_after: None };
        assert!(self.seen.keys.lock().unwrap().insert(keyid, key));
    }

    /// All there were. Panics when one did not verify.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.seen.arrivals.lock().unwrap().iter().map(|arrival| arrival.clone().unwrap()).collect()
    }
}

async fn receive(State(seen): State<Arc<Seen>>, request: Request) -> (axum::http::StatusCode, String) {
    let arrival = examine(&seen, request).await;
    let answer = match &arrival {
        Ok(arrival) => (axum::http::StatusCode::OK, format!("hello {}\n", arrival.context.session)),
        Err(why) => (axum::http::StatusCode::UNAUTHORIZED, why.clone()),
    };
    seen.arrivals.lock().unwrap().push(arrival);
    answer
}

async fn examine(seen: &Seen, request: Request) -> Result<Arrival, String> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.map_err(|error| error.to_string())?.to_vec();
    let fields =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned().into(), value.as_bytes().to_vec().into()));
    let authority = parts.uri.authority().map(ToString::to_string).ok_or("no authority")?;
    let path = parts.uri.path_and_query().map(ToString::to_string).ok_or("no path")?;
    let head = RequestHead {
        method: parts.method.to_string().into(),
        scheme: parts.uri.scheme_str().map(|scheme| scheme.to_owned().into()),
        authority: authority.clone().into(),
        path: Some(path.clone().into()),
        fields: fields.collect(),
    };
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let keys = seen.keys.lock().unwrap();
    let freshness = Freshness::default();
    let expect =
        Expectations { keys: &keys, gateway: "egress-test", freshness, now: Timestamp(now), started: Timestamp(0) };
    let verified = verify(&head, &expect).map_err(|error| error.to_string())?;
    if !body.is_empty() {
        let digests = verified.require_body_coverage().map_err(|error| error.to_string())?;
        BodyDigest::of(&body, Some(&digests)).check(&digests).map_err(|error| error.to_string())?;
    }
    Ok(Arrival {
        method: parts.method.to_string(),
        authority,
        path,
        keyid: verified.key.clone(),
        context: verified.context.clone(),
        body,
    })
}

/// A folder that other users can look into.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Writes a private key as `exeat key new --keyid` does.
pub(crate) fn write_key(path: &Path, keyid: &str, key: &PrivateKey) {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, &*key.to_jwk(keyid)).unwrap();
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(partial, path).unwrap();
}

/// A running signer.
pub(crate) struct Signer {
    pub(crate) folder: TempDir,
    pub(crate) control: PathBuf,
    pub(crate) gateway: Gateway,
    pub(crate) key: PrivateKey,
    child: Child,
    command: Command,
}

impl Signer {
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_as(None, options, |_, _| {})
    }

    /// Starts it, as another user too; `change` may change how it is started.
    pub(crate) fn start_as(uid: Option<u32>, options: &[&str], change: impl FnOnce(&mut Command, &PrivateKey)) -> Self {
        let (folder, gateway) = (folder(), Gateway::start());
        let key = PrivateKey::generate().unwrap();
        gateway.trust("signer-1", &key);
        write_key(&folder.path().join("signer.key"), "signer-1", &key);
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        if let Some(uid) = uid {
            for path in [folder.path().to_path_buf(), folder.path().join("signer.key"), run.clone()] {
                std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
            }
        }
        let mut command = exeat();
        command
            .args(["signer", "--gateway-id", "egress-test", "--gateway", &gateway.url()])
            .arg("--runtime-dir")
            .arg(&run)
            .arg("--ready-file")
            .arg(folder.path().join("ready"))
            .args(options)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap());
        if !options.iter().any(|option| option.starts_with("--key")) {
            command.arg("--key").arg(folder.path().join("signer.key"));
        }
        change(&mut command, &key);
        if let Some(uid) = uid {
            std::os::unix::process::CommandExt::gid(&mut command, uid);
            std::os::unix::process::CommandExt::uid(&mut command, uid);
        }
        let child = command.spawn().unwrap();
        let mut signer = Self { control: run.join("control.sock"), folder, gateway, key, child, command };
        signer.wait_until_ready();
        signer
    }

    fn wait_until_ready(&mut self) {
        let ready = self.folder.path().join("ready");
        eventually("the signer to be ready", || {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.log());
            ready.exists().then_some(())
        });
    }

    /// Starts it as before, after it ended.
    pub(crate) fn start_again(&mut self) {
        std::fs::remove_file(self.folder.path().join("ready")).unwrap();
        self.child = self.command.stdin(Stdio::null()).spawn().unwrap();
        self.wait_until_ready();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process that reads what agents send.
    pub(crate) fn proxy_pid(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        let of_any_thread = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
            text.split_ascii_whitespace().next()?.parse().ok()
        });
        let pids: Vec<u32> = of_any_thread.collect();
        assert_eq!(pids.len(), 1, "{children}");
        pids[0]
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the signer to end", || self.child.try_wait().unwrap())
    }

    /// Asks, and reads the whole answer.
    pub(crate) fn ask(&self, method: &str, resource: &str, body: Option<&Value>) -> Answer {
        ask(&self.control, method, resource, &body.map(ToString::to_string).unwrap_or_default()).unwrap()
    }

    /// Opens a session.
    pub(crate) fn open(&self, facts: &Value) -> Value {
        let answer = self.ask("POST", "/v1/sessions", Some(facts));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// A session of a plain agent.
    pub(crate) fn open_plain(&self) -> Value {
        self.open(&json!({"agent": "support/summarizer"}))
    }

    /// Opens a session and closes it.
    pub(crate) fn open_and_close(&self) {
        let session = self.open_plain();
        let answer = self.ask("DELETE", &format!("/v1/sessions/{}", session["id"].as_str().unwrap()), None);
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// Fetches a URL as an agent in a session does, with curl.
    pub(crate) fn fetch(session: &Value, arguments: &[&str]) -> (ExitStatus, String) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60"]).args(arguments);
        for (name, value) in session["environment"].as_object().unwrap() {
            match value.as_str() {
                Some(value) => curl.env(name, value),
                None => curl.env_remove(name),
            };
        }
        let output = curl.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the signer's log:\n{}", self.log());
        }
    }
}

/// An answer of the control socket.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One exchange over a Unix socket; `None` when the other side hangs up without a word.
pub(crate) fn ask(control: &Path, method: &str, resource: &str, body: &str) -> Option<Answer> {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!(
        "{method} {resource} HTTP/1.1\r\nhost: signer\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // It may have been closed already.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    if text.is_empty() {
        return None;
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    let status = head.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Some(Answer { status, content_type: content_type.to_owned(), body })
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let (piece, after) = after.split_at(size);
        body.push_str(piece);
        rest = after.trim_start_matches("\r\n");
    }
    body
}

/// Base64 of a key's seed, as a key file without an id holds it.
pub(crate) fn seed_text(key: &PrivateKey) -> String {
    base64::engine::general_purpose::STANDARD.encode(*key.seed())
}
