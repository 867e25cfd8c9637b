# What must hold before a change lands.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace
    cargo deny check bans licenses sources

# Each stage by itself.
bench *ARGS:
    cargo bench -p russet-benches --benches -- {{ARGS}}

# russet beside its peers on the same data, as the table of docs/PERFORMANCE.md; see benches/README.md.
bench-peers *ARGS:
    cargo build --release -p russet -p russet-benches
    benches/run all {{ARGS}}

# Instructions of a small fixed run, beside those that were kept last.
bench-counts *ARGS:
    cargo build --release -p russet -p russet-benches
    benches/counts {{ARGS}}

# Which damage heals, as the table of docs/RELIABILITY.md.
healing:
    cargo test --release -p russet-format --test healing_study -- --include-ignored --nocapture

# Kills the real program, fills and breaks its disk and cuts its power, and looks whether anything was lost: minutes, and hours.
torture *ARGS:
    cargo build --release --locked -p russet
    tests/torture/run target/release/russet {{ARGS}}

torture-long *ARGS:
    cargo build --release --locked -p russet
    tests/torture/run target/release/russet --long {{ARGS}}
    cargo test --release --workspace --locked --test model -- --ignored
