#!/bin/sh
# Starts a Sotto server on a port. Whatever follows the port goes to `sotto serve`: see `./sotto serve --help`.

usage() {
  printf '%s\n' "usage: ${0##*/} PORT [OPTION]…   for example: ${0##*/} 12345 --host chat.example.org" >&2
  exit 2
}

case ${1:-} in
  '' | *[!0-9]* | ??????*) usage ;;
esac
if [ "$1" -lt 1 ] || [ "$1" -gt 65535 ]; then usage; fi

port=$1
shift
exec "$(dirname -- "$0")/sotto" serve --port "$port" "$@"
