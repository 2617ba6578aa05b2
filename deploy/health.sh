#!/bin/bash
# Succeeds where an HTTP server on this machine answers 200: health.sh PORT PATH. The images have no HTTP client.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&3
read -r _ status _ <&3
[ "$status" = 200 ]
