#!/bin/sh
# run.sh [-l] [TEST...]: three hosts in namespaces of this one, what brood does between them, and what it makes of faults.
#
#   sh tests/lab/run.sh                     all tests; as root, after building
#   sh tests/lab/run.sh -l                  their names
#   sh tests/lab/run.sh messages.cut        those whose name begins so
#
# BROOD_BUILD is the build directory, if it is not build/. Exit status 77: skipped, with the reason.
exec /usr/bin/python3 "$(dirname "$0")/run.py" "$@"
