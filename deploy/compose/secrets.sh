#!/bin/sh
# Makes the files that compose.yaml hands over as secrets: new passwords, and the API key from the first argument.
#
#   sh secrets.sh YOUR_API_KEY
set -eu
[ $# -eq 1 ] || { echo "usage: sh secrets.sh API_KEY" >&2; exit 2; }
cd "$(dirname "$0")"
# A second run would change passwords that RabbitMQ has stored.
mkdir -m 700 secrets || { echo "secrets/ is there already; remove it first to make new ones" >&2; exit 1; }
word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
redis=$(word) broker=$(word)

printf '%s\n' "$1" > secrets/api_keys
word > secrets/ops_token
printf 'redis://deedbox:%s@redis:6379/0\n' "$redis" > secrets/redis_url
printf 'amqp://deedbox:%s@rabbitmq:5672/deedbox\n' "$broker" > secrets/broker_url
cat > secrets/redis_acl <<ACL
user default off
user deedbox on >$redis ~deedbox* ~rq:* ~_kombu* &rq:* +@all -@admin -@dangerous +info +keys
ACL
cat > secrets/rabbitmq_conf <<CONF
default_user = deedbox
default_pass = $broker
default_vhost = deedbox
CONF
# The containers' users read these files through their own mounts; on this server the folder keeps others out.
chmod 644 secrets/*
