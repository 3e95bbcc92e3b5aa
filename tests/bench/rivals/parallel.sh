#!/bin/sh
# GNU parallel with curl, one shell for each job: a fixed key, a poll each second, curl's own retries on 429.
#
#   parallel.sh BASE_URL JOBS AT_ONCE
export BASE_URL="$1"
export AUTH="Authorization: Bearer $RIVYA_API_KEY"
cat >one-job.sh <<'JOB'
number=$1
ask() { curl --silent --retry 30 --retry-max-time 110 --header "$AUTH" "$@"; }
body='{"model":"grok-imagine-video","prompt":"A bottle number '$number'","params":{"mode":"normal","duration":6,"resolution":"480p","aspect_ratio":"16:9"}}'
task=$(ask --header "Idempotency-Key: parallel-$number" --header "Content-Type: application/json" \
  --data "$body" "$BASE_URL/api/v1/generations")
id=$(printf '%s' "$task" | sed -n 's/.*"id": *"\(task_[^"]*\)".*/\1/p')
[ -n "$id" ] || exit 1
while :; do
  sleep 1
  task=$(ask "$BASE_URL/api/v1/generations/$id")
  case $task in
    *'"succeeded"'*) break ;;
    *'"failed"'*) exit 1 ;;
  esac
done
url=$(printf '%s' "$task" | grep -o 'http[^"]*/media/results/[^"]*' | head -n 1)
curl --silent --output "parallel-$number.mp4" "$url"
JOB
seq "$2" | parallel --no-notice --jobs "$3" sh one-job.sh {}
