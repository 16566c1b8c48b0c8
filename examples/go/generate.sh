#!/bin/sh
# Writes the Go stubs of proto/ to gen/, or to the folder given. Wants protoc, protoc-gen-go and protoc-gen-go-grpc.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/gen}
package=quorate.example/go/gen/quoratev1
cd "$here/../../proto"
# The contract names no Go package: this one is where the example wants it.
for file in quorate/v1/*.proto; do
    set -- "$@" "--go_opt=M$file=$package" "--go-grpc_opt=M$file=$package"
done
[ "${1#-}" != "$1" ] || shift
mkdir -p "$out"
exec protoc -I . "$@" \
    --go_out="$out" --go_opt=module=quorate.example/go/gen \
    --go-grpc_out="$out" --go-grpc_opt=module=quorate.example/go/gen quorate/v1/*.proto
