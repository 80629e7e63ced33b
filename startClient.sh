#!/bin/sh
# Opens the terminal client: on a server given as host and port, or with an invite link. The client then offers to sign
# in or to create an account.

usage() {
  printf '%s\n' "usage: ${0##*/} HOST PORT   or: ${0##*/} LINK   (a link is what \`sotto invite\` prints)" >&2
  exit 2
}

sotto=$(dirname -- "$0")/sotto

if [ $# -eq 1 ]; then
  case $1 in
    *://*) exec "$sotto" --invite "$1" ;;
    *) usage ;;
  esac
fi

[ $# -eq 2 ] || usage
case $1 in
  '' | -* | */*) usage ;;
esac
case $2 in
  '' | *[!0-9]* | ??????*) usage ;;
esac
if [ "$2" -lt 1 ] || [ "$2" -gt 65535 ]; then usage; fi
case $1 in
  \[*\]) host=$1 ;;
  *:*) host=[$1] ;;
  *) host=$1 ;;
esac
exec "$sotto" --server "$host:$2"
