# Heroku reads this before each process starts.
# Heroku Key-Value Store has a certificate of its own making: the connection is encrypted, the certificate not verified.
export DEEDBOX_REDIS_URL="${DEEDBOX_REDIS_URL:-$REDIS_URL?ssl_cert_reqs=none}"
export DEEDBOX_BROKER_URL="${DEEDBOX_BROKER_URL:-$CLOUDAMQP_URL}"
