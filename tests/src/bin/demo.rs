//! `cargo xtask demo` runs this.

fn main() -> anyhow::Result<()> {
    anyhow::bail!("the demo is not written yet")
}
