# build.sh - the kinds of build, each in build/KIND; sourced by ./dev.

build_options() {
    case $1 in
    debug) echo "--buildtype=debug" ;;
    release) echo "-Ddebug=true -Doptimization=3 -Db_ndebug=true -Db_lto=true -Dtests=false -Dlibraries=false" ;;
    asan)
        echo "-Doptimization=1 -Ddebug=true -Db_sanitize=address,undefined -Db_lundef=false" \
            "-Dc_args=-fno-sanitize-recover=undefined"
        ;;
    tsan) echo "-Doptimization=1 -Ddebug=true -Db_sanitize=thread -Db_lundef=false" ;;
    fuzz) echo "-Doptimization=1 -Ddebug=true -Dfuzz=true -Db_lundef=false" ;;
    sim) echo "-Doptimization=2 -Ddebug=true" ;;
    coverage) echo "--buildtype=debug -Db_coverage=true" ;;
    *) die "no such kind of build: $1 (debug release asan tsan fuzz sim coverage)" ;;
    esac
}

# build KIND [TARGET...]: configures build/KIND once, then builds what has changed
build() {
    local kind=$1 folder=build/$1 options compiler=gcc jobs
    shift
    options=$(build_options "$kind")
    case $kind in tsan | fuzz) compiler=clang ;; esac
    if [ ! -f "$folder/build.ninja" ]; then
        rm -rf "$folder"
        # shellcheck disable=SC2086
        CC=$compiler meson setup $options "$folder" >&2 || die "meson setup failed ($kind)"
    fi
    jobs=$(nproc)
    ninja --quiet -C "$folder" -j "$jobs" "$@" | { grep -v '^ninja: no work to do' || true; } >&2 ||
        die "the $kind build failed"
    if [ "$kind" = release ]; then
        ln -sfn release/trunkline build/trunkline
    fi
}
