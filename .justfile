# Everything that is checked before a change lands.
check:
    .ci/run

# Every test; `just test NAME` for those whose names contain NAME.
test *arguments:
    tests/run {{ arguments }}

# brig beside its peers, as ratios.
bench *arguments:
    cargo bench --profile dist {{ arguments }}

fmt:
    cargo fmt --all

doc:
    BRIG_WITHOUT_RUNNER=1 RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Licences, sources, duplicates and bans. The database of advisories needs the internet, so it isn't here.
deny:
    cargo deny --offline check bans licenses sources
