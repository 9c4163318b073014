#!/bin/sh
# Reads an order and searches for others, through the gateway: `exeat sign` signs, curl sends.
#
#   EXEAT_GATEWAY=http://127.0.0.1:10000 EXEAT_KEY=signer.key EXEAT_KEYID=signer-eu-1 \
#     sh example.sh http://eu.crm.acme.example
set -eu
crm=$1

# signed TOOL ARGUMENTS...: the request on standard output, for `curl --config -`; nothing in it passes through a shell.
signed() {
  tool=$1
  shift
  "${EXEAT_CLI:-exeat}" sign --format curl --via "$EXEAT_GATEWAY" --key "$EXEAT_KEY" --keyid "$EXEAT_KEYID" \
    --agent support/summarizer --session curl-1 --tenant acme --user u-1042 \
    --tool "$tool" --data-class internal --provenance user --reason 'look up "order" 7' "$@"
}

# sent METHOD: sends what comes in. A refusal is application/problem+json from the gateway, with a `reason`.
sent() {
  answer=$(curl --disable --noproxy '*' --max-time 20 --write-out '\n%{http_code} %{content_type}' --config -)
  result=$(printf '%s\n' "$answer" | tail -n 1)
  case $result in
    *application/problem+json)
      echo "$1 ${result%% *} $(printf '%s' "$answer" | sed -n 's/.*"reason": *"\([a-z-]*\)".*/\1/p')"
      failed=1 ;;
    *) echo "$1 ${result%% *} allowed" ;;
  esac
}

failed=0
request=$(signed crm.lookup "$crm/v1/orders/7?customer=u-1042")
sent GET <<EOF
$request
EOF
request=$(signed crm.search --content-type application/json --body '{"customer_id": "u-1042"}' "$crm/v1/search")
sent POST <<EOF
$request
EOF
exit "$failed"
