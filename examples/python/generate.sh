#!/bin/sh
# Writes the Python stubs of proto/ to gen/, or to the folder given. PYTHON chooses the interpreter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/gen}
mkdir -p "$out"
cd "$here/../../proto"
exec "${PYTHON:-python3}" -m grpc_tools.protoc -I . --python_out="$out" --grpc_python_out="$out" quorate/v1/*.proto
