# `just` lists these; docs/HACKING.md says more.

# list the recipes
default:
    @just --list

# format, lints, documentation, as CI has them
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# every test on the best driver
test:
    cargo test

# every test on epoll
test-epoll:
    MONOIO_FORCE_LEGACY_DRIVER=1 cargo test

# the payment tests at their full numbers, half an hour; `just soak faults::` for a part
soak *parts:
    SOAK=1 cargo test --profile soak --test payments -- --nocapture --test-threads 1 {{ parts }}

# more seeds of the simulated world; WORLD_SEED=7 shows all that happens in one
world seeds="10000":
    WORLD_SEEDS={{ seeds }} cargo test --test world

# breaks one rule after the other: does the simulated world notice?
prove-world *words:
    cargo run --example lab -- prove-world {{ words }}

# two processors and p99, ready for curl
demo:
    cargo run --release -- demo

# the small load runs of CI; `just load rinha --ack accepted` for others
load script="rinha" *options="--quick":
    cargo build --release
    scripts/run-k6 {{ script }} {{ options }}

# p99 beside HAProxy, nginx and a bare relay
bench *options="--quick":
    cargo build --release --bins --examples
    scripts/bench-proxies {{ options }}

# the library's documentation in a browser
doc:
    cargo doc --no-deps --open

# everything that CI runs
ci:
    bash .ci/run
