//! What names carry out before they are stopped, and how many honest ones are stopped with them. The tables of
//! docs/destinations.md; `cargo test -p exeat-engine leaks -- --nocapture` prints them.

use super::names::{Net, configuration};
use crate::decision::Reason;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Bytes that nobody can guess, the same in every run.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 += 1;
        Sha256::digest(self.0.to_le_bytes())[0]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        let bytes = self.bytes(4);
        u32::from_le_bytes(bytes.try_into().unwrap()) as usize % bound
    }

    fn text(&mut self, count: usize, alphabet: &[u8]) -> String {
        (0..count).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }
}

const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE36: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Digits of a base that is a power of two.
fn encode(secret: &[u8], alphabet: &[u8]) -> String {
    let width = alphabet.len().ilog2() as usize;
    let bit = |at: usize| secret.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
    (0..(secret.len() * 8).div_ceil(width))
        .map(|digit| char::from(alphabet[(0..width).fold(0, |n, i| n << 1 | bit(digit * width + i))]))
        .collect()
}

/// Whole bytes of the secret that left in names of such labels, each under `parents` in turn.
fn leaked(net: &mut Net, labels: &[String], bits: f64, parents: &[&str]) -> f64 {
    let mut left = 0.0;
    for (i, label) in labels.iter().enumerate() {
        // A label of a host has no hyphen or underscore at its ends that all resolvers take; it is sent all the same.
        if net.get(&format!("{label}.{}", parents[i % parents.len()])) != Reason::Permitted {
            break;
        }
        left += bits * label.len() as f64 / 8.0;
    }
    left
}

fn pieces(text: &str, length: usize) -> Vec<String> {
    text.as_bytes().chunks(length).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
}

#[test]
fn at_most_64_bytes_leave_by_names_under_one_parent() {
    println!("| bytes of the secret | letters of a name | hex | base32 | base64url |\n|---|---|---|---|---|");
    let configuration = configuration(|_| {});
    for size in [32, 1024] {
        let secret = Random(size as u64).bytes(size);
        for length in 8..=63 {
            let mut row = Vec::new();
            for (alphabet, bits) in [(HEX, 4.0), (BASE32, 5.0), (BASE64, 6.0)] {
                let mut worst = 0.0_f64;
                for parent in ["tenants.example", "evil.test"] {
                    let mut net = Net::new(configuration.clone());
                    let left = leaked(&mut net, &pieces(&encode(&secret, alphabet), length), bits, &[parent]);
                    worst = worst.max(left.min(size as f64));
                }
                assert!(worst <= 64.0, "{size} bytes in names of {length}: {worst} leaked");
                row.push(format!("{worst:.0}"));
            }
            if [8, 12, 16, 24, 32, 48, 63].contains(&length) {
                println!("| {size} | {length} | {} |", row.join(" | "));
            }
        }
    }
}

/// Syllables in place of digits: what a word list gives, and nothing that looks encoded.
fn words(secret: &[u8]) -> Vec<String> {
    const START: [&str; 16] = ["b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "st", "tr", "pr"];
    const REST: [&str; 16] =
        ["a", "e", "i", "o", "an", "en", "in", "on", "ar", "er", "or", "at", "et", "al", "el", "ing"];
    let syllable = |byte: &u8| format!("{}{}", START[usize::from(byte >> 4)], REST[usize::from(byte & 15)]);
    secret.chunks(4).map(|chunk| chunk.iter().map(syllable).collect()).collect()
}

#[test]
fn who_adapts_gains_nothing_under_one_parent() {
    let secret = Random(9).bytes(4096);
    let mut table = Vec::new();
    // Four bytes to a word of four syllables; one name a word.
    let left = |labels: &[String], bytes: f64, parents: &[&str]| {
        let mut net = Net::new(configuration(|_| {}));
        let sent = labels
            .iter()
            .enumerate()
            .take_while(|(i, label)| net.get(&format!("{label}.{}", parents[i % parents.len()])) == Reason::Permitted);
        sent.count() as f64 * bytes
    };
    table.push(("syllables that read like words, 4 bytes a name", left(&words(&secret), 4.0, &["evil.test"]), 64.0));
    // The shortest names there are: a letter or digit, then two.
    let short: Vec<String> =
        (0..36 * 36).map(|n| format!("{}{}", BASE36[n / 36] as char, BASE36[n % 36] as char)).collect();
    table.push((
        "names of two letters or digits, 10.3 bits each",
        left(&short, 36_f64.log2() * 2.0 / 8.0, &["evil.test"]),
        64.0,
    ));
    // The common words of the code itself, a byte each and no two names alike.
    let common: Vec<String> = secret
        .chunks(3)
        .map(|c| c.iter().map(|b| crate::destination::score::common_word(*b)).collect::<Vec<_>>().join("-"))
        .collect();
    table.push(("common words of host names, 3 bytes a name", left(&common, 3.0, &["evil.test"]), 64.0));
    // Several labels in one name.
    let deep: Vec<String> = secret.chunks(8).map(|c| words(c).join(".")).collect();
    table.push(("two such words a name, as two labels", left(&deep, 8.0, &["evil.test"]), 64.0));
    // Splitting needs names registered beforehand; then the budget of all names holds.
    let parents: Vec<String> = (0..64).map(|n| format!("{}.test", words(&[n, n ^ 0x5a, 7, n])[0])).collect();
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    let base32 = pieces(&encode(&secret, BASE32), 32);
    table.push(("base32, 32 letters, over 64 registered names", left(&base32, 20.0, &parents), 1024.0));
    table.push(("base32, 32 letters, over 8 registered names", left(&base32, 20.0, &parents[..8]), 512.0));
    println!("| how | bytes leaked |\n|---|---|");
    for (how, bytes, most) in table {
        println!("| {how} | {bytes:.0} |");
        assert!(bytes <= most && bytes > 0.0, "{how}: {bytes}");
    }
}

const WORDS: &[&str] = &[
    "acme",
    "atlas",
    "aurora",
    "beacon",
    "bridge",
    "canvas",
    "cedar",
    "cobalt",
    "comet",
    "contoso",
    "copper",
    "coral",
    "delta",
    "ember",
    "falcon",
    "fabrikam",
    "forge",
    "galaxy",
    "globex",
    "harbor",
    "helios",
    "horizon",
    "indigo",
    "initech",
    "jupiter",
    "kestrel",
    "lantern",
    "lumen",
    "maple",
    "marble",
    "meridian",
    "mosaic",
    "nimbus",
    "northwind",
    "nova",
    "oasis",
    "onyx",
    "opal",
    "orbit",
    "orchard",
    "pixel",
    "polar",
    "prism",
    "quartz",
    "raven",
    "ridge",
    "saffron",
    "sierra",
    "silver",
    "solstice",
    "spruce",
    "summit",
    "tailspin",
    "tundra",
    "umbra",
    "vector",
    "velvet",
    "vertex",
    "willow",
    "wingtip",
    "zenith",
    "zephyr",
];

/// A name of the list with ids drawn for it.
fn drawn(template: &str, random: &mut Random) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (what, after) = after.split_once('}').unwrap();
        let (kind, count) = what.split_once(':').map_or((what, 0), |(kind, n)| (kind, n.parse().unwrap()));
        out.push_str(before);
        out.push_str(&match kind {
            "hex" => random.text(count, HEX),
            "dig" => random.text(count, b"0123456789"),
            "b36" => random.text(count, BASE36),
            "b32" => random.text(count, BASE32),
            "uuid" => [8, 4, 4, 4, 12].map(|n| random.text(n, HEX)).join("-"),
            "word" => WORDS[random.below(WORDS.len())].to_owned(),
            other => panic!("{other}"),
        });
        rest = after;
    }
    out + rest
}

#[test]
fn under_one_in_a_thousand_honest_names_is_refused() {
    let templates: Vec<&str> = include_str!("benign_names.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(templates.len() > 300);
    let mut random = Random(77);
    let mut refused = Vec::new();
    let mut counts = [0; 2];
    let net =
        || Net::new(configuration(|document| document["policy"]["defaults"] = json!({"names": {"quarantine": "0s"}})));
    // Sessions of ten names from here and there, each service once for every session it is in.
    for _ in 0..400 {
        let mut net = net();
        for _ in 0..10 {
            let template = templates[random.below(templates.len())];
            let name = drawn(template, &mut random);
            counts[0] += 1;
            if net.get(&name) != Reason::Permitted {
                refused.push(format!("{template}: {name}"));
            }
        }
    }
    // Sessions that work with one service: three of its customers, each twice.
    for template in templates.iter().filter(|template| template.contains('{')) {
        let mut net = net();
        for name in (0..3).map(|_| drawn(template, &mut random)).collect::<Vec<_>>() {
            for _ in 0..2 {
                counts[1] += 1;
                if net.get(&name) != Reason::Permitted {
                    refused.push(format!("in a row, {template}: {name}"));
                }
            }
        }
    }
    let here = refused.iter().filter(|name| !name.starts_with("in a row")).count();
    let row = refused.len() - here;
    println!("{here} of {} refused here and there, {row} of {} in a row: {refused:#?}", counts[0], counts[1]);
    assert!(here * 1000 < counts[0] && row * 20 < counts[1], "{refused:#?}");
}
