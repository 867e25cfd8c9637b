# What must hold before a change lands.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace
    cargo deny check bans licenses sources

# russet beside its peers on the same data; see benches/README.md.
bench:
    benches/run
