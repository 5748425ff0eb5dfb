#!/bin/sh
# Builds the image and starts web in it: `make image`. Needs root, buildah and debootstrap, and neither a container engine nor
# a registry of images: the base is a Debian that debootstrap makes. About five minutes the first time, then one; CI has no
# time for it.
set -eu
cd "$(dirname "$0")/../.."
work="${IMAGE_DIR:-$PWD/build/image}"
mkdir -p "$work"
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
buildah() { command buildah --root "$work/store" --runroot "$work/run" "$@"; }

if [ ! -e "$work/base.done" ]; then
	rm -rf "$work/base"
	debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base"
	touch "$work/base.done"
fi
base=$(buildah from scratch)
buildah copy -q "$base" "$work/base" /
buildah commit -q --rm "$base" localhost/deedbox-base

# Where downloads go through a proxy with a certificate of its own, pip in the image must know that certificate too.
printf '[global]\n%s\n' "${PIP_CERT:+cert = $PIP_CERT}" > "$work/pip.conf"
buildah bud --pull-never --quiet --format docker --build-arg BASE=localhost/deedbox-base \
	--volume /etc/ssl/certs:/etc/ssl/certs:ro --volume "$work/pip.conf:/etc/pip.conf:ro" \
	--ignorefile deploy/Dockerfile.dockerignore --file deploy/Dockerfile --tag deedbox .

box=$(buildah from deedbox)
trap 'buildah rm "$box" > /dev/null' EXIT
[ "$(buildah run "$box" -- id -u)" = 10001 ]
buildah run "$box" -- deedbox --version
if buildah run "$box" -- python -m pip --version 2> /dev/null; then echo "pip is in the image"; exit 1; fi
# Web starts, answers its health check as the image says, and ends when it is told to.
buildah run --env DEEDBOX_API_KEYS=k --env DEEDBOX_REDIS_URL=redis://127.0.0.1:1/0 --env PORT=38765 "$box" -- \
	sh -c 'python -m deedbox.ingress & web=$!
		for _ in $(seq 100); do
			if python -c "import urllib.request as u; u.urlopen(\"http://127.0.0.1:38765/healthz\")" 2> /dev/null; then
				kill $web; wait $web; exit 0
			fi
			sleep 0.3
		done
		exit 1'
echo "The image is built, and web runs in it: $(buildah images --format '{{.Size}}' deedbox)."
