//! What [`super::score`] knows of names: common parts of host names, and how often a letter follows another.

/// Common parts of host names, sorted. At most 256: each costs eight bits.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    "admin", "agent", "ai", "alb", "analytics", "api", "apis", "app", "apps", "asia", "assets", "auth", "aws", "az",
    "azure", "b", "backend", "backup", "beta", "billing", "blob", "blog", "bot", "br", "bucket", "build", "c", "ca",
    "cache", "cdn", "central", "chat", "ci", "client", "cloud", "cluster", "cn", "co", "com", "config", "connect",
    "console", "containers", "content", "core", "corp", "crm", "customer", "d", "dashboard", "data", "database",
    "db", "demo", "dev", "developer", "developers", "device", "docker", "docs", "download", "downloads", "drive",
    "e", "east", "edge", "elb", "email", "en", "engine", "eu", "events", "execute", "feed", "feedback", "files",
    "fonts", "fr", "free", "gateway", "gcp", "git", "github", "global", "go", "graph", "graphql", "group", "help",
    "home", "hook", "hooks", "host", "hosting", "hub", "i", "id", "idp", "image", "images", "img", "in", "info",
    "ingest", "ingress", "int", "internal", "io", "iot", "jobs", "js", "k8s", "key", "lb", "lh", "lib", "live",
    "local", "log", "login", "logs", "m", "mail", "main", "map", "maps", "master", "me", "media", "meet", "meta",
    "metrics", "microsoft", "mobile", "monitor", "my", "net", "network", "news", "next", "node", "north", "ns", "o",
    "oauth", "object", "objects", "office", "online", "open", "ops", "orders", "org", "p", "page", "pages",
    "partners", "pay", "payment", "payments", "photos", "pod", "pool", "portal", "postgres", "pr", "preview",
    "primary", "private", "prod", "production", "project", "proxy", "public", "push", "read", "redis", "region",
    "registry", "release", "remote", "replica", "repo", "report", "reports", "rest", "s", "s3", "sandbox", "script",
    "sdk", "search", "secure", "server", "service", "services", "session", "shard", "shop", "site", "slack", "sql",
    "src", "sso", "stage", "staging", "stat", "static", "stats", "status", "storage", "store", "stream", "sub",
    "support", "svc", "sync", "system", "t", "team", "test", "track", "uk", "upload", "uploads", "us", "user",
    "usercontent", "users", "v1", "v2", "video", "vpc", "vpn", "w", "web", "webhook", "webhooks", "west", "wiki",
    "work", "worker", "workers", "ws", "www", "x",
];

/// What a letter costs after the start of a run (first row) or after `a` to `z`, in sixteenths of a bit, rounded up. Counted in
/// 42,000 words of English technical prose.
#[rustfmt::skip]
pub(super) const BIGRAMS: [[u8; 26]; 27] = [
    [65, 72, 59, 66, 74, 72, 77, 84, 72, 92, 92, 72, 67, 82, 84, 63, 111, 67, 55, 70, 87, 94, 84, 110, 113, 110],
    [115, 77, 65, 72, 113, 106, 83, 109, 77, 122, 94, 52, 70, 49, 120, 75, 125, 49, 63, 47, 88, 94, 104, 109, 93, 115],
    [53, 102, 88, 96, 51, 112, 101, 113, 53, 84, 112, 45, 99, 109, 56, 98, 125, 65, 66, 93, 54, 119, 123, 117, 82, 100],
    [54, 118, 85, 105, 54, 114, 116, 52, 73, 121, 63, 70, 98, 114, 38, 104, 121, 72, 89, 54, 79, 115, 119, 122, 107, 120],
    [56, 96, 97, 83, 30, 100, 98, 109, 40, 112, 111, 82, 97, 102, 60, 104, 118, 73, 70, 93, 74, 106, 108, 121, 99, 126],
    [73, 103, 67, 55, 85, 88, 92, 114, 97, 122, 110, 68, 77, 50, 104, 87, 107, 41, 52, 66, 110, 90, 102, 78, 99, 117],
    [62, 110, 97, 92, 57, 56, 108, 117, 38, 125, 122, 68, 99, 105, 48, 106, 120, 57, 75, 73, 66, 121, 116, 121, 92, 127],
    [62, 110, 93, 104, 33, 105, 85, 70, 56, 123, 124, 70, 88, 67, 65, 95, 124, 55, 66, 96, 68, 115, 115, 122, 111, 113],
    [36, 116, 114, 101, 36, 119, 117, 117, 49, 124, 108, 91, 89, 89, 48, 110, 128, 73, 93, 74, 76, 124, 109, 127, 89, 127],
    [77, 77, 63, 79, 73, 88, 81, 125, 121, 118, 103, 67, 73, 35, 58, 85, 124, 82, 60, 58, 116, 82, 127, 102, 124, 89],
    [40, 95, 77, 79, 45, 103, 105, 109, 58, 117, 98, 94, 102, 96, 44, 78, 106, 97, 70, 98, 53, 123, 107, 123, 117, 117],
    [53, 110, 105, 92, 33, 102, 97, 82, 48, 116, 102, 72, 101, 82, 61, 98, 121, 82, 59, 88, 74, 115, 89, 123, 97, 117],
    [51, 111, 100, 81, 39, 102, 109, 120, 40, 126, 108, 55, 107, 106, 54, 106, 126, 113, 75, 77, 78, 103, 124, 123, 66, 119],
    [36, 80, 97, 92, 38, 116, 117, 124, 52, 126, 112, 93, 78, 111, 58, 52, 128, 112, 77, 98, 76, 120, 121, 122, 104, 130],
    [61, 113, 66, 56, 55, 85, 47, 114, 64, 116, 93, 100, 111, 86, 71, 104, 125, 112, 56, 45, 87, 94, 119, 125, 102, 115],
    [98, 87, 71, 71, 104, 92, 88, 111, 98, 117, 96, 67, 64, 38, 82, 70, 129, 46, 70, 75, 69, 81, 80, 109, 110, 121],
    [48, 119, 98, 101, 43, 106, 108, 79, 66, 126, 109, 58, 110, 111, 56, 69, 125, 46, 79, 64, 77, 120, 113, 127, 87, 129],
    [101, 106, 87, 101, 98, 114, 128, 128, 104, 119, 120, 68, 101, 95, 99, 120, 116, 110, 87, 104, 9, 108, 101, 128, 128, 119],
    [50, 107, 83, 83, 36, 104, 87, 119, 51, 126, 94, 92, 80, 86, 53, 99, 127, 77, 65, 68, 83, 102, 114, 127, 82, 123],
    [72, 114, 71, 108, 43, 104, 110, 67, 55, 123, 94, 86, 95, 104, 69, 72, 114, 103, 60, 39, 68, 110, 109, 123, 90, 116],
    [56, 114, 91, 103, 39, 101, 118, 65, 41, 120, 115, 88, 99, 109, 61, 98, 128, 56, 67, 77, 82, 118, 105, 120, 79, 112],
    [77, 71, 76, 86, 69, 89, 87, 121, 73, 122, 103, 59, 64, 47, 98, 72, 130, 52, 54, 52, 117, 118, 122, 110, 119, 109],
    [40, 119, 100, 110, 20, 113, 105, 119, 42, 130, 121, 112, 97, 106, 68, 107, 130, 101, 105, 110, 112, 119, 122, 114, 113, 119],
    [40, 111, 91, 92, 47, 102, 105, 67, 42, 130, 112, 83, 104, 68, 55, 111, 118, 62, 69, 98, 111, 123, 101, 124, 108, 123],
    [66, 95, 58, 92, 51, 89, 119, 88, 54, 129, 115, 91, 78, 116, 84, 44, 129, 102, 81, 39, 109, 112, 117, 81, 87, 123],
    [61, 87, 84, 90, 63, 92, 94, 105, 73, 123, 108, 75, 69, 62, 70, 42, 124, 80, 51, 63, 87, 97, 97, 113, 109, 92],
    [51, 89, 106, 102, 24, 108, 111, 84, 47, 129, 98, 86, 81, 106, 71, 124, 120, 92, 95, 99, 88, 123, 106, 125, 83, 77],
];
