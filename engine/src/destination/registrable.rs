//! Under which name an agent could have names of its own choosing made up: the one that somebody registered.
//!
//! There is no Public Suffix List in the module. The suffixes below are those that agents meet most; under one that is
//! not here, all names share what one registered name would have, which refuses earlier, never later. That nobody can
//! register one of them for himself is checked against the list by a test of the command line.

use super::HostName;

/// Suffixes of more than one label under which names are registered one by one. `*` stands for one label.
#[rustfmt::skip]
pub const SHARED_SUFFIXES: &[&str] = &[
    // Second levels of countries.
    "ac.at", "co.at", "gv.at", "or.at", "com.au", "edu.au", "gov.au", "net.au", "org.au", "com.br", "gov.br", "net.br", "org.br",
    "com.cn", "edu.cn", "gov.cn", "net.cn", "org.cn", "com.co", "ac.id", "co.id", "go.id", "or.id", "ac.il", "co.il", "gov.il", "org.il",
    "ac.in", "co.in", "edu.in", "gov.in", "net.in", "nic.in", "org.in", "ac.jp", "co.jp", "ed.jp", "go.jp", "ne.jp", "or.jp",
    "ac.kr", "co.kr", "go.kr", "or.kr", "re.kr", "com.mx", "edu.mx", "gob.mx", "org.mx", "com.my", "gov.my", "ac.nz", "co.nz", "govt.nz",
    "net.nz", "org.nz", "com.ph", "gov.ph", "com.pl", "edu.pl", "gov.pl", "net.pl", "org.pl", "com.sg", "edu.sg", "gov.sg", "com.tr",
    "edu.tr", "gov.tr", "com.tw", "edu.tw", "gov.tw", "org.tw", "com.ua", "gov.ua", "ac.uk", "co.uk", "gov.uk", "ltd.uk", "me.uk",
    "net.uk", "nhs.uk", "org.uk", "plc.uk", "police.uk", "com.vn", "gov.vn", "ac.za", "co.za", "gov.za", "org.za", "com.ar", "gob.ar",
    "com.hk", "edu.hk", "gov.hk", "org.hk", "com.sa", "gov.sa", "ac.th", "co.th", "go.th", "in.th", "or.th",
    // Hosting where each customer has a name.
    "*.*.eks.amazonaws.com", "*.elb.amazonaws.com", "*.es.amazonaws.com", "*.rds.amazonaws.com", "appsync-api.*.amazonaws.com",
    "*.azurecontainer.io", "azureedge.net", "azurefd.net", "azurestaticapps.net", "azurewebsites.net", "blob.core.windows.net",
    "cloudapp.net", "cloudfront.net", "elasticbeanstalk.com", "execute-api.*.amazonaws.com", "global.ssl.fastly.net", "map.fastly.net", "firebaseapp.com",
    "fly.dev", "github.io", "gitlab.io", "googleapis.com", "herokuapp.com", "lambda-url.*.on.aws", "myshopify.com", "netlify.app",
    "ngrok.io", "onrender.com", "pages.dev", "r2.dev", "readthedocs.io", "*.run.app", "s3.*.amazonaws.com", "s3.amazonaws.com",
    "vercel.app", "web.app", "web.core.windows.net", "workers.dev",
];

/// A name, cut where its registered part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrable<'a> {
    /// The registered name: a suffix and one label; the whole name where it has no more.
    pub name: &'a str,
    /// What its owner put before it, without the dot; empty for the registered name itself.
    pub under: &'a str,
    /// The label that was registered, in front of the suffix.
    pub label: &'a str,
}

/// Cuts a name: one label more than the longest of [`SHARED_SUFFIXES`] it ends in, or its last two labels.
pub fn registrable(name: &HostName) -> Registrable<'_> {
    let name = name.as_str();
    let labels: Vec<&str> = name.rsplit('.').collect();
    let suffix = SHARED_SUFFIXES.iter().filter_map(|suffix| ends_in(&labels, suffix)).max().unwrap_or(1);
    let taken = labels.len().min(suffix.saturating_add(1));
    let registered: usize = labels.iter().take(taken).map(|label| label.len().saturating_add(1)).sum();
    let at = name.len().saturating_sub(registered.saturating_sub(1));
    let (under, registered) = name.split_at_checked(at).unwrap_or(("", name));
    let label = labels.get(taken.saturating_sub(1)).copied().unwrap_or(name);
    Registrable { name: registered, under: under.strip_suffix('.').unwrap_or(under), label }
}

/// How many labels of a suffix a name ends in; `None` where it does not.
fn ends_in(labels: &[&str], suffix: &str) -> Option<usize> {
    let mut count = 0_usize;
    for wanted in suffix.rsplit('.') {
        let label = labels.get(count)?;
        if wanted != "*" && wanted != *label {
            return None;
        }
        count = count.saturating_add(1);
    }
    Some(count)
}
