#!/bin/sh
# run.sh [CTEST ARGUMENTS]: installs what is missing, builds in build/ and runs the tests, two at a time.
#
#   sh tests/run.sh                    all of them
#   sh tests/run.sh -L unit            those with a label: unit, flow, fuzz, bench
#   sh tests/run.sh -R channel -V      those whose name matches, with their output
#
# The last lines are CTest's own summary, and the exit status is CTest's.
set -eu
CDPATH='' cd -- "$(dirname "$0")/.."
sh deploy/install-deps.sh --tests
quietly() {
	if ! "$@" >build/run.log 2>&1; then
		cat build/run.log
		echo "tests/run.sh: failed: $*"
		exit 1
	fi
}
mkdir -p build
echo "building in build/"
quietly cmake --preset default -DBROOD_TESTS=ON
quietly cmake --build build
CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-2} exec ctest --test-dir build --output-on-failure "$@"
